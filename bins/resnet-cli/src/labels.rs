//! Names of classes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use resnet_data::cifar::Cifar;
use resnet_data::{Dataset, Image, Split, imagenet};

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

/// A folder of ImageNet's classes (all or some) under ImageNet's numbers, so that a network of 1000 classes can be
/// evaluated on it. `None` where a class is no ImageNet class.
pub fn as_imagenet(inner: &Arc<dyn Dataset>) -> Option<Arc<dyn Dataset>> {
    let numbers: HashMap<&str, u32> = imagenet::wnids().into_iter().zip(0..).collect();
    let map = inner.classes().iter().map(|wnid| numbers.get(wnid.as_str()).copied()).collect::<Option<Vec<u32>>>()?;
    Some(Arc::new(ImageNet { inner: Arc::clone(inner), map, classes: self::imagenet() }))
}

struct ImageNet {
    inner: Arc<dyn Dataset>,
    /// ImageNet's number of each class of the folder.
    map: Vec<u32>,
    classes: Vec<String>,
}

impl Dataset for ImageNet {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.map[self.inner.label(index) as usize]
    }

    fn image(&self, index: usize) -> resnet_data::Result<Image> {
        self.inner.image(index)
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(index)
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        self.inner.runs()
    }

    fn expect(&self, images: usize) {
        self.inner.expect(images);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnet_data::InMemory;

    fn folder(classes: &[&str]) -> Arc<dyn Dataset> {
        let classes: Vec<String> = classes.iter().map(|&name| name.to_owned()).collect();
        let labels: Vec<u32> = (0..classes.len() as u32).collect();
        Arc::new(InMemory::new("folder", (1, 1), vec![0; 3 * labels.len()], labels, classes).unwrap())
    }

    #[test]
    fn folders_of_wnids_get_imagenet_numbers() {
        let set = as_imagenet(&folder(&["n01440764", "n02123045"])).unwrap();
        assert_eq!((set.label(0), set.label(1), set.classes().len()), (0, 281, 1000));
        assert!(as_imagenet(&folder(&["n01440764", "cats"])).is_none());
    }
}
