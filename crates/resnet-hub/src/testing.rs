//! A hub on this machine, for tests: a few files over HTTP, as the real one serves them, and as mirrors do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Hub;

/// What the server does with requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers as it should.
    Healthy,
    /// Says 404 to everything.
    Missing,
    /// Says 403 to everything.
    Forbidden,
    /// Says 401, as the hub does of a repository that is not there or not for everyone.
    Private,
    /// Says 403, as the hub does of a repository whose conditions were not accepted.
    Gated,
    /// Says another status to everything.
    Failing(u16),
    /// Says 429 and to come again in so many seconds.
    Busy(u64),
    /// Says 503 to so many requests, and answers then.
    Waking(usize),
    /// Promises all, sends the first half and hangs up.
    CutOff,
    /// Sends a quarter of it and hangs up, each time.
    Dripping,
    /// Sends half and calls it all.
    Short,
    /// Sends other bytes than it promises the checksum of.
    Damaged,
    /// A mirror that knows no ranges.
    Whole,
    /// A mirror that knows no lengths either.
    Chunked,
    /// A mirror that compresses what is no weights, and has other etags for that.
    Compressing,
    /// A proxy that packs everything in a way that was not asked for.
    Packing,
    /// A mirror that knows GET alone.
    Headless,
    /// Leads to the same file elsewhere on itself, as the hub does with small ones.
    Relative,
    /// Leads to a storage with this address, as the hub does with large ones.
    Leading(String),
    /// That storage: it wants no token, and refuses who sends one.
    Storage,
    /// A network that answers everything with its page.
    Portal,
    /// A server that is no hub: the bytes alone.
    Plain,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path.
    pub path: String,
    /// Its headers, in small letters.
    pub headers: Vec<String>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A hub with a few files that wants the token `secret`; keeps its requests.
///
/// The server ends with the program: it is for tests.
pub struct Server {
    /// Its address.
    pub endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves files by their paths on the server, as `/timm/resnet18.a1_in1k/resolve/main/config.json`, or
    /// `/datasets/…` for those of a data set.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(files: BTreeMap<String, Vec<u8>>, mood: Mood) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, files) = (Arc::clone(&requests), Arc::new(files));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, files, mood) = (Arc::clone(&log), Arc::clone(&files), mood.clone());
                // Whoever hung up has had enough.
                std::thread::spawn(move || serve(stream, &files, &mood, &log).unwrap_or_default());
            }
        });
        Ok(Self { endpoint, requests })
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.log().len()
    }

    /// The requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.requests.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// This hub with that cache.
    pub fn hub(&self, cache: &Path) -> Hub {
        Hub {
            endpoint: self.endpoint.clone(),
            cache: cache.into(),
            token: Some("secret".into()),
            offline: false,
            pause: Duration::from_millis(1),
        }
    }
}

fn serve(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    mood: &Mood,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ').map(str::to_string);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let request = Request { method, path, headers };
    let before = log.lock().map_or(0, |mut log| {
        log.push(request.clone());
        log.len() - 1
    });
    let (head, body) = answer(&request, files, mood, before);
    stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes())?;
    if request.method == "GET" { stream.write_all(&body) } else { Ok(()) }
}

