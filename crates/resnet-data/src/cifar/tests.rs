use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;
use crate::Dataset;

/// Planes (channel, row, column) in which every row, column, channel and image can be told from the others.
fn planes(image: usize) -> Vec<u8> {
    (0..PIXELS).map(|i| ((i / 1024) * 80 + (i % 1024 / 32) * 2 + (i % 32) + image) as u8).collect()
}

/// `planes` as a PNG.
pub(crate) fn photo(index: usize) -> Vec<u8> {
    let image = crate::Image::from_planes(SIZE, SIZE, &planes(index));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 32, 32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&image.pixels).unwrap();
    bytes
}

/// A parquet file as the hub has it.
pub(crate) fn parquet_bytes(image: &str, label: &str, rows: &[(Vec<u8>, i64)]) -> Vec<u8> {
    let schema = format!(
        "message schema {{ OPTIONAL group {image} {{ OPTIONAL BYTE_ARRAY bytes; OPTIONAL BYTE_ARRAY path (UTF8); }} \
         OPTIONAL INT64 {label}; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = WriterProperties::builder().set_compression(::parquet::basic::Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    // Two row groups, so that rows are counted over both.
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let images: Vec<ByteArray> = rows.iter().map(|(image, _)| image.clone().into()).collect();
        let paths: Vec<ByteArray> = rows.iter().map(|_| ByteArray::from("x.png")).collect();
        let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
        for values in [images, paths] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![2; rows.len()]), None).unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// A batch as Python 2's `cPickle` wrote it: protocol 2, byte strings, a numpy array.
fn pickled(label_key: &str, labels: &[u8], rows: usize) -> Vec<u8> {
    let mut out = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x04testq\x03".to_vec();
    out.extend([b'U', label_key.len() as u8]);
    out.extend(label_key.as_bytes());
    out.extend(b"q\x04]q\x05(");
    labels.iter().for_each(|&label| out.extend([b'K', label]));
    out.extend(
        b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09",
    );
    out.extend(b"(K\x01M");
    out.extend((rows as u16).to_le_bytes());
    out.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNN");
    out.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    out.extend(((rows * PIXELS) as u32).to_le_bytes());
    (0..rows).for_each(|row| out.extend(planes(row)));
    out.extend(b"tbU\x09filenamesq\x0c]q\x0d(U\x05a.pngq\x0eU\x05b.pngq\x0feu.");
    out
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

fn assert_rows_are_rows(records: &Records) {
    for (index, pixels) in records.pixels.chunks_exact(PIXELS).enumerate() {
        let expected = planes(index);
        for (row, column) in [(0, 0), (0, 31), (31, 0), (5, 17), (17, 5)] {
            for channel in 0..3 {
                let got = pixels[(row * 32 + column) * 3 + channel];
                assert_eq!(got, expected[channel * 1024 + row * 32 + column], "image {index}, {row}, {column}");
            }
        }
    }
}

#[test]
fn binary_batches_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let ten: Vec<u8> = (0..3).flat_map(|i| [vec![i as u8 + 4], planes(i)].concat()).collect();
    let path = write(folder.path(), "data_batch_1.bin", &ten);
    let records = binary::read(&path, Cifar::Ten, 3).unwrap();
    assert_eq!(records.labels, [4, 5, 6]);
    assert_rows_are_rows(&records);

    let hundred: Vec<u8> = (0..3).flat_map(|i| [vec![i as u8, i as u8 + 90], planes(i)].concat()).collect();
    let path = write(folder.path(), "train.bin", &hundred);
    assert_eq!(binary::read(&path, Cifar::Hundred, 3).unwrap().labels, [90, 91, 92]);
    assert_eq!(binary::read(&path, Cifar::HundredCoarse, 3).unwrap().labels, [0, 1, 2]);
    assert_rows_are_rows(&binary::read(&path, Cifar::Hundred, 3).unwrap());
}

#[test]
fn pickled_batches_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "data_batch_1", &pickled("labels", &[6, 9], 2));
    let records = python::read(&path, Cifar::Ten, 2).unwrap();
    assert_eq!(records.labels, [6, 9]);
    assert_rows_are_rows(&records);
    let path = write(folder.path(), "test", &pickled("coarse_labels", &[6, 19], 2));
    assert_eq!(python::read(&path, Cifar::HundredCoarse, 2).unwrap().labels, [6, 19]);
    let missing = python::read(&path, Cifar::Hundred, 2).unwrap_err().to_string();
    assert!(missing.contains("no entry \"fine_labels\""), "{missing}");
}

/// No beginning of a batch, and no batch with a byte changed in its head, may do worse than an error.
#[test]
fn broken_pickles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = pickled("labels", &[6, 9], 2);
    for length in (0..260).chain((260..whole.len()).step_by(997)) {
        let path = write(folder.path(), "data_batch_1", &whole[..length]);
        let error = python::read(&path, Cifar::Ten, 2).unwrap_err().to_string();
        assert!(error.contains("data_batch_1: not a pickle"), "{length}: {error}");
    }
    for place in 0..230 {
        for change in [1, 0x10, 0x80, 0xff] {
            let mut broken = whole.clone();
            broken[place] ^= change;
            // Some changes do no harm (a name that nobody reads); none may panic.
            let _ = python::read(&write(folder.path(), "data_batch_1", &broken), Cifar::Ten, 2);
        }
    }
    let path = write(folder.path(), "data_batch_1", &pickled("labels", &[6], 2));
    let error = python::read(&path, Cifar::Ten, 2).unwrap_err().to_string();
    assert!(error.contains("expected 2 images") && error.contains("1 labels"), "{error}");
}

