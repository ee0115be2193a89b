//! Which source a result was made by.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static BUILT_FROM: OnceLock<&'static str> = OnceLock::new();

/// Tells the git revision that the program was built from, where its build found one; to be called once, at the start.
pub fn built_from(revision: Option<&'static str>) {
    if let Some(revision) = revision {
        // A second call tells the same program's revision.
        let _ = BUILT_FROM.set(revision);
    }
}

/// The git revision of the source that the program was [built from](built_from), `-dirty` where files differed from it.
/// Where the program does not say, it is that of the repository around the program's file (`target/…` lies in it) or else
/// around the current folder, and `unknown` without one.
pub fn revision() -> String {
    if let Some(revision) = BUILT_FROM.get() {
        return (*revision).to_string();
    }
    let exe = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let here: Option<PathBuf> = std::env::current_dir().ok();
    [exe, here].into_iter().flatten().find_map(|dir| revision_in(&dir)).unwrap_or_else(|| "unknown".into())
}

fn revision_in(dir: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(dir).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    // Somebody else's repository says nothing about this source.
    if !Path::new(&top).join("crates/resnet-train").is_dir() {
        return None;
    }
    let head = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { head } else { head + "-dirty" })
}
