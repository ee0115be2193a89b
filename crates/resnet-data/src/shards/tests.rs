use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

mod members;
mod names;
mod texts;

use super::*;
use crate::cifar::tests::{parquet_bytes, photo};
use crate::{Dataset, Loader, LoaderConfig, Normalize, Split, Transform, open, open_train_test};

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
        let (train, test) = open_train_test(&name, None, &mut ()).unwrap();
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
    // Within a header, within a picture, and after one.
    fails(&good[..1100], "truncated");
    fails(&good[..1600], "truncated");
    fails(&good[..2048], "it ends after a member");
    fails(b"no tar file at all, but long enough to be looked at", "truncated");
    fails(&[b'x'; 2000], "not a readable tar file");
    fails(b"", "it is empty");
    fails(b"\x1f\x8b\x08rest", "gzip");
    fails(b"version https://git-lfs.github.com/spec/v1", "git lfs pull");
    fails(&[0; 1024], "no images");
    fails(&tar_of(&[("7.jpg", b"jpeg")]), "none of 1 samples has a label");
    fails(&tar_of(&[("7.jpg", b"jpeg"), ("7.cls", b"")]), "neither a number nor a name");
    fails(&tar_of(&[("7.jpg", b"jpeg"), ("7.txt", b"a cat on a mat")]), "caption");
    fails(&tar_of(&[("7.jpg", b"jpeg"), ("7.cls", b"4294967295")]), "4294967295");

    // An image that cannot be decoded is named by shard and member, and is no reason to stop.
    std::fs::write(&path, tar_of(&[("pictures/8.jpg", b"jpeg"), ("pictures/8.cls", b"1")])).unwrap();
    let set = TarShards::open(&path.display().to_string(), Split::Train).unwrap();
    let error = set.image(0).unwrap_err();
    assert!(error.is_about_an_image() && error.to_string().contains("a.tar/pictures/8.jpg"), "{error}");

    let table = folder.path().join("b.parquet");
    let rows = [(photo(0), 0), (b"no picture".to_vec(), 1), (photo(2), 2)];
    std::fs::write(&table, parquet_bytes("image", "label", &rows)).unwrap();
    let set = ParquetShards::open(&table.display().to_string(), Split::Train).unwrap();
    let error = set.image(1).unwrap_err();
    assert!(error.is_about_an_image() && error.to_string().contains("b.parquet, row group 0, row 1"), "{error}");
    assert!(set.image(2).is_ok());
    let test = [(photo(0), -1)];
    std::fs::write(&table, parquet_bytes("image", "label", &test)).unwrap();
    let error = ParquetShards::open(&table.display().to_string(), Split::Train).err().unwrap().to_string();
    assert!(error.contains("b.parquet") && error.contains("no labels"), "{error}");
}

/// A tar file of these members.
fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The set in a tar file of these members.
fn tar_set(folder: &Path, members: &[(&str, &[u8])]) -> TarShards {
    std::fs::write(folder.join("a.tar"), tar_of(members)).unwrap();
    TarShards::open(folder.join("a.tar").to_str().unwrap(), Split::Train).unwrap()
}

/// `tar cf a.tar *.jpg *.cls`, on a Mac.
#[test]
fn tar_members_stand_in_any_order_among_hidden_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (photo(1), photo(2));
    let members: &[(&str, &[u8])] = &[
        ("./._0001.png", b"AppleDouble"),
        ("./0001.png", &one),
        (".DS_Store", b"x"),
        ("./sub.d/0002.PNG", &two),
        ("./0001.cls", b"\xef\xbb\xbf1\r\n"),
        ("sub.d/0002.CLS", b"0"),
        ("0003.png", &one),
        ("__MACOSX/._0004.cls", b"7"),
    ];
    let set = tar_set(folder.path(), members);
    assert_eq!((set.len(), set.label(0), set.label(1)), (2, 1, 0));
    assert_eq!(set.image(1).unwrap(), crate::decode::decode(&two, String::new).unwrap());
    let said = set.understood().join(" | ");
    for part in [
        "2 images of 2 classes, 1 each, in 1 tar file",
        "no file's name says its part",
        "3 hidden members",
        "1 sample without a label",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn words_are_classes_and_a_list_gives_them_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let members: &[(&str, &[u8])] = &[("1.jpg", b"1"), ("1.cls", b"owl\n"), ("2.jpg", b"2"), ("2.cls", b"cat\n")];
    let set = tar_set(folder.path(), members);
    assert_eq!((set.classes(), set.label(0)), (&["cat".to_string(), "owl".into()][..], 1));
    std::fs::write(folder.path().join("classes.txt"), b"\xef\xbb\xbfowl\r\ncat\r\nemu\r\n").unwrap();
    let set = tar_set(folder.path(), members);
    assert_eq!((set.classes().len(), set.classes()[0].as_str(), set.label(0), set.label(1)), (3, "owl", 0, 1));
    std::fs::write(folder.path().join("classes.txt"), "emu\n").unwrap();
    let error = TarShards::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("\"owl\"") && error.contains("classes.txt"), "{error}");
    std::fs::write(folder.path().join("classes.txt"), "emu\n\ncat\n").unwrap();
    let error = TarShards::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("line 2 is empty"), "{error}");
}

