//! Files and folders of a folder, in an order that is the same everywhere.

use std::path::{Path, PathBuf};

pub(crate) use crate::kind::EXTENSIONS;
use crate::{Error, Result};

/// Everything in a folder whose name begins with no dot.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The images in a folder and all below it: folders by their paths, files within each by their names.
pub(crate) fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_path_buf()];
    subfolders(folder, &mut folders)?;
    folders.sort();
    let mut found = Vec::new();
    for folder in &folders {
        found.extend(entries(folder)?.into_iter().filter(|path| is_image(path)));
    }
    Ok(found)
}

/// True for a file with an image's extension.
pub(crate) fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    EXTENSIONS.contains(&extension.as_str()) && !path.is_dir()
}

fn subfolders(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    // Links to folders below the class are not followed: a link to a parent would never end.
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        subfolders(&path, found)?;
        found.push(path);
    }
    Ok(())
}
