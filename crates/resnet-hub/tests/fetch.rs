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
    let hub = Hub { offline: true, ..server(Mood::Healthy).hub(cache.path()) };
    let at = |revision: &str| Repository::model("timm/resnet18.a1_in1k").unwrap().at(revision).unwrap();
    let found = hub.fetch(&at("0123456789abcdef0123456789abcdef01234567"), "config.json", &mut ()).unwrap();
    assert_eq!(found, snapshot.join("config.json"));
    assert!(hub.fetch(&at("main"), "config.json", &mut ()).is_err());
}

#[test]
fn failures_name_the_repository_the_file_and_the_way_out() {
    let told = |mood: Mood, part: &str| {
        let (server, cache) = (server(mood), tempfile::tempdir().unwrap());
        let message = get(&server.hub(cache.path()), &mut Log::default()).unwrap_err().to_string();
        for part in [part, "uoft-cs/cifar10", FILE, &server.endpoint, "name that folder"] {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        assert!(!message.contains('\n') && !message.contains("secret") && !message.contains("--"), "{message}");
        // Nothing half done is taken for the file afterwards.
        let offline = Hub { offline: true, ..server.hub(cache.path()) };
        assert!(get(&offline, &mut Log::default()).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
    };
    told(Mood::Missing, "404");
    told(Mood::Forbidden, "HF_TOKEN");
    told(Mood::Private, "(401), or has no such repository; check the name, check the token of HF_TOKEN");
    told(Mood::Gated, "accept them at");
    told(Mood::Failing(500), "the server fails (500); try again later");
    told(Mood::Failing(429), "(429); try again later");
    told(Mood::Busy(3600), "try again in 3600 s");
    told(Mood::Failing(416), "416");
    told(Mood::CutOff, "try again");
    told(Mood::Short, "of 100000 bytes arrived");
    told(Mood::Damaged, "SHA-256");
    told(Mood::Portal, "a web page came in place of the file");
    told(Mood::Plain, "x-repo-commit");
}

#[test]
fn mirrors_without_ranges_lengths_or_head_and_compressed_files() {
    for mood in [Mood::Whole, Mood::Chunked, Mood::Compressing, Mood::Headless, Mood::Relative, Mood::Waking(3)] {
        let (server, cache) = (server(mood.clone()), tempfile::tempdir().unwrap());
        let hub = server.hub(cache.path());
        let path = get(&hub, &mut Log::default()).unwrap_or_else(|error| panic!("{mood:?}: {error}"));
        assert_eq!(std::fs::read(&path).unwrap(), content(), "{mood:?}");
        let weights = Repository::model("timm/resnet18.a1_in1k").unwrap().at("v1").unwrap();
        let path = hub.fetch(&weights, "model.safetensors", &mut ()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content(), "{mood:?}");
        assert!(server.log().iter().all(|request| request.headers.contains(&"accept-encoding: identity".into())));
    }
}

#[test]
fn the_token_is_not_sent_to_where_the_hub_leads() {
    let storage = server(Mood::Storage);
    let (server, cache) = (server(Mood::Leading(storage.endpoint.clone())), tempfile::tempdir().unwrap());
    let path = get(&server.hub(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    // The blob is called what the hub calls it, and the storage is asked for the file alone.
    let sum = "blobs/".to_string() + &path.canonicalize().unwrap().file_name().unwrap().to_string_lossy();
    assert_eq!(sum.len(), 70);
    let methods: Vec<String> = storage.log().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET"]);
    assert!(server.log().iter().all(|request| request.headers.contains(&"authorization: bearer secret".into())));
    assert!(!storage.log().iter().any(|request| request.headers.iter().any(|line| line.contains("secret"))));
}

#[test]
fn a_download_that_was_cut_off_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let broken = server(Mood::CutOff);
    get(&broken.hub(cache.path()), &mut Log::default()).unwrap_err();
    let healthy = server(Mood::Healthy);
    let path = get(&healthy.hub(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
    assert!(healthy.log().last().unwrap().headers.contains(&"range: bytes=50000-".into()), "{:?}", healthy.log());
    // And at once, where it comes in pieces.
    let (dripping, cache) = (server(Mood::Dripping), tempfile::tempdir().unwrap());
    let path = get(&dripping.hub(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
}

#[test]
fn an_unfit_partial_file_is_not_in_the_way() {
    let first = {
        let cache = tempfile::tempdir().unwrap();
        let path = get(&server(Mood::Healthy).hub(cache.path()), &mut Log::default()).unwrap().canonicalize().unwrap();
        path.file_name().unwrap().to_owned()
    };
    for length in [5, 100_000, 100_001] {
        for mood in [Mood::Healthy, Mood::Whole] {
            let cache = tempfile::tempdir().unwrap();
            let blobs = cache.path().join("datasets--uoft-cs--cifar10/blobs");
            std::fs::create_dir_all(&blobs).unwrap();
            let part = blobs.join(&first).with_extension("incomplete");
            std::fs::write(&part, vec![0; length]).unwrap();
            let path = get(&server(mood).hub(cache.path()), &mut Log::default()).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), content());
            assert!(!part.exists());
        }
    }
}

/// `snapshots/<commit>/<file>` is a relative link to `blobs/<etag>`, `refs/main` holds the commit: what
/// huggingface_hub's `try_to_load_from_cache` reads.
#[test]
fn the_cache_is_laid_out_as_python_lays_it_out() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let path = get(&hub, &mut Log::default()).unwrap();
    let folder = cache.path().join("datasets--uoft-cs--cifar10");
    assert_eq!(path, folder.join("snapshots/0123").join(FILE));
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), "0123");
    let link = std::fs::read_link(&path).unwrap();
    assert!(link.starts_with("../../../blobs/"), "{link:?}");
    // A link whose content was removed is replaced.
    std::fs::remove_file(path.canonicalize().unwrap()).unwrap();
    assert_eq!(std::fs::read(get(&hub, &mut Log::default()).unwrap()).unwrap(), content());
    // Copies in place of links, as on file systems without them.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "copied").unwrap();
    std::fs::write(folder.join("refs/main"), "0123\n").unwrap();
    let offline = Hub { offline: true, ..hub.clone() };
    assert_eq!(std::fs::read(get(&offline, &mut Log::default()).unwrap()).unwrap(), b"copied");
    // What is known to be missing is known without a network too.
    let model = Repository::dataset("uoft-cs/cifar10").unwrap();
    assert!(hub.fetch(&model, "none.json", &mut ()).unwrap_err().is_missing());
    assert!(offline.fetch(&model, "none.json", &mut ()).unwrap_err().is_missing());
    assert!(!offline.fetch(&model, "other.json", &mut ()).unwrap_err().is_missing());
}

#[test]
fn several_may_download_at_once() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&hub, &mut Log::default()).unwrap())).collect();
        for thread in threads {
            assert_eq!(std::fs::read(thread.join().unwrap()).unwrap(), content());
        }
    });
    let gets = server.log().iter().filter(|request| request.method == "GET").count();
    assert_eq!(gets, 1, "the others wait for the first");
    let names = std::fs::read_dir(cache.path().join("datasets--uoft-cs--cifar10/blobs")).unwrap().count();
    assert_eq!(names, 1);
}

