//! Where files come from and where they are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Result};

/// Where to download from and to.
#[derive(Clone, PartialEq, Eq)]
pub struct Hub {
    /// The server's address, without a slash at the end.
    pub endpoint: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// Sent to the server, and to no other, where there is one; public files need none.
    pub token: Option<String>,
    /// Uses the cache only.
    pub offline: bool,
    /// How long to wait before a server that fails is asked again; each time twice as long.
    pub pause: Duration,
}

impl fmt::Debug for Hub {
    /// The token is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.shown_endpoint())
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("pause", &self.pause)
            .finish()
    }
}

/// A variable's value, where it is set to something.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Hub {
    /// As the environment says, in the variables that Python's huggingface_hub reads; without them the public hub and
    /// `~/.cache/huggingface/hub`.
    ///
    /// - cache: `HF_HUB_CACHE`, its older name `HUGGINGFACE_HUB_CACHE`, `HF_HOME` (then in its `hub`), `XDG_CACHE_HOME`
    ///   (then in its `huggingface/hub`); `~` and `$NAME` in them are replaced
    /// - token: `HF_TOKEN`, its older name `HUGGING_FACE_HUB_TOKEN`, or the file `HF_TOKEN_PATH`, which is `HF_HOME/token`
    ///   where it is not set; none of a file with `HF_HUB_DISABLE_IMPLICIT_TOKEN`
    /// - `HF_ENDPOINT`: the server
    /// - `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`: 1, ON, YES or TRUE for the cache alone
    ///
    /// Requests go through `HTTPS_PROXY` (for addresses of http, `HTTP_PROXY`; else `ALL_PROXY`) but to the hosts of
    /// `NO_PROXY`; `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE` name certificates to trust in place of Mozilla's.
    ///
    /// # Errors
    /// [`Error::NoCache`] where there is neither a variable nor a home folder.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_lookup(variable: Lookup<'_>, home: Option<PathBuf>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(|text| expanded(&text, &set, home.as_deref()));
        let of_user = || folder("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        let hf_home = folder("HF_HOME").or_else(|| Some(of_user()?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hf_home.as_ref()?.join("hub")))
            .ok_or(Error::NoCache)?;
        let in_file = || {
            let path = folder("HF_TOKEN_PATH").or_else(|| Some(hf_home.as_ref()?.join("token")))?;
            std::fs::read_to_string(path).ok()
        };
        let implicit = || if is_true(set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) { None } else { in_file() };
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(implicit);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        Ok(Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_string(),
            token: token.map(|token| token.replace(['\r', '\n'], "").trim().to_string()).filter(|t| !t.is_empty()),
            cache,
            offline: is_true(set("HF_HUB_OFFLINE").or_else(|| set("TRANSFORMERS_OFFLINE"))),
            pause: Duration::from_millis(500),
        })
    }

    /// The server's address without a name and password in it.
    pub(crate) fn shown_endpoint(&self) -> String {
        match self.endpoint.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
                let host = authority.rsplit('@').next().unwrap_or(authority);
                path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
            }
            None => self.endpoint.clone(),
        }
    }
}

/// As Python's huggingface_hub reads a switch.
fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
}

/// A path with the home folder for `~` and variables' values for `$NAME` and `${NAME}`; what is not set stays.
fn expanded(text: &str, variable: Lookup<'_>, home: Option<&Path>) -> PathBuf {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, behind) = braced.unwrap_or_else(|| after.split_at(length));
        match variable(name) {
            Some(value) => {
                whole.push_str(&value);
                rest = behind;
            }
            None => {
                whole.push('$');
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    match (whole.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(below), Some(home)) if below.starts_with('/') => home.join(below.trim_start_matches('/')),
        _ => whole.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(pairs: &[(&str, &str)]) -> Hub {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Hub::from_lookup(&lookup, Some("/home/me".into())).unwrap()
    }

    #[test]
    fn the_environment_is_honoured() {
        let plain = hub(&[]);
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        assert_eq!(plain.cache, Path::new("/home/me/.cache/huggingface/hub"));
        let set = hub(&[
            ("HF_HOME", "/data/hf"),
            ("HF_ENDPOINT", "http://mirror/hub//"),
            ("HF_TOKEN", " t\r\n"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(set.cache, Path::new("/data/hf/hub"));
        assert_eq!((set.endpoint.as_str(), set.token.as_deref(), set.offline), ("http://mirror/hub", Some("t"), true));
        assert!(Hub::from_lookup(&|_| None, None).unwrap_err().to_string().contains("HF_HOME"));
    }

    /// The order is that of huggingface_hub 1.x, `constants.py`.
    #[test]
    fn the_cache_is_where_python_has_it() {
        for (pairs, cache) in [
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")][..], "/c"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")], "/old"),
            (&[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/c"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "~/hf")], "/home/me/hf/hub"),
            (&[("HF_HOME", "$SCRATCH/${USER}x/$NONE"), ("SCRATCH", "/s"), ("USER", "u")], "/s/ux/$NONE/hub"),
            (&[("HF_HOME", ""), ("TRANSFORMERS_CACHE", "/t")], "/home/me/.cache/huggingface/hub"),
        ] {
            assert_eq!(hub(pairs).cache, Path::new(cache), "{pairs:?}");
        }
    }

    #[test]
    fn the_token_is_where_python_has_it_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let other = folder.path().join("elsewhere");
        std::fs::write(&other, "hf_other").unwrap();
        let of = |more: &[(&str, &str)]| hub(&[&[("HF_HOME", home), ("HF_HUB_CACHE", "/c")], more].concat()).token;
        assert_eq!(of(&[]).as_deref(), Some("hf_file"));
        assert_eq!(of(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).as_deref(), Some("hf_other"));
        assert_eq!(of(&[("HUGGING_FACE_HUB_TOKEN", "old")]).as_deref(), Some("old"));
        assert_eq!(of(&[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", "new")]).as_deref(), Some("new"));
        assert_eq!(of(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes")]), None);
        let secret = Hub { token: Some("hf_secret".into()), endpoint: "https://me:pass@mirror/hub".into(), ..hub(&[]) };
        let shown = format!("{secret:?}");
        assert!(!shown.contains("hf_secret") && !shown.contains("pass"), "{shown}");
        assert!(shown.contains("https://mirror/hub"), "{shown}");
    }

    #[test]
    fn switches_are_read_as_python_reads_them() {
        for (value, offline) in [("1", true), ("on", true), ("YES", true), ("True", true), ("0", false), ("2", false)] {
            assert_eq!(hub(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
        assert!(hub(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!hub(&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")]).offline);
    }
}