/// Status and headers, and what follows them.
fn answer(request: &Request, files: &BTreeMap<String, Vec<u8>>, mood: &Mood, before: usize) -> (String, Vec<u8>) {
    let plain = |status: &str| (format!("{status}\r\nContent-Length: 0\r\n"), Vec::new());
    match mood {
        Mood::Failing(status) => return plain(&format!("{status} Failing")),
        Mood::Busy(seconds) => return plain(&format!("429 Too Many Requests\r\nRetry-After: {seconds}")),
        Mood::Waking(times) if before < *times => return plain("503 Service Unavailable"),
        Mood::Headless if request.method == "HEAD" => return plain("405 Method Not Allowed"),
        Mood::Private => return plain("401 Unauthorized\r\nX-Error-Code: RepoNotFound"),
        Mood::Gated => return plain("403 Forbidden\r\nX-Error-Code: GatedRepo"),
        Mood::Portal => {
            let page = b"<!doctype html><title>Log in</title>".to_vec();
            return (format!("200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", page.len()), page);
        }
        _ => {}
    }
    let path = request.path.replace("/elsewhere", "");
    let Some(content) = files.get(&path).filter(|_| *mood != Mood::Missing) else {
        return plain("404 Not Found\r\nX-Error-Code: EntryNotFound\r\nX-Repo-Commit: 0123");
    };
    let token = request.header("authorization");
    if *mood == Mood::Storage && token.is_some() {
        return plain("400 Bad Request");
    }
    if *mood == Mood::Forbidden || (*mood != Mood::Storage && token != Some("bearer secret")) {
        return plain("403 Forbidden");
    }
    let sum: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let own = format!("ETag: \"{sum}\"\r\nX-Repo-Commit: 0123\r\n");
    match mood {
        Mood::Leading(storage) => {
            let linked = format!("X-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {}\r\n", content.len());
            let head = format!("302 Found\r\nX-Repo-Commit: 0123\r\n{linked}ETag: \"of the answer\"\r\n");
            return (format!("{head}Location: {storage}{path}\r\nContent-Length: 0\r\n"), Vec::new());
        }
        Mood::Relative if request.path == path => {
            let head = format!("307 Temporary Redirect\r\n{own}Location: /elsewhere{path}\r\n");
            return (format!("{head}Content-Length: 0\r\n"), Vec::new());
        }
        Mood::Plain => return (format!("200 OK\r\nContent-Length: {}\r\n", content.len()), content.clone()),
        Mood::Packing => {
            let head = format!("200 OK\r\n{own}Content-Encoding: deflate\r\nContent-Length: 4\r\n");
            return (head, b"pack".to_vec());
        }
        Mood::Compressing if !path.ends_with(".safetensors") => {
            let packed = gzip(content);
            let head = format!("200 OK\r\nETag: W/\"{}\"\r\nX-Repo-Commit: 0123\r\n", &sum[..40]);
            return (format!("{head}Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len()), packed);
        }
        _ => {}
    }
    let knows_ranges = !matches!(mood, Mood::Whole | Mood::Chunked | Mood::Compressing);
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let start =
        range.filter(|_| knows_ranges).map(|range| range.split('-').next().unwrap_or(range).parse().unwrap_or(0));
    let from: usize = start.unwrap_or(0);
    if from >= content.len() {
        return plain("416 Range Not Satisfiable");
    }
    let own = if *mood == Mood::Storage { "ETag: \"of the storage\"\r\n".to_string() } else { own };
    if *mood == Mood::Chunked {
        let mut body = Vec::new();
        for chunk in content.chunks(1000) {
            body.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        body.extend(b"0\r\n\r\n");
        return (format!("200 OK\r\n{own}Transfer-Encoding: chunked\r\n"), body);
    }
    let mut whole = content[from..].to_vec();
    if *mood == Mood::Damaged {
        whole[0] ^= 1;
    }
    let sent = match mood {
        Mood::CutOff => (content.len() / 2).saturating_sub(from),
        Mood::Dripping => (content.len() / 4).min(whole.len()),
        Mood::Short => whole.len() / 2,
        _ => whole.len(),
    };
    let promised = if *mood == Mood::Short { sent } else { whole.len() };
    whole.truncate(sent);
    let status = match start {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{0}/{0}", content.len()),
        None => "200 OK".to_string(),
    };
    // The real size is the hub's word, whatever the server sends.
    let linked = if *mood == Mood::Short { format!("X-Linked-Size: {}\r\n", content.len()) } else { String::new() };
    (format!("{status}\r\n{own}{linked}Content-Length: {promised}\r\n"), whole)
}

/// Bytes in gzip's form, as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = bytes.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let length = chunk.len() as u16;
        packed.push(u8::from(chunks.peek().is_none()));
        packed.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        packed.extend(chunk);
    }
    let crc = bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    packed.extend([(!crc).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
    packed
}