#[test]
fn a_cache_that_cannot_be_written_serves_what_it_has_and_is_named_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let hub = server(Mood::Healthy).hub(&file);
    let message = get(&hub, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("file") && message.contains("HF_HOME"), "{message}");
}

#[test]
fn names_and_commits_do_not_lead_out_of_the_cache() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let model = Repository::model("a/b").unwrap();
    for name in ["../x", "/etc/passwd", "a/../../x", ""] {
        let message = server.hub(cache.path()).fetch(&model, name, &mut ()).unwrap_err().to_string();
        assert!(message.contains("no file's name"), "{message}");
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub { endpoint, ..server(Mood::Healthy).hub(cache.path()) };
    let message = get(&hub, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("check the network") && message.contains("uoft-cs/cifar10"), "{message}");
    let hub = Hub { endpoint: "hf-mirror".into(), ..hub };
    let message = get(&hub, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("HF_ENDPOINT as in https://"), "{message}");
    // A path below the server.
    let server = server(Mood::Healthy);
    let hub = Hub { endpoint: format!("{}/below", server.endpoint), ..hub };
    get(&hub, &mut Log::default()).unwrap_err();
    assert!(server.log()[0].path.starts_with("/below/datasets/uoft-cs"), "{:?}", server.log()[0]);
}

#[test]
fn an_answer_without_length_is_not_read_for_ever() {
    let path = "/timm/resnet18.a1_in1k/resolve/main/config.json";
    let files = BTreeMap::from([(path.to_string(), vec![b' '; (64 << 20) + 1])]);
    let (server, cache) = (Server::start(files, Mood::Chunked).unwrap(), tempfile::tempdir().unwrap());
    let repository = Repository::model("timm/resnet18.a1_in1k").unwrap();
    let error = server.hub(cache.path()).fetch(&repository, "config.json", &mut ()).unwrap_err().to_string();
    assert!(error.contains("too many for it") && error.contains("config.json"), "{error}");
    let folder = cache.path().join("models--timm--resnet18.a1_in1k/blobs");
    assert_eq!(folder.read_dir().unwrap().count(), 0, "nothing of it stays");
}

#[test]
fn a_compression_that_nobody_asked_for_is_not_kept() {
    let (server, cache) = (server(Mood::Packing), tempfile::tempdir().unwrap());
    let error = get(&server.hub(cache.path()), &mut Log::default()).unwrap_err().to_string();
    assert!(error.contains("content-encoding deflate"), "{error}");
}

#[test]
fn a_blob_that_was_cut_off_is_fetched_again() {
    let (server, cache) = (server(Mood::Healthy), tempfile::tempdir().unwrap());
    let link = get(&server.hub(cache.path()), &mut Log::default()).unwrap();
    let blob = link.canonicalize().unwrap();
    std::fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(1000).unwrap();
    // What a message about the damaged file tells its user to do.
    std::fs::remove_file(&link).unwrap();
    let again = get(&server.hub(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(again).unwrap(), content());
}
