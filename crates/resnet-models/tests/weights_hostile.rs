//! Damaged and hostile files: an error each, never a panic, never memory that the file's size does
//! not justify.

use std::path::PathBuf;

use resnet_models::weights::{LoadOptions, WeightsError, load_bytes};

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

/// The number of tensors, or the message, which is checked for naming the file and for keeping to
/// one line.
fn read(bytes: &[u8]) -> Result<usize, String> {
    match load_bytes(bytes, "x.pth", &LoadOptions::default()) {
        Ok(checkpoint) => Ok(checkpoint.tensors.len()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("x.pth"), "does not name the file: {text}");
            assert!(!text.contains('\n'), "more than one line: {text}");
            Err(text)
        }
    }
}

#[test]
fn files_cut_off_anywhere_are_errors() {
    for name in ["small_legacy.pt", "small_zip.pt"] {
        let whole = fixture(name);
        assert_eq!(read(&whole), Ok(2));
        for end in 0..whole.len() {
            let result = read(&whole[..end]);
            assert!(result.is_err(), "{name} cut at {end} of {} was accepted", whole.len());
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for name in ["small_legacy.pt", "small_zip.pt", "sparse.pt", "uint32_without_checksums.pt"] {
        let whole = fixture(name);
        let mut refused = 0;
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                refused += usize::from(read(&bytes).is_err());
            }
        }
        assert!(refused > whole.len() / 4, "{name}: {refused} damaged files refused");
    }
}

#[test]
fn a_flipped_weight_in_the_zip_form_is_found_by_its_checksum() {
    let mut bytes = fixture("small_zip.pt");
    let value = 0.375f32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == value).unwrap();
    bytes[at] ^= 1;
    let error = read(&bytes).unwrap_err();
    assert!(error.contains("damaged") && error.contains("checksum"), "{error}");
}

/// A legacy file around one object's pickle and its storages (key and f32 values).
fn legacy(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
    bytes.extend(object);
    bytes.extend(b"\x80\x02](");
    for (key, _) in storages {
        bytes.extend([b'U', key.len() as u8]);
        bytes.extend(key.as_bytes());
    }
    bytes.extend(b"e.");
    for (_, values) in storages {
        bytes.extend((values.len() as i64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    }
    bytes
}

/// `{NAME: tensor}` over the storage `s` of `len` values; offset, shape and strides as given.
fn one_tensor(name: &str, len: u32, offset: i32, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}".to_vec();
    pickle.extend(b"X");
    pickle.extend((name.len() as u32).to_le_bytes());
    pickle.extend(name.as_bytes());
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuJ");
    pickle.extend(len.to_le_bytes());
    pickle.extend(b"NtQJ");
    pickle.extend(offset.to_le_bytes());
    for values in [shape, stride] {
        pickle.push(b'(');
        for value in values {
            pickle.extend(b"\x8a\x08");
            pickle.extend(value.to_le_bytes());
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89}tRs.");
    pickle
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let values = [1.0f32, 2.0, 3.0, 4.0];
    let load = |len, offset, shape: &[i64], stride: &[i64]| {
        read(&legacy(&one_tensor("w", len, offset, shape, stride), &[("s", &values)]))
    };
    assert_eq!(load(4, 0, &[2, 2], &[2, 1]), Ok(1));
    assert_eq!(load(4, 3, &[1], &[1]), Ok(1));
    assert_eq!(load(4, 0, &[0, i64::MAX / 64], &[1, 1]), Ok(1));
    for (len, offset, shape, stride) in [
        (4, 1, &[2, 2][..], &[2, 1][..]),
        (4, 4, &[1], &[1]),
        (4, -1, &[1], &[1]),
        (4, 0, &[-1], &[1]),
        (4, 0, &[2], &[-1]),
        (4, 0, &[2], &[i64::MAX]),
        (4, 0, &[2, 2], &[i64::MAX, i64::MAX]),
        (4, 0, &[i64::MAX], &[0]),
        (4, 0, &[1 << 40], &[0]),
        (4, 0, &[1 << 32, 1 << 32], &[0, 0]),
        (4, 0, &[0, i64::MAX, i64::MAX], &[1, 1, 1]),
        (4, 0, &[2], &[1, 1]),
        (5, 0, &[5], &[1]),
        (u32::MAX >> 1, 0, &[4], &[1]),
    ] {
        let error = load(len, offset, shape, stride).expect_err(&format!("{len} {offset} {shape:?} {stride:?}"));
        assert!(error.contains("tensor w"), "{error}");
    }
}

#[test]
fn views_of_strides_zero_make_no_terabytes() {
    // 64 values seen as 2^34: within the storage, beyond what the file justifies.
    let values = [0f32; 64];
    let bytes = legacy(&one_tensor("w", 64, 0, &[1 << 34], &[0]), &[("s", &values)]);
    let error = read(&bytes).unwrap_err();
    assert!(error.contains("larger than the file"), "{error}");
}

#[test]
fn storages_that_lie_about_their_length_are_refused() {
    let whole = legacy(&one_tensor("w", 4, 0, &[4], &[1]), &[("s", &[1.0, 2.0, 3.0, 4.0])]);
    for count in [-1i64, 5, i64::MAX, i64::MIN, 1 << 62] {
        let mut bytes = whole.clone();
        let at = bytes.len() - 16 - 8;
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        let error = read(&bytes).unwrap_err();
        assert!(error.contains("storage s"), "{error}");
    }
}

#[test]
fn dicts_that_hold_themselves_end() {
    // d["state_dict"] = d["model"] = d["other"] = d
    let object = b"\x80\x02}q\x00U\x0astate_dicth\x00sU\x05modelh\x00sU\x05otherh\x00s.";
    let error = read(&legacy(object, &[])).unwrap_err();
    assert!(error.contains("no weights found") && error.contains("state_dict, model, other"), "{error}");
    // d1 = {"a": d0, "b": d0}, and so on, sixty times: 2^60 paths to the same few dicts.
    let mut object = b"\x80\x02}q\x00".to_vec();
    for _ in 0..60 {
        object.extend(b"0}U\x01ah\x00sU\x01bh\x00sq\x00");
    }
    object.push(b'.');
    assert!(read(&legacy(&object, &[])).is_err());
}

#[test]
fn names_from_files_cannot_write_to_the_terminal() {
    let name = format!("\x1b[2J\n{}", "w".repeat(5000));
    let bytes = legacy(&one_tensor(&name, 1, 7, &[1], &[1]), &[("s", &[1.0])]);
    let error = read(&bytes).unwrap_err();
    assert!(!error.contains('\x1b') && error.len() < 600, "{error}");
}

#[test]
fn big_endian_and_foreign_protocols_are_refused() {
    let whole = legacy(&one_tensor("w", 1, 0, &[1], &[1]), &[("s", &[1.0])]);
    let header = b"\x80\x02}.";
    let at = whole.windows(4).position(|window| window == header).unwrap();
    let big = [&whole[..at], b"\x80\x02}U\x0dlittle_endian\x89s.", &whole[at + 4..]].concat();
    assert!(read(&big).unwrap_err().contains("big-endian"));
    let other = [&whole[..at - 3], &b"\xe8\x03."[..], &whole[at..]].concat();
    assert!(read(&other).unwrap_err().contains("1001"));
}

#[test]
fn damaged_safetensors_are_errors() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let honest = r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let whole = file(honest, 8);
    assert_eq!(read(&whole), Ok(1));
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let _ = read(&bytes);
        }
    }
    for header in [
        r#"{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
        r#"{"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
        r#"{"t":{"dtype":"F32","shape":[0,18446744073709551615,2],"data_offsets":[0,0]}}"#,
        r#"{"t":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#,
        r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        "{}",
    ] {
        let data = if header.contains("[0,0]") || header == "{}" { 0 } else { 8 };
        assert!(read(&file(header, data)).is_err(), "{header}");
    }
}

