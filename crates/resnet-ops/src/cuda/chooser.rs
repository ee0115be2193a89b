//! Which of a library's algorithms computes a convolution.
//!
//! The library is asked once a shape, and once more where the result is to be added. An algorithm that is on its list may refuse all the same when it is called, as
//! PyTorch found too: then the next one has its turn, for this call and all later ones.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Debug, Display};

use candle_core::{Result, bail};

use super::algorithms::{error_among, lacks_memory, may_have_run};
use super::conv_shape::{ConvPass, ConvShape};
use super::refusals::refuse;
use super::runtime::Element;
use super::settings::Settings;
use super::workspace::{MOST_WORKSPACE, Workspace};

/// What an algorithm is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub pass: ConvPass,
    pub shape: ConvShape,
    pub element: Element,
    /// Whether the result is added to what is there.
    pub accumulate: bool,
    pub settings: Settings,
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?} in {:?}", self.pass, self.shape, self.element)
    }
}

/// Where the values lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    pub operands: [u64; 2],
    pub out: u64,
}

/// What a library answers.
pub(crate) type Answer<L, T> = std::result::Result<T, <L as Library>::Status>;

/// A line of a library's list.
pub(crate) struct Line<L: Library + ?Sized> {
    /// The algorithm and the workspace that it wants, or why it does not do this shape.
    pub works: Answer<L, (L::Algorithm, usize)>,
    /// Whether it gives the same bits every time.
    pub repeats: bool,
}

/// A library that has several algorithms for a convolution, and one queue of work.
pub(crate) trait Library {
    /// What it is told of a shape, made once.
    type Descriptors;
    type Algorithm;
    type Status: Copy + Debug;
    type Memory;

    /// The status in cuDNN's numbers.
    fn code(status: Self::Status) -> u32;

    fn describe(&self, key: &Key) -> Answer<Self, Self::Descriptors>;

    /// The algorithms for a shape, the best first.
    ///
    /// # Safety
    /// As for [`Chooser::convolve`]; the operands may be read.
    unsafe fn list(
        &self,
        key: &Key,
        descriptors: &Self::Descriptors,
        operands: [u64; 2],
    ) -> Result<Answer<Self, Vec<Line<Self>>>>;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Submits a convolution, with a workspace as large as the algorithm wants; none where it wants none.
    ///
    /// # Safety
    /// As for [`Chooser::convolve`].
    unsafe fn launch(
        &self,
        key: &Key,
        algorithm: &Self::Algorithm,
        workspace: Option<&Self::Memory>,
        values: &Values,
    ) -> Answer<Self, ()>;
}

/// A library, and what is known of its algorithms.
pub(crate) struct Chooser<L: Library> {
    // Before the library: descriptors go while it is there.
    choices: HashMap<Key, Choice<L>>,
    workspace: Workspace<L::Memory>,
    library: L,
}

/// What is known of a shape.
struct Choice<L: Library> {
    /// Algorithms that are left to try, with the workspace that they want; the best first.
    left: Vec<(L::Algorithm, usize)>,
    /// What they were made of, and goes after them.
    _descriptors: L::Descriptors,
    /// What all others said: so many on the list, the rest when they were called.
    said: Vec<L::Status>,
    listed: usize,
}

impl<L: Library> Chooser<L> {
    pub(crate) fn new(library: L) -> Self {
        Self { choices: HashMap::new(), workspace: Workspace::new(), library }
    }

    /// Submits a convolution; false, and nothing done, where the library has no algorithm for it. Where the result is not to
    /// be added, that is taken down as a refusal.
    ///
    /// # Errors
    /// Where a descriptor or the machine is at fault, see [`error_among`], or memory is short. Nothing is kept of the shape
    /// then, so that the next call starts afresh.
    ///
    /// # Safety
    /// Operands and result must be of the shape's sizes, and alive.
    pub(crate) unsafe fn convolve(&mut self, key: Key, values: Values) -> Result<bool> {
        // SAFETY: as the caller promises.
        let done = unsafe { self.attempt(key, &values) };
        if done.is_err() {
            self.choices.remove(&key);
        }
        done
    }

    unsafe fn attempt(&mut self, key: Key, values: &Values) -> Result<bool> {
        let choice = match self.choices.entry(key) {
            Entry::Occupied(choice) => choice.into_mut(),
            // SAFETY: as the caller promises.
            Entry::Vacant(place) => place.insert(unsafe { Choice::new(&self.library, &key, values.operands)? }),
        };
        while let Some((algorithm, bytes)) = choice.left.first() {
            let workspace = self.workspace.of(*bytes, |bytes| self.library.allocate(bytes))?;
            // SAFETY: as the caller promises; the workspace is as large as the algorithm wants.
            let answer = unsafe { self.library.launch(&key, algorithm, workspace, values) };
            let Err(status) = answer else { return Ok(true) };
            if key.accumulate && may_have_run(L::code(status)) {
                // What is there may be half a sum now: no other algorithm can set that right.
                bail!("cuDNN, {key}: {status:?}, while adding to a gradient");
            }
            choice.drop_first(status);
        }
        if key.accumulate {
            // What is not added is computed into memory of its own next: there it shows whether more is wrong.
            return Ok(false);
        }
        let codes: Vec<u32> = choice.said.iter().map(|&status| L::code(status)).collect();
        let (listed, called) = codes.split_at(choice.listed);
        if let Some(error) = error_among(listed, called) {
            bail!("cuDNN, {key}: {:?}", choice.said[error]);
        }
        refuse(choice.refusal(&key));
        Ok(false)
    }
}

impl<L: Library> Choice<L> {
    unsafe fn new(library: &L, key: &Key, operands: [u64; 2]) -> Result<Self> {
        let descriptors = match library.describe(key) {
            Ok(descriptors) => descriptors,
            Err(status) => bail!("cuDNN, {key}: {status:?}, in its descriptors"),
        };
        // SAFETY: as the caller promises.
        let list = unsafe { library.list(key, &descriptors, operands)? };
        let (mut works, mut said) = (Vec::new(), Vec::new());
        match list {
            Ok(lines) => {
                for line in lines {
                    match line.works {
                        Ok((algorithm, bytes)) if bytes <= MOST_WORKSPACE => {
                            works.push((line.repeats, (algorithm, bytes)))
                        }
                        Err(status) if !lacks_memory(L::code(status)) => said.push(status),
                        // It wants too much.
                        _ => {}
                    }
                }
            }
            Err(status) => said.push(status),
        }
        if !key.settings.search {
            // Where no algorithm repeats to the bit, any is better than none. A stable sort: within each kind the order
            // stays.
            works.sort_by_key(|(repeats, _)| !repeats);
        }
        let left = works.into_iter().map(|(_, algorithm)| algorithm).collect();
        Ok(Self { left, _descriptors: descriptors, listed: said.len(), said })
    }

    fn drop_first(&mut self, status: L::Status) {
        self.left.remove(0);
        self.said.push(status);
    }

    /// The shape, and all that was said of it.
    fn refusal(&self, key: &Key) -> String {
        let mut said: Vec<String> = self.said.iter().map(|status| format!("{status:?}")).collect();
        said.sort();
        said.dedup();
        match said.is_empty() {
            true => key.to_string(),
            false => format!("{key} ({})", said.join(", ")),
        }
    }
}
