//! Image folders and decoding, on small files of all kinds.

use std::path::{Path, PathBuf};

use resnet_data::{
    Dataset, Error, Folder, FolderOptions, Image, Split, SplitRule, decode_image, folder, open, open_train_test,
    read_image,
};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

/// Copies a small picture to `folder/path`, making the folders.
fn put(folder: &Path, path: &str) {
    let target = folder.join(path);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(sample("alpha.png"), target).unwrap();
}

fn near(image: &Image, row: usize, column: usize, colour: [u8; 3]) {
    let found = image.get(row, column).unwrap();
    assert!(found.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 12), "({row}, {column}): {found:?}, not {colour:?}");
}

/// Every sample shows 16 rows of 24 columns: red on the left, blue on the right, white at the top left.
#[test]
fn every_kind_of_image_becomes_rgb() {
    for name in ["cmyk.jpg", "plain.webp", "alpha.png", "palette.png"] {
        let image = read_image(sample(name)).unwrap();
        assert_eq!((image.height, image.width, image.pixels.len()), (16, 24, 16 * 24 * 3), "{name}");
        near(&image, 2, 2, [255; 3]);
        near(&image, 12, 4, [220, 20, 20]);
        near(&image, 12, 20, [20, 20, 220]);
    }
    for name in ["cmyk.jpg", "plain.webp", "palette.png", "rotated.jpg"] {
        let bytes = std::fs::read(sample(name)).unwrap();
        assert_eq!(decode_image(&bytes).unwrap(), read_image(sample(name)).unwrap(), "{name} from memory");
    }
    let message = decode_image(&[]).unwrap_err().to_string();
    assert!(message.contains("(memory)") && message.contains("empty"), "{message}");
    let grey = read_image(sample("grey.jpg")).unwrap();
    assert!(grey.pixels.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    near(&grey, 2, 2, [255; 3]);
    // Orientation 6: the camera was turned, the top of the file is the right of the picture.
    let upright = read_image(sample("rotated.jpg")).unwrap();
    assert_eq!((upright.height, upright.width), (24, 16));
    near(&upright, 2, 13, [255; 3]);
    near(&upright, 4, 3, [220, 20, 20]);
    near(&upright, 20, 3, [20, 20, 220]);
}

#[test]
fn classes_and_files_are_in_torchvisions_order() {
    let folder = tempfile::tempdir().unwrap();
    // Capitals come before small letters, "a10" before "a2", and a file below a subfolder after the folder's own.
    for path in ["b/2.JPG", "b/10.jpeg", "b/.hidden.jpg", "B/x.png", "a2/x.png", "a10/sub/y.webp", "a10/z.png"] {
        put(folder.path(), path);
    }
    std::fs::create_dir(folder.path().join(".cache")).unwrap();
    std::fs::write(folder.path().join("b/notes.txt"), "no picture").unwrap();
    let set = Folder::read(folder.path()).unwrap();
    assert_eq!(set.classes(), ["B", "a10", "a2", "b"]);
    let found: Vec<String> = (0..set.len())
        .map(|i| format!("{} {}", set.label(i), set.path(i).unwrap().strip_prefix(folder.path()).unwrap().display()))
        .collect();
    assert_eq!(found, ["0 B/x.png", "1 a10/z.png", "1 a10/sub/y.webp", "2 a2/x.png", "3 b/10.jpeg", "3 b/2.JPG"]);
    assert_eq!(set.image(4).unwrap().height, 16, "the content counts, not the extension");
}

#[test]
fn splits_share_the_training_folders_labels() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["train/a/1.png", "train/b/1.png", "train/c/1.png", "val/b/1.png", "val/c/1.png", "val/c/2.png"] {
        put(folder.path(), path);
    }
    let test = Folder::open(folder.path(), Split::Test).unwrap();
    assert_eq!(test.classes(), ["a", "b", "c"]);
    assert_eq!((0..3).map(|i| test.label(i)).collect::<Vec<_>>(), [1, 2, 2]);
    let name = format!("folder:{}", folder.path().display());
    assert_eq!(open(&name, None, Split::Train, &mut ()).unwrap().len(), 3);
    put(folder.path(), "val/d/1.png");
    let error = Folder::open(folder.path(), Split::Test).unwrap_err().to_string();
    assert!(error.contains("val/d") && error.contains("no such class"), "{error}");
    std::fs::remove_dir_all(folder.path().join("val")).unwrap();
    let error = Folder::open(folder.path(), Split::Test).unwrap_err().to_string();
    assert!(error.contains("no folder val or test"), "{error}");
}

