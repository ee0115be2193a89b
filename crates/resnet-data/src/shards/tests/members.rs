//! Members of tar files that are not what a sample is usually made of, and files that are none.

use std::path::Path;

use super::{tar_of, tar_set};
use crate::cifar::tests::{parquet_bytes, photo};
use crate::{Dataset, ParquetShards, Split, TarShards, decode_image};

const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";

fn refused(folder: &Path, members: &[(&str, &[u8])], parts: &[&str]) {
    std::fs::write(folder.join("a.tar"), tar_of(members)).unwrap();
    let error = TarShards::open(folder.to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{error}");
}

#[test]
fn pictures_are_known_by_content_and_other_kinds_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let picture = photo(3);
    let members: &[(&str, &[u8])] = &[
        ("1.img", &picture),
        ("1.cls", b"1"),
        ("2.heic", HEIC),
        ("2.cls", b"0"),
        ("3.pil", HEIC),
        ("3.json", b"{\"label\": 1, \"p\": NaN}"),
        ("4.input.png", &picture),
        ("4.output.cls", b"0"),
        ("5.npy", b"\x93NUMPY"),
        ("5.cls", b"0"),
        ("6.pdf", b"%PDF-1.4"),
    ];
    let set = tar_set(folder.path(), members);
    assert_eq!((set.len(), set.label(0), set.label(1)), (2, 1, 0));
    assert_eq!(set.image(0).unwrap(), decode_image(&picture).unwrap());
    let said = set.understood().join(" | ");
    for part in ["2 HEIC (the first: ", "a.tar/2.heic; save it as JPEG", "1 label without an image ("] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("PDF"), "nobody labelled it: {said}");
    refused(folder.path(), &members[2..4], &["no images in the tar files", "1 HEIC (", "save it as JPEG"]);
}

#[test]
fn tars_of_tars_and_of_class_folders_are_to_be_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let inner = tar_of(&[("n1_1.JPEG", b"x")]);
    let members: &[(&str, &[u8])] = &[("n01440764.tar", &inner), ("n01443537.tar", &inner)];
    refused(folder.path(), members, &["it holds tar files", "unpack it", "2 archives in a shard", "n01440764.tar"]);
    let members: &[(&str, &[u8])] = &[("set/cat/1.jpg", b"x"), ("set/cat/2.jpg", b"x"), ("set/dog/1.jpg", b"x")];
    refused(
        folder.path(),
        members,
        &["a.tar: it holds a folder for each class, set/cat, set/dog", "unpack it and give"],
    );
    let labelled: &[(&str, &[u8])] = &[("a/1.jpg", b"x"), ("b/1.jpg", b"x"), ("b/1.txt", b"a long caption")];
    refused(folder.path(), labelled, &["none of 2 samples has a label"]);
}

/// To open a pipe that nobody writes to never returns.
#[cfg(unix)]
#[test]
fn pipes_among_shards_are_passed_over_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["train-1.tar", "train-1.parquet"] {
        assert!(std::process::Command::new("mkfifo").arg(at(name)).status().unwrap().success());
    }
    std::os::unix::fs::symlink("/dev/zero", at("train-2.tar")).unwrap();
    let place = folder.path().to_str().unwrap();
    let error = TarShards::open(place, Split::Train).unwrap_err().to_string();
    assert!(error.contains("2 pipes, devices or broken links with shards' names (the first: "), "{error}");
    std::fs::write(at("train-0.tar"), tar_of(&[("1.jpg", b"x"), ("1.cls", b"0")])).unwrap();
    std::fs::write(at("train-0.parquet"), parquet_bytes("image", "label", &[(photo(0), 0)])).unwrap();
    let tars = TarShards::open(place, Split::Train).unwrap().understood().join(" | ");
    let tables = ParquetShards::open(place, Split::Train).unwrap().understood().join(" | ");
    for said in [tars, tables] {
        assert!(said.contains("left out: ") && said.contains("broken link"), "{said}");
    }
    for name in ["train-1.tar", "train-2.tar"] {
        let error = TarShards::open(at(name).to_str().unwrap(), Split::Train).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("it is a pipe or a device"), "{error}");
    }
}
