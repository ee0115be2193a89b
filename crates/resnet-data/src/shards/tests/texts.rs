//! Columns of pictures that hold no bytes of pictures but texts.

use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::cifar::tests::photo;
use crate::{Dataset, ParquetShards, Split, decode_image};

/// A parquet file with these texts as its images, said to be text or not.
fn set(path: &Path, kind: &str, texts: &[&str]) -> ParquetShards {
    let schema = format!("message schema {{ REQUIRED BYTE_ARRAY image {kind}; REQUIRED INT64 label; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let values: Vec<ByteArray> = texts.iter().map(|&text| ByteArray::from(text)).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&vec![0; texts.len()], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    ParquetShards::open(path.to_str().unwrap(), Split::Train).unwrap()
}

#[test]
fn pictures_in_base64_are_read_and_addresses_are_to_be_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let picture = photo(5);
    let (plain, url) = (STANDARD.encode(&picture), URL_SAFE_NO_PAD.encode(&picture));
    let (data, lines) = (format!("data:image/png;base64,{plain}"), format!("{}\n{}\n", &plain[..76], &plain[76..]));
    let (address, long) = (format!("https://example.org/{}.jpg", "x".repeat(200)), "ab/".repeat(100));
    let texts = [&*plain, &url, &data, &lines, &address, &long, "data:", "iVBORw0KGgo="];
    for kind in ["", "(UTF8)"] {
        let set = set(&folder.path().join("a.parquet"), kind, &texts);
        for index in 0..4 {
            assert_eq!(set.image(index).unwrap(), decode_image(&picture).unwrap(), "{kind} {index}");
        }
        for index in 4..8 {
            let error = set.image(index).unwrap_err();
            let text = error.to_string();
            assert!(error.is_about_an_image() && text.contains("row group 0, row ") && text.len() < 400, "{text}");
            assert!(!text.contains(&"x".repeat(90)), "{text}");
        }
        let error = set.image(4).unwrap_err().to_string();
        assert!(error.contains("https://example.org/xxx") && error.contains("fetch the pictures first"), "{error}");
    }
}
