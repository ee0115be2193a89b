//! Which files of a folder, or of a pattern, are a part of a data set.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::names;
use super::summary::LeftOut;
use crate::names::shown;
use crate::walk::entries;
use crate::{Error, Result, Split};

/// Words in the names of files and folders that say a part.
const TRAIN: &[&str] = &["train", "training", "trn", "trainset", "trainval"];
const VAL: &[&str] = &["val", "validation", "valid", "dev", "eval", "evaluation", "valset"];
const TEST: &[&str] = &["test", "testing", "tst", "testset"];

/// Endings of archives that would hold shards if they were unpacked.
const PACKED: &[&str] = &[".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar.lz4", ".zip", ".7z", ".rar"];

/// The files of a part, and what is to be said of how they were found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    pub(super) left_out: LeftOut,
    /// Which of the files that their names count are missing.
    pub(super) notes: Vec<String>,
    /// True where no name says a part, and all files belong to either.
    pub(super) undivided: bool,
}

/// The files of a part: a folder's (and its subfolders'), or those that a pattern names.
///
/// Which part a file belongs to is said by its own name or, where that says nothing, by its folder's or one above it:
/// `train`, or `val`, `validation`, `test` and so on as a word of it. Where no name says anything, all files belong to
/// either part.
pub(super) fn files(place: &str, extension: &str, split: Split) -> Result<Found> {
    let split = split.of_two();
    let mut left_out = LeftOut::default();
    let all = all_files(place, extension, &mut left_out)?;
    let root = Path::new(place);
    let part =
        |words: &[&str]| -> Vec<PathBuf> { all.iter().filter(|path| is_of(root, path, words)).cloned().collect() };
    let (train, val, test) = (part(TRAIN), part(VAL), part(TEST));
    if train.is_empty() && val.is_empty() && test.is_empty() {
        let notes = incomplete(&all);
        return Ok(Found { files: all, left_out, notes, undivided: true });
    }
    for path in all.iter().filter(|path| ![&train, &val, &test].iter().any(|part| part.contains(path))) {
        left_out.add(["file whose name says no part", "files whose names say no part"], || shown(path));
    }
    // ImageNet's test images on the hub have no labels: where there is a `val`, that is meant.
    let files = match split {
        Split::Train => train,
        _ if val.is_empty() => test,
        _ => {
            for path in &test {
                left_out.add(
                    [
                        "file of the test part, as there is a validation part",
                        "files of the test part, as there is a validation part",
                    ],
                    || shown(path),
                );
            }
            val
        }
    };
    if files.is_empty() {
        let word = if split == Split::Train { "train" } else { "val" };
        return Err(Error::NotFound {
            path: place.into(),
            what: format!("{split} shards"),
            hint: format!("their names should say which they are, as in {word}-000000.{extension}"),
        });
    }
    let notes = incomplete(&files);
    Ok(Found { files, left_out, notes, undivided: false })
}

/// Says of which files, numbered as in `train-00000-of-00003`, some are missing.
fn incomplete(files: &[PathBuf]) -> Vec<String> {
    let mut found: BTreeMap<(PathBuf, String, u32), BTreeSet<u32>> = BTreeMap::new();
    for path in files {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let Some((before, after)) = stem.rsplit_once("-of-") else { continue };
        let Some((name, number)) = before.rsplit_once('-') else { continue };
        // The hub writes a sum behind the numbers.
        let total = after.split('-').next().unwrap_or_default();
        if let (Ok(number), Ok(total)) = (number.parse(), total.parse()) {
            let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
            found.entry((folder, name.to_string(), total)).or_default().insert(number);
        }
    }
    let note = |((_, name, total), numbers): ((PathBuf, String, u32), BTreeSet<u32>)| {
        let (count, is) = (numbers.len(), if numbers.len() == 1 { "is" } else { "are" });
        (count < total as usize).then(|| format!("{count} of {total} files of {} {is} here", shown(name)))
    };
    found.into_iter().filter_map(note).collect()
}

