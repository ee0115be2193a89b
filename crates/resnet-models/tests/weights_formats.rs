//! The formats, on files that PyTorch wrote (fixtures/make_fixtures.py).

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use resnet_models::weights::{Checkpoint, Format, LoadOptions, WeightsError, load, load_with, save, save_torch};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expect(checkpoint: &Checkpoint, name: &str, dtype: DType, dims: &[usize], values: &[f64]) {
    let tensor = &checkpoint.tensors[name];
    assert_eq!((tensor.dtype(), tensor.dims()), (dtype, dims), "{name}");
    let found = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(found, values, "{name}");
    assert!(tensor.is_contiguous());
}

#[test]
fn both_forms_of_a_training_checkpoint_read_alike() {
    let eighths = |range: std::ops::Range<u32>| range.map(|n| f64::from(n) / 8.0).collect::<Vec<_>>();
    for (name, format) in [("training_zip.pth", Format::TorchZip), ("training_legacy.th", Format::TorchLegacy)] {
        let read = load(fixture(name)).unwrap();
        assert_eq!(read.format, Some(format));
        assert_eq!(read.entry, "model.state_dict");
        assert_eq!(read.metadata["epoch"], "12");
        assert_eq!(read.metadata["arch"], "resnet20");
        assert_eq!(read.tensors.len(), 19, "{:?}", read.tensors.keys());
        expect(&read, "conv1.weight", DType::F32, &[2, 3, 1, 1], &eighths(0..6));
        expect(&read, "bn1.running_mean", DType::F32, &[2], &[-1.0, -0.875]);
        let transposed = [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0].map(|n| n / 8.0);
        expect(&read, "transposed", DType::F32, &[4, 3], &transposed);
        expect(&read, "view", DType::F32, &[2, 3], &eighths(2..8));
        expect(&read, "tail", DType::F32, &[4], &eighths(8..12));
        expect(&read, "expanded", DType::F32, &[2, 3], &[0.5; 6]);
        expect(&read, "half", DType::F16, &[5], &eighths(0..5));
        expect(&read, "bfloat16", DType::BF16, &[5], &eighths(0..5));
        expect(&read, "double", DType::F64, &[3], &eighths(0..3));
        expect(&read, "long", DType::I64, &[2], &[-1.0, 1_099_511_627_776.0]);
        expect(&read, "int", DType::I32, &[2], &[-3.0, 4.0]);
        expect(&read, "short", DType::I16, &[2], &[-5.0, 6.0]);
        expect(&read, "char", DType::I16, &[2], &[-7.0, 8.0]);
        expect(&read, "byte", DType::U8, &[2], &[9.0, 255.0]);
        expect(&read, "bool", DType::U8, &[3], &[1.0, 0.0, 1.0]);
        expect(&read, "empty", DType::F32, &[0, 3], &[]);
        expect(&read, "scalar", DType::F32, &[], &[1.5]);
        expect(&read, "fc.weight", DType::F32, &[2, 2], &eighths(0..4));
        expect(&read, "fc.bias", DType::F32, &[2], &eighths(0..2));
    }
}

