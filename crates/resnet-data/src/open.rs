//! Data sets by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cifar::{self, Cifar};
use crate::shards::{self, Labelled, ParquetShards, Shards, TarShards, with_same_classes};
use crate::{
    Dataset, Error, FolderLayout, FolderOptions, Progress, Result, Split, SplitRule, expand_home, imagenet, shapes,
};

/// What is known of a data set before it is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Means of the channels over the training images, in units of 255.
    pub mean: [f32; 3],
    /// Deviations of the channels over the training images, in units of 255.
    pub std: [f32; 3],
    /// Side of the network's input in pixels.
    pub image_size: usize,
    /// Number of classes; of a folder it is known when it is opened.
    pub classes: Option<usize>,
}

/// A name, understood.
enum Source {
    Shapes,
    Cifar(Cifar),
    Folder(PathBuf),
    Tar(String),
    Parquet(String),
    ImageNet,
}

/// Prefixes of names that go on with a place.
const PLACES: [(&str, &str); 3] = [("folder:", "DIR"), ("shards:", "DIR|PATTERN"), ("parquet:", "DIR|PATTERN")];

const SETS: [Cifar; 3] = [Cifar::Ten, Cifar::Hundred, Cifar::HundredCoarse];

/// The names that [`open`] knows; `folder:DIR` stands for any folder, and so on.
pub fn names() -> Vec<&'static str> {
    let places = ["imagenet", "folder:DIR", "shards:DIR|PATTERN", "parquet:DIR|PATTERN"];
    ["shapes"].into_iter().chain(SETS.map(Cifar::name)).chain(places).collect()
}

/// The name of a parquet set with columns chosen: `parquet:DIR` becomes `parquet:DIR?image=NAME&label=NAME`.
///
/// ```
/// let name = resnet_data::with_columns("parquet:photos", Some("img"), None)?;
/// assert_eq!(name, "parquet:photos?image=img");
/// # Ok::<(), resnet_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] where columns are given and the name is another set's.
pub fn with_columns(name: &str, image: Option<&str>, label: Option<&str>) -> Result<String> {
    if image.is_none() && label.is_none() {
        return Ok(name.to_string());
    }
    let Some(place) = name.strip_prefix("parquet:") else {
        let message = format!("columns are chosen of parquet:DIR, and not of {name}");
        return Err(Error::Setting { setting: "column", message });
    };
    Ok(format!("parquet:{}", shards::with_columns(place, image, label)?))
}

fn parse(name: &str) -> Result<Source> {
    if name == "shapes" {
        return Ok(Source::Shapes);
    }
    if let Some(set) = SETS.into_iter().find(|set| set.name() == name) {
        return Ok(Source::Cifar(set));
    }
    if name == "imagenet" {
        return Ok(Source::ImageNet);
    }
    for (prefix, what) in PLACES {
        let Some(place) = name.strip_prefix(prefix) else { continue };
        if place.is_empty() {
            let hint = format!("name the place: {prefix}{what}");
            return Err(Error::UnknownDataset { name: name.to_string(), hint });
        }
        let place = expand_home(Path::new(place))?;
        // It was a string, and so is a home folder that shards can be looked for in.
        let text = |place: PathBuf| place.to_string_lossy().into_owned();
        return Ok(match prefix {
            "shards:" => Source::Tar(text(place)),
            "parquet:" => Source::Parquet(text(place)),
            _ => Source::Folder(place),
        });
    }
    let near = |known: &&str| strsim::normalized_damerau_levenshtein(&name.to_lowercase().replace('-', ""), known);
    let nearest =
        names().into_iter().rev().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|known| near(known) >= 0.5);
    let hint = match nearest {
        _ if Path::new(name).is_dir() => format!("for the images in that folder say folder:{name}"),
        Some(nearest) => format!("did you mean {nearest}? ({})", names().join(", ")),
        None => format!("there are {}", names().join(", ")),
    };
    Err(Error::UnknownDataset { name: name.to_string(), hint })
}

