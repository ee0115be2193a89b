//! Which of cuDNN's algorithms a convolution takes, and the workspace that all share.

/// What cuDNN says about an algorithm, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Whether it does this shape at all.
    pub works: bool,
    /// Workspace that it wants.
    pub bytes: usize,
    /// Whether it gives the same bits every time.
    pub deterministic: bool,
}

/// Workspace that an algorithm may ask for.
pub(crate) const MOST_WORKSPACE: usize = 1 << 30;

/// The first that works within the limit; with `repeatable`, the first of those that give the same bits every time.
pub(crate) fn choose(candidates: &[Candidate], limit: usize, repeatable: bool) -> Option<usize> {
    candidates.iter().position(|c| c.works && c.bytes <= limit && (c.deterministic || !repeatable))
}

/// The size that a workspace of `held` bytes has to grow to for an algorithm that wants `wanted`: none where it is
/// large enough. It at least doubles, so that a network's shapes let it grow a few times only.
pub(crate) fn grown(held: usize, wanted: usize) -> Option<usize> {
    (wanted > held).then(|| wanted.max(held.saturating_mul(2).min(MOST_WORKSPACE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(works: bool, bytes: usize, deterministic: bool) -> Candidate {
        Candidate { works, bytes, deterministic }
    }

    #[test]
    fn the_best_that_fits_is_chosen() {
        let all = [
            candidate(false, 0, true),
            candidate(true, 100, false),
            candidate(true, 4000, true),
            candidate(true, 50, true),
        ];
        assert_eq!(choose(&all, 10_000, false), Some(1));
        assert_eq!(choose(&all, 10_000, true), Some(2));
        assert_eq!(choose(&all, 1000, true), Some(3));
        assert_eq!(choose(&all, 60, false), Some(3));
        assert_eq!(choose(&all, 10, false), None);
        assert_eq!(choose(&[], 10, false), None);
    }

    #[test]
    fn a_workspace_grows_seldom_and_never_shrinks() {
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
}
