//! How long a training is.

/// Training images of a published data set.
pub(super) fn training_images(dataset: &str) -> Option<f64> {
    match dataset {
        "cifar10" | "cifar100" | "cifar100-coarse" => Some(50_000.0),
        "imagenet" => Some(1_281_167.0),
        _ => None,
    }
}

/// A length in epochs or in optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Passes over the training set.
    Epochs(u64),
    /// Optimizer steps.
    Iterations(u64),
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Epochs(1) => f.write_str("1 epoch"),
            Self::Epochs(n) => write!(f, "{n} epochs"),
            Self::Iterations(n) => write!(f, "{n} iterations"),
        }
    }
}

impl Length {
    /// The length as a number of its own unit.
    pub fn value(self) -> f64 {
        match self {
            Self::Epochs(n) | Self::Iterations(n) => n as f64,
        }
    }

    /// Steps in all, with so many in an epoch.
    pub fn steps(self, per_epoch: u64) -> u64 {
        match self {
            Self::Epochs(n) => n * per_epoch,
            Self::Iterations(n) => n,
        }
    }

    /// Steps of one unit.
    pub fn unit(self, per_epoch: u64) -> f64 {
        match self {
            Self::Epochs(_) => per_epoch as f64,
            Self::Iterations(_) => 1.0,
        }
    }
}
