//! What a server says of a file.

use std::io::Read;

use ureq::Body;
use ureq::http::HeaderMap;

/// What the hub says of a file on the way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// The commit that the revision stands for.
    pub commit: Option<String>,
    /// What the content is called: its SHA-256 for large files.
    pub etag: Option<String>,
    /// Bytes of the content, where the hub itself says so.
    pub size: Option<u64>,
    /// The etag is of the content that the hub links to, not of an answer.
    linked: bool,
}

/// The last answer.
pub(crate) struct Answer {
    /// What was said on the way.
    pub about: About,
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// What follows them.
    pub body: Body,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// Bytes of the content where they come as they are, by `Content-Length`.
    pub fn plain_length(&self) -> Option<u64> {
        if self.header("content-encoding").is_some_and(|encoding| encoding != "identity") {
            return None;
        }
        self.header("content-length")?.trim().parse().ok()
    }

    /// First byte and number of all bytes of `Content-Range: bytes 5-9/10`.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (place, all) = self.header("content-range")?.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        Some((place.split('-').next()?.trim().parse().ok()?, all.trim().parse().ok()))
    }

    /// True for a page for people to read.
    pub fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.trim_start().to_lowercase().starts_with("text/html"))
    }

    /// What follows the headers, unpacked where it was compressed.
    pub fn into_reader(self) -> impl Read {
        self.body.into_with_config().limit(u64::MAX).reader()
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl About {
    /// Takes up what an answer says: what the hub says last of its own, else what others say first.
    pub fn take_up(&mut self, headers: &HeaderMap, is_hub: bool) {
        let name = |value: &str| {
            // `W/"…"` for a weak one, as servers call what they compress.
            let name = value.trim().trim_start_matches("W/").trim_matches('"').to_string();
            Some(name).filter(|name| !name.is_empty())
        };
        if let Some(commit) = text(headers, "x-repo-commit").and_then(name)
            && (is_hub || self.commit.is_none())
        {
            self.commit = Some(commit);
        }
        if let Some(etag) = text(headers, "x-linked-etag").and_then(name) {
            (self.etag, self.linked) = (Some(etag), true);
        } else if let Some(etag) = text(headers, "etag").and_then(name)
            && !self.linked
            && (is_hub || self.etag.is_none())
        {
            self.etag = Some(etag);
        }
        if let Some(size) = text(headers, "x-linked-size").and_then(|size| size.trim().parse().ok()) {
            self.size = Some(size);
        }
    }
}

impl About {
    /// This, and of another answer what is not known here.
    pub fn or(self, other: &Self) -> Self {
        Self {
            commit: self.commit.or_else(|| other.commit.clone()),
            etag: self.etag.or_else(|| other.etag.clone()),
            size: self.size.or(other.size),
            linked: self.linked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_s_word_outweighs_that_of_the_server_it_leads_to() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let mut about = About::default();
        about.take_up(&headers(&[("etag", "W/\"small\""), ("x-repo-commit", "c1")]), true);
        about.take_up(&headers(&[("etag", "\"other\""), ("x-repo-commit", "c2")]), false);
        assert_eq!((about.etag.as_deref(), about.commit.as_deref()), (Some("small"), Some("c1")));
        about.take_up(&headers(&[("x-linked-etag", "\"sum\""), ("x-linked-size", "7"), ("etag", "\"x\"")]), true);
        about.take_up(&headers(&[("etag", "\"y\"")]), true);
        assert_eq!((about.etag.as_deref(), about.size), (Some("sum"), Some(7)));
    }
}
