//! `~` in paths: where no shell stood between.

use std::path::{Component, Path, PathBuf};

use crate::names::shown;
use crate::{Error, Result};

/// A path that begins with `~` as one in the user's home folder, as shells have it; any other as it is, and also one
/// that there is a file of that very name for.
///
/// # Errors
/// [`Error::NotFound`] for `~NAME`, another user's home, and where there is no home folder.
pub fn expand_home(path: &Path) -> Result<PathBuf> {
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else { return Ok(path.to_path_buf()) };
    if !first.as_encoded_bytes().starts_with(b"~") || Path::new(first).symlink_metadata().is_ok() {
        return Ok(path.to_path_buf());
    }
    let (what, hint) = if first == "~" {
        if let Some(home) = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
            return Ok(home.join(parts.as_path()));
        }
        ("home folder", "HOME is not set: write the whole path".to_string())
    } else {
        let hint = format!("homes of others are not looked up: write the whole path, or ./{}", shown(path));
        ("file or folder", hint)
    };
    Err(Error::NotFound { path: path.to_path_buf(), what: what.to_string(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(expand_home(Path::new("~/a/b")).unwrap(), home.join("a/b"));
        assert_eq!(expand_home(Path::new("~")).unwrap(), home);
        for same in ["a/~/b", "./~", "/~", "photos~", ""] {
            assert_eq!(expand_home(Path::new(same)).unwrap(), Path::new(same), "{same}");
        }
        let message = expand_home(Path::new("~nobody/photos")).unwrap_err().to_string();
        assert!(message.contains("~nobody/photos") && message.contains("./~nobody/photos"), "{message}");
    }
}
