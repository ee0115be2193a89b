use candle_core::{DType, Device};

use super::*;

fn var(values: &[f32], dtype: DType) -> Var {
    let t = Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    Var::from_tensor(&t).unwrap()
}

/// A loss whose gradient with respect to the variable is the given tensor.
fn gradients(parameters: &[(String, Var)], wanted: &[Option<Vec<f32>>]) -> Gradients {
    let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
    for ((_, var), g) in parameters.iter().zip(wanted) {
        if let Some(g) = g {
            let g = Tensor::new(&g[..], &Device::Cpu).unwrap().to_dtype(var.dtype()).unwrap();
            let g = g.reshape(var.shape()).unwrap();
            let term = (var.as_tensor() * g).unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap();
            loss = (loss + term).unwrap();
        }
    }
    let mut out = Gradients::new();
    out.add(parameters, loss.backward().unwrap(), 1).unwrap();
    out
}

fn values(var: &Var) -> Vec<f64> {
    var.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Four steps with the gradients sin(0 + 1.5 t), sin(1 + 1.5 t), sin(2 + 1.5 t).
fn four_steps(config: SgdConfig, dtype: DType) -> Vec<f64> {
    let p = var(&[1.0, -2.0, 0.5], dtype);
    let mut sgd = Sgd::new(&[("weight".into(), p.clone())], config).unwrap();
    for t in 0..4 {
        let g = (0..3).map(|i| (i as f32 + 1.5 * t as f32).sin()).collect();
        let g = gradients(&sgd.parameters(), &[Some(g)]);
        sgd.step(&g, 1.0, 0.1).unwrap();
    }
    values(&p)
}

/// The numbers are PyTorch 2.15's:
///
/// ```python
/// import torch
/// for mom, nes, wd in [(0.9, False, 1e-4), (0.9, True, 5e-2), (0.0, False, 1e-2)]:
///     p = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
///     opt = torch.optim.SGD([p], lr=0.1, momentum=mom, nesterov=nes, weight_decay=wd)
///     for t in range(4):
///         p.grad = torch.sin(torch.arange(3) + 1.5 * t)
///         opt.step()
///     print(mom, nes, wd, ["%.9g" % v for v in p.tolist()])
/// ```
#[test]
fn steps_equal_pytorch() {
    let cases = [
        (0.9, false, 1e-4, [0.80053246, -2.23703122, 0.442999154]),
        (0.9, true, 5e-2, [0.749955356, -2.08129334, 0.443013012]),
        (0.0, false, 1e-2, [0.980111063, -1.98947597, 0.516638517]),
    ];
    for (momentum, nesterov, weight_decay, want) in cases {
        let config = SgdConfig { momentum, nesterov, weight_decay, decay_norm_and_bias: true };
        for dtype in [DType::F32, DType::F64] {
            for (got, want) in four_steps(config, dtype).iter().zip(want) {
                assert!((got - want).abs() < 5e-7, "{config:?} {dtype:?}: {got} for {want}");
            }
        }
    }
}

#[test]
fn large_parameters_equal_small_ones() {
    // More than one chunk, so that the threaded path runs.
    let n = 100_003;
    let all: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    let g: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
    let run = |p: &[f32], g: &[f32]| {
        let p = var(p, DType::F32);
        let mut sgd = Sgd::new(&[("w".into(), p.clone())], SgdConfig::default()).unwrap();
        for _ in 0..3 {
            let g = gradients(&sgd.parameters(), &[Some(g.to_vec())]);
            sgd.step(&g, 0.5, 0.1).unwrap();
        }
        p.to_vec1::<f32>().unwrap()
    };
    let whole = run(&all, &g);
    let tail = run(&all[n - 7..], &g[n - 7..]);
    assert_eq!(&whole[n - 7..], &tail[..]);
}

#[test]
fn norms_and_biases_need_not_decay() {
    let config = SgdConfig { decay_norm_and_bias: false, weight_decay: 0.5, momentum: 0.0, nesterov: false };
    let matrix = Var::from_tensor(&Tensor::ones((2, 1), DType::F32, &Device::Cpu).unwrap()).unwrap();
    let named = vec![
        ("fc.weight".to_string(), matrix.clone()),
        ("fc.bias".to_string(), var(&[1.0], DType::F32)),
        ("bn.weight".to_string(), var(&[1.0], DType::F32)),
        ("bn.running_mean".to_string(), var(&[1.0], DType::F32)),
    ];
    let mut sgd = Sgd::new(&named, config).unwrap();
    assert_eq!(sgd.parameters().len(), 3);
    let g = gradients(&sgd.parameters(), &[Some(vec![0.0; 2]), Some(vec![0.0]), Some(vec![0.0])]);
    sgd.step(&g, 1.0, 1.0).unwrap();
    assert_eq!(values(&matrix), [0.5, 0.5]);
    for (name, var) in &named[1..] {
        assert_eq!(values(var), [1.0], "{name}");
    }
}

#[test]
fn a_parameter_without_gradient_stays() {
    let named = vec![("a".to_string(), var(&[1.0], DType::F32)), ("b".to_string(), var(&[1.0], DType::F32))];
    let mut sgd = Sgd::new(&named, SgdConfig::default()).unwrap();
    let g = gradients(&sgd.parameters(), &[Some(vec![1.0]), None]);
    sgd.step(&g, 1.0, 0.1).unwrap();
    assert_ne!(values(&named[0].1), [1.0]);
    assert_eq!(values(&named[1].1), [1.0]);
}

#[test]
fn state_goes_round_and_misshapen_state_is_refused() {
    for dtype in [DType::F32, DType::F64] {
        let step = |sgd: &mut Sgd, g: f32| {
            let g = gradients(&sgd.parameters(), &[Some(vec![g, -g])]);
            sgd.step(&g, 1.0, 0.1).unwrap();
        };
        let (a, b) = (var(&[1.0, 2.0], dtype), var(&[1.0, 2.0], dtype));
        let mut one = Sgd::new(&[("w".into(), a.clone())], SgdConfig::default()).unwrap();
        step(&mut one, 0.3);
        b.set(&a.as_detached_tensor().copy().unwrap()).unwrap();
        let mut two = Sgd::new(&[("w".into(), b.clone())], SgdConfig::default()).unwrap();
        two.load_state(&one.state().unwrap().into_iter().collect()).unwrap();
        step(&mut one, 0.7);
        step(&mut two, 0.7);
        assert_eq!(values(&a), values(&b));

        let wrong = BTreeMap::from([("w".to_string(), Tensor::zeros(3, dtype, &Device::Cpu).unwrap())]);
        let message = two.load_state(&wrong).unwrap_err().to_string();
        assert!(message.contains('w') && message.contains("[3]"), "{message}");
    }
}

#[test]
fn accumulated_batches_weigh_by_their_images() {
    let w = var(&[1.0, 1.0], DType::F32);
    let named = vec![("w".to_string(), w)];
    let mut sum = Gradients::new();
    for (g, images) in [([1.0f32, 0.0], 3), ([0.0, 1.0], 1)] {
        let g = Tensor::new(&g, &Device::Cpu).unwrap();
        let loss = (named[0].1.as_tensor() * g).unwrap().sum_all().unwrap();
        sum.add(&named, loss.backward().unwrap(), images).unwrap();
    }
    let mean = (sum.tensors()[0].as_ref().unwrap() * sum.scale()).unwrap();
    assert_eq!(mean.to_vec1::<f32>().unwrap(), [0.75, 0.25]);
    let norm = (0.75f64 * 0.75 + 0.25 * 0.25).sqrt();
    assert!((sum.norm().unwrap() - norm).abs() < 1e-9);
    let (scale, before) = sum.clipped_scale(norm / 2.0).unwrap();
    assert!((before - norm).abs() < 1e-9);
    assert!((scale / sum.scale() - 0.5).abs() < 1e-5);
    let (scale, _) = sum.clipped_scale(10.0).unwrap();
    assert_eq!(scale, sum.scale());
}

/// A step over the parameters of ResNet-50, timed; prints, and fails only where something is badly wrong.
#[test]
fn a_step_of_25_million_parameters_is_a_matter_of_memory() {
    let n = 25_600_000 / 16;
    let named: Vec<(String, Var)> =
        (0..16).map(|i| (format!("w{i}"), Var::zeros(n, DType::F32, &Device::Cpu).unwrap())).collect();
    let mut sgd = Sgd::new(&named, SgdConfig::default()).unwrap();
    let g = gradients(&named, &vec![Some(vec![1e-3; n]); 16]);
    let seconds = (0..5)
        .map(|_| {
            let start = std::time::Instant::now();
            sgd.step(&g, 1.0, 0.1).unwrap();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{:.1} ms", 1e3 * seconds);
    assert!(seconds < 0.5, "{seconds} s");
}
