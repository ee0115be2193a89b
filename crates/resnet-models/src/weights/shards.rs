//! Weights in several files: an index that names them, a folder of them, and one of them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::WeightsError;
use crate::escape::show;

/// More parts than this no network here has.
const MOST_PARTS: usize = 1024;
/// Their index is smaller.
const MOST_INDEX: u64 = 64 << 20;
/// What the names of indices end with.
const INDEX: &str = ".index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

/// The parts that an index names, beside it; nothing where this is no index.
///
/// # Errors
/// When a part's name leads elsewhere, or the part is not there.
pub(super) fn parts(bytes: &[u8], index: &Path) -> Result<Option<Vec<PathBuf>>, WeightsError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let named = index.to_string_lossy().ends_with(INDEX);
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !begins || !(named || memchr_weight_map(bytes)) {
        return Ok(None);
    }
    let wrong = |reason: String| WeightsError::Unsupported { file: index.to_owned(), reason };
    let names = match names(bytes, index) {
        Ok(names) => names,
        Err(_) if !named => return Ok(None),
        Err(error) => return Err(error),
    };
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut parts = Vec::new();
    for name in names {
        let part = folder.join(&name);
        if !part.is_file() {
            return Err(wrong(format!(
                "it is the index of weights in several files, of which {} is not beside it: fetch that too",
                show(&name)
            )));
        }
        parts.push(part);
    }
    Ok(Some(parts))
}

/// The names of the parts that an index names, each a file beside it.
///
/// # Errors
/// When it cannot be read, is no index, or a name leads elsewhere.
pub(crate) fn parts_of_index(index: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let bytes = resnet_files::read(index, MOST_INDEX)
        .map_err(|source| WeightsError::Read { file: index.to_owned(), source })?;
    names(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes), index)
}

fn names(bytes: &[u8], index: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let wrong = |reason: String| WeightsError::Unsupported { file: index.to_owned(), reason };
    let read: Index = serde_json::from_slice(bytes)
        .map_err(|error| wrong(format!("it is no index of weights in several files ({error})")))?;
    let names: BTreeSet<String> = read.weight_map.into_values().collect();
    if names.is_empty() || names.len() > MOST_PARTS {
        return Err(wrong(format!("its index names {} files of weights", names.len())));
    }
    match names.iter().find(|name| name.contains(['/', '\\']) || name.starts_with('.') || name.is_empty()) {
        Some(name) => Err(wrong(format!("its index names {}, which is no file beside it", show(name)))),
        None => Ok(names),
    }
}

/// Whether the word stands near the beginning, or near the end behind the other key.
fn memchr_weight_map(bytes: &[u8]) -> bool {
    let word = b"\"weight_map\"";
    let has = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    has(&bytes[..bytes.len().min(4096)])
}

/// What a folder has to be read.
#[derive(Debug)]
pub(super) enum Inside {
    /// A file, which may be an index.
    One(PathBuf),
    /// All parts of weights in several files, in their order.
    Parts(Vec<PathBuf>),
}

/// The mend for checkpoints of torch.distributed.
const DISTRIBUTED: &str = "it is a checkpoint of torch.distributed: `python -m \
    torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth` makes one file of it, and give weights.pth";
/// The mend for checkpoints that were unpacked.
const UNPACKED: &str = "it is an unpacked checkpoint of torch.save: in the folder above, zip it without compression (`zip \
    -0 -r weights.pth FOLDER`), and give weights.pth";

/// What to do with a file that is one of many that belong together.
pub(super) fn of_a_folder(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let folder = file.parent().unwrap_or(Path::new(""));
    if name.ends_with(".distcp") || (name == ".metadata" && is_distributed(folder)) {
        return Some(DISTRIBUTED.replacen("it is a", "it is part of a", 1));
    }
    (name == "data.pkl" && folder.join("data").is_dir()).then(|| UNPACKED.replacen("it is an", "it is part of an", 1))
}

fn is_distributed(folder: &Path) -> bool {
    folder.join("__0_0.distcp").is_file()
}

