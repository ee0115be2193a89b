//! Downloads from a hub on this machine in all its moods.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;

use resnet_hub::testing::{Mood, Server};
use resnet_hub::{Hub, Progress, Repository, Result};

const FILE: &str = "plain_text/test-00000-of-00001.parquet";
const PATH: &str = "/datasets/uoft-cs/cifar10/resolve/main/plain_text/test-00000-of-00001.parquet";
const WEIGHTS: &str = "/timm/resnet18.a1_in1k/resolve/v1/model.safetensors";

#[derive(Default)]
struct Log {
    started: Vec<(String, u64)>,
    bytes: u64,
    finished: usize,
}

impl Progress for Log {
    fn start(&mut self, file: &str, bytes: u64) {
        self.started.push((file.to_string(), bytes));
    }
    fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
    fn finish(&mut self) {
        self.finished += 1;
    }
}

fn content() -> Vec<u8> {
    (0..100_000_u64).map(|i| (i * i % 251) as u8).collect()
}

fn server(mood: Mood) -> Server {
    let files = BTreeMap::from([(PATH.to_string(), content()), (WEIGHTS.to_string(), content())]);
    Server::start(files, mood).unwrap()
}

fn get(hub: &Hub, log: &mut Log) -> Result<PathBuf> {
    hub.fetch(&Repository::dataset("uoft-cs/cifar10")?, FILE, log)
}

#[test]
fn a_file_is_downloaded_once_with_progress() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let mut log = Log::default();
    let path = get(&server.hub(cache.path()), &mut log).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    assert_eq!(log.started, [(FILE.to_string(), 100_000)]);
    assert_eq!((log.bytes, log.finished), (100_000, 1));
    let requests = server.requests();
    // From the cache, and so without a network too.
    let offline = Hub { offline: true, ..server.hub(cache.path()) };
    assert_eq!(get(&offline, &mut Log::default()).unwrap().canonicalize().unwrap(), path.canonicalize().unwrap());
    assert_eq!(server.requests(), requests);
}

#[test]
fn a_revision_has_files_of_its_own() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let main = Repository::model("timm/resnet18.a1_in1k").unwrap();
    let v1 = main.clone().at("v1").unwrap();
    hub.fetch(&v1, "model.safetensors", &mut ()).unwrap();
    let missing = hub.fetch(&main, "model.safetensors", &mut ()).unwrap_err();
    assert!(missing.is_missing() && missing.to_string().contains("name that folder"), "{missing}");
    let offline = Hub { offline: true, ..hub };
    assert!(offline.fetch(&v1, "model.safetensors", &mut ()).is_ok());
    let error = offline.fetch(&v1, "config.json", &mut ()).unwrap_err();
    assert!(error.to_string().contains("timm/resnet18.a1_in1k@v1") && !error.is_missing(), "{error}");
}

/// As Python's huggingface_hub leaves it: a snapshot, and no file in `refs` where the commit itself was asked for.
#[test]
fn a_commit_is_found_in_the_cache_of_other_tools() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot =
        cache.path().join("models--timm--resnet18.a1_in1k/snapshots/0123456789abcdef0123456789abcdef01234567");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    let hub = Hub { endpoint: "http://127.0.0.1:1".into(), cache: cache.path().into(), token: None, offline: true };
    let at = |revision: &str| Repository::model("timm/resnet18.a1_in1k").unwrap().at(revision).unwrap();
    let found = hub.fetch(&at("0123456789abcdef0123456789abcdef01234567"), "config.json", &mut ()).unwrap();
    assert_eq!(found, snapshot.join("config.json"));
    assert!(hub.fetch(&at("main"), "config.json", &mut ()).is_err());
}

#[test]
fn failures_name_the_repository_the_file_and_the_way_out() {
    let told = |mood, part: &str| {
        let (server, cache) = (server(mood), tempfile::tempdir().unwrap());
        let message = get(&server.hub(cache.path()), &mut Log::default()).unwrap_err().to_string();
        for part in [part, "uoft-cs/cifar10", FILE, &server.endpoint, "--data-dir"] {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        assert!(!message.contains('\n'));
        // Nothing half done is taken for the file afterwards.
        let offline = Hub { offline: true, ..server.hub(cache.path()) };
        assert!(get(&offline, &mut Log::default()).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
    };
    told(Mood::Missing, "404");
    told(Mood::Forbidden, "HF_TOKEN");
    told(Mood::Failing(500), "the server fails (500); try again later");
    told(Mood::Failing(429), "HF_TOKEN");
    told(Mood::Failing(416), "416");
    told(Mood::CutOff, "try again");
    told(Mood::Short, "50000 of 100000 bytes");
    told(Mood::Damaged, "SHA-256");
}

#[test]
fn a_download_that_was_cut_off_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let broken = server(Mood::CutOff);
    get(&broken.hub(cache.path()), &mut Log::default()).unwrap_err();
    let healthy = server(Mood::Healthy);
    let path = get(&healthy.hub(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
}

#[test]
fn a_complete_partial_file_is_not_in_the_way() {
    let cache = tempfile::tempdir().unwrap();
    let first = get(&server(Mood::Healthy).hub(cache.path()), &mut Log::default()).unwrap().canonicalize().unwrap();
    for length in [100_000, 100_001] {
        std::fs::remove_dir_all(cache.path().join("datasets--uoft-cs--cifar10/snapshots")).unwrap();
        std::fs::write(first.with_extension("part"), vec![0; length]).unwrap();
        let path = get(&server(Mood::Healthy).hub(cache.path()), &mut Log::default()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content());
    }
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub { endpoint, cache: cache.path().into(), token: None, offline: false };
    let message = get(&hub, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("check the network") && message.contains("uoft-cs/cifar10"), "{message}");
}
