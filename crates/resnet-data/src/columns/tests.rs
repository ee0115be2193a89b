//! Files of pyarrow (`tests/parquet/make.py` wrote them) and damaged ones.

use std::path::PathBuf;

use super::*;

const ROWS: usize = 11;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(format!("{name}.parquet"))
}

/// A column over all row groups: bytes as they are, numbers as text.
fn column(name: &str, column: &str) -> Vec<Option<Vec<u8>>> {
    let columns = Columns::open(&path(name)).unwrap();
    assert_eq!(columns.groups(), 2, "{name}");
    let number = columns.find(&[column]).unwrap_or_else(|| panic!("{name}: {:?}", columns.leaves()));
    let group = |group| match columns.values(group, number).unwrap() {
        Values::Bytes(texts) => (0..texts.len()).map(|row| texts.get(row).map(<[u8]>::to_vec)).collect(),
        Values::Numbers(numbers) => numbers.iter().map(|n| n.map(|n| n.to_string().into_bytes())).collect::<Vec<_>>(),
    };
    (0..2).flat_map(group).collect()
}

fn pictures() -> Vec<Option<Vec<u8>>> {
    let picture = |n: usize| (n != 3 && n != 7).then(|| [b"picture ", &vec![n as u8; n][..]].concat());
    (0..ROWS).map(picture).collect()
}

fn labels(label: impl Fn(usize) -> String) -> Vec<Option<Vec<u8>>> {
    (0..ROWS).map(|n| (n != 5).then(|| label(n).into_bytes())).collect()
}

#[test]
fn every_compression_and_encoding_is_read() {
    let codecs = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"];
    let mut names: Vec<String> = codecs.iter().flat_map(|codec| [codec.to_string(), format!("{codec}-v2")]).collect();
    names.extend(["delta", "delta-length-v2", "split", "small-pages"].map(String::from));
    for name in &names {
        assert_eq!(column(name, "image.bytes"), pictures(), "{name}");
        assert_eq!(column(name, "label"), labels(|n| (n % 3).to_string()), "{name}");
        let paths: Vec<_> = (0..ROWS).map(|n| (n != 3).then(|| format!("{n}.png").into_bytes())).collect();
        assert_eq!(column(name, "image.path"), paths, "{name}");
    }
    assert_eq!(column("binary", "image"), pictures());
    assert_eq!(column("large", "image"), pictures());
}

#[test]
fn labels_of_every_type_are_read() {
    for name in ["int8", "uint8", "int16", "uint32", "uint64", "float32", "float64", "named"] {
        assert_eq!(column(name, "label"), labels(|n| (n % 3).to_string()), "{name}");
    }
    assert_eq!(column("bool", "label"), labels(|n| (n % 2).to_string()));
    for name in ["words", "dictionary"] {
        assert_eq!(column(name, "label"), labels(|n| ["tabby cat", "dog", "owl"][n % 3].to_string()), "{name}");
        assert!(Columns::open(&path(name)).unwrap().leaves()[2].text);
    }
    let lists = Columns::open(&path("lists")).unwrap();
    assert!(lists.leaves()[2].repeated && lists.values(0, 2).unwrap_err().to_string().contains("several values"));
    let empty = Columns::open(&path("empty")).unwrap();
    let Values::Bytes(none) = empty.values(0, 0).unwrap() else { panic!("pictures are bytes") };
    assert_eq!((empty.groups(), none.len()), (1, 0));
}

/// Every beginning of a file, and every file with a byte changed: an error or values, and no panic.
#[test]
fn damaged_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("train-0.parquet");
    let read = |bytes: &[u8]| -> Result<()> {
        std::fs::write(&damaged, bytes).unwrap();
        let columns = Columns::open(&damaged)?;
        for (group, column) in (0..columns.groups()).flat_map(|g| (0..columns.leaves().len()).map(move |c| (g, c))) {
            columns.values(group, column)?;
        }
        Ok(())
    };
    for name in ["snappy", "zstd-v2", "delta", "split"] {
        let whole = std::fs::read(path(name)).unwrap();
        read(&whole).unwrap();
        for length in (0..whole.len()).step_by(7) {
            let error = read(&whole[..length]).unwrap_err().to_string();
            assert!(error.contains("train-0.parquet: not a readable parquet file: it is"), "{name} {length}: {error}");
        }
        for place in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= change;
                if let Err(error) = read(&bytes) {
                    let error = error.to_string();
                    assert!(error.contains("train-0.parquet") && !error.contains('\n'), "{name} {place}: {error}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_parquet_file_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for (bytes, part) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..], "Git LFS"),
        (b"<!DOCTYPE html><title>404</title>", "HTML"),
        (b"{\"error\": \"gated\"}", "JSON"),
        (b"PAR1 and no end of it at all", "it is cut"),
        (b"PAR1\x00\x00\x00\x00PARE", "encrypted"),
        (b"", "it is empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"label,image\n", "does not begin as one does"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = Columns::open(&path).unwrap_err().to_string();
        assert!(error.contains("a.parquet") && error.contains(part), "{error}");
    }
}

/// Files on which the `parquet` crate panics, or does not end.
#[test]
fn kept_finds_are_errors() {
    for name in ["damaged/loops", "damaged/panics"] {
        let read = || -> Result<()> {
            let columns = Columns::open(&path(name))?;
            for (group, column) in (0..columns.groups()).flat_map(|g| (0..columns.leaves().len()).map(move |c| (g, c)))
            {
                columns.values(group, column)?;
            }
            Ok(())
        };
        let error = read().unwrap_err().to_string();
        assert!(error.contains("not a readable parquet file"), "{error}");
    }
}

/// A hundred thousand rows without a picture, in some hundred bytes: nobody has that, and its labels would take more and
/// more memory the longer the lie.
#[test]
fn more_rows_than_bytes_are_refused() {
    use parquet::data_type::{ByteArrayType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message schema { OPTIONAL BYTE_ARRAY image; OPTIONAL INT64 label; }";
    let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let rows = 100_000;
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![0; rows]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&vec![7; rows], Some(&vec![1; rows]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let error = Columns::open(&path).unwrap_err().to_string();
    assert!(error.contains("promises 100000 rows"), "{error}");
}

#[test]
fn old_forms_of_lz4_are_read() {
    let text = b"the same again and the same again and the same again";
    let block = lz4_flex::block::compress(text);
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut frame, text).unwrap();
    let frame = frame.finish().unwrap();
    let head = [(text.len() as u32).to_be_bytes(), (block.len() as u32).to_be_bytes()].concat();
    for packed in [block.clone(), frame, [head, block].concat()] {
        assert_eq!(codec::unpack(5, &packed, text.len()).unwrap(), text);
        assert!(codec::unpack(5, &packed, text.len() + 1).is_err());
    }
}

#[test]
fn a_page_that_promises_far_more_than_it_has_is_refused() {
    let zeros = vec![0; 1 << 20];
    let bomb = lz4_flex::block::compress(&zeros);
    assert!(codec::unpack(7, &bomb, 1 << 20).is_ok());
    let error = codec::unpack(6, &[0; 20], 1 << 30).unwrap_err();
    assert!(error.contains("promises"), "{error}");
}
