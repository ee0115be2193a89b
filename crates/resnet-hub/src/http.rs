//! Requests as the hub's own tools make them: redirections are followed here, so that what every answer on the way says
//! is seen and the token goes to the hub alone.

use std::time::Duration;

use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use crate::Hub;
use crate::answer::{About, Answer, text};
use crate::failure::Failure;

/// Redirections that are followed.
const MOST_HOPS: usize = 10;
/// A server that says nothing for so long has hung up.
const SILENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// What the hub says of a file. Its answer may lead to another server, which is not asked.
    Head,
    /// The file from a byte on.
    Get {
        /// The first byte.
        from: u64,
    },
}

/// Asks for a file of the hub; whatever the status.
pub(crate) fn ask(hub: &Hub, url: &str, method: Method) -> Result<Answer, Failure> {
    let mut about = About::default();
    let mut here = url.to_string();
    for _ in 0..=MOST_HOPS {
        let is_hub = is_same_place(url, &here);
        let uri: Uri = here.parse().map_err(|_| Failure::address(hub))?;
        let agent = agent(&uri)?;
        let mut request = match method {
            Method::Head => agent.head(&here),
            Method::Get { .. } => agent.get(&here),
        };
        // Compressed, a file could not be gone on with, nor its length be told.
        request = request.header("Accept-Encoding", "identity");
        if let Method::Get { from: from @ 1.. } = method {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = hub.token.as_ref().filter(|_| is_hub) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| Failure::of_transport(&error))?;
        let (parts, body) = response.into_parts();
        about.take_up(&parts.headers, is_hub);
        let status = parts.status.as_u16();
        let next = matches!(status, 301 | 302 | 303 | 307 | 308)
            .then(|| text(&parts.headers, "location").and_then(|there| joined(&here, there)));
        match next.flatten() {
            Some(next) if method != Method::Head || is_same_place(&here, &next) => here = next,
            _ => return Ok(Answer { about, status, headers: parts.headers, body }),
        }
    }
    Err(Failure::new("the server redirects for ever".into(), "check HF_ENDPOINT"))
}

/// What makes requests to an address.
fn agent(uri: &Uri) -> Result<Agent, Failure> {
    let mut config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("resnet-hub/", env!("CARGO_PKG_VERSION"), "; rust"))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .proxy(proxy(uri));
    let certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
        .into_iter()
        .find_map(|name| Some((name, std::env::var_os(name).filter(|value| !value.is_empty())?)));
    if let Some((name, path)) = certificates.filter(|_| uri.scheme_str() == Some("https")) {
        let wrong = |what: String| Failure::new(format!("{name}: {what}"), "name a file of PEM certificates");
        let pem = std::fs::read(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            return Err(wrong(format!("no certificates are in {}", path.display())));
        }
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build());
    }
    Ok(config.build().into())
}

/// The proxy for an address, by its scheme; none for the hosts of `NO_PROXY`.
fn proxy(uri: &Uri) -> Option<Proxy> {
    let names = match uri.scheme_str() {
        Some("https") => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let value = names.into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    let passed_by = Proxy::try_from_env().is_some_and(|any| any.is_no_proxy(uri));
    Proxy::new(&value).ok().filter(|_| !passed_by)
}

/// Scheme, host with port, and the rest of an address.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some((scheme, &rest[..end], &rest[end..]))
}

/// True where a token for one address may go to the other: the same server, or the same by https.
fn is_same_place(one: &str, other: &str) -> bool {
    let (Some((scheme, host, _)), Some((other_scheme, other_host, _))) = (split(one), split(other)) else {
        return false;
    };
    let own = |host: &str| host.rsplit('@').next().unwrap_or(host).to_lowercase();
    own(host) == own(other_host)
        && (scheme.eq_ignore_ascii_case(other_scheme) || other_scheme.eq_ignore_ascii_case("https"))
}

/// The address that a `Location` names, seen from another address.
fn joined(here: &str, location: &str) -> Option<String> {
    let location = location.trim();
    let location = location.split('#').next().unwrap_or(location);
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_string());
    }
    let (scheme, host, path) = split(here)?;
    if let Some(other) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{other}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{host}{location}"));
    }
    if location.is_empty() || location.split(['/', '?']).next().is_some_and(|part| part.contains(':')) {
        return None;
    }
    let folder = path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{host}{folder}/{location}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_were_said() {
        let here = "https://hub:8/a/b/c?x=/y";
        for (location, there) in [
            ("/d?q#f", Some("https://hub:8/d?q")),
            ("d", Some("https://hub:8/a/b/d")),
            ("//cdn/d", Some("https://cdn/d")),
            ("http://cdn/d", Some("http://cdn/d")),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(joined(here, location).as_deref(), there, "{location}");
        }
    }

    #[test]
    fn the_token_stays_with_the_hub() {
        assert!(is_same_place("http://hub/a", "http://HUB/b"));
        assert!(is_same_place("http://hub/a", "https://hub/b"));
        assert!(is_same_place("http://me:pass@hub/a", "http://hub/b"));
        assert!(!is_same_place("https://hub/a", "http://hub/b"));
        assert!(!is_same_place("https://hub/a", "https://hub:444/b"));
        assert!(!is_same_place("https://hub/a", "https://hub@evil/b"));
        assert!(!is_same_place("https://hub/a", "https://hub.evil/b"));
    }
}