/// Mean, deviation, image size and number of classes of a data set.
///
/// For photos of one's own these are ImageNet's mean and deviation, and 224 pixels.
///
/// # Errors
/// [`Error::UnknownDataset`].
pub fn info(name: &str) -> Result<Info> {
    let photos = Info { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], image_size: 224, classes: None };
    Ok(match parse(name)? {
        Source::Shapes => Info {
            mean: [shapes::MEAN; 3],
            std: [shapes::STD; 3],
            image_size: shapes::SIZE,
            classes: Some(shapes::Figure::ALL.len()),
        },
        Source::Cifar(set) => {
            let (mean, std) = match set {
                Cifar::Ten => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
                Cifar::Hundred | Cifar::HundredCoarse => ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
            };
            Info { mean, std, image_size: cifar::SIZE, classes: Some(set.classes().len()) }
        }
        Source::ImageNet => Info { classes: Some(imagenet::wnids().len()), ..photos },
        Source::Folder(_) | Source::Tar(_) | Source::Parquet(_) => photos,
    })
}

/// Opens a split of a data set: `shapes`, `cifar10`, `cifar100`, `cifar100-coarse`, `imagenet`, `folder:DIR`,
/// `shards:DIR` (tar files, or a pattern of them) or `parquet:DIR` (`parquet:DIR?image=NAME&label=NAME` with columns of
/// these names).
///
/// CIFAR is looked for in `data_dir`; where that is not given, in `~/.cache/resnet-data` (or
/// `$XDG_CACHE_HOME/resnet-data`), then on the hub. ImageNet is looked for in `data_dir` alone, in any of the three
/// layouts. A folder without parts is opened whole for any split; [`open_train_test`] divides it, and [`folder`] tells how a
/// folder is understood. Of all other sets [`Split::Val`] and [`Split::Test`] are the same.
///
/// # Errors
/// [`Error::UnknownDataset`] with the nearest name; otherwise what the set's reader says.
pub fn open(
    name: &str,
    data_dir: Option<&Path>,
    split: Split,
    progress: &mut dyn Progress,
) -> Result<Arc<dyn Dataset>> {
    let (source, imagenet) = source(name, data_dir)?;
    Ok(match source {
        Source::Shapes => {
            let count = match split {
                Split::Train => shapes::TRAIN,
                Split::Val | Split::Test => shapes::TEST,
            };
            Arc::new(shapes::shapes(split, count, 0))
        }
        Source::Cifar(set) => Arc::new(open_cifar(set, data_dir, split, progress)?),
        Source::Folder(folder) => Arc::new(FolderLayout::of(folder, FolderOptions::default())?.open(split)?),
        Source::Tar(place) => Arc::new(named(TarShards::open(&place, split)?, imagenet)),
        Source::Parquet(place) => Arc::new(named(ParquetShards::open(&place, split)?, imagenet)),
        Source::ImageNet => return Err(no_imagenet("imagenet".into(), "folder given")),
    })
}

/// A name, understood, and whether it is ImageNet's: that is taken for what lies in its folder.
fn source(name: &str, data_dir: Option<&Path>) -> Result<(Source, bool)> {
    match parse(name)? {
        Source::ImageNet => Ok((imagenet_in(data_dir)?, true)),
        source => Ok((source, false)),
    }
}

/// ImageNet's classes have names, where its shards have numbers.
fn named<T: Shards>(set: T, imagenet: bool) -> T {
    let wnids = imagenet::wnids();
    let numbered = set.labelled() == Labelled::Numbers && set.classes().first().is_some_and(|name| name == "0");
    if !(imagenet && numbered && set.classes().len() <= wnids.len()) {
        return set;
    }
    set.with_classes(wnids.into_iter().map(str::to_string).collect())
}

/// ImageNet's images in a folder: tar shards, parquet files, or folders of images.
fn imagenet_in(data_dir: Option<&Path>) -> Result<Source> {
    let Some(folder) = data_dir else { return Err(no_imagenet("imagenet".into(), "folder given")) };
    let Some(name) = folder.to_str().filter(|_| folder.is_dir()) else {
        return Err(no_imagenet(folder.to_path_buf(), "readable folder"));
    };
    let has = |extension| shards::are_in(folder, extension);
    // Only folders that are no class folders can hold shards: a million images need not be walked through.
    let classes =
        [folder.join("train"), folder.join("val"), folder.to_path_buf()].iter().any(|part| has_class_folder(part));
    Ok(match () {
        () if classes => Source::Folder(folder.to_path_buf()),
        () if has("tar") => Source::Tar(name.to_string()),
        () if has("parquet") => Source::Parquet(name.to_string()),
        () => Source::Folder(folder.to_path_buf()),
    })
}

