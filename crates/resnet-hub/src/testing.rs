//! A hub on this machine, for tests: a few files over HTTP, as the real one serves them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::Hub;

/// What the server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers as it should.
    Healthy,
    /// Says 404 to everything.
    Missing,
    /// Says 403 to everything.
    Forbidden,
    /// Says another status to everything.
    Failing(u16),
    /// Promises all, sends half and hangs up.
    CutOff,
    /// Sends half and calls it all.
    Short,
    /// Sends other bytes than it promises the checksum of.
    Damaged,
}

/// A hub with a few files that wants the token `secret`; counts its requests.
///
/// The server ends with the program: it is for tests.
pub struct Server {
    /// Its address.
    pub endpoint: String,
    requests: Arc<AtomicUsize>,
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
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Ok(reader) = stream.try_clone() else { continue };
                let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
                let Some(request) = lines.next() else { continue };
                let headers: Vec<String> =
                    lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
                counter.fetch_add(1, Ordering::SeqCst);
                // Whoever hung up has had enough.
                let _ = stream.write_all(&answer(&request, &headers, &files, mood));
            }
        });
        Ok(Self { endpoint, requests })
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// This hub with that cache.
    pub fn hub(&self, cache: &Path) -> Hub {
        Hub { endpoint: self.endpoint.clone(), cache: cache.into(), token: Some("secret".into()), offline: false }
    }
}

fn answer(request: &str, headers: &[String], files: &BTreeMap<String, Vec<u8>>, mood: Mood) -> Vec<u8> {
    let plain =
        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes();
    if let Mood::Failing(status) = mood {
        return plain(&format!("{status} Failing"));
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let Some(content) = files.get(path).filter(|_| mood != Mood::Missing) else {
        return plain("404 Not Found");
    };
    if mood == Mood::Forbidden || !headers.iter().any(|line| line == "authorization: bearer secret") {
        return plain("403 Forbidden");
    }
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=")).unwrap_or("0-");
    let (start, end) = range.split_once('-').unwrap_or((range, ""));
    let start: usize = start.parse().unwrap_or(0);
    let end = end.parse().map_or(content.len(), |end: usize| (end + 1).min(content.len()));
    if start >= end {
        return plain("416 Range Not Satisfiable");
    }
    let mut whole = content[start..end].to_vec();
    let probe = end - start == 1;
    if mood == Mood::Damaged && !probe {
        whole[0] ^= 1;
    }
    let half = matches!(mood, Mood::CutOff | Mood::Short) && !probe;
    let sent = if half { &whole[..whole.len() / 2] } else { &whole[..] };
    let promised = if mood == Mood::Short { sent.len() } else { whole.len() };
    let sum: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\netag: \"{sum}\"\r\nx-repo-commit: 0123\r\nContent-Length: {promised}\r\n\
         Content-Range: bytes {start}-{}/{}\r\nConnection: close\r\n\r\n",
        end - 1,
        content.len()
    );
    [head.as_bytes(), sent].concat()
}
