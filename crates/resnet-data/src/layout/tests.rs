use super::*;
use crate::Dataset;
use crate::Folder;

/// A folder with empty files of these names; endings say what they are.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    folder
}

fn understood(names: &[&str]) -> Result<FolderLayout> {
    FolderLayout::of(folder(names).path(), FolderOptions::default())
}

/// The parts with their classes, as text; of a folder without parts its classes.
fn of(names: &[&str]) -> String {
    let layout = understood(names).unwrap();
    let list = |classes: &ClassFolders| classes.keys().cloned().collect::<Vec<_>>().join(" ");
    if layout.parts.is_empty() {
        return list(&layout.classes);
    }
    layout.parts.iter().map(|part| format!("{}: {}", part.split, list(&part.classes))).collect::<Vec<_>>().join("; ")
}

#[test]
fn parts_are_known_by_any_usual_name() {
    for (train, test, split) in [
        ("train", "val", "val"),
        ("training", "validation", "val"),
        ("Training", "Testing", "test"),
        ("TRAIN", "TEST", "test"),
        ("train_set", "valid", "val"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("imagenet-train", "imagenet-val", "val"),
        ("archive/dataset/train", "archive/dataset/dev", "val"),
        ("images/train", "images/holdout", "val"),
    ] {
        let names: Vec<String> =
            [train, test].iter().flat_map(|part| ["a", "b"].map(|class| format!("{part}/{class}/1.jpg"))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(of(&names), format!("train: a b; {split}: a b"), "{train}, {test}");
    }
    let three = ["train/a/1.jpg", "train/b/1.jpg", "valid/a/2.jpg", "test/a/3.jpg", "test/b/3.jpg"];
    assert_eq!(of(&three), "train: a b; val: a; test: a b");
    let layout = understood(&three).unwrap();
    assert_eq!((layout.test_split(), layout.is_unsplit()), (Split::Val, false));
    assert_eq!(of(&["train/a/1.jpg", "train/b/1.jpg"]), "train: a b");
    assert!(understood(&["train/a/1.jpg", "train/b/1.jpg"]).unwrap().is_unsplit());
}

#[test]
fn a_folder_called_train_may_be_a_class() {
    assert_eq!(of(&["bus/1.jpg", "car/1.jpg", "train/1.jpg"]), "bus car train");
    assert_eq!(of(&["bus/1.jpg", "train/steam/1.jpg", "train/diesel/2.jpg"]), "bus train");
    assert_eq!(of(&["bus/1.jpg", "train/1.jpg", "train/old/2.jpg"]), "bus train");
    assert_eq!(of(&["valid/1.jpg", "invalid/1.jpg"]), "invalid valid");
    assert_eq!(of(&["train/1.jpg"]), "train");
    let notes = understood(&["bus/1.jpg", "train/1.jpg"]).unwrap().notes().join("");
    assert!(notes.contains("train is taken for a class"), "{notes}");
    let classes = FolderOptions { subfolders: Subfolders::Classes, ..FolderOptions::default() };
    let both = folder(&["train/a/1.jpg", "test/a/1.jpg"]);
    assert_eq!(FolderLayout::of(both.path(), classes).unwrap().read().unwrap().classes(), ["test", "train"]);
}

#[test]
fn what_is_no_part_and_no_class_is_named() {
    // Intel's scenes: pictures to predict, without classes.
    let names = ["seg_train/seg_train/sea/1.jpg", "seg_train/seg_train/ice/1.jpg", "seg_test/seg_test/sea/1.jpg"];
    let layout = understood(&[&names[..], &["seg_pred/seg_pred/7.jpg", "README.md"]].concat()).unwrap();
    assert_eq!(layout.parts().len(), 2);
    let left_out = layout.left_out.to_string();
    assert!(left_out.contains("seg_pred (no class folders in it)") && left_out.contains("1 file beside"), "{left_out}");
    let layout = understood(&["train/a/1.jpg", "train/b/1.jpg", "test/unknown/2.jpg"]).unwrap();
    assert_eq!(layout.parts().len(), 1);
    assert!(layout.left_out.to_string().contains("test (no class folders in it)"), "{}", layout.left_out);
    let flat = folder(&["cat/1.jpg", "dog/1.jpg", "labels/1.txt", "labels/2.txt", "1.jpg"]);
    let layout = FolderLayout::of(flat.path(), FolderOptions::default()).unwrap();
    let text = layout.read().unwrap().left_out().to_string();
    assert!(text.contains("labels (no pictures in it)") && text.contains("(1 picture among them)"), "{text}");
    let layout = understood(&["train/a/1.jpg", "val/a/1.jpg", "extra/1.jpg"]).unwrap();
    assert!(layout.left_out.to_string().contains("extra (neither a part nor a class)"), "{}", layout.left_out);
}

#[test]
fn what_may_be_either_is_refused_with_both_readings() {
    for (names, why) in [
        (&["Training/glioma/1.jpg", "Testing/gl/1.jpg"][..], "different names"),
        (&["train/1.jpg", "test/2.jpg"], "no folder for each class"),
        (&["train_1/a/1.jpg", "train_2/a/1.jpg"], "train_1 and train_2"),
        (
            &["fold1/a/1.jpg", "fold1/b/1.jpg", "fold2/a/1.jpg", "fold2/b/1.jpg"],
            "fold1 and fold2 may be parts or classes",
        ),
        (
            &["1/a/1.jpg", "1/b/1.jpg", "2/a/1.jpg", "2/b/1.jpg", "3/a/1.jpg", "3/b/1.jpg"],
            "1, 2 and so on (3) may be parts or classes: they hold no pictures of their own, and all the same folders, a \
             and b; parts would be called train and val",
        ),
    ] {
        let error = understood(names).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }) && error.to_string().contains(why), "{error}");
    }
    let parts = FolderOptions { subfolders: Subfolders::Parts, ..FolderOptions::default() };
    let differ = folder(&["Training/a/1.jpg", "Training/b/1.jpg", "Testing/c/1.jpg"]);
    let error = FolderLayout::of(differ.path(), parts).unwrap().open(Split::Test).unwrap_err().to_string();
    assert!(error.contains("no such class"), "{error}");
    let error = FolderLayout::of(folder(&["a/1.jpg"]).path(), parts).unwrap_err().to_string();
    assert!(error.contains("no parts here"), "{error}");
}

