//! What the statuses of cuDNN 9 mean for the algorithms that give them.

/// What a status means for the algorithm that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not do this shape, whatever the machine.
    Unsupported,
    /// A parameter is not allowed: by this algorithm, or at all.
    BadParameter,
    /// Something is wrong with the installation, the device or its memory.
    Failure,
}

/// Codes come in thousands: 1 and 4 are failures inside cuDNN, 2 parameters that are not allowed, 3 what is not supported,
/// 5 failures of the device. Of the third thousand some mean the machine: a driver or runtime too old (3005, 3006), a
/// library that is missing (3008, 3009).
///
/// The second thousand is taken as one, though it has codes for pointers, sizes and shapes: they tell what cuDNN looked at
/// first, not who is at fault.
pub(crate) fn verdict(code: u32) -> Verdict {
    match code {
        3005 | 3006 | 3008 | 3009 => Verdict::Failure,
        2000..3000 => Verdict::BadParameter,
        3000..4000 => Verdict::Unsupported,
        _ => Verdict::Failure,
    }
}

/// Of what all algorithms said of a shape that none did, on the list and when they were called: the place of the one that
/// is an error, counted through both. None where the library does not do the shape.
///
/// A failure is an error whatever the others say. That a parameter is not allowed is one where all say so: a mistake of ours
/// shows to every algorithm. Where some say that they do not support the shape, the others mean the same by it; PyTorch
/// skips both kinds alike. Once an algorithm was called, what the list says of those that were not does not excuse it.
pub(crate) fn error_among(listed: &[u32], called: &[u32]) -> Option<usize> {
    let is = |wanted: Verdict| move |&code: &u32| verdict(code) == wanted;
    let (asked, start) = if called.is_empty() { (listed, 0) } else { (called, listed.len()) };
    let mistaken = !asked.is_empty() && asked.iter().all(is(Verdict::BadParameter));
    let failed = [listed, called].concat().iter().position(is(Verdict::Failure));
    failed.or(mistaken.then_some(start))
}

/// Whether some of the work may be done in spite of this code: the device failed while it ran.
pub(crate) fn may_have_run(code: u32) -> bool {
    verdict(code) == Verdict::Failure && code >= 5000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_missing_library_nor_a_bad_parameter_is_a_refusal() {
        // NOT_SUPPORTED, …_SHAPE, …_LAYOUT, …_ARCH_MISMATCH
        for code in [3000, 3002, 3004, 3007] {
            assert_eq!(verdict(code), Verdict::Unsupported);
        }
        // BAD_PARAM, INVALID_VALUE (its old name), …_NULL_POINTER, …_SHAPE_MISMATCH, …_DESCRIPTOR_TYPE
        for code in [2000, 2001, 2002, 2008, 2012] {
            assert_eq!(verdict(code), Verdict::BadParameter);
        }
        // NOT_INITIALIZED, SUBLIBRARY_LOADING_FAILED, …_INCOMPATIBLE_CUDA_DRIVER, …_SUBLIBRARY_UNAVAILABLE, INTERNAL_ERROR,
        // EXECUTION_FAILED
        for code in [1001, 1008, 3005, 3009, 4000, 5000] {
            assert_eq!(verdict(code), Verdict::Failure);
        }
    }

    #[test]
    fn a_shape_is_refused_or_an_error_by_what_all_say() {
        assert_eq!(error_among(&[], &[]), None);
        assert_eq!(error_among(&[3000, 3002], &[]), None);
        assert_eq!(error_among(&[2000, 3000], &[]), None);
        assert_eq!(error_among(&[2000, 2008], &[]), Some(0));
        assert_eq!(error_among(&[3000], &[3002]), None);
        assert_eq!(error_among(&[3000], &[3000, 2000]), None);
        assert_eq!(error_among(&[3000], &[2000, 2008]), Some(1));
        assert_eq!(error_among(&[2000], &[3000]), None);
        assert_eq!(error_among(&[3000, 2000, 4000], &[]), Some(2));
        assert_eq!(error_among(&[3009], &[3000]), Some(0));
        assert_eq!(error_among(&[3000], &[2000, 5000]), Some(2));
    }
}
