//! Tells the program which revision of its source it is built from: `RESNET_REVISION`, where git knows one.

use std::process::Command;

fn main() {
    // What the program is made of; an edit changes whether it is that revision's.
    for part in ["src", "Cargo.toml", "../../crates", "../../Cargo.lock"] {
        println!("cargo:rerun-if-changed={part}");
    }
    // The repository around a copy of the source may be somebody else's.
    if git(&["ls-files", "--error-unmatch", "build.rs"]).is_none() {
        return;
    }
    let (Some(head), Some(changed)) = (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain", "-uno"])) else {
        return;
    };
    // Each commit writes one of them.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    println!("cargo:rustc-env=RESNET_REVISION={head}{dirty}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
