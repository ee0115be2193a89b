//! CIFAR from the Hugging Face hub.

use resnet_hub::{Hub, Progress, Repository};

use crate::cifar::{Cifar, Files};
use crate::{InMemory, Result, Split};

/// The repository of a set and its file of a split.
fn source(set: Cifar, split: Split) -> (&'static str, String) {
    match set {
        Cifar::Ten => ("uoft-cs/cifar10", format!("plain_text/{split}-00000-of-00001.parquet")),
        Cifar::Hundred | Cifar::HundredCoarse => {
            ("uoft-cs/cifar100", format!("cifar100/{split}-00000-of-00001.parquet"))
        }
    }
}

/// Downloads a split of CIFAR (about 120 MB for training, 24 MB for the test; once, then it is in the cache) and reads
/// it.
///
/// # Errors
/// [`Error::Hub`](crate::Error::Hub) where it cannot be had; [`Error::Format`](crate::Error::Format) where the file
/// downloaded is not CIFAR.
pub fn fetch_cifar(hub: &Hub, set: Cifar, split: Split, progress: &mut dyn Progress) -> Result<InMemory> {
    let (repository, file) = source(set, split);
    let path = hub.fetch(&Repository::dataset(repository)?, &file, progress)?;
    set.read(&Files::Parquet(vec![path]), split)
}

#[cfg(test)]
mod tests {
    use resnet_hub::testing::{Mood, Server};

    use super::*;

    #[test]
    fn a_set_is_read_from_what_was_downloaded() {
        let rows: Vec<_> = (0..3).map(|i| (crate::cifar::tests::photo(i), i as i64)).collect();
        let bytes = crate::cifar::tests::parquet_bytes("img", "label", &rows);
        let path = "/datasets/uoft-cs/cifar10/resolve/main/plain_text/test-00000-of-00001.parquet".to_string();
        let server = Server::start([(path, bytes)].into(), Mood::Healthy).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let hub = server.hub(cache.path());
        let set = fetch_cifar(&hub, Cifar::Ten, Split::Test, &mut ()).unwrap();
        assert_eq!(set.labels(), [0, 1, 2]);
        let train = fetch_cifar(&hub, Cifar::Ten, Split::Train, &mut ()).unwrap_err().to_string();
        assert!(train.contains("train-00000-of-00001.parquet") && train.contains("404"), "{train}");
    }
}