#[test]
fn a_folder_without_splits_is_divided_for_training() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        (0..10).for_each(|i| put(folder.path(), &format!("{class}/{i}.png")));
    }
    put(folder.path(), "c/0.png");
    let name = format!("folder:{}", folder.path().display());
    let (train, test) = open_train_test(&name, None, &mut ()).unwrap();
    assert_eq!((train.len(), test.len()), (17, 4));
    assert!(test.origin(0).ends_with("a/1.png"), "{}", test.origin(0));
    assert_eq!(open(&name, None, Split::Test, &mut ()).unwrap().len(), 21, "whole, to evaluate on");

    let single = tempfile::tempdir().unwrap();
    put(single.path(), "a/0.png");
    let name = format!("folder:{}", single.path().display());
    assert!(open_train_test(&name, None, &mut ()).map(drop).unwrap_err().to_string().contains("validation"));
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = |error: Error| error.to_string();
    assert!(message(Folder::read(folder.path()).unwrap_err()).contains("no class folders here"));
    let missing = folder.path().join("missing");
    assert!(message(Folder::read(&missing).unwrap_err()).contains(&missing.display().to_string()));
    put(folder.path(), "cat/1.png");
    std::fs::create_dir(folder.path().join("dog")).unwrap();
    let empty = message(Folder::read(folder.path()).unwrap_err());
    assert!(empty.contains("dog: no readable image in this class folder") && empty.contains("it is empty"), "{empty}");

    let (jpeg, png) = (std::fs::read(sample("rotated.jpg")).unwrap(), std::fs::read(sample("alpha.png")).unwrap());
    let webp = std::fs::read(sample("plain.webp")).unwrap();
    let broken = [
        ("0.jpg", &b"not an image"[..]),
        ("1.jpg", &[]),
        ("2.jpg", &jpeg[..30]),
        ("3.jpg", &jpeg[..jpeg.len() - 20]),
        ("4.png", &png[..8]),
        ("5.png", &png[..png.len() - 30]),
        ("6.webp", &webp[..webp.len() - 20]),
    ];
    for (name, bytes) in broken {
        let path = folder.path().join("dog").join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = message(read_image(&path).unwrap_err());
        assert!(error.contains(&path.display().to_string()) && error.contains("not a readable image"), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
    let set = Folder::read(folder.path()).unwrap();
    assert!(message(set.image(1).unwrap_err()).contains("dog/0.jpg"));
}

#[test]
fn real_photos_are_decoded() {
    let Some(folder) = std::env::var_os("RESNET_TEST_DATA").map(|folder| Path::new(&folder).join("imagenet-sample"))
    else {
        println!("skipped: RESNET_TEST_DATA is not set");
        return;
    };
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let set = Folder::read(&folder).unwrap();
    assert_eq!((set.len(), set.classes().len()), (100, 100));
    let wnids = resnet_data::imagenet::wnids();
    assert!(set.classes().iter().all(|class| wnids.contains(&class.as_str())));
    for index in 0..set.len() {
        let image = set.image(index).unwrap();
        assert_eq!(image.pixels.len(), image.height * image.width * 3, "{}", set.origin(index));
    }
}

#[test]
fn a_seed_divides_every_class() {
    let folder = tempfile::tempdir().unwrap();
    (0..10).for_each(|i| put(folder.path(), &format!("many/{i}.png")));
    ["two/1.png", "two/2.png", "one/1.png"].iter().for_each(|path| put(folder.path(), path));
    let parts = |seed| Folder::read(folder.path()).unwrap().split_by_seed(seed, 0.2);
    let (train, test) = parts(1);
    let count = |set: &Folder, class: u32| (0..set.len()).filter(|&i| set.label(i) == class).count();
    assert_eq!([0, 1, 2].map(|class| (count(&train, class), count(&test, class))), [(8, 2), (1, 0), (1, 1)]);
    let paths = |set: &Folder| (0..set.len()).map(|i| set.path(i).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(&parts(1).1), paths(&test));
    assert!((2..6).any(|seed| paths(&parts(seed).1) != paths(&test)));
}

fn folder_of_shapes() -> Option<resnet_data::FolderLayout> {
    folder("shapes", None, FolderOptions::default()).unwrap()
}

/// What is kept of a split finds the same images again, and tells when they are no longer the same.
#[test]
fn a_split_is_known_again() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("photos");
    for class in ["a", "b"] {
        (0..10).for_each(|i| put(&root, &format!("{class}/{i}.png")));
    }
    let name = |root: &Path| format!("folder:{}", root.display());
    let layout = |root: &Path| folder(&name(root), None, FolderOptions::default()).unwrap().unwrap();
    let (train, test) = open_train_test(&name(&root), None, &mut ()).unwrap();
    let kept = *test.train_test_split().unwrap();
    assert_eq!((kept.rule, train.train_test_split()), (SplitRule::EveryFifth, Some(&kept)));
    let again = |root: &Path| layout(root).read().unwrap().split_by(kept.rule).1;
    assert_eq!(again(&root).train_test_split(), Some(&kept));
    assert_eq!(again(&root).origin(3), test.origin(3));
    // Wherever the folder lies.
    let moved = temporary.path().join("moved");
    std::fs::rename(&root, &moved).unwrap();
    assert_eq!(again(&moved).train_test_split(), Some(&kept));
    // An image more at the end of a class is for training; one before the others moves all of them.
    put(&moved, "a/99.png");
    assert_eq!(again(&moved).train_test_split(), Some(&kept));
    put(&moved, "a/00.png");
    assert_ne!(again(&moved).train_test_split(), Some(&kept));

    let by_seed = |seed| *Folder::read(&moved).unwrap().split_by_seed(seed, 0.2).0.train_test_split().unwrap();
    assert_eq!(by_seed(3), by_seed(3));
    assert_eq!(by_seed(3).rule, SplitRule::Share { seed: 3, share: 0.2 });
    assert!((4..9).any(|seed| by_seed(seed).test_fingerprint != by_seed(3).test_fingerprint));
    put(&moved, "val/a/0.png");
    assert!(layout(&moved).parts().is_empty(), "a class of that name");
    let parts = temporary.path().join("parts");
    ["train/a/0.png", "val/a/1.png"].iter().for_each(|path| put(&parts, path));
    assert!(!layout(&parts).is_unsplit());
    assert!(folder_of_shapes().is_none());
}

/// The table of a split finds the same images in a folder that was moved, and tells what came and went.
#[test]
fn a_split_table_knows_the_images_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        (0..10).for_each(|i| put(folder.path(), &format!("{class}/{i}.png")));
    }
    let (_, test) = Folder::read(folder.path()).unwrap().split_every_fifth();
    let table = test.split_table().unwrap().clone();
    assert_eq!(table.len(), 20);
    let csv = String::from_utf8(table.to_csv().unwrap()).unwrap();
    assert!(csv.starts_with("path,class,part\na/0.png,a,train\na/1.png,a,val\n"), "{csv}");
    std::fs::remove_file(folder.path().join("a/1.png")).unwrap();
    put(folder.path(), "a/00.png");
    put(folder.path(), "b/99.png");
    let now = Folder::read(folder.path()).unwrap();
    let found = table.find(now.inner_paths(), Split::Test);
    let paths: Vec<_> = found.images.iter().map(|&i| now.inner_path(i).unwrap().display().to_string()).collect();
    assert_eq!(paths, ["a/6.png", "b/1.png", "b/6.png"]);
    assert_eq!((found.gone, found.new), (1, 2));
    assert_eq!(table.find(now.inner_paths(), Split::Train).images.len(), 16);
}
