//! Names of classes, and which class of a network each class of a data set is.

mod fit;
mod relabelled;

use resnet_data::Split;
use resnet_data::cifar::Cifar;

pub use fit::{Fit, Mapping, Match};

use crate::args::DatasetArgs;

/// Names of a data set's classes, without a download where they are known.
pub fn of_dataset(data: &DatasetArgs, name: &str) -> anyhow::Result<Vec<String>> {
    let cifar = [Cifar::Ten, Cifar::Hundred, Cifar::HundredCoarse].into_iter().find(|set| set.name() == name);
    Ok(match cifar {
        Some(set) => owned(set.classes()),
        None => data.open(name, Split::Test)?.classes().to_vec(),
    })
}

/// Names of ImageNet's 1000 classes.
pub fn imagenet() -> Vec<String> {
    owned(&resnet_data::imagenet::names())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
