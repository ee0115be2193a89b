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

/// The order in which algorithms are tried: those that work within the limit, the best first; with `repeatable` those that
/// give the same bits every time before all others.
pub(crate) fn order(candidates: &[Candidate], limit: usize, repeatable: bool) -> Vec<usize> {
    let fits = |&i: &usize| candidates[i].works && candidates[i].bytes <= limit;
    let mut order: Vec<usize> = (0..candidates.len()).filter(fits).collect();
    if repeatable {
        // A stable sort: within each kind the order stays.
        order.sort_by_key(|&i| !candidates[i].deterministic);
    }
    order
}

/// What a status of cuDNN 9 means for the algorithm that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not do this shape, whatever the machine.
    Refused,
    /// Something is wrong with the installation, the device or its memory.
    Failed,
}

/// Codes come in thousands: 1 and 4 are failures inside cuDNN, 2 parameters that are not allowed, 3 what is not supported,
/// 5 failures of the device. Of the third thousand some mean the machine: a driver or runtime too old (3005, 3006), a
/// library that is missing (3008, 3009).
pub(crate) fn verdict(status: u32) -> Verdict {
    match status {
        3005 | 3006 | 3008 | 3009 => Verdict::Failed,
        2000..4000 => Verdict::Refused,
        _ => Verdict::Failed,
    }
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
    fn what_fits_is_tried_in_order_and_what_repeats_first() {
        let all = [
            candidate(false, 0, true),
            candidate(true, 100, false),
            candidate(true, 4000, true),
            candidate(true, 50, true),
        ];
        assert_eq!(order(&all, 10_000, false), [1, 2, 3]);
        assert_eq!(order(&all, 10_000, true), [2, 3, 1]);
        assert_eq!(order(&all, 1000, true), [3, 1]);
        assert_eq!(order(&all, 60, false), [3]);
        assert_eq!(order(&all, 10, false), [0; 0]);
        assert_eq!(order(&[], 10, false), [0; 0]);
    }

    #[test]
    fn a_missing_library_is_no_refusal() {
        // NOT_SUPPORTED, …_SHAPE, …_LAYOUT, BAD_PARAM_SHAPE_MISMATCH
        for status in [3000, 3002, 3004, 2008] {
            assert_eq!(verdict(status), Verdict::Refused);
        }
        // NOT_INITIALIZED, SUBLIBRARY_LOADING_FAILED, …_INCOMPATIBLE_CUDA_DRIVER, …_SUBLIBRARY_UNAVAILABLE, INTERNAL_ERROR,
        // EXECUTION_FAILED
        for status in [1001, 1008, 3005, 3009, 4000, 5000] {
            assert_eq!(verdict(status), Verdict::Failed);
        }
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
