//! Which of a library's algorithms computes a convolution.
//!
//! The library is asked once a shape, and once more where the result is to be added. An algorithm that is on its list may
//! refuse all the same when it is called, as PyTorch found too: then the next one is made ready and has its turn, for this
//! call and all later ones.

pub(crate) mod status;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Debug, Display};

use candle_core::Result;

use super::conv_problem::{ConvPass, ConvProblem};
use super::runtime::Element;
use super::unsupported::record;
use super::workspace::{MOST_WORKSPACE, Workspace};
use crate::device::CudaSettings;
use status::{Verdict, error_among, may_have_run, verdict};

/// What an algorithm is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub pass: ConvPass,
    pub shape: ConvProblem,
    pub element: Element,
    /// Whether the result is added to what is there.
    pub accumulate: bool,
    pub settings: CudaSettings,
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = if self.accumulate { ", added" } else { "" };
        write!(f, "{:?} of {:?} in {:?}{added}", self.pass, self.shape, self.element)
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
    pub candidate: L::Candidate,
    /// Whether it gives the same bits every time.
    pub repeats: bool,
}

/// A library that has several algorithms for a convolution, and one queue of work.
pub(crate) trait Library {
    /// What it is told of a shape, made once.
    type Descriptors;
    /// An algorithm that may do the shape.
    type Candidate;
    /// The same, ready to run.
    type Algorithm;
    type Status: Copy + Debug;
    type Memory;

    /// The status in cuDNN's numbers.
    fn code(status: Self::Status) -> u32;

    fn describe(&self, key: &Key) -> Answer<Self, Self::Descriptors>;

    /// The algorithms for a shape, the best first.
    ///
    /// # Safety
    /// As for [`Autotuner::convolve`]; the operands may be read.
    unsafe fn list(
        &self,
        key: &Key,
        descriptors: &Self::Descriptors,
        operands: [u64; 2],
    ) -> Result<Answer<Self, Vec<Line<Self>>>>;

    /// Makes an algorithm ready, and says what workspace it wants.
    fn prepare(&self, candidate: Self::Candidate) -> Answer<Self, (Self::Algorithm, usize)>;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Submits a convolution, with a workspace as large as the algorithm wants; none where it wants none.
    ///
    /// # Safety
    /// As for [`Autotuner::convolve`].
    unsafe fn launch(
        &self,
        key: &Key,
        algorithm: &Self::Algorithm,
        workspace: Option<&Self::Memory>,
        values: &Values,
    ) -> Answer<Self, ()>;
}

/// A library, and what is known of its algorithms.
pub(crate) struct Autotuner<L: Library> {
    // Before the library: descriptors go while it is there.
    choices: HashMap<Key, Choice<L>>,
    workspace: Workspace<L::Memory>,
    library: L,
}

/// What is known of a shape.
struct Choice<L: Library> {
    /// The algorithm that does it, with the workspace that it wants.
    ready: Option<(L::Algorithm, usize)>,
    /// Those that are left to try, the best first.
    left: std::vec::IntoIter<Line<L>>,
    /// What they were made of, and goes after them.
    _descriptors: Option<L::Descriptors>,
    /// What others said before they were called, and when they were.
    listed: Vec<L::Status>,
    called: Vec<L::Status>,
}

impl<L: Library> Autotuner<L> {
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
        while let Some((algorithm, bytes)) = choice.ready(&self.library) {
            let workspace = self.workspace.of(*bytes, |bytes| self.library.allocate(bytes))?;
            // SAFETY: as the caller promises; the workspace is as large as the algorithm wants.
            let answer = unsafe { self.library.launch(&key, algorithm, workspace, values) };
            let Err(status) = answer else { return Ok(true) };
            if key.accumulate && may_have_run(L::code(status)) {
                // What is there may be half a sum now: no other algorithm can set that right.
                bail!("cuDNN, {key}: {status:?}, while adding to a gradient");
            }
            choice.ready = None;
            choice.called.push(status);
        }
        if key.accumulate {
            // What is not added is computed into memory of its own next: there it shows whether more is wrong.
            return Ok(false);
        }
        let codes = |said: &[L::Status]| said.iter().map(|&status| L::code(status)).collect::<Vec<u32>>();
        if let Some(error) = error_among(&codes(&choice.listed), &codes(&choice.called)) {
            bail!("cuDNN, {key}: {:?}", choice.said()[error]);
        }
        record(choice.refusal(&key));
        Ok(false)
    }
}

impl<L: Library> Choice<L> {
    unsafe fn new(library: &L, key: &Key, operands: [u64; 2]) -> Result<Self> {
        let mut choice = Self {
            ready: None,
            left: Vec::new().into_iter(),
            _descriptors: None,
            listed: Vec::new(),
            called: Vec::new(),
        };
        let descriptors = match library.describe(key) {
            Ok(descriptors) => descriptors,
            Err(status) if verdict(L::code(status)) == Verdict::Unsupported => {
                choice.listed.push(status);
                return Ok(choice);
            }
            Err(status) => bail!("cuDNN, {key}: {status:?}, in its descriptors"),
        };
        // SAFETY: as the caller promises.
        match unsafe { library.list(key, &descriptors, operands)? } {
            Ok(mut lines) => {
                if !key.settings.search {
                    // Where no algorithm repeats to the bit, any is better than none, but not to add: what is written first
                    // can be added then. A stable sort: within each kind the order stays.
                    lines.retain(|line| line.repeats || !key.accumulate);
                    lines.sort_by_key(|line| !line.repeats);
                }
                choice.left = lines.into_iter();
            }
            Err(status) => choice.listed.push(status),
        }
        choice._descriptors = Some(descriptors);
        Ok(choice)
    }

    /// The algorithm whose turn it is.
    fn ready(&mut self, library: &L) -> Option<&(L::Algorithm, usize)> {
        while self.ready.is_none() {
            match library.prepare(self.left.next()?.candidate) {
                Ok(algorithm) if algorithm.1 <= MOST_WORKSPACE => self.ready = Some(algorithm),
                // It wants too much.
                Ok(_) => {}
                Err(status) => self.listed.push(status),
            }
        }
        self.ready.as_ref()
    }

    fn said(&self) -> Vec<L::Status> {
        [self.listed.as_slice(), &self.called].concat()
    }

    /// The shape, and all that was said of it.
    fn refusal(&self, key: &Key) -> String {
        let mut said: Vec<String> = self.said().iter().map(|status| format!("{status:?}")).collect();
        said.sort();
        said.dedup();
        match said.is_empty() {
            true => key.to_string(),
            false => format!("{key} ({})", said.join(", ")),
        }
    }
}
