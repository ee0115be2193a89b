//! The parts of a data set.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Which part of a data set.
///
/// Sets have two parts as a rule, and [`Val`](Split::Val) and [`Test`](Split::Test) are the same one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// For training.
    Train,
    /// For validation: it says during training how well the network does.
    Val,
    /// Kept for the end: `test`, or `val` where the set has no other.
    Test,
}

impl Split {
    /// The split that this is in a set that has two: train and test.
    #[must_use]
    pub fn of_two(self) -> Self {
        if self == Self::Train { Self::Train } else { Self::Test }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "train" => Ok(Self::Train),
            "val" | "valid" | "validation" => Ok(Self::Val),
            "test" => Ok(Self::Test),
            _ => Err(Error::Setting { setting: "split", message: format!("{name:?} is none of train, val and test") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_names() {
        assert_eq!("val".parse::<Split>().unwrap(), Split::Val);
        assert_eq!(Split::Train.to_string(), "train");
        assert!("tset".parse::<Split>().is_err());
    }
}
