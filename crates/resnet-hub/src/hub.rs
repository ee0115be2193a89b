//! Where files come from and where they are kept.

use std::path::{Path, PathBuf};

use hf_hub::Cache;

use crate::{Error, Result};

/// Where to download from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// The server's address, without a slash at the end.
    pub endpoint: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// Sent to the server where there is one; public files need none.
    pub token: Option<String>,
    /// Uses the cache only.
    pub offline: bool,
}

impl Hub {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE`; without them the public hub and
    /// `~/.cache/huggingface/hub`.
    ///
    /// # Errors
    /// [`Error::NoCache`] where there is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_lookup(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let cache = match (variable("HF_HUB_CACHE"), variable("HF_HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(&home).join("hub"),
            (None, None) => std::env::home_dir().ok_or(Error::NoCache)?.join(".cache/huggingface/hub"),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        let offline = variable("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase();
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: variable("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token()),
            cache,
            offline: matches!(offline.as_str(), "1" | "on" | "yes" | "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_honoured() {
        let hub = |pairs: &'static [(&str, &str)]| {
            Hub::from_lookup(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, v)| v.to_string())).unwrap()
        };
        let plain = hub(&[]);
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        let set = hub(&[
            ("HF_HOME", "/data/hf"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_TOKEN", "t"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(set.cache, Path::new("/data/hf/hub"));
        assert_eq!((set.endpoint.as_str(), set.token.as_deref(), set.offline), ("http://mirror", Some("t"), true));
        assert_eq!(hub(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]).cache, Path::new("/c"));
        assert!(!hub(&[("HF_HUB_OFFLINE", "0")]).offline);
    }
}
