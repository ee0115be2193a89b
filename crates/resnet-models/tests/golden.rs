//! Every golden file against both interpreters: names, parameter counts, logits, gradients, statistics, losses.
//!
//! The fused engine runs in f32; the portable interpreter in f64, since candle's f32 sums over a whole batch alone lose
//! more than the tolerance of the gradients.
//!
//! The files hold PyTorch's results on weights and inputs that a rule fills (f32, CPU): evaluation logits, the
//! gradient norms and running statistics of the first training step, and the losses of three steps of SGD
//! (lr 0.01, momentum 0.9, weight decay 1e-4 on everything, target of image i = (3 i + 1) mod 10).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ModuleT;
use resnet_models::{Network, Parameters, create};
use resnet_ops::Backend;
use serde::Deserialize;

mod rule;

use rule::filled;

#[derive(Deserialize)]
struct Golden {
    batch: usize,
    size: usize,
    params: usize,
    names: Vec<String>,
    eval_logits: Vec<Vec<f32>>,
    #[serde(default)]
    grad_norms: BTreeMap<String, f64>,
    #[serde(default)]
    running: BTreeMap<String, f64>,
    #[serde(default)]
    train_losses: Vec<f64>,
}

#[derive(Deserialize)]
struct Exact {
    grad_norms: BTreeMap<String, f64>,
    train_losses: Vec<f64>,
}

fn dtype(backend: Backend) -> DType {
    match backend {
        Backend::Auto => DType::F32,
        Backend::Portable => DType::F64,
    }
}

fn scalar(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn network(arch: &str, classes: Option<usize>, backend: Backend) -> (Network, Parameters) {
    let parameters = Parameters::zeros(dtype(backend), &Device::Cpu);
    let network = create(arch, parameters.builder(), classes).unwrap().with_backend(backend);
    for (name, var) in parameters.named() {
        var.set(&filled(&name, var.dims(), dtype(backend))).unwrap();
    }
    (network, parameters)
}

fn check(file: &str, arch: &str, backend: Backend) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (net, parameters) = network(arch, None, backend);

    let mut names: Vec<_> = parameters.named().iter().map(|(n, v)| format!("{n} {:?}", v.dims())).collect();
    let mut expected = golden.names.clone();
    names.sort();
    expected.sort();
    assert_eq!(names, expected, "{file}: names and shapes");
    assert_eq!(parameters.trainable().iter().map(|(_, v)| v.elem_count()).sum::<usize>(), golden.params, "{file}");

    let x = filled("input", &[golden.batch, 3, golden.size, golden.size], dtype(backend));
    let logits = net.forward_t(&x, false).unwrap().narrow(1, 0, 10).unwrap();
    let logits = logits.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
    let largest = golden.eval_logits.iter().flatten().fold(0f32, |m, v| m.max(v.abs()));
    for (ours, theirs) in logits.iter().flatten().zip(golden.eval_logits.iter().flatten()) {
        assert!((ours - theirs).abs() <= 1e-4 * largest, "{file}: logit {ours}, expected {theirs}");
    }
    assert_eq!(logits.len(), golden.eval_logits.len());

    // See golden/tv_resnet50_f64.py: in f32 this network's gradients are determined to about one per cent, and its later
    // losses less; in f64 all are. The other networks are compared with their golden files themselves.
    let exact: Exact = serde_json::from_str(include_str!("golden/tv_resnet50_f64.json")).unwrap();
    let (norms, losses, tolerance, loss_tolerances) = match (arch, backend) {
        ("resnet50", Backend::Portable) => (&exact.grad_norms, &exact.train_losses, 1e-6, [1e-6; 3]),
        ("resnet50", Backend::Auto) => (&exact.grad_norms, &exact.train_losses, 2e-2, [1e-3, 5e-2, 0.2]),
        // An activation lies so close to zero that inputs changed by 3e-6 turn its sign, which moves norms by 0.62 %.
        ("preact_resnet20", Backend::Auto) => (&golden.grad_norms, &golden.train_losses, 1e-2, [1e-3; 3]),
        _ => (&golden.grad_norms, &golden.train_losses, 1e-3, [1e-3; 3]),
    };
    let targets: Vec<u32> = (0..golden.batch as u32).map(|i| (3 * i + 1) % 10).collect();
    let targets = Tensor::new(targets, &Device::Cpu).unwrap();
    let mut momenta: HashMap<String, Tensor> = HashMap::new();
    for (step, expected) in losses.iter().take(golden.train_losses.len()).enumerate() {
        let loss = candle_nn::loss::cross_entropy(&net.forward_t(&x, true).unwrap(), &targets).unwrap();
        let value = scalar(&loss);
        assert!(
            (value - expected).abs() <= loss_tolerances[step] * expected,
            "{file}: loss {value}, expected {expected}"
        );
        let gradients = loss.backward().unwrap();
        if step == 0 {
            for (name, expected) in &golden.running {
                let sum = scalar(&parameters.get(name).unwrap().sum_all().unwrap());
                let scale = expected.abs().max(1.);
                assert!((sum - expected).abs() <= 1e-4 * scale, "{file}: {name} sums to {sum}, expected {expected}");
            }
        }
        for (name, var) in parameters.trainable() {
            let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
            if step == 0 {
                let norm = scalar(&gradient.sqr().unwrap().sum_all().unwrap()).sqrt();
                let expected = norms[&name];
                let error = (norm - expected).abs();
                assert!(error <= tolerance * expected, "{file}: |grad {name}| = {norm}, expected {expected}");
            }
            momentum_step(&var, gradient, &mut momenta, &name);
        }
    }
    if !golden.train_losses.is_empty() {
        assert_eq!(golden.grad_norms.len(), parameters.trainable().len(), "{file}: all gradients compared");
    }
}

fn momentum_step(var: &Var, gradient: &Tensor, momenta: &mut HashMap<String, Tensor>, name: &str) {
    let decayed = (gradient + (var.as_detached_tensor() * 1e-4).unwrap()).unwrap();
    let buffer = match momenta.remove(name) {
        Some(buffer) => ((buffer * 0.9).unwrap() + decayed).unwrap(),
        None => decayed,
    };
    var.set(&(var.as_detached_tensor() - (&buffer * 0.01).unwrap()).unwrap()).unwrap();
    momenta.insert(name.to_string(), buffer.detach());
}

macro_rules! golden {
    ($($name:ident: $file:literal, $arch:literal;)*) => {
        mod fused {
            $(#[test] fn $name() { super::check($file, $arch, super::Backend::Auto); })*
        }
        mod portable {
            $(#[test] fn $name() { super::check($file, $arch, super::Backend::Portable); })*
        }
    };
}

golden! {
    cifar_plain20: "cifar_plain20.json", "plain20";
    cifar_resnet20: "cifar_resnet20.json", "resnet20";
    cifar_preact20: "cifar_preact20.json", "preact_resnet20";
    tv_resnet18: "tv_resnet18.json", "resnet18";
    tv_resnet50: "tv_resnet50.json", "resnet50";
    tv_resnet152: "tv_resnet152.json", "resnet152";
}
