//! Weights into variables: names, shapes, dtypes, values that are not finite, all or nothing.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use resnet_models::weights::{AssignOptions, Checkpoint, WeightsError, assign, load, save};

fn values(var: &Var) -> Vec<f32> {
    var.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

fn zeros(names: &[(&str, &[usize], DType)]) -> Vec<(String, Var)> {
    let var = |&(name, dims, dtype): &(&str, &[usize], DType)| {
        (name.to_owned(), Var::zeros(dims, dtype, &Device::Cpu).unwrap())
    };
    names.iter().map(var).collect()
}

fn checkpoint(tensors: &[(&str, &[usize])]) -> Checkpoint {
    let tensor =
        |&(name, dims): &(&str, &[usize])| (name.to_owned(), Tensor::ones(dims, DType::F32, &Device::Cpu).unwrap());
    let tensors: BTreeMap<String, Tensor> = tensors.iter().map(tensor).collect();
    Checkpoint { file: "net.pth".into(), ..tensors.into() }
}

fn all_zero(targets: &[(String, Var)]) -> bool {
    targets.iter().all(|(_, var)| values(var).iter().all(|&value| value == 0.0))
}

const LAX: AssignOptions = AssignOptions { strict: false, prefix: None, except: Vec::new() };

#[test]
fn values_are_converted_to_the_variables_dtypes() {
    let targets = zeros(&[("a", &[2], DType::BF16), ("b", &[2, 3], DType::F64), ("c", &[1], DType::F16)]);
    let source = checkpoint(&[("a", &[2]), ("b", &[2, 3]), ("c", &[1]), ("bn1.num_batches_tracked", &[])]);
    let report = assign(&source, &targets, &AssignOptions::default()).unwrap();
    assert_eq!((report.assigned, report.values), (3, 9));
    assert!(report.missing.is_empty() && report.unexpected.is_empty());
    assert!(targets.iter().all(|(_, var)| values(var).iter().all(|&value| value == 1.0)));
}

#[test]
fn every_difference_is_listed_and_nothing_changes() {
    let targets = zeros(&[
        ("conv1.weight", &[4, 3], DType::F32),
        ("bn1.weight", &[4], DType::F32),
        ("fc.weight", &[10, 4], DType::F32),
        ("fc.bias", &[10], DType::F32),
    ]);
    let source =
        checkpoint(&[("conv1.weight", &[4, 3]), ("bn1.wieght", &[4]), ("fc.weight", &[5, 4]), ("extra", &[1])]);
    for options in [AssignOptions::default(), LAX] {
        let error = assign(&source, &targets, &options).unwrap_err();
        let text = error.to_string();
        for part in [
            "net.pth does not fit",
            "2 missing: bn1.weight, fc.bias",
            "2 unexpected: bn1.wieght (meant bn1.weight?), extra;",
            "1 misshapen: fc.weight (expected [10, 4], found [5, 4])",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        let WeightsError::Mismatch(mismatch) = error else { panic!("{error}") };
        assert_eq!(mismatch.fitting, 1);
        assert!(all_zero(&targets));
    }
}

#[test]
fn lax_and_excepted_names_are_reported() {
    let targets = zeros(&[("a", &[2], DType::F32), ("b", &[2], DType::F32), ("fc.weight", &[10, 2], DType::F32)]);
    let source = checkpoint(&[("a", &[2]), ("fc.weight", &[1000, 2]), ("fc.bias", &[1000]), ("z", &[1])]);
    let options = AssignOptions { except: vec!["fc.".into()], ..LAX };
    let report = assign(&source, &targets, &options).unwrap();
    assert_eq!(report.assigned, 1);
    assert_eq!(
        (report.missing, report.unexpected, report.excepted),
        (vec!["b".into()], vec!["z".into()], vec!["fc.weight".into()])
    );
    assert_eq!(values(&targets[0].1), [1.0, 1.0]);
    assert_eq!(values(&targets[2].1), [0.0; 20]);

    let foreign = checkpoint(&[("x", &[2])]);
    let error = assign(&foreign, &targets, &LAX).unwrap_err().to_string();
    assert!(error.contains("not one name fits"), "{error}");
}

#[test]
fn one_of_two_parts_is_assigned_by_its_prefix() {
    let targets = zeros(&[("a", &[2], DType::F32)]);
    let source = checkpoint(&[("encoder_q.a", &[2]), ("encoder_k.a", &[2]), ("queue", &[9])]);
    let with = |prefix: &str| AssignOptions { prefix: Some(prefix.into()), ..AssignOptions::default() };
    assert!(assign(&source, &targets, &AssignOptions::default()).is_err());
    assert_eq!(assign(&source, &targets, &with("encoder_q")).unwrap().assigned, 1);
    let error = assign(&source, &targets, &with("encoder")).unwrap_err().to_string();
    assert!(error.contains("net.pth") && error.contains("encoder."), "{error}");
}

#[test]
fn values_that_are_not_finite_are_refused_before_any_change() {
    let targets = zeros(&[("a", &[2], DType::F32), ("b", &[4], DType::F16)]);
    let mut source = checkpoint(&[("a", &[2])]);
    let with = |source: &mut Checkpoint, values: [f64; 4]| {
        source.tensors.insert("b".into(), Tensor::new(&values, &Device::Cpu).unwrap());
    };
    with(&mut source, [f64::NAN, f64::INFINITY, 1.0, f64::NEG_INFINITY]);
    let error = assign(&source, &targets, &AssignOptions::default()).unwrap_err();
    assert!(error.to_string().contains("tensor b in net.pth is not finite: 1 NaN and 2 infinite of 4"), "{error}");
    assert!(all_zero(&targets));

    with(&mut source, [1e6, 1.0, 1.0, -1e300]);
    let error = assign(&source, &targets, &AssignOptions::default()).unwrap_err();
    assert!(matches!(&error, WeightsError::Overflow { overflowing: 2, .. }), "{error}");
    assert!(all_zero(&targets));

    with(&mut source, [0.5; 4]);
    assert_eq!(assign(&source, &targets, &AssignOptions::default()).unwrap().assigned, 2);
}

#[test]
fn variances_below_zero_and_whole_numbers_are_refused_before_any_change() {
    let targets =
        zeros(&[("a", &[2], DType::F32), ("bn1.running_var", &[3], DType::F32), ("conv1.weight", &[1, 2], DType::F32)]);
    let whole = checkpoint(&[("a", &[2]), ("bn1.running_var", &[3]), ("conv1.weight", &[1, 2])]);
    let with = |name: &str, tensor: Tensor| {
        let mut source = whole.clone();
        source.tensors.insert(name.into(), tensor);
        let error = assign(&source, &targets, &AssignOptions::default()).unwrap_err().to_string();
        assert!(all_zero(&targets));
        error
    };
    let error = with("bn1.running_var", Tensor::new(&[1f32, -1e-3, -2.0], &Device::Cpu).unwrap());
    assert!(error.contains("tensor bn1.running_var in net.pth has 2 of 3 values below 0"), "{error}");
    let error = with("conv1.weight", Tensor::new(&[[1u8, 2]], &Device::Cpu).unwrap());
    assert!(error.contains("tensor conv1.weight in net.pth is of u8"), "{error}");
    assert_eq!(assign(&whole, &targets, &AssignOptions::default()).unwrap().assigned, 3);
}

#[test]
fn a_variables_own_tensor_can_be_assigned_to_it() {
    let targets = zeros(&[("a", &[2], DType::F32)]);
    let own: BTreeMap<String, Tensor> = [("a".to_owned(), targets[0].1.as_tensor().clone())].into();
    assert_eq!(assign(&own.into(), &targets, &AssignOptions::default()).unwrap().assigned, 1);
}

#[test]
fn what_is_loaded_stays_when_the_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let write = |value: f32| {
        let tensor = Tensor::new(&[value], &Device::Cpu).unwrap();
        save(&path, &[("a".into(), tensor)], &Default::default()).unwrap();
    };
    write(1.0);
    let source = load(&path).unwrap();
    write(2.0);
    let targets = zeros(&[("a", &[1], DType::F32)]);
    assign(&source, &targets, &AssignOptions::default()).unwrap();
    assert_eq!(values(&targets[0].1), [1.0]);
}
