//! Classes of parquet files with names of their own, and of several files that do not agree.

use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::tar_of;
use crate::{Dataset, ParquetShards, Result, Split, TarShards, open_train_test};

/// Labels of a file: numbers, said to be of some kind, or texts.
enum Labels<'a> {
    Numbers(&'a [i64]),
    Kind(&'a str, &'a [i64]),
    Texts(&'a [&'a str]),
}

/// A parquet file with these labels, and this metadata of the hub's library.
fn table(path: &Path, labels: Labels, metadata: Option<&str>) {
    let kind = match labels {
        Labels::Numbers(_) => "INT64 label",
        Labels::Kind(kind, _) => &format!("INT64 label ({kind})"),
        Labels::Texts(_) => "BYTE_ARRAY label (UTF8)",
    };
    let schema =
        parse_message_type(&format!("message schema {{ REQUIRED BYTE_ARRAY image; REQUIRED {kind}; }}")).unwrap();
    let pairs = metadata.map(|text| vec![KeyValue::new("huggingface".to_string(), text.to_string())]);
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(path).unwrap(), Arc::new(schema), Arc::new(properties))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let count = match labels {
        Labels::Numbers(numbers) | Labels::Kind(_, numbers) => numbers.len(),
        Labels::Texts(words) => words.len(),
    };
    let mut column = group.next_column().unwrap().unwrap();
    let pictures: Vec<ByteArray> = (0..count).map(|_| ByteArray::from("picture")).collect();
    column.typed::<ByteArrayType>().write_batch(&pictures, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    match labels {
        Labels::Numbers(numbers) | Labels::Kind(_, numbers) => {
            column.typed::<Int64Type>().write_batch(numbers, None, None).unwrap();
        }
        Labels::Texts(words) => {
            let words: Vec<ByteArray> = words.iter().map(|&word| ByteArray::from(word)).collect();
            column.typed::<ByteArrayType>().write_batch(&words, None, None).unwrap();
        }
    }
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

/// What the hub's library writes of classes with these names.
fn named(names: &str) -> Option<String> {
    Some(format!(r#"{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#))
}

fn numbers(path: &Path, labels: &[i64], names: &str) {
    table(path, Labels::Numbers(labels), named(names).as_deref());
}

/// Each image's class by its name.
fn told(set: &dyn Dataset) -> String {
    (0..set.len()).map(|index| set.classes()[set.label(index) as usize].clone()).collect::<Vec<_>>().join(" ")
}

fn open(folder: &Path) -> Result<ParquetShards> {
    ParquetShards::open(folder.to_str().unwrap(), Split::Train)
}

fn refused(folder: &Path, parts: &[&str]) {
    let error = open(folder).err().unwrap().to_string();
    assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{error}");
}

#[test]
fn each_file_numbers_its_classes_by_its_own_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    numbers(&at("train-0.parquet"), &[0, 1, 2], r#"["ant", "bee", "cat"]"#);
    numbers(&at("train-1.parquet"), &[0, 1, 2], r#"["cat", "bee", "ant"]"#);
    numbers(&at("train-2.parquet"), &[0, 1], r#"{"0": "dog", "1": "ant"}"#);
    let set = open(folder.path()).unwrap();
    assert_eq!(set.classes(), ["ant", "bee", "cat", "dog"]);
    assert_eq!(told(&set), "ant bee cat cat bee ant dog ant");
    let said = set.understood().join(" | ");
    assert!(
        said.contains("the labels of 2 files (the first: ") && said.contains("matched by the classes' names"),
        "{said}"
    );
    numbers(&at("train-2.parquet"), &[0, 1], r#"["ant", "bee", "ant"]"#);
    refused(folder.path(), &["train-2.parquet", "train-0.parquet", "ant stands twice"]);
    table(&at("train-2.parquet"), Labels::Numbers(&[0]), None);
    refused(folder.path(), &["train-2.parquet: its metadata names no classes", "train-0.parquet", "train-1.parquet"]);
    numbers(&at("train-1.parquet"), &[1], r#"["ant", "bee"]"#);
    let set = open(folder.path()).unwrap();
    assert_eq!(told(&set), "ant bee cat bee ant");
    let said = set.understood().join(" | ");
    assert!(
        said.contains("1 file without names of classes (the first: ") && said.contains("are numbered as in"),
        "{said}"
    );
}

#[test]
fn fewer_names_than_labels_are_refused_as_those_of_classes_txt_are() {
    let folder = tempfile::tempdir().unwrap();
    numbers(&folder.path().join("train-0.parquet"), &[0, 2], r#"["ant", "bee"]"#);
    refused(folder.path(), &["train-0.parquet: its metadata names 2 classes, but a label is 2", "classes.txt"]);
    std::fs::write(folder.path().join("classes.txt"), "ant\nbee\ncat\n").unwrap();
    let set = open(folder.path()).unwrap();
    assert_eq!(told(&set), "ant cat");
    assert!(set.understood().join(" ").contains("the names are those of classes.txt"), "{:?}", set.understood());
    numbers(&folder.path().join("train-0.parquet"), &[0, 2], r#"{"0": "ant", "5": "bee"}"#);
    refused(folder.path(), &["train-0.parquet: the classes' names in its metadata", "number 1"]);
}

#[test]
fn metadata_that_is_no_json_is_passed_over_and_said() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["{no json", &"[".repeat(100_000)] {
        table(&folder.path().join("train-0.parquet"), Labels::Numbers(&[0, 1]), Some(text));
        let said = open(folder.path()).unwrap().understood().join(" | ");
        assert!(said.contains("1 file's metadata, which is no JSON (") && said.contains("train-0.parquet"), "{said}");
    }
}

#[test]
fn two_parts_with_names_are_matched_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = (folder.path().join("train-0.parquet"), folder.path().join("test-0.parquet"));
    let place = format!("parquet:{}", folder.path().display());
    let both = || open_train_test(&place, None, &mut ());
    let fails = |parts: &[&str]| {
        let error = both().err().unwrap().to_string();
        assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{error}");
    };
    numbers(&train, &[0, 1, 2], r#"["ant", "bee", "cat"]"#);
    for (names, labels, words) in
        [(r#"["cat", "bee", "ant"]"#, &[0, 1, 2][..], "cat bee ant"), (r#"["cat", "ant"]"#, &[0, 1], "cat ant")]
    {
        numbers(&test, labels, names);
        let (learned, held) = both().unwrap();
        assert_eq!((told(&*learned), told(&*held)), ("ant bee cat".into(), words.into()));
        assert_eq!(learned.classes(), held.classes());
        assert!(held.understood().join(" ").contains("matched by name"), "{:?}", held.understood());
    }
    table(&test, Labels::Texts(&["cat", "ant"]), None);
    let (learned, held) = both().unwrap();
    assert_eq!((told(&*held), learned.classes()), ("cat ant".into(), held.classes()));
    assert_eq!(learned.classes(), ["ant", "bee", "cat"]);
    numbers(&test, &[0, 1], r#"["ant", "dog"]"#);
    fails(&["test part's class 1, dog, is none of the training part's 3 classes"]);
    numbers(&test, &[0, 1], r#"["bee", "ant", "bee"]"#);
    fails(&["bee stands twice"]);
    table(&test, Labels::Numbers(&[0, 3]), None);
    fails(&["a label of the test part is 3, but the training part names 3 classes", "classes.txt"]);
    table(&train, Labels::Numbers(&[0, 3]), None);
    table(&test, Labels::Texts(&["cat", "ant"]), None);
    fails(&["the training part's labels are numbers, the test part's names (ant)"]);
}

#[test]
fn numbers_among_words_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    table(&at("train-0.parquet"), Labels::Numbers(&[0, 1]), None);
    table(&at("train-1.parquet"), Labels::Texts(&["cat", "dog"]), None);
    let number = "train-0.parquet: row group 0, row 0: the label 0 is a number";
    refused(folder.path(), &[number, "\"cat\" (", "train-1.parquet, row group 0, row 0) is a name", "classes.txt"]);
    table(&at("train-0.parquet"), Labels::Texts(&["dog", "500"]), None);
    refused(folder.path(), &["row 1: the label 500 is a number"]);
    std::fs::write(at("classes.txt"), "dog\n500\ncat\n").unwrap();
    assert_eq!(told(&open(folder.path()).unwrap()), "dog 500 cat dog");
    std::fs::write(at("classes.txt"), "dog\ncat\n").unwrap();
    refused(folder.path(), &["the label 500 is a number"]);
    let members: &[(&str, &[u8])] = &[("1.jpg", b""), ("1.cls", b"1"), ("2.jpg", b""), ("2.cls", b"cat")];
    std::fs::write(at("train-0.tar"), tar_of(members)).unwrap();
    let error = TarShards::open(at("train-0.tar").to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("train-0.tar: 1.jpg: the label 1") && error.contains("\"cat\" ("), "{error}");
}

#[test]
fn labels_that_are_ids_or_lists_are_left_out_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-0.parquet");
    table(&path, Labels::Texts(&["1", "0,3", "", "0"]), None);
    let set = open(folder.path()).unwrap();
    assert_eq!(set.len(), 2);
    let said = set.understood().join(" | ");
    for part in ["1 row whose label cannot be read (", "row 1: it is several numbers", "1 row without a label"] {
        assert!(said.contains(part), "{said}");
    }
    table(&path, Labels::Texts(&["99999999999999999999"]), None);
    refused(folder.path(), &["no rows with labels", "larger than any class's"]);
    let members: &[(&str, &[u8])] = &[("1.jpg", b""), ("1.cls", b"0,3")];
    std::fs::write(folder.path().join("a.tar"), tar_of(members)).unwrap();
    let error = TarShards::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("it is several numbers, and a class is one: write one"), "{error}");
}

#[test]
fn dates_and_decimals_are_no_classes() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, what) in [("TIMESTAMP_MICROS", "timestamps"), ("DECIMAL(18,0)", "decimals"), ("TIME_MICROS", "times")] {
        table(&folder.path().join("train-0.parquet"), Labels::Kind(kind, &[0, 1]), None);
        refused(folder.path(), &["no column of labels", &format!("label ({what})")]);
        let place = format!("{}?label=label", folder.path().display());
        let error = ParquetShards::open(&place, Split::Train).err().unwrap().to_string();
        assert!(error.contains(&format!("it holds {what}, and a class is a number or a name")), "{error}");
    }
}
