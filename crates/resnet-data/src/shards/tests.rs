use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::cifar::tests::{parquet_bytes, photo};
use crate::{Loader, LoaderConfig, Normalize, Transform, open, open_both};

/// A shard with samples of these numbers: a PNG and its label, every other one in JSON.
fn tar_bytes(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for n in numbers {
        // A name longer than a header's field has, as some sets do.
        let key = if n == 3 { format!("deep/{}/{n:04}", "x".repeat(120)) } else { format!("{n:04}") };
        if n % 2 == 0 {
            add(format!("{key}.seg.PNG"), b"another picture of the sample");
            add(format!("{key}.png"), &photo(n));
            add(format!("{key}.cls"), format!("{}\n", n % 10).as_bytes());
        } else {
            add(format!("{key}.json"), format!("{{\"label\": {}, \"width\": 32}}", n % 10).as_bytes());
            add(format!("{key}.png"), &photo(n));
        }
    }
    builder.into_inner().unwrap()
}

/// 4 training shards of 6 samples and a validation shard of 5.
fn write_tars(folder: &Path) {
    for shard in 0..4 {
        let bytes = tar_bytes(shard * 6..shard * 6 + 6);
        std::fs::write(folder.join(format!("set-train-{shard:06}.tar")), bytes).unwrap();
    }
    std::fs::write(folder.join("set-val-000000.tar"), tar_bytes(24..29)).unwrap();
}

fn write_parquet(folder: &Path) {
    for (name, numbers) in [("train-00000-of-00002", 0..9), ("train-00001-of-00002", 9..24), ("validation-0", 24..29)] {
        let rows: Vec<_> = numbers.map(|n| (photo(n), n as i64 % 10)).collect();
        std::fs::write(folder.join(format!("{name}.parquet")), parquet_bytes("image", "label", &rows)).unwrap();
    }
    let test = [(photo(0), -1)];
    std::fs::write(folder.join("test-0.parquet"), parquet_bytes("image", "label", &test)).unwrap();
}

fn config() -> LoaderConfig {
    LoaderConfig { batch_size: 4, shuffle: true, shuffle_buffer: 5, seed: 2, ..LoaderConfig::default() }
}

/// Indices and pixels of an epoch.
fn epoch(set: &Arc<dyn Dataset>, config: LoaderConfig, number: u64) -> Vec<(usize, u32, Vec<f32>)> {
    let transform = Transform::plain(Normalize::channel([0.0; 3], [1.0; 3])).unwrap();
    let loader = Loader::new(set.clone(), transform, config).unwrap();
    let mut out = Vec::new();
    for batch in loader.epoch(number, 0) {
        let batch = batch.unwrap();
        let labels = batch.labels.to_vec1::<u32>().unwrap();
        let pixels: Vec<Vec<f32>> = batch.images.flatten_from(1).unwrap().to_vec2().unwrap();
        out.extend(batch.indices.into_iter().zip(labels).zip(pixels).map(|((i, l), p)| (i, l, p)));
    }
    out
}

#[test]
fn both_kinds_of_shards_hold_what_was_written_in_any_order() {
    let (tars, tables) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tars(tars.path());
    write_parquet(tables.path());
    for (kind, folder) in [("shards", tars.path()), ("parquet", tables.path())] {
        let name = format!("{kind}:{}", folder.display());
        let (train, test) = open_both(&name, None, &mut ()).unwrap();
        assert_eq!((train.len(), test.len(), train.classes().len()), (24, 5, 10), "{kind}");
        assert_eq!(train.classes(), test.classes(), "{kind}: the validation part lacks the last classes");
        for n in 0..24 {
            assert_eq!(train.label(n), n as u32 % 10, "{kind}");
            assert_eq!(train.image(n).unwrap(), crate::decode::decode(&photo(n), String::new).unwrap(), "{kind} {n}");
        }
        assert_eq!(test.image(4).unwrap(), crate::decode::decode(&photo(28), String::new).unwrap());
        let first = epoch(&train, config(), 0);
        assert_eq!(first.iter().map(|(i, ..)| *i).collect::<BTreeSet<_>>(), (0..24).collect(), "{kind}");
        assert!(!first.is_sorted_by_key(|(i, ..)| *i), "{kind}");
        for workers in [0, 3] {
            assert!(epoch(&train, LoaderConfig { workers, ..config() }, 0) == first, "{kind}: order and pixels repeat");
        }
        assert!(epoch(&train, config(), 1) != first, "{kind}");
        let parts = [0, 1].map(|rank| epoch(&train, LoaderConfig { rank, world_size: 2, ..config() }, 0));
        let seen: BTreeSet<usize> = parts.iter().flatten().map(|(i, ..)| *i).collect();
        // Runs are given out whole: where they do not come out even, an image may be left out.
        assert!((parts[0].len(), parts[1].len()) == (12, 12) && seen.len() >= 23, "{kind}: {seen:?}");
        let again = open("imagenet", Some(folder), Split::Test, &mut ()).unwrap();
        assert_eq!((again.len(), again.classes()[0].as_str()), (5, "n01440764"), "{kind} is recognised");
    }
}