/// Whether a folder with these files of weights is one checkpoint, of several files or unpacked, which [`in_folder`] reads
/// or says what to do with.
pub(crate) fn belongs_together(folder: &Path, weights: &[PathBuf]) -> bool {
    match weights {
        [] => {
            matches!(in_folder(folder), Err(WeightsError::Unsupported { reason, .. }) if [UNPACKED, DISTRIBUTED].contains(&&*reason))
        }
        parts => parts.iter().all(|part| one_of_several(part).is_some()),
    }
}

/// The index, the one file of weights or all its parts in a folder.
///
/// # Errors
/// When there is none, there are several, or parts are missing.
pub(super) fn in_folder(folder: &Path) -> Result<Inside, WeightsError> {
    let wrong = |reason: String| WeightsError::Unsupported { file: folder.to_owned(), reason };
    let read = |source| WeightsError::Read { file: folder.to_owned(), source };
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let name = entry.map_err(read)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if folder.join(".metadata").is_file() && is_distributed(folder) {
        return Err(wrong(DISTRIBUTED.into()));
    }
    let unpacked = |folder: &Path| folder.join("data.pkl").is_file() && folder.join("data").is_dir();
    if unpacked(folder) || matches!(&names[..], [only] if unpacked(&folder.join(only))) {
        return Err(wrong(UNPACKED.into()));
    }
    let usual =
        ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
    if let Some(name) = usual.iter().find(|usual| has(usual)) {
        return Ok(Inside::One(folder.join(name)));
    }
    let indices: Vec<&String> = names.iter().filter(|name| name.ends_with(INDEX)).collect();
    let is_weights = |name: &&String| {
        [".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".tar"].iter().any(|end| name.ends_with(end))
    };
    let weights: Vec<&String> = names.iter().filter(is_weights).collect();
    if indices.is_empty()
        && let Some(parts) = all_parts(&weights).map_err(wrong)?
    {
        return Ok(Inside::Parts(parts.iter().map(|name| folder.join(name)).collect()));
    }
    match (&indices[..], &weights[..]) {
        ([index], _) => Ok(Inside::One(folder.join(index))),
        ([], [only]) => Ok(Inside::One(folder.join(only))),
        ([], []) => Err(wrong("it is a folder without weights: name a file".into())),
        (_, several) => {
            let shown: Vec<String> = several.iter().take(4).map(|name| show(name)).collect();
            Err(wrong(format!("it is a folder with several files of weights ({}): name one of them", shown.join(", "))))
        }
    }
}

/// `model-00001-of-00002.safetensors`: the number of this part and of all.
pub(super) fn one_of_several(file: &Path) -> Option<(usize, usize)> {
    let stem = file.file_stem()?.to_str()?;
    let (rest, all) = stem.rsplit_once("-of-")?;
    let this = rest.rsplit(['-', '_', '.']).next()?;
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.len() >= 2 && text.len() <= 8);
    let (this, all) = (number(this)?, number(all)?);
    (all > 1 && this <= all).then_some((this, all))
}

/// All parts of weights in several files in their order, where these files are such parts; safetensors first.
///
/// # Errors
/// In words which are missing.
fn all_parts(names: &[&String]) -> Result<Option<Vec<String>>, String> {
    let mut families: BTreeMap<(bool, String, usize), BTreeMap<usize, &String>> = BTreeMap::new();
    for &name in names {
        let path = Path::new(name);
        let Some((this, all)) = one_of_several(path).filter(|(_, all)| *all <= MOST_PARTS) else { return Ok(None) };
        let index = index_of(path);
        families.entry((!name.ends_with(".safetensors"), index, all)).or_default().insert(this, name);
    }
    let whole = families.iter().find(|((.., all), parts)| parts.len() == *all && !parts.contains_key(&0));
    if let Some((_, parts)) = whole {
        return Ok(Some(parts.values().map(|name| (*name).clone()).collect()));
    }
    let Some(((_, index, all), parts)) = families.iter().next() else { return Ok(None) };
    let missing: Vec<String> =
        (1..=*all).filter(|part| !parts.contains_key(part)).take(4).map(|part| part.to_string()).collect();
    Err(format!(
        "it has {} of {all} parts of weights in several files (shards): part {} is missing, and so is their index, {}: \
         fetch these too",
        parts.len(),
        missing.join(", "),
        show(index)
    ))
}