/// Texts beside images are captions, unless they repeat as classes do.
#[test]
fn texts_that_repeat_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<(String, &[u8])> = (0..6)
        .flat_map(|n| [(format!("{n}.jpg"), &b"x"[..]), (format!("{n}.txt"), [&b"cat"[..], b"dog"][n % 2])])
        .collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!(tar_set(folder.path(), &members).classes(), ["cat", "dog"]);
}

#[test]
fn two_parts_have_the_same_classes() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("shards:{}", folder.path().display());
    let write =
        |name: &str, members: &[(&str, &[u8])]| std::fs::write(folder.path().join(name), tar_of(members)).unwrap();
    write("train-0.tar", &[("1.jpg", b""), ("1.cls", b"0"), ("2.jpg", b""), ("2.cls", b"2")]);
    write("val-0.tar", &[("1.jpg", b""), ("1.cls", b"1")]);
    let (train, test) = open_train_test(&place, None, &mut ()).unwrap();
    assert_eq!((train.classes().len(), test.classes().len(), test.label(0)), (3, 3, 1));
    std::fs::create_dir_all(folder.path().join("val")).unwrap();
    std::fs::rename(folder.path().join("val-0.tar"), folder.path().join("val/0.tar")).unwrap();
    std::fs::write(folder.path().join("val/classes.txt"), "cat\ndog\nowl\n").unwrap();
    let (train, test) = open_train_test(&place, None, &mut ()).unwrap();
    assert_eq!((train.classes(), test.label(0)), (test.classes(), 1), "names beside one part are both parts'");
    std::fs::remove_dir_all(folder.path().join("val")).unwrap();
    write("train-0.tar", &[("1.jpg", b""), ("1.cls", b"cat"), ("2.jpg", b""), ("2.cls", b"owl")]);
    write("val-0.tar", &[("1.jpg", b""), ("1.cls", b"owl")]);
    let (train, test) = open_train_test(&place, None, &mut ()).unwrap();
    assert_eq!(
        (train.classes(), test.classes(), test.label(0)),
        (&["cat".to_string(), "owl".into()][..], train.classes(), 1)
    );
}

/// A shard without its last blocks is whole as far as anybody can tell: it is read, and said.
#[test]
fn a_shard_cut_at_a_members_border_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tar_of(&[("1.jpg", b"1"), ("1.cls", b"0"), ("2.jpg", b"2"), ("2.cls", b"1")]);
    let path = folder.path().join("a.tar");
    let said = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let set = TarShards::open(path.to_str().unwrap(), Split::Train).unwrap();
        (set.len(), set.understood().join(" | "))
    };
    let (images, line) = said(&whole);
    assert!(images == 2 && !line.contains("ends after") && !line.contains("left out"), "{line}");
    let (images, line) = said(&whole[..2048]);
    assert!(images == 1 && line.contains("a.tar: it ends after a member"), "{line}");
    let (images, line) = said(&[whole.clone(), whole].concat());
    assert!(images == 2 && line.contains("bytes after its end were left out"), "{line}");
}

#[test]
fn old_and_new_forms_of_tar_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut add = |mut header: ::tar::Header, kind: ::tar::EntryType, name: &str, link: &str, bytes: &[u8]| {
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    };
    use ::tar::{EntryType, Header};
    add(Header::new_old(), EntryType::Regular, "old/1.jpg", "", b"one");
    add(Header::new_ustar(), EntryType::Regular, "old/1.cls", "", b"1");
    // The same picture again as a link, its label as a link beside it; and one that leads nowhere.
    add(Header::new_gnu(), EntryType::Link, "new/2.jpg", "old/1.jpg", b"");
    add(Header::new_gnu(), EntryType::Symlink, "new/2.cls", "../old/1.cls", b"");
    add(Header::new_gnu(), EntryType::Symlink, "new/3.jpg", "/home/me/3.jpg", b"");
    // A name and a size that only the PAX header tells.
    add(Header::new_ustar(), EntryType::XHeader, "PaxHeaders.0/x", "", b"18 path=pax/4.jpg\n9 size=4\n");
    let mut header = Header::new_ustar();
    header.set_size(4);
    header.as_old_mut().name[..1].copy_from_slice(b"x");
    header.set_cksum();
    builder.append(&header, &b"four"[..]).unwrap();
    let mut header = Header::new_gnu();
    // A size of 96 bits, as large files have.
    header.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    header.as_old_mut().name[..9].copy_from_slice(b"pax/4.cls");
    header.set_cksum();
    builder.append(&header, &b"0"[..]).unwrap();
    std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
    let set = TarShards::open(path.to_str().unwrap(), Split::Train).unwrap();
    assert_eq!((set.len(), set.label(0), set.label(1), set.label(2)), (3, 1, 1, 0), "{:?}", set.understood());
    assert!(set.understood().join(" ").contains("1 link that leads out of its shard"), "{:?}", set.understood());

    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(EntryType::GNUSparse);
    header.as_old_mut().name[..5].copy_from_slice(b"1.jpg");
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
    let error = TarShards::open(path.to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("sparse"), "{error}");
}