#[test]
fn shards_are_listed_by_pattern_too() {
    let folder = tempfile::tempdir().unwrap();
    write_tars(folder.path());
    let at = |pattern: &str| folder.path().join(pattern).display().to_string();
    assert_eq!(TarShards::open(&at("set-train-{000001..000002}.tar"), Split::Train).unwrap().len(), 12);
    assert_eq!(TarShards::open(&at("set-{train,val}-000000.tar"), Split::Test).unwrap().len(), 5);
    let error = TarShards::open(&at("set-train-{000003..000004}.tar"), Split::Train).unwrap_err().to_string();
    assert!(error.contains("set-train-000004.tar"), "{error}");
    let error = TarShards::open(&at("set-train-000000.tar"), Split::Test).unwrap_err().to_string();
    assert!(error.contains("no test shards") && error.contains("val-000000.tar"), "{error}");
    std::fs::write(folder.path().join("classes.txt"), (0..12).map(|n| format!("class {n}\n")).collect::<String>())
        .unwrap();
    let named = TarShards::open(&at(""), Split::Test).unwrap();
    assert_eq!((named.classes().len(), named.classes()[11].as_str()), (12, "class 11"));
    std::fs::write(folder.path().join("classes.txt"), "one\n").unwrap();
    let error = TarShards::open(&at(""), Split::Test).unwrap_err().to_string();
    assert!(error.contains("classes.txt") && error.contains("1 names"), "{error}");
}

#[test]
fn broken_shards_and_samples_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let fails = |bytes: &[u8], part: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = TarShards::open(&path.display().to_string(), Split::Train).unwrap_err().to_string();
        assert!(error.contains("a.tar") && error.contains(part) && !error.contains('\n'), "{error}");
    };
    let good = tar_bytes(0..4);
    fails(&good[..2048], "truncated");
    fails(b"no tar file at all, but long enough to be looked at", "tar file");
    fails(b"", "no images");
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(4);
    builder.append_data(&mut header, "7.jpg", &b"jpeg"[..]).unwrap();
    let unlabelled = builder.into_inner().unwrap();
    fails(&unlabelled, "7 has no label");
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "7.jpg", &b"jpeg"[..]).unwrap();
    header.set_size(3);
    builder.append_data(&mut header, "7.cls", &b"cat"[..]).unwrap();
    fails(&builder.into_inner().unwrap(), "7.cls holds no label");

    // An image that cannot be decoded is named by shard and member, and is no reason to stop.
    let mut builder = ::tar::Builder::new(Vec::new());
    header.set_size(4);
    builder.append_data(&mut header, "pictures/8.jpg", &b"jpeg"[..]).unwrap();
    header.set_size(1);
    builder.append_data(&mut header, "pictures/8.cls", &b"1"[..]).unwrap();
    std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
    let set = TarShards::open(&path.display().to_string(), Split::Train).unwrap();
    let error = set.image(0).unwrap_err();
    assert!(error.is_about_an_image() && error.to_string().contains("a.tar/pictures/8.jpg"), "{error}");

    let table = folder.path().join("b.parquet");
    let rows = [(photo(0), 0), (b"GIF89a".to_vec(), 1), (photo(2), 2)];
    std::fs::write(&table, parquet_bytes("image", "label", &rows)).unwrap();
    let set = ParquetShards::open(&table.display().to_string(), Split::Train).unwrap();
    let error = set.image(1).unwrap_err();
    assert!(error.is_about_an_image() && error.to_string().contains("b.parquet (row group 0, row 1)"), "{error}");
    assert!(set.image(2).is_ok());
    let test = [(photo(0), -1)];
    std::fs::write(&table, parquet_bytes("image", "label", &test)).unwrap();
    let error = ParquetShards::open(&table.display().to_string(), Split::Train).err().unwrap().to_string();
    assert!(error.contains("b.parquet") && error.contains("no labels"), "{error}");
}

#[test]
fn no_more_row_groups_are_kept_than_are_expected() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(folder.path());
    let set = ParquetShards::open(&folder.path().display().to_string(), Split::Train).unwrap();
    let kept = || set.kept_groups();
    set.expect(4);
    (0..24).for_each(|n| drop(set.image(n).unwrap()));
    // Two rows a group: four images, and what begins and ends within a group.
    assert_eq!(kept(), 4);
    set.expect(1);
    assert_eq!(kept(), 3);
}

#[test]
fn the_hubs_names_of_classes_are_read() {
    let text = r#"{"info": {"features": {"image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;
    assert_eq!(parquet::names_in(text, &["label"]).unwrap(), ["cat", "dog"]);
    assert_eq!(parquet::names_in("{}", &["label"]), None);
}

/// A folder's name that has both splits decides nothing where the files' names do.
#[test]
fn a_file_says_its_split_before_its_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("set-train-val");
    std::fs::create_dir(&both).unwrap();
    write_tars(&both);
    let (train, test) =
        (TarShards::open(both.to_str().unwrap(), Split::Train), TarShards::open(both.to_str().unwrap(), Split::Test));
    assert_eq!((train.unwrap().len(), test.unwrap().len()), (24, 5));
}

/// What stands where a label should is no number of a class.
#[test]
fn a_label_beyond_all_classes_is_an_error() {
    let message = class_names(Path::new("a.tar"), 4_000_000_000).unwrap_err().to_string();
    assert!(message.contains("a.tar") && message.contains("4000000000"), "{message}");
}

/// A shard that is gone in the middle of an epoch ends it, whatever is done with broken images.
#[test]
fn a_lost_shard_is_no_broken_image() {
    let folder = tempfile::tempdir().unwrap();
    write_tars(folder.path());
    let set = TarShards::open(folder.path().to_str().unwrap(), Split::Train).unwrap();
    std::fs::remove_file(folder.path().join("set-train-000001.tar")).unwrap();
    let error = set.image(7).unwrap_err();
    assert!(!error.is_about_an_image() && error.to_string().contains("set-train-000001.tar"), "{error}");
}
