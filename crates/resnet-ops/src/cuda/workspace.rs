//! The workspace that all of a library's algorithms share.

use candle_core::Result;

/// Workspace that an algorithm may ask for.
pub(crate) const MOST_WORKSPACE: usize = 1 << 30;

/// Memory that only grows. One for all algorithms: what used it before runs before, on the same kernels.
pub(crate) struct Workspace<M> {
    memory: Option<M>,
    bytes: usize,
}

impl<M> Workspace<M> {
    pub(crate) fn new() -> Self {
        Self { memory: None, bytes: 0 }
    }

    /// Memory of `wanted` bytes or more; none for none.
    ///
    /// # Errors
    /// As `allocate`.
    pub(crate) fn of(&mut self, wanted: usize, allocate: impl FnOnce(usize) -> Result<M>) -> Result<Option<&M>> {
        if let Some(bytes) = grown(self.bytes, wanted) {
            // The old one goes back to the pool first, so that the new one may take its place.
            *self = Self::new();
            *self = Self { memory: Some(allocate(bytes)?), bytes };
        }
        Ok(self.memory.as_ref().filter(|_| wanted > 0))
    }
}

/// The size that a workspace of `held` bytes has to grow to for an algorithm that wants `wanted`: none where it is
/// large enough. It at least doubles, so that a network's shapes let it grow a few times only.
fn grown(held: usize, wanted: usize) -> Option<usize> {
    (wanted > held).then(|| wanted.max(held.saturating_mul(2).min(MOST_WORKSPACE)))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn it_grows_seldom_and_never_shrinks() {
        assert_eq!(grown(0, 0), None);
        assert_eq!(grown(0, 100), Some(100));
        assert_eq!(grown(100, 100), None);
        assert_eq!(grown(100, 110), Some(200));
        assert_eq!(grown(100, 900), Some(900));
        let (mut held, mut times) = (0, 0);
        for wanted in 0..10_000 {
            if let Some(size) = grown(held, wanted) {
                assert!(size >= wanted && size > held);
                (held, times) = (size, times + 1);
            }
        }
        assert!(times < 16, "{times}");
    }

    #[test]
    fn it_is_empty_after_an_allocation_that_failed() -> Result<()> {
        let mut workspace = Workspace::new();
        assert_eq!(workspace.of(0, |_| bail!("not wanted"))?, None);
        assert_eq!(workspace.of(100, Ok)?, Some(&100));
        assert_eq!(workspace.of(0, |_| bail!("not wanted"))?, None);
        assert_eq!(workspace.of(60, |_| bail!("not wanted"))?, Some(&100));
        assert!(workspace.of(300, |_| bail!("no memory")).is_err());
        assert_eq!(workspace.of(60, Ok)?, Some(&60));
        Ok(())
    }
}