#[test]
fn state_dicts_at_the_top_and_a_file_without_checksums() {
    for name in ["small_zip.pt", "small_legacy.pt"] {
        let read = load(fixture(name)).unwrap();
        assert_eq!((read.entry.as_str(), read.parameters()), ("", 7));
        expect(&read, "a", DType::F32, &[2, 2], &[0.0, 0.125, 0.25, 0.375]);
    }
    let read = load(fixture("uint32_without_checksums.pt")).unwrap();
    expect(&read, "count", DType::U32, &[9], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn an_entry_may_be_asked_for() {
    let from = |entry: &str| {
        let options = LoadOptions { entry: Some(entry.into()), prefix: None, keep_names: true };
        load_with(fixture("training_zip.pth"), &options)
    };
    let read = from("model.state_dict").unwrap();
    assert_eq!(read.entry, "model.state_dict");
    assert!(
        read.tensors.contains_key("module.linear.bias") && read.tensors.contains_key("module.bn1.num_batches_tracked")
    );
    let error = from("modl").unwrap_err().to_string();
    assert!(error.contains("training_zip.pth") && error.contains("did you mean model?"), "{error}");
    assert!(matches!(from("optimizer"), Err(WeightsError::NoStateDict { .. })));
}

#[test]
fn what_is_not_read_is_said() {
    let error = load(fixture("sparse.pt")).unwrap_err().to_string();
    assert!(error.contains("sparse.pt") && error.contains("sparse_tensor"), "{error}");
    // A whole module: its parameters are collected, and nothing of it is run.
    let module = load(fixture("module.pt")).unwrap();
    assert_eq!(module.tensors.keys().collect::<Vec<_>>(), ["bias", "weight"]);
    let error = load("no/such/file.pth").unwrap_err().to_string();
    assert!(error.starts_with("cannot read no/such/file.pth"), "{error}");
    let error = load(env!("CARGO_MANIFEST_DIR")).unwrap_err().to_string();
    assert!(error.contains("a folder without weights"), "{error}");
}

#[test]
fn safetensors_go_out_and_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let read = load(fixture("training_legacy.th")).unwrap();
    let mut tensors: Vec<(String, Tensor)> = read.tensors.into_iter().collect();
    let metadata =
        ["arch", "epoch", "mean", "std", "top1"].map(|key| (key.to_owned(), format!("{key}'s value\n"))).into();
    let (first, second) = (folder.path().join("first.safetensors"), folder.path().join("second.bin"));
    save(&first, &tensors, &metadata).unwrap();
    tensors.reverse();
    save(&second, &tensors, &metadata).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());

    let back = load(&second).unwrap();
    assert_eq!(back.format, Some(Format::Safetensors));
    assert_eq!(back.metadata, metadata);
    assert_eq!(back.tensors.len(), tensors.len());
    for (name, tensor) in &tensors {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        let again = &back.tensors[name];
        assert_eq!((again.dtype(), again.dims()), (tensor.dtype(), tensor.dims()));
        assert_eq!(values(again), values(tensor), "{name}");
    }
    // The crate's own reader, which checks order, gaps and lengths.
    let bytes = std::fs::read(&first).unwrap();
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), tensors.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "temporary files were left behind");
}

#[test]
fn views_are_saved_by_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let tensor = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((2, 3)).unwrap().t().unwrap();
    save(&path, &[("t".into(), tensor)], &Default::default()).unwrap();
    expect(&load(&path).unwrap(), "t", DType::F32, &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn a_file_that_cannot_be_written_leaves_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let one = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let tensors = [("t".to_owned(), one.clone())];
    for path in [folder.path().join("missing/w.safetensors"), folder.path().to_owned(), "/".into()] {
        let error = save(&path, &tensors, &Default::default()).unwrap_err();
        assert!(
            matches!(error, WeightsError::Write { .. }) && error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let path = folder.path().join("w.safetensors");
    std::fs::write(&path, "precious").unwrap();
    let twice = [("t".to_owned(), one.clone()), ("t".to_owned(), one)];
    let error = save(&path, &twice, &Default::default()).unwrap_err();
    assert!(matches!(error, WeightsError::DuplicateName { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files were left behind");
}

#[test]
fn pytorchs_form_goes_out_and_comes_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let read = load(fixture("training_legacy.th")).unwrap();
    let tensors: Vec<(String, Tensor)> = read.tensors.clone().into_iter().collect();
    let (first, second) = (folder.path().join("first.pth"), folder.path().join("second.pth"));
    save_torch(&first, &tensors).unwrap();
    let reversed: Vec<_> = tensors.iter().rev().cloned().collect();
    save_torch(&second, &reversed).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    let again = load(&first).unwrap();
    assert_eq!(again.format, Some(Format::TorchZip));
    assert_eq!(again.tensors.keys().collect::<Vec<_>>(), read.tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &read.tensors {
        let found = &again.tensors[name];
        assert_eq!((found.dtype(), found.dims()), (tensor.dtype(), tensor.dims()), "{name}");
        let text =
            |t: &Tensor| format!("{:?}", t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>());
        assert_eq!(text(found), text(tensor), "{name}");
    }
    let twice = [tensors[0].clone(), tensors[0].clone()];
    assert!(matches!(save_torch(&first, &twice), Err(WeightsError::DuplicateName { .. })));
    let unknown = [("u".to_owned(), Tensor::zeros(2, DType::U32, &Device::Cpu).unwrap())];
    assert!(save_torch(&first, &unknown).unwrap_err().to_string().contains("tensor u"));
    assert!(load(&first).is_ok(), "the older file stays");
}