#[test]
fn other_files_are_told_apart() {
    let error = load_bytes(b"<html>not found</html>", "x.pth", &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, WeightsError::UnknownFormat { .. }) && error.to_string().contains("web page"), "{error}");
}

/// `{"a": numpy.array([1, -2], dtype)}`, of an order of bytes.
fn one_array(order: u8, values: [[u8; 4]; 2]) -> Vec<u8> {
    let mut pickle =
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR".to_vec();
    pickle.extend(b"(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01");
    pickle.push(order);
    pickle.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08");
    pickle.extend(values.concat());
    pickle.extend(b"tbs.");
    pickle
}

#[test]
fn arrays_of_either_order_are_read_in_either_file() {
    let little = one_array(b'<', [1.0f32.to_le_bytes(), (-2.0f32).to_le_bytes()]);
    let big = one_array(b'>', [1.0f32.to_be_bytes(), (-2.0f32).to_be_bytes()]);
    for pickle in [little, big] {
        for bytes in [pickle.clone(), legacy(&pickle, &[])] {
            let read = load_bytes(&bytes, "x.pkl", &LoadOptions::default()).unwrap();
            assert_eq!(read.tensors["a"].to_vec1::<f32>().unwrap(), [1.0, -2.0]);
        }
    }
}

#[test]
fn tensors_without_values_say_so() {
    let meta = b"\x80\x02}X\x0c\0\0\0conv1.weightctorch._utils\n_rebuild_meta_tensor_no_storage\n)Rs.";
    let error = read(&legacy(meta, &[])).unwrap_err();
    assert!(error.contains("no values (device meta)"), "{error}");
    let dumped = b"\x80\x02}X\x0c\0\0\0conv1.weightctorch._utils\n_rebuild_tensor_v2\n)Rs.";
    let error = read(dumped).unwrap_err();
    assert!(error.contains("pickle.dump wrote") && error.contains("torch.save"), "{error}");
}

#[test]
fn lists_of_state_dicts_have_numbers_for_entries() {
    let one = one_tensor("w", 2, 0, &[2], &[1]);
    let inner = &one[2..one.len() - 1];
    let list = [b"\x80\x02](", inner, inner, b"e."].concat();
    let bytes = legacy(&list, &[("s", &[1.0, 2.0])]);
    let entry = |entry: &str| LoadOptions { entry: Some(entry.into()), ..LoadOptions::default() };
    assert_eq!(load_bytes(&bytes, "x.pth", &entry("1")).unwrap().entry, "1");
    let error = load_bytes(&bytes, "x.pth", &entry("2")).unwrap_err().to_string();
    assert!(error.contains("it has 0, 1"), "{error}");
}