/// The index of weights in several files, of which this is one.
fn index_of(part: &Path) -> String {
    let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let whole = name.rsplit_once("-of-").and_then(|(begin, _)| begin.rsplit_once('-')).map(|(stem, _)| stem.to_owned());
    let ending = part.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    whole.map(|stem| format!("{stem}.{ending}{INDEX}")).unwrap_or_else(|| format!("…{INDEX}"))
}

/// What to do with one part of several.
pub(super) fn part_alone(file: &Path, this: usize, all: usize) -> WeightsError {
    let index = index_of(file);
    WeightsError::Unsupported {
        file: file.to_owned(),
        reason: format!(
            "it is part {this} of {all} of weights in several files (shards): give their index, {}, or the folder that holds them all",
            show(&index)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        let of = |name: &str| one_of_several(Path::new(name));
        assert_eq!(of("a/model-00001-of-00002.safetensors"), Some((1, 2)));
        assert_eq!(of("pytorch_model-00002-of-00002.bin"), Some((2, 2)));
        assert_eq!(of("model-00001-of-00001.safetensors"), None);
        assert_eq!(of("best-of-3.pth"), None);
        assert_eq!(of("model.safetensors"), None);
    }

    #[test]
    fn parts_without_an_index_are_joined_or_missed() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(folder.path().join(name), "x").unwrap();
        touch("model-00002-of-00002.safetensors");
        let error = in_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("1 of 2 parts") && error.contains("part 1 is missing"), "{error}");
        assert!(error.contains("model.safetensors.index.json"), "{error}");
        touch("model-00001-of-00002.safetensors");
        let inside = in_folder(folder.path()).unwrap();
        assert!(matches!(&inside, Inside::Parts(parts) if parts.len() == 2 && parts[0] < parts[1]), "{inside:?}");
        touch("other.pth");
        let error = in_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("several files of weights"), "{error}");
    }

    #[test]
    fn folders_of_other_forms_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (dcp, unpacked) = (folder.path().join("dcp"), folder.path().join("x/archive"));
        std::fs::create_dir_all(&dcp).unwrap();
        std::fs::create_dir_all(unpacked.join("data")).unwrap();
        for file in [dcp.join(".metadata"), dcp.join("__0_0.distcp"), unpacked.join("data.pkl")] {
            std::fs::write(&file, "x").unwrap();
            let said = of_a_folder(&file);
            assert!(said.is_some() || file.ends_with(".metadata"), "{said:?}");
        }
        assert!(of_a_folder(&dcp.join(".metadata")).unwrap().contains("dcp_to_torch"));
        assert!(in_folder(&dcp).unwrap_err().to_string().contains("dcp_to_torch"));
        for folder in [unpacked.as_path(), &folder.path().join("x")] {
            assert!(in_folder(folder).unwrap_err().to_string().contains("zip -0 -r"));
        }
        assert_eq!(of_a_folder(Path::new("data.pkl")), None);
    }

    #[test]
    fn an_index_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        for name in ["../secret.safetensors", "/etc/passwd", "a\\\\b", ".hidden", ""] {
            let json = format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#);
            assert!(parts(json.as_bytes(), &index).is_err(), "{name}");
        }
        std::fs::write(folder.path().join("m-1.safetensors"), "x").unwrap();
        let json =
            "\u{feff}{\"metadata\": {}, \"weight_map\": {\"a\": \"m-1.safetensors\", \"b\": \"m-1.safetensors\"}}";
        assert_eq!(parts(json.as_bytes(), &index).unwrap().unwrap().len(), 1);
        assert!(parts(b"{\"error\": 1}", Path::new("x.safetensors")).unwrap().is_none());
    }
}
