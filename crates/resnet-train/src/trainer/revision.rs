//! Which source a result was made by.

use std::sync::OnceLock;

static BUILT_FROM: OnceLock<&'static str> = OnceLock::new();

/// Tells the git revision that the program was built from, where its build found one; to be called once, at the start.
pub fn built_from(revision: Option<&'static str>) {
    if let Some(revision) = revision {
        // A second call tells the same program's revision.
        let _ = BUILT_FROM.set(revision);
    }
}

/// The git revision of the source that the program was [built from](built_from), `-dirty` where files differed from it;
/// `unknown` where the program does not say.
pub fn revision() -> String {
    BUILT_FROM.get().copied().unwrap_or("unknown").to_string()
}

/// This library with its version and the [`revision`], as weights say what wrote them.
pub(crate) fn program() -> String {
    format!("{} {} ({})", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), revision())
}