#[test]
fn one_folder_around_it_all_is_gone_into() {
    let layout = understood(&["my-photos/cat/1.jpg", "my-photos/dog/1.jpg", "my-photos/__MACOSX/cat/._1.jpg"]).unwrap();
    assert_eq!(layout.classes.len(), 2);
    assert!(layout.notes().join("").contains("my-photos"), "{:?}", layout.notes());
    assert_eq!(of(&["cats/1.jpg"]), "cats", "a class alone");
}

#[test]
fn parts_may_lie_in_each_class() {
    let names = ["cat/train/1.jpg", "cat/train/2.jpg", "cat/test/3.jpg", "dog/train/1.jpg", "dog/test/2.jpg"];
    assert_eq!(of(&names), "train: cat dog; test: cat dog");
    let folder = folder(&names);
    let count = |split| Folder::open(folder.path(), split).unwrap().counts();
    assert_eq!((count(Split::Train), count(Split::Test)), (vec![2, 1], vec![1, 1]));
}

#[test]
fn classes_without_images_are_errors_unless_allowed() {
    let folder = folder(&["cat/1.jpg", "dog/", "owl/1.heic", "owl/2.heic"]);
    let read = |allow_empty| {
        let options = FolderOptions { allow_empty, ..FolderOptions::default() };
        FolderLayout::of(folder.path(), options).unwrap().read()
    };
    let error = read(false).unwrap_err().to_string();
    assert!(error.contains("dog: no readable image") && error.contains("it is empty"), "{error}");
    let set = read(true).unwrap();
    assert_eq!((set.classes().len(), set.counts()), (3, vec![1, 0, 0]));
    std::fs::remove_dir(folder.path().join("dog")).unwrap();
    let error = read(false).unwrap_err().to_string();
    assert!(error.contains("owl") && error.contains("only 2 HEIC"), "{error}");
}

#[test]
fn names_are_compared_in_one_unicode_form() {
    // What macOS writes, and what others do.
    let folder = folder(&["train/cafe\u{301}/1.jpg", "train/bar/1.jpg", "val/caf\u{e9}/2.jpg"]);
    let val = Folder::open(folder.path(), Split::Val).unwrap();
    assert_eq!((val.classes(), val.label(0)), (&["bar".to_string(), "caf\u{e9}".into()][..], 1));
    std::fs::create_dir(folder.path().join("val/Bar")).unwrap();
    std::fs::write(folder.path().join("val/Bar/1.jpg"), "").unwrap();
    let error = Folder::open(folder.path(), Split::Val).unwrap_err().to_string();
    assert!(error.contains("val/Bar") && error.contains("it has bar"), "{error}");
}

#[test]
fn classes_with_folders_of_the_same_names_are_no_folds_where_that_is_said_or_seen() {
    let folds = folder(&["fold1/a/1.jpg", "fold1/b/1.jpg", "fold2/a/1.jpg", "fold2/b/1.jpg"]);
    let classes = FolderOptions { subfolders: Subfolders::Classes, ..FolderOptions::default() };
    assert_eq!(FolderLayout::of(folds.path(), classes).unwrap().read().unwrap().classes(), ["fold1", "fold2"]);
    assert_eq!(of(&["n01/images/1.jpg", "n02/images/1.jpg"]), "n01 n02");
    assert_eq!(of(&["cat/a/1.jpg", "cat/b/1.jpg", "dog/a/1.jpg", "dog/c/1.jpg"]), "cat dog");
    assert_eq!(of(&["cat/a/1.jpg", "cat/b/1.jpg", "dog/a/1.jpg", "dog/b/1.jpg", "dog/1.jpg"]), "cat dog");
}

#[test]
fn train_and_val_in_one_folder_are_learned_from() {
    let both = ["trainval/a/1.jpg", "trainval/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg"];
    assert_eq!(of(&both), "train: a b; test: a b");
    let beside = [&both[..], &["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"]].concat();
    let layout = understood(&beside).unwrap();
    assert_eq!(layout.parts().len(), 3);
    assert!(layout.left_out.to_string().contains("trainval (the train part is train)"), "{}", layout.left_out);
    let within = ["trainval/train/a/1.jpg", "trainval/train/b/1.jpg", "trainval/val/a/1.jpg", "trainval/val/b/1.jpg"];
    assert_eq!(of(&within), "train: a b; val: a b");
    assert_eq!(of(&["a/1.jpg", "b/1.jpg", "_gsdata_/b/1.jpg"]), "a b");
}

#[test]
fn a_file_in_place_of_a_folder_is_told_what_to_do() {
    let folder = folder(&["a.tar", "a.parquet", "a.zip", "a.jpg"]);
    for (name, part) in
        [("a.tar", "named shards:"), ("a.parquet", "named parquet:"), ("a.zip", "unpack it"), ("a.jpg", "it is a file")]
    {
        let error = FolderLayout::of(folder.path().join(name), FolderOptions::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}: no folder here; ")) && error.contains(part), "{error}");
    }
}
