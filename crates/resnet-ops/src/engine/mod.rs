//! What all engines share.

pub(crate) mod grad_sink;