#[test]
fn damaged_pickles_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    // Of no images, as what is damaged then is what is read; and of two.
    let files = [pickled("labels", &[], 0), pickled("labels", &[6, 9], 2)];
    crate::mutations::campaign(
        "pickle",
        &files,
        |_| {},
        |bytes| {
            let path = write(folder.path(), "test", bytes);
            [0, 2].into_iter().any(|records| python::read(&path, Cifar::Ten, records).is_ok())
        },
    );
}

/// Each call notes the name of what is called: a long one, called often, would fill the memory.
#[test]
fn long_names_in_pickles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let long = [b"\x80\x02c".to_vec(), vec![b'a'; 60_000], b"\nb\nq\x00".to_vec(), b"h\x00)R".repeat(30_000)].concat();
    let error = python::read(&write(folder.path(), "test", &long), Cifar::Ten, 20).unwrap_err().to_string();
    assert!(error.contains("a name has no end"), "{error}");
    let large = write(folder.path(), "test", &vec![0; 3 << 20]);
    assert!(
        python::read(&large, Cifar::Ten, 2).unwrap_err().to_string().contains("more than the 1.1 MB that are read")
    );
}

/// candle-datasets gives (channel, column, row) here.
#[test]
fn parquet_rows_are_not_transposed() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..5).map(|i| (photo(i), 9 - i as i64)).collect();
    for (image, label, set) in [("img", "label", Cifar::Ten), ("image", "fine_label", Cifar::Hundred)] {
        write(folder.path(), "train-00000-of-00001.parquet", &parquet_bytes(image, label, &rows));
        let set = set.load(folder.path(), Split::Train).unwrap();
        assert_eq!(set.labels(), [9, 8, 7, 6, 5]);
        let records = Records { pixels: (0..5).flat_map(|i| set.pixels(i).to_vec()).collect(), labels: vec![] };
        assert_rows_are_rows(&records);
    }
}

#[test]
fn broken_parquet_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |bytes: &[u8], part: &str| {
        let path = write(folder.path(), "test-0.parquet", bytes);
        let error = parquet::read(&path, Cifar::Ten).map(drop).unwrap_err().to_string();
        assert!(error.contains("test-0.parquet") && error.contains(part), "{error}");
    };
    let good = parquet_bytes("img", "label", &[(photo(0), 1), (photo(1), 2)]);
    fails(&good[..good.len() / 2], "not a readable parquet file");
    fails(b"", "not a readable parquet file");
    fails(&parquet_bytes("picture", "label", &[(photo(0), 1)]), "no column img.bytes or image.bytes");
    fails(&parquet_bytes("img", "label", &[(photo(0), 1), (b"GIF89a".to_vec(), 1)]), "(row 1): not a readable image");
    write(folder.path(), "test-0.parquet", &parquet_bytes("img", "label", &[(photo(0), 10)]));
    let label = Cifar::Ten.load(folder.path(), Split::Test).unwrap_err().to_string();
    assert!(label.contains("record 0 has label 10"), "{label}");
}

#[test]
fn files_of_wrong_size_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cifar-10-batches-bin");
    std::fs::create_dir(&inner).unwrap();
    // Files of zeros that take no room.
    let sized = |name: &str, size| std::fs::File::create(inner.join(name)).unwrap().set_len(size).unwrap();
    sized("test_batch.bin", 30_730_000);
    assert_eq!(Cifar::Ten.load(folder.path(), Split::Test).unwrap().len(), 10_000);
    assert_eq!(Cifar::Ten.load(&inner, Split::Test).unwrap().len(), 10_000, "the folder itself will do");
    let missing = Cifar::Ten.load(folder.path(), Split::Train).unwrap_err().to_string();
    assert!(missing.contains("data_batch_1.bin"), "{missing}");
    for size in [0, 3073, 30_729_999, 30_730_001] {
        sized("test_batch.bin", size);
        let error = Cifar::Ten.load(folder.path(), Split::Test).unwrap_err().to_string();
        let parts = ["test_batch.bin", "expected 30730000 bytes", &format!("found {size};")];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = Cifar::Hundred.load(empty.path(), Split::Test).unwrap_err().to_string();
    assert!(error.contains("no cifar100 test files here") && error.contains("cifar-100-binary"), "{error}");
    assert!(Cifar::Ten.load(&empty.path().join("no"), Split::Test).unwrap_err().to_string().contains("no such folder"));
}

/// Published facts of the real set.
#[test]
fn the_real_set_is_read() {
    let Some(folder) = std::env::var_os("RESNET_TEST_DATA").map(std::path::PathBuf::from) else {
        println!("skipped: RESNET_TEST_DATA is not set");
        return;
    };
    if !folder.join("cifar-10-batches-bin").is_dir() {
        println!("skipped: no cifar-10-batches-bin in {}", folder.display());
        return;
    }
    let set = Cifar::Ten.load(&folder, Split::Test).unwrap();
    assert_eq!(set.len(), 10_000);
    assert_eq!(&set.labels()[..10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    assert_eq!(set.image(0).unwrap().get(0, 0), Some([158, 112, 49]));
    let train = Cifar::Ten.load(&folder, Split::Train).unwrap();
    assert_eq!(&train.labels()[..5], [6, 9, 9, 4, 1]);
    let mean: Vec<f64> = (0..3)
        .map(|c| {
            let values = (0..train.len()).flat_map(|i| train.pixels(i).iter().skip(c).step_by(3));
            values.map(|&v| f64::from(v)).sum::<f64>() / (255.0 * 1024.0 * train.len() as f64)
        })
        .collect();
    for (mean, known) in mean.iter().zip([0.4914, 0.4822, 0.4465]) {
        assert!((mean - known).abs() < 1e-3, "{mean} {known}");
    }
}
