use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// What the server does with requests for the file.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Healthy,
    Missing,
    Forbidden,
    /// Promises all, sends half and hangs up.
    CutOff,
    /// Sends half and calls it all.
    Short,
}

/// A hub with one file; counts its requests.
struct Server {
    endpoint: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(content: Vec<u8>, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(request) = lines.next() else { continue };
                let headers: Vec<String> =
                    lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&answer(&request, &headers, &content, mood));
            }
        });
        Self { endpoint, requests }
    }

    fn config(&self, cache: &Path) -> HubConfig {
        HubConfig { endpoint: self.endpoint.clone(), cache: cache.into(), token: Some("secret".into()), offline: false }
    }
}

fn answer(request: &str, headers: &[String], content: &[u8], mood: Mood) -> Vec<u8> {
    let plain =
        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes();
    let known =
        request.starts_with("GET /datasets/uoft-cs/cifar10/resolve/main/plain_text/test-00000-of-00001.parquet ");
    if !known || mood == Mood::Missing {
        return plain("404 Not Found");
    }
    if mood == Mood::Forbidden || !headers.iter().any(|line| line == "authorization: bearer secret") {
        return plain("403 Forbidden");
    }
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=")).unwrap_or("0-");
    let (start, end) = range.split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(content.len(), |end: usize| end + 1);
    if start >= content.len() {
        return plain("416 Range Not Satisfiable");
    }
    let whole = &content[start..end];
    let probe = end - start == 1;
    let sent = if probe || mood == Mood::Healthy { whole } else { &whole[..whole.len() / 2] };
    let promised = if mood == Mood::Short { sent.len() } else { whole.len() };
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\netag: \"abc\"\r\nx-repo-commit: 0123\r\nContent-Length: {promised}\r\n\
         Content-Range: bytes {start}-{}/{}\r\nConnection: close\r\n\r\n",
        end - 1,
        content.len()
    );
    [head.as_bytes(), sent].concat()
}

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

const FILE: &str = "plain_text/test-00000-of-00001.parquet";

fn get(config: &HubConfig, log: &mut Log) -> Result<PathBuf> {
    fetch(config, "uoft-cs/cifar10", FILE, log)
}

fn content() -> Vec<u8> {
    (0..100_000_u64).map(|i| (i * i % 251) as u8).collect()
}

#[test]
fn a_file_is_downloaded_once_with_progress() {
    let (server, cache) = (Server::start(content(), Mood::Healthy), tempfile::tempdir().unwrap());
    let mut log = Log::default();
    let path = get(&server.config(cache.path()), &mut log).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    assert_eq!(log.started, [(FILE.to_string(), 100_000)]);
    assert_eq!((log.bytes, log.finished), (100_000, 1));
    let requests = server.requests.load(Ordering::SeqCst);
    // From the cache, and so without a network too.
    let offline = HubConfig { offline: true, ..server.config(cache.path()) };
    assert_eq!(get(&offline, &mut Log::default()).unwrap().canonicalize().unwrap(), path.canonicalize().unwrap());
    assert_eq!(server.requests.load(Ordering::SeqCst), requests);
}

#[test]
fn a_set_is_read_from_what_was_downloaded() {
    let rows: Vec<_> = (0..3).map(|i| (crate::cifar::tests::photo(i), i as i64)).collect();
    let bytes = crate::cifar::tests::parquet_bytes("img", "label", &rows);
    let (server, cache) = (Server::start(bytes, Mood::Healthy), tempfile::tempdir().unwrap());
    let config = server.config(cache.path());
    let set = fetch_cifar(&config, Cifar::Ten, Split::Test, &mut ()).unwrap();
    assert_eq!(set.labels(), [0, 1, 2]);
    let train = fetch_cifar(&config, Cifar::Ten, Split::Train, &mut ()).unwrap_err().to_string();
    assert!(train.contains("train-00000-of-00001.parquet") && train.contains("404"), "{train}");
}

#[test]
fn failures_name_the_repository_the_file_and_the_way_out() {
    let told = |mood, part: &str| {
        let (server, cache) = (Server::start(content(), mood), tempfile::tempdir().unwrap());
        let message = get(&server.config(cache.path()), &mut Log::default()).unwrap_err().to_string();
        for part in [part, "uoft-cs/cifar10", FILE, &server.endpoint, "--data-dir"] {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        assert!(!message.contains('\n'));
        // Nothing half done is taken for the file afterwards.
        let offline = HubConfig { offline: true, ..server.config(cache.path()) };
        assert!(get(&offline, &mut Log::default()).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
    };
    told(Mood::Missing, "404");
    told(Mood::Forbidden, "HF_TOKEN");
    told(Mood::CutOff, "");
    told(Mood::Short, "50000 of 100000 bytes");
}

#[test]
fn a_download_that_was_cut_off_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let broken = Server::start(content(), Mood::CutOff);
    get(&broken.config(cache.path()), &mut Log::default()).unwrap_err();
    let healthy = Server::start(content(), Mood::Healthy);
    let path = get(&healthy.config(cache.path()), &mut Log::default()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
}

#[test]
fn a_complete_partial_file_is_not_in_the_way() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("datasets--uoft-cs--cifar10/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    for length in [100_000, 100_001] {
        std::fs::write(blobs.join("abc.part"), vec![0; length]).unwrap();
        let server = Server::start(content(), Mood::Healthy);
        let path = get(&server.config(cache.path()), &mut Log::default()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content());
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cache = tempfile::tempdir().unwrap();
    let config = HubConfig { endpoint, cache: cache.path().into(), token: None, offline: false };
    let message = get(&config, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("check the network") && message.contains("uoft-cs/cifar10"), "{message}");
}

#[test]
fn the_environment_is_honoured() {
    let config = |pairs: &'static [(&str, &str)]| {
        HubConfig::from_lookup(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, v)| v.to_string())).unwrap()
    };
    let plain = config(&[]);
    assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
    let set = config(&[
        ("HF_HOME", "/data/hf"),
        ("HF_ENDPOINT", "http://mirror/"),
        ("HF_TOKEN", "t"),
        ("HF_HUB_OFFLINE", "1"),
    ]);
    assert_eq!(set.cache, Path::new("/data/hf/hub"));
    assert_eq!((set.endpoint.as_str(), set.token.as_deref(), set.offline), ("http://mirror", Some("t"), true));
    assert_eq!(config(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]).cache, Path::new("/c"));
    assert!(!config(&[("HF_HUB_OFFLINE", "0")]).offline);
}