/// Whether a file is of the part that these words name. The folders are asked only where the file's own name says
/// nothing, the nearest first: a folder's name often has all parts of what lies in it.
fn is_of(root: &Path, path: &Path, words: &[&str]) -> bool {
    let has = |name: &OsStr, words: &[&str]| {
        let name = name.to_string_lossy().to_lowercase();
        name.split(|c: char| !c.is_ascii_alphabetic()).any(|word| words.contains(&word))
    };
    // Above the folder that was named, names mean something else; its own name may still say a part.
    let folders = path.ancestors().skip(1).take_while(|folder| *folder == root || folder.starts_with(root));
    let folders: Vec<&Path> = folders.collect();
    let folders = if folders.is_empty() { path.parent().into_iter().collect() } else { folders };
    let names = path.file_stem().into_iter().chain(folders.into_iter().filter_map(Path::file_name));
    let speaks = |name: &&OsStr| [TRAIN, VAL, TEST].iter().any(|words| has(name, words));
    names.into_iter().find(speaks).is_some_and(|name| has(name, words))
}

fn all_files(place: &str, extension: &str, left_out: &mut LeftOut) -> Result<Vec<PathBuf>> {
    if let Some(scheme) = address(place) {
        let message =
            format!("{place}: shards are read from files and not through {scheme}; fetch them into a folder first");
        return Err(Error::Setting { setting: "pattern", message });
    }
    let mut files = Vec::new();
    let path = Path::new(place);
    if path.is_dir() {
        below(path, extension, &mut |path, what| match what {
            What::Wanted => files.push(path),
            What::NoFile => left_out.add(
                [
                    "pipe, device or broken link with a shard's name",
                    "pipes, devices or broken links with shards' names",
                ],
                || shown(&path),
            ),
            What::Other => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
                if PACKED.iter().any(|ending| name.ends_with(ending)) {
                    left_out.add(["packed file, to be unpacked", "packed files, to be unpacked"], || shown(&path));
                }
            }
        })?;
    } else {
        let names = if path.exists() { vec![place.to_string()] } else { names::expand(place)? };
        for name in names {
            let path = PathBuf::from(&name);
            match path.is_file() {
                true => files.push(path),
                false if path.exists() && !path.is_dir() => {
                    let message = "it is a pipe or a device, and shards are read out of order: write it to a file";
                    return Err(Error::format(path, message));
                }
                false => files.extend(matching(&name)?),
            }
        }
    }
    if files.is_empty() {
        let hint = match left_out.line() {
            Some(_) => format!("there are {left_out}"),
            None => format!("name their folder, or the files as in DIR/train-{{000000..000099}}.{extension}"),
        };
        return Err(Error::NotFound { path: path.to_path_buf(), what: format!(".{extension} files"), hint });
    }
    Ok(files)
}

/// What a name that is no file begins with: `pipe:`, `https:` and so on.
fn address(place: &str) -> Option<&str> {
    let (scheme, rest) = place.split_once(':')?;
    let known = scheme == "pipe" || scheme == "ssh" || rest.starts_with("//");
    (known && !Path::new(place).exists()).then_some(scheme)
}

/// The files that a pattern with `*` or `?` matches, sorted; an error where there are none.
fn matching(name: &str) -> Result<Vec<PathBuf>> {
    let found: Vec<PathBuf> = match name.contains(['*', '?']) {
        // A bracket is part of a name here: numbers are listed in braces.
        true => glob::glob(&name.replace('[', "[[]")).into_iter().flatten().flatten().filter(|p| p.is_file()).collect(),
        false => Vec::new(),
    };
    if found.is_empty() {
        let what = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        return Err(Error::io(name)(what));
    }
    Ok(found)
}

/// What lies where shards are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A file with the extension.
    Wanted,
    /// Something else with the extension: to open it may never return.
    NoFile,
    Other,
}