fn no_imagenet(path: PathBuf, what: &str) -> Error {
    let hint = "name the folder with train/ and val/, tar shards or the hub's parquet files as its data".to_string();
    Error::NotFound { path, what: what.to_string(), hint }
}

fn has_class_folder(part: &Path) -> bool {
    let wnids = imagenet::wnids();
    std::fs::read_dir(part)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(|name| wnids.binary_search(&name).is_ok()))
}

/// How a folder of images is understood, where a name stands for one; `None` for every other data set.
///
/// # Errors
/// [`Error::UnknownDataset`]; otherwise as [`FolderLayout::of`].
pub fn folder(name: &str, data_dir: Option<&Path>, options: FolderOptions) -> Result<Option<FolderLayout>> {
    match source(name, data_dir)?.0 {
        Source::Folder(folder) => FolderLayout::of(folder, options).map(Some),
        _ => Ok(None),
    }
}

/// Opens the training and the test images.
///
/// As [`open`] for both splits, but of a folder without parts, or with `train` alone, every fifth image is the test; of
/// one with `val` and `test` that is `val`.
///
/// # Errors
/// As [`open`].
pub fn open_train_test(
    name: &str,
    data_dir: Option<&Path>,
    progress: &mut dyn Progress,
) -> Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    let (source, imagenet) = source(name, data_dir)?;
    match &source {
        Source::Tar(place) => {
            let part = |split| TarShards::open(place, split).map(|set| named(set, imagenet));
            let (train, test) = with_same_classes(place, part(Split::Train)?, part(Split::Test)?)?;
            return Ok((Arc::new(train), Arc::new(test)));
        }
        Source::Parquet(place) => {
            let part = |split| ParquetShards::open(place, split).map(|set| named(set, imagenet));
            let (train, test) = with_same_classes(place, part(Split::Train)?, part(Split::Test)?)?;
            return Ok((Arc::new(train), Arc::new(test)));
        }
        _ => {}
    }
    if let Source::Folder(folder) = &source {
        let (train, test) =
            FolderLayout::of(folder, FolderOptions::default())?.open_train_test(SplitRule::EveryFifth)?;
        return Ok((Arc::new(train), Arc::new(test)));
    }
    let train = open(name, data_dir, Split::Train, progress)?;
    let test = open(name, data_dir, Split::Test, progress)?;
    Ok((train, test))
}

fn open_cifar(
    set: Cifar,
    data_dir: Option<&Path>,
    split: Split,
    progress: &mut dyn Progress,
) -> Result<crate::InMemory> {
    if let Some(folder) = data_dir {
        return set.load(folder, split);
    }
    if let Some(folder) = default_data_dir().filter(|folder| folder.is_dir())
        && let Some(files) = set.find(&folder, split)?
    {
        return set.read(&files, split);
    }
    download(set, split, progress)
}

fn download(set: Cifar, split: Split, progress: &mut dyn Progress) -> Result<crate::InMemory> {
    crate::hub::fetch_cifar(&resnet_hub::Hub::from_env()?, set, split, progress)
}

/// Where data sets are looked for when no folder is given: `resnet-data` in the user's cache folder.
pub fn default_data_dir() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("resnet-data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_suggest_the_nearest() {
        let message = |name: &str| info(name).unwrap_err().to_string();
        for (name, nearest) in [
            ("cifar-10", "cifar10"),
            ("shape", "shapes"),
            ("CIFAR100", "cifar100"),
            ("cifr10", "cifar10"),
            ("cifar10x", "cifar10"),
        ] {
            assert!(message(name).contains(&format!("did you mean {nearest}?")), "{}", message(name));
        }
        assert!(message("mnist").contains("there are shapes, cifar10"), "{}", message("mnist"));
        assert!(message("folder:").contains("folder:DIR"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        assert!(message(&path).contains(&format!("say folder:{path}")));
    }

    #[test]
    fn shapes_opens_without_anything() {
        let (train, test) = open_train_test("shapes", None, &mut ()).unwrap();
        assert_eq!((train.len(), test.len()), (8_000, 2_000));
        assert_eq!(info("shapes").unwrap().classes, Some(train.classes().len()));
    }

    #[test]
    fn a_data_dir_is_the_only_place_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let error = open("cifar10", Some(folder.path()), Split::Test, &mut ()).map(drop).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}
