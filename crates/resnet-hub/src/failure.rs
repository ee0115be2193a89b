//! Why an attempt at a file failed, whether another may help, and what to try before downloading by hand.

use std::time::Duration;

use crate::answer::Answer;
use crate::{Error, Hub, Repository};

/// What failed.
pub(crate) struct Failure {
    pub message: String,
    /// What to try first.
    pub first: String,
    /// The server was asked and has no such file.
    pub missing: bool,
    /// Another attempt may help; after so long, where the server says that.
    pub again: Option<Option<Duration>>,
    /// The disk's failure, which is not the hub's.
    pub disk: Option<Error>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { disk: Some(error), ..Self::new(String::new(), "") }
    }
}

impl Failure {
    pub fn new(message: String, first: impl Into<String>) -> Self {
        Self { message, first: first.into(), missing: false, again: None, disk: None }
    }

    fn transient(self) -> Self {
        Self { again: Some(None), ..self }
    }

    /// The server's address is none.
    pub fn address(hub: &Hub) -> Self {
        let endpoint = hub.shown_endpoint();
        Self::new(format!("{endpoint:?} is no address of a server"), "write HF_ENDPOINT as in https://huggingface.co")
    }

    /// The connection failed before there was an answer.
    pub fn of_transport(error: &ureq::Error) -> Self {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error {
            ureq::Error::HostNotFound => {
                Self::new("there is no such server, or no network".into(), "check the network (or HF_ENDPOINT)")
            }
            ureq::Error::Timeout(_) => {
                Self::new("the server does not answer".into(), "check the network (or HF_ENDPOINT)")
            }
            ureq::Error::Io(io) if matches!(io.kind(), ConnectionAborted | ConnectionReset | UnexpectedEof) => {
                Self::cut(io)
            }
            // A hung-up server and bytes that are no HTTP.
            ureq::Error::Protocol(_) => {
                Self::new(format!("the server's answer cannot be read ({error})"), "try again").transient()
            }
            ureq::Error::Http(_) => {
                Self::new("the token or the address holds what cannot be sent".into(), "check HF_TOKEN and HF_ENDPOINT")
            }
            ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => {
                Self::new(format!("the proxy fails ({error})"), "check HTTPS_PROXY and NO_PROXY")
            }
            other => Self::new(other.to_string(), "check the network (or HF_ENDPOINT)"),
        }
    }

    /// The connection ended in the middle.
    pub fn cut(error: &std::io::Error) -> Self {
        let message = format!("the connection was cut ({error})");
        Self::new(message, "try again, which goes on after what has arrived").transient()
    }

    /// Fewer bytes arrived than were promised.
    pub fn short(found: u64, expected: u64) -> Self {
        Self::new(format!("only {found} of {expected} bytes arrived"), "try again").transient()
    }

    /// More bytes arrived than were promised, or than such a file may have.
    pub fn too_long(found: u64, promised: Option<u64>) -> Self {
        let message = match promised {
            Some(promised) => format!("more than the {promised} bytes that were promised arrived"),
            None => format!("{found} bytes and more are too many for it; no such length was to be expected"),
        };
        Self::new(message, "check HF_ENDPOINT and the proxy")
    }

    /// The file comes in a form that nobody asked for.
    pub fn encoded(encoding: &str) -> Self {
        let message =
            format!("it comes compressed (content-encoding {}), which was not asked for", encoding.escape_debug());
        Self::new(message, "check HF_ENDPOINT and the proxy")
    }

    /// The answer is none of a hub.
    pub fn no_hub(answer: &Answer) -> Self {
        if answer.is_page() {
            let message = "a web page came in place of the file, as of a network that wants a login first".into();
            return Self::new(message, "open a browser, check the network (or HF_ENDPOINT and the proxy)");
        }
        let message = "the answer does not name a commit (x-repo-commit), as a hub's does".into();
        Self::new(message, "check HF_ENDPOINT")
    }

    /// The server answered with a status of failure.
    pub fn of_status(answer: &Answer, hub: &Hub, repository: &Repository) -> Self {
        let status = answer.status;
        let code = answer.header("x-error-code").unwrap_or_default();
        let page = || format!("{}/{}", hub.shown_endpoint(), repository.page());
        let token = if hub.token.is_some() { "check the token of HF_TOKEN" } else { "set HF_TOKEN" };
        match (status, code) {
            (404, "RepoNotFound") => {
                Self::new("the server has no such repository (404)".into(), format!("check the name, {token}"))
            }
            (404, "RevisionNotFound") => {
                Self::new(format!("the repository has no revision {:?} (404)", repository.revision), "check its name")
            }
            (404 | 410, _) => {
                let message = format!("the server has no such file ({status})");
                Self { missing: true, ..Self::new(message, "check the names") }
            }
            (_, "GatedRepo") => {
                let message = format!("its owner wants conditions to be accepted first ({status})");
                Self::new(message, format!("accept them at {}, {token}", page()))
            }
            (_, "DisabledRepo") => Self::new(format!("the repository is closed ({status})"), format!("see {}", page())),
            // The hub answers so for repositories that do not exist, too.
            (401 | 403, _) => {
                let message = format!("the server refuses access ({status}), or has no such repository");
                Self::new(
                    message,
                    format!("check the name, {token}, accept the conditions of {} if it has any", page()),
                )
            }
            (407, _) => Self::new("the proxy wants a name and password (407)".into(), "put them into HTTPS_PROXY"),
            (429, _) => {
                let wait =
                    answer.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                let when = wait.map_or_else(|| "later".to_string(), |wait| format!("in {} s", wait.as_secs()));
                let more = if hub.token.is_none() { ", set HF_TOKEN" } else { "" };
                let message = "the server takes no more requests for now (429)".to_string();
                Self { again: Some(wait), ..Self::new(message, format!("try again {when}{more}")) }
            }
            (408 | 500.., _) => {
                let wait =
                    answer.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                Self { again: Some(wait), ..Self::new(format!("the server fails ({status})"), "try again later") }
            }
            _ => Self::new(format!("the server answers {status}"), "try again later"),
        }
    }
}