fn pyarrow(name: &str) -> String {
    format!("{}/tests/parquet/{name}.parquet", env!("CARGO_MANIFEST_DIR"))
}

/// Rows without a picture are broken images that are named; rows without a label are left out and said.
#[test]
fn missing_pictures_and_labels_are_named_by_row() {
    let set = ParquetShards::open(&pyarrow("snappy"), Split::Train).unwrap();
    assert_eq!((set.len(), set.classes().len()), (10, 3));
    for (index, parts) in [(3, ["row group 0, row 3", "no picture"]), (6, ["row group 1, row 1", "7.png is no file"])] {
        let error = set.image(index).unwrap_err();
        assert!(error.is_about_an_image() && parts.iter().all(|part| error.to_string().contains(part)), "{error}");
    }
    let said = set.understood().join(" | ");
    assert!(said.contains("left out: 1 row without a label (") && said.contains("row group 0, row 5"), "{said}");
    let path_alone = tempfile::tempdir().unwrap();
    let table = path_alone.path().join("a.parquet");
    std::fs::copy(pyarrow("none-v2"), &table).unwrap();
    std::fs::write(path_alone.path().join("7.png"), photo(7)).unwrap();
    let set = ParquetShards::open(table.to_str().unwrap(), Split::Train).unwrap();
    assert_eq!(set.image(6).unwrap().width, 32, "the picture is a file beside the shard");
}

#[test]
fn classes_of_parquet_files_have_the_names_that_the_files_give() {
    let classes = |name: &str| ParquetShards::open(&pyarrow(name), Split::Train).unwrap().classes().join(" ");
    assert_eq!(classes("named"), "cat dog owl emu");
    assert_eq!(classes("words"), "dog owl tabby cat");
    assert_eq!(classes("dictionary"), "dog owl tabby cat");
    assert_eq!(classes("bool"), "0 1");
    assert_eq!(classes("float64"), "0 1 2");
    let error = |name: &str| ParquetShards::open(&pyarrow(name), Split::Train).err().unwrap().to_string();
    assert!(error("lists").contains("label.list.element (lists)"), "{}", error("lists"));
    assert!(error("empty").contains("1 file without rows"), "{}", error("empty"));
}

#[test]
fn columns_are_chosen_in_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows: Vec<_> = (0..3).map(|n| (photo(n), n as i64)).collect();
    std::fs::write(&path, parquet_bytes("thumbnail", "colour", &rows)).unwrap();
    let open = |choice: &str| ParquetShards::open(&format!("{}{choice}", path.display()), Split::Train);
    for choice in ["", "?image=thumbnail&label=colour", "?label=colour"] {
        assert_eq!(open(choice).unwrap().label(2), 2, "the only columns need not be chosen");
    }
    assert_eq!(open("?label=thumbnail.path").unwrap().classes(), ["x.png"]);
    for (choice, part) in
        [("?label=size", "no column size"), ("?image=big", "no column big"), ("?size=3", "?image=NAME")]
    {
        let error = open(choice).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
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

/// A name for the campaigns' files: in memory where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Opens a damaged file and reads its first images; whether it could be opened.
fn read_all(set: crate::Result<impl Dataset>) -> bool {
    let Ok(set) = set else { return false };
    set.runs();
    (0..set.len().min(50)).for_each(|index| {
        assert!((set.label(index) as usize) < set.classes().len());
        let _ = set.image(index);
        set.origin(index);
    });
    true
}

#[test]
fn damaged_tar_files_do_no_harm() {
    let folder = scratch();
    let path = folder.path().join("a.tar");
    let tiny = |n: u8| [b"BM".to_vec(), vec![n; 20]].concat();
    let json = br#"{"label": 3, "class_name": "cat"}"#;
    let plain =
        tar_of(&[("a/1.jpg", &tiny(1)), ("a/1.cls", b"1"), ("2.png", &tiny(2)), ("2.json", json), ("._2.cls", b"x")]);
    let long = format!("{}/3.jpg", "deep/".repeat(30));
    let deep =
        tar_of(&[(&long, &tiny(3)), (&long.replace("jpg", "txt"), b"cat"), ("4.x.jpg", &tiny(4)), ("4.x.cls", b"owl")]);
    let repair = |bytes: &mut Vec<u8>| {
        for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    };
    crate::mutations::campaign("tar", &[plain, deep, tar_bytes(2..4)], repair, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read_all(TarShards::open(path.to_str().unwrap(), Split::Train))
    });
}

#[test]
fn damaged_parquet_files_do_no_harm() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let files: Vec<Vec<u8>> = std::fs::read_dir(Path::new(&pyarrow("none")).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    crate::mutations::campaign(
        "parquet",
        &files,
        |_| {},
        |bytes| {
            std::fs::write(&path, bytes).unwrap();
            read_all(ParquetShards::open(path.to_str().unwrap(), Split::Train))
        },
    );
}