/// Every file of a folder and below it. Links to folders are followed, as people save
/// room with them; a folder that was seen under another name is not seen again, so that loops end.
fn below(folder: &Path, extension: &str, each: &mut dyn FnMut(PathBuf, What)) -> Result<()> {
    let (mut seen, mut folders) = (HashSet::new(), vec![folder.to_path_buf()]);
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        if !seen.insert(folder.canonicalize().map_err(Error::io(&folder))?) {
            continue;
        }
        for path in entries(&folder)? {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for path in files {
        let wanted = path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
        let what = match wanted {
            true if path.is_file() => What::Wanted,
            true => What::NoFile,
            false => What::Other,
        };
        each(path, what);
    }
    Ok(())
}

/// Whether a folder, or one of its subfolders, holds shards of that kind.
pub(crate) fn are_in(folder: &Path, extension: &str) -> bool {
    let mut found = false;
    below(folder, extension, &mut |_, what| found |= what == What::Wanted).is_ok() && found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_by_files_before_folders() {
        let folder = tempfile::tempdir().unwrap();
        // The hub's converted branch, its own layout, and what people write.
        let names = [
            "default/train/0000.parquet",
            "default/validation/0000.parquet",
            "default/test/0000.parquet",
            "data/Training_0.PARQUET",
            "data/dev-0.parquet",
            "data/extra.parquet",
            "data/old.tar.gz",
        ];
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let place = folder.path().to_str().unwrap();
        let found = |split| files(place, "parquet", split).unwrap();
        let train = found(Split::Train);
        assert_eq!(train.files.len(), 2, "{train:?}");
        let said = train.left_out.line().unwrap();
        assert!(said.contains("1 packed file, to be unpacked") && said.contains("extra.parquet"), "{said}");
        let test = found(Split::Test);
        assert_eq!(test.files.len(), 2, "{test:?}");
        assert!(test.left_out.line().unwrap().contains("1 file of the test part"), "{test:?}");
        let one = folder.path().join("default/train");
        assert_eq!(files(one.to_str().unwrap(), "parquet", Split::Train).unwrap().files.len(), 1);
        assert!(files(one.to_str().unwrap(), "parquet", Split::Test).is_err());
        let pattern = format!("{place}/d*/t*/0000.parquet");
        assert_eq!(files(&pattern, "parquet", Split::Train).unwrap().files.len(), 1);
        assert!(files(&format!("{place}/none-*.parquet"), "parquet", Split::Train).is_err());
        let only = files(place, "tar", Split::Train).unwrap_err().to_string();
        assert!(only.contains("no .tar files") && only.contains("old.tar.gz"), "{only}");
    }

    #[test]
    fn files_that_are_missing_are_counted() {
        let said = |names: &[&str]| incomplete(&names.iter().map(PathBuf::from).collect::<Vec<_>>()).join(" | ");
        let [a, b, c] = [0, 1, 2].map(|n| format!("d/train-0000{n}-of-00003-abc.parquet"));
        assert_eq!(said(&[&a]), "1 of 3 files of train is here");
        assert_eq!(
            said(&[&a, &c, "d/val-00000-of-00002.tar"]),
            "2 of 3 files of train are here | 1 of 2 files of val is here"
        );
        assert_eq!(said(&[&a, &b, &c, "d/train-0.parquet", "one-of-two.tar", "x-1-of-a.tar"]), "");
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("0.tar"), "").unwrap();
            for other in ["a", "b", "."] {
                let link = folder.path().join(name).join(format!("to-{}", other.replace('.', "all")));
                std::os::unix::fs::symlink(folder.path().join(other), link).unwrap();
            }
        }
        assert_eq!(files(folder.path().to_str().unwrap(), "tar", Split::Train).unwrap().files.len(), 2);
    }

    #[test]
    fn addresses_are_no_files() {
        for place in ["pipe:curl x", "https://a/b-{0..9}.tar", "s3://b/x.tar", "hf://datasets/a/b.parquet"] {
            let error = files(place, "tar", Split::Train).unwrap_err().to_string();
            assert!(error.contains("fetch them") && error.contains(place), "{error}");
        }
    }
}
