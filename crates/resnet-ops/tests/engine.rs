//! The fused engine against the portable interpreter (in f64) on random shapes, on every instruction set that this
//! machine has, and both against finite differences.

use std::sync::{PoisonError, RwLock};

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;
use resnet_ops::graph::{DropUnit, NormParameters, Spread};
use resnet_ops::{
    AvgPoolConfig, Backend, ConvConfig, Graph, GraphBuilder, Inference, Isa, NormConfig, PoolConfig, Value, force_isa,
};

/// The instruction set in use, which all tests of this process share.
static ISA: RwLock<()> = RwLock::new(());

/// Computes something on the given instruction set, while no other test does so on another.
fn on<R>(isa: Isa, compute: impl FnOnce() -> R) -> R {
    let _alone = ISA.write().unwrap_or_else(PoisonError::into_inner);
    force_isa(Some(isa));
    let result = compute();
    force_isa(None);
    result
}

/// Repeatable values in ±1.
fn noise(dims: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let values: Vec<f32> = (0..dims.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608. - 1.
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Variables of a test network, made in f32 and copied to f64.
struct Vars {
    dtype: DType,
    seed: u32,
    all: Vec<Var>,
}

impl Vars {
    fn new(dtype: DType) -> Self {
        Self { dtype, seed: 0, all: Vec::new() }
    }
    fn var(&mut self, dims: &[usize]) -> Tensor {
        self.seed += 1;
        let var = Var::from_tensor(&noise(dims, self.seed).to_dtype(self.dtype).unwrap()).unwrap();
        self.all.push(var.clone());
        var.as_tensor().clone()
    }
    fn norm(&mut self, channels: usize) -> NormParameters {
        let buffer = |value: f64| {
            let full = (Tensor::ones(channels, self.dtype, &Device::Cpu).unwrap() * value).unwrap();
            Var::from_tensor(&full).unwrap()
        };
        let (running_mean, running_var) = (buffer(0.1), buffer(0.7));
        NormParameters {
            weight: Some(self.var(&[channels])),
            bias: Some(self.var(&[channels])),
            running_mean,
            running_var,
            config: NormConfig::default(),
        }
    }
}

type Build = dyn Fn(&mut GraphBuilder, &mut Vars) -> Value;

/// Output, gradient of the input, gradients of all variables, running statistics are left out.
fn run(build: &Build, dims: &[usize], dtype: DType, backend: Backend, train: bool) -> Result<Vec<Tensor>> {
    run_computing_in(DType::F32, build, dims, dtype, backend, train)
}

fn run_computing_in(
    compute: DType,
    build: &Build,
    dims: &[usize],
    dtype: DType,
    backend: Backend,
    train: bool,
) -> Result<Vec<Tensor>> {
    let mut vars = Vars::new(dtype);
    let mut graph = Graph::builder();
    let output = build(&mut graph, &mut vars);
    let graph = graph.finish(output).with_backend(backend).with_compute_dtype(compute);
    graph.noise().set(3, 5);
    let x = Var::from_tensor(&noise(dims, 99).to_dtype(dtype)?)?;
    let y = graph.forward_t(x.as_tensor(), train)?;
    let weights = noise(y.dims(), 77).to_dtype(dtype)?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut all = vec![y];
    for var in std::iter::once(&x).chain(&vars.all) {
        all.push(gradients.get(var.as_tensor()).expect("every variable has a gradient").clone());
    }
    Ok(all)
}

fn compare(build: &Build, dims: &[usize], train: bool) {
    let reference = run(build, dims, DType::F64, Backend::Portable, train).unwrap();
    for isa in Isa::available() {
        let ours = on(isa, || run(build, dims, DType::F32, Backend::Auto, train)).unwrap();
        assert_eq!(ours.len(), reference.len());
        for (i, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
            assert_eq!(ours.dims(), reference.dims());
            let difference = (ours.to_dtype(DType::F64).unwrap() - reference).unwrap().abs().unwrap();
            let largest = |t: &Tensor| t.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            let scale = largest(&reference.abs().unwrap()).max(1.);
            let error = largest(&difference);
            assert!(error <= 2e-4 * scale, "{isa:?}, result {i} of {dims:?}: off by {error}, scale {scale}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn convolution_equals_portable(
        n in 1usize..4, (h, w) in (1usize..14, 1usize..14), groups in 1usize..4, cg in 1usize..20, og in 1usize..40,
        (kh, kw) in (1usize..5, 1usize..5), stride in (1usize..4, 1usize..4), dilation in (1usize..3, 1usize..3),
        pad in (0usize..3, 0usize..3), bias: bool,
    ) {
        let config = ConvConfig {
            stride,
            padding: (pad.0.min(dilation.0 * (kh - 1)), pad.1.min(dilation.1 * (kw - 1))),
            dilation,
            groups,
        };
        prop_assume!(config.output_size((h, w), (kh, kw)).is_ok());
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let weight = v.var(&[og * groups, cg, kh, kw]);
            let bias = bias.then(|| v.var(&[og * groups]));
            g.conv("conv", g.input(), &weight, bias.as_ref(), config)
        };
        compare(&build, &[n, cg * groups, h, w], true);
    }

    #[test]
    fn max_pool_equals_portable(
        n in 1usize..3, c in 1usize..20, (h, w) in (2usize..12, 2usize..12),
        kernel in (1usize..4, 1usize..4), stride in (1usize..4, 1usize..4),
    ) {
        let config = PoolConfig { kernel, stride, padding: (kernel.0 / 2, kernel.1 / 2) };
        prop_assume!(config.output_size((h, w)).is_ok());
        compare(&move |g, _| g.max_pool("pool", g.input(), config), &[n, c, h, w], true);
    }

    #[test]
    fn average_pool_equals_portable(
        n in 1usize..3, c in 1usize..20, (h, w) in (1usize..12, 1usize..12),
        kernel in (1usize..4, 1usize..4), stride in (1usize..4, 1usize..4), pad: bool, ceil: bool,
    ) {
        let padding = if pad { (kernel.0 / 2, kernel.1 / 2) } else { (0, 0) };
        let config = AvgPoolConfig { kernel, stride, padding, ceil };
        prop_assume!(config.output_size((h, w)).is_ok());
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let y = g.norm("bn", g.input(), &v.norm(c));
            let y = g.relu(y);
            g.avg_pool("pool", y, config)
        };
        compare(&build, &[n, c, h, w], n * h * w > 1);
    }

    #[test]
    fn pointwise_operations_and_escapes_equal_portable(
        n in 1usize..4, (h, w) in (2usize..7, 2usize..7), c in 1usize..20, kind in 0usize..15, train: bool,
    ) {
        compare(&move |g, v| between_convolutions(g, v, 2 * c, n, kind), &[n, 3, h, w], train);
    }

    #[test]
    fn a_residual_block_equals_portable(
        n in 1usize..4, (h, w) in (2usize..9, 2usize..9), c in 1usize..36, wide in 0usize..20, stride in 1usize..3,
        kind in 0usize..4, train: bool,
    ) {
        // Of two values a channel batch norm makes ±1, whatever they are: their gradients are differences of rounding.
        prop_assume!(n * h.div_ceil(stride) * w.div_ceil(stride) > 3);
        let build = move |g: &mut GraphBuilder, v: &mut Vars| residual_block(g, v, c, c + wide, stride, kind);
        compare(&build, &[n, c, h, w], train);
    }
}

/// One of the rarer operations with convolutions and norms on both sides, so that it meets views and statistics.
fn between_convolutions(g: &mut GraphBuilder, v: &mut Vars, c: usize, n: usize, kind: usize) -> Value {
    let weight = v.var(&[c, 3, 3, 3]);
    let y = g.conv("before", g.input(), &weight, None, ConvConfig::square(1, 1));
    let y = g.norm("bn1", y, &v.norm(c));
    let x = g.relu(y);
    let pixel_weight = v.var(&[1, c, 1, 1]);
    let gate_weight = v.var(&[c, c, 1, 1]);
    let channel_weight = v.var(&[1, 1, 3]);
    let (scale, shift) = (v.var(&[c]), v.var(&[c]));
    let y = match kind {
        0 => g.affine(x, -0.5, 1.),
        1 => g.sigmoid(y),
        2 => g.mul(x, y),
        3 => g.mul(x, x),
        4 => g.dropout(x, 0.4, DropUnit::Value),
        5 => g.dropout(y, 0.4, DropUnit::Image),
        6 => {
            // Squeeze and excitation, whose pool and product read one view.
            let s = g.global_avg_pool("squeeze", y);
            let s = g.conv("excite", s, &gate_weight, Some(&shift), ConvConfig::default());
            let s = g.sigmoid(s);
            g.mul(y, s)
        }
        7 => {
            let s = g.global_avg_pool("squeeze", x);
            let s = g.channel_conv("eca", s, &channel_weight);
            let s = g.sigmoid(s);
            g.mul(x, s)
        }
        8 => {
            let s = g.conv("pixels", x, &pixel_weight, None, ConvConfig::default());
            let s = g.sigmoid(s);
            g.mul(x, s)
        }
        9 => g.group_norm("gn", x, (&scale, &shift), 2, 1e-5),
        10 => g.blur_pool("blur", x, 2),
        11 => g.divide_by_spread("deviation", y, Spread::Deviation, 2, 1e-3),
        12 => g.divide_by_spread("rms", x, Spread::RootMeanSquare, c, 1e-3),
        13 => {
            let y = g.channel_affine("scaled", y, &scale, None);
            g.channel_floor("floor", y, &shift)
        }
        _ => {
            let y = g.zero_pad(y, (1, 2));
            g.max_pool("pool", y, PoolConfig::square(3, 2, 0))
        }
    };
    // What this kind has no use for still gets a gradient.
    let used = g.standardized_conv("gates", y, &gate_weight, 1e-8, ConvConfig::default());
    let s = g.conv("s", used, &pixel_weight, None, ConvConfig::default());
    let used = g.mul(used, s);
    let used = g.group_norm("last", used, (&scale, &shift), 2, 1e-3);
    let used = g.channel_affine("affine", used, &scale, Some(&shift));
    let y = g.global_avg_pool("avg", used);
    let y = g.channel_conv("eca", y, &channel_weight);
    let rest = g.given(&v.var(&[n, c, 1, 1]));
    g.add(y, rest)
}

/// Original or pre-activation order, shortcut A or B.
fn residual_block(g: &mut GraphBuilder, v: &mut Vars, c: usize, o: usize, stride: usize, kind: usize) -> Value {
    let three = |stride| ConvConfig::square(stride, 1);
    let (pre, projection) = (kind % 2 == 1, kind / 2 == 1);
    // A convolution in front, so that the block's input is a value of the engine's own.
    let stem = v.var(&[c, c, 1, 1]);
    let x = g.conv("stem", g.input(), &stem, None, ConvConfig::default());
    let shortcut = |g: &mut GraphBuilder, v: &mut Vars, x: Value| {
        if projection {
            let weight = v.var(&[o, c, 1, 1]);
            let y = g.conv("down", x, &weight, None, ConvConfig::square(stride, 0));
            if pre { y } else { g.norm("downbn", y, &v.norm(o)) }
        } else {
            let y = g.subsample(x, (stride, stride));
            g.pad_channels(y, (o - c) / 2, o - c - (o - c) / 2)
        }
    };
    let sum = if pre {
        let y = g.norm("bn1", x, &v.norm(c));
        let y = g.relu(y);
        let weight = v.var(&[o, c, 3, 3]);
        let y = g.conv("conv1", y, &weight, None, three(stride));
        let around = shortcut(g, v, x);
        g.add(y, around)
    } else {
        let weight = v.var(&[o, c, 3, 3]);
        let y = g.conv("conv1", x, &weight, None, three(stride));
        let y = g.norm("bn1", y, &v.norm(o));
        let y = g.relu(y);
        let weight = v.var(&[o, o, 3, 3]);
        let y = g.conv("conv2", y, &weight, None, three(1));
        let y = g.norm("bn2", y, &v.norm(o));
        let around = shortcut(g, v, x);
        let y = g.add(y, around);
        g.relu(y)
    };
    let y = g.norm("last", sum, &v.norm(o));
    let y = g.relu(y);
    let y = g.global_avg_pool("pool", y);
    let (weight, bias) = (v.var(&[5, o]), v.var(&[5]));
    g.linear("fc", y, &weight, Some(&bias))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Winograd's algorithm included: it runs from 32 channels and 14 squares of 4 pixels on.
    #[test]
    fn inference_equals_evaluation(
        n in 1usize..4, (h, w) in (4usize..19, 4usize..19), c in prop::sample::select(vec![3usize, 16, 32, 48, 64]),
        wide in prop::sample::select(vec![0usize, 5, 16, 32]), stride in 1usize..3, kind in 0usize..4,
    ) {
        let build = move |dtype: DType| {
            let (mut g, mut v) = (Graph::builder(), Vars::new(dtype));
            let output = residual_block(&mut g, &mut v, c, c + wide, stride, kind);
            g.finish(output)
        };
        let x = noise(&[n, c, h, w], 5).to_dtype(DType::F64).unwrap();
        let reference = build(DType::F64).with_backend(Backend::Portable).forward_t(&x, false).unwrap();
        for (compute, tolerance) in [(DType::F32, 2e-4), (DType::BF16, 0.05)] {
            let graph = build(DType::F32).with_compute_dtype(compute);
            for isa in Isa::available() {
                let inference = Inference::new(&graph).unwrap();
                let ours = on(isa, || inference.forward(&x.to_dtype(DType::F32).unwrap()));
                prop_assert!(inference.is_folded());
                let difference = (ours.unwrap().to_dtype(DType::F64).unwrap() - &reference).unwrap().abs().unwrap();
                let largest = |t: &Tensor| t.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
                let (error, scale) = (largest(&difference), largest(&reference.abs().unwrap()).max(1.));
                prop_assert!(error <= tolerance * scale, "{isa:?}, {compute:?}: off by {error}, scale {scale}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Winograd's algorithm in training: with AVX2 from 32 channels and 64 squares of 4 pixels on.
    #[test]
    fn large_maps_and_batches(
        (n, h, w) in prop_oneof![(1usize..3, 29usize..50, 29usize..50), (16usize..22, 5usize..9, 5usize..9)],
        c in prop::sample::select(vec![32usize, 48, 64]), o in prop::sample::select(vec![32usize, 80]), bias in any::<bool>(),
    ) {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let x = g.norm("bn", g.input(), &v.norm(c));
            let (weight, bias) = (v.var(&[o, c, 3, 3]), bias.then(|| v.var(&[o])));
            g.conv("conv", x, &weight, bias.as_ref(), ConvConfig::square(1, 1))
        };
        compare(&build, &[n, c, h, w], true);
        compare_in_bf16(&build, &[n, c, h, w]);
    }
}

/// Small integers and their products are exact in bf16, and so are sums in f32: only what is stored in bf16 is rounded.
fn integers(dims: &[usize], span: u32, seed: u32) -> Tensor {
    let len = dims.iter().product::<usize>() as u32;
    let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16) % (2 * span + 1);
    let values: Vec<f64> = (0..len).map(|i| f64::from(value(i)) - f64::from(span)).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn bf16_products_are_summed_exactly(
        n in 1usize..4, (h, w) in (1usize..10, 1usize..10), c in prop::sample::select(vec![1usize, 2, 3, 5, 16, 17, 32, 40]),
        o in prop::sample::select(vec![1usize, 4, 17, 32, 65]), kernel in prop::sample::select(vec![1usize, 3]),
        stride in 1usize..3, grouped in any::<bool>(),
    ) {
        let groups = if grouped { 2 } else { 1 };
        let config = ConvConfig { groups, ..ConvConfig::square(stride, kernel / 2) };
        let run = |compute: DType, dtype: DType, backend: Backend| -> Result<Vec<Tensor>> {
            let x = Var::from_tensor(&integers(&[n, c * groups, h, w], 2, 1).to_dtype(dtype)?)?;
            let weight = Var::from_tensor(&integers(&[o * groups, c, kernel, kernel], 1, 2).to_dtype(dtype)?)?;
            let mut graph = Graph::builder();
            let y = graph.conv("conv", graph.input(), weight.as_tensor(), None, config);
            let graph = graph.finish(y).with_backend(backend).with_compute_dtype(compute);
            let y = graph.forward_t(x.as_tensor(), true)?;
            let gradients = (&y * integers(y.dims(), 1, 3).to_dtype(dtype)?)?.sum_all()?.backward()?;
            let gradient = |var: &Var| gradients.get(var.as_tensor()).unwrap().to_dtype(DType::F64);
            Ok(vec![y.to_dtype(DType::F64)?, gradient(&x)?, gradient(&weight)?])
        };
        let infer = || -> Result<Tensor> {
            let weight = integers(&[o * groups, c, kernel, kernel], 1, 2).to_dtype(DType::F32)?;
            let mut graph = Graph::builder();
            let y = graph.conv("conv", graph.input(), &weight, None, config);
            let inference = Inference::new(&graph.finish(y).with_compute_dtype(DType::BF16))?;
            inference.forward(&integers(&[n, c * groups, h, w], 2, 1).to_dtype(DType::F32)?)?.to_dtype(DType::F64)
        };
        let reference = run(DType::F32, DType::F64, Backend::Portable).unwrap();
        for isa in Isa::available() {
            let (ours, inferred) = on(isa, || (run(DType::BF16, DType::F32, Backend::Auto), infer()));
            let difference = (inferred.unwrap() - &reference[0]).unwrap().abs().unwrap();
            let excess = (difference - (reference[0].abs().unwrap() / 256.).unwrap()).unwrap();
            let excess = excess.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            // Where bf16 is not multiplied, inference is in f32 with Winograd's algorithm, whose fractions are rounded.
            prop_assert!(excess <= 1e-3, "{isa:?}: inference is off by {excess} more than rounding");
            for (i, (ours, reference)) in ours.unwrap().iter().zip(&reference).enumerate() {
                let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                for (ours, expected) in values(ours).into_iter().zip(values(reference)) {
                    let allowed = if i == 2 { 0. } else { expected.abs() / 256. };
                    prop_assert!((ours - expected).abs() <= allowed, "{isa:?}, result {i}: {ours}, expected {expected}");
                }
            }
        }
    }
}

/// bf16 keeps eight bits, and rounding moves some values across a ReLU: the whole of each result is compared, not value
/// by value. (A wrong term in a gradient is off by half and more.)
fn compare_in_bf16(build: &Build, dims: &[usize]) {
    let reference = run(build, dims, DType::F64, Backend::Portable, true).unwrap();
    for isa in Isa::available() {
        let ours = on(isa, || run_computing_in(DType::BF16, build, dims, DType::F32, Backend::Auto, true));
        for (i, (ours, reference)) in ours.unwrap().iter().zip(&reference).enumerate() {
            let norm = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
            let error = norm(&(ours.to_dtype(DType::F64).unwrap() - reference).unwrap());
            let scale = norm(reference).max(0.5);
            assert!(error <= 0.25 * scale, "{isa:?}, result {i} of {dims:?}: {error} of {scale}");
        }
    }
}

#[test]
fn bf16_activations_stay_close() {
    for kind in 0..4 {
        for (c, wide, stride) in [(16, 16, 2), (17, 5, 1)] {
            let build = move |g: &mut GraphBuilder, v: &mut Vars| residual_block(g, v, c, c + wide, stride, kind);
            compare_in_bf16(&build, &[4, c, 8, 8]);
        }
    }
}

/// A value that nothing depends on once kept the gradients of what it was made of from coming.
#[test]
fn values_that_are_not_used_change_nothing() {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let x = g.conv("a", g.input(), &v.var(&[4, 3, 1, 1]), None, ConvConfig::default());
        let y = g.conv("b", x, &v.var(&[4, 4, 1, 1]), None, ConvConfig::default());
        let dead = g.add(x, y);
        g.relu(dead);
        y
    };
    compare(&build, &[2, 3, 5, 4], true);
}

/// A network cut in two gives what the whole gives, and looks at no statistics when they are frozen.
#[test]
fn parts_of_a_graph_make_the_whole() -> Result<()> {
    let mut v = Vars::new(DType::F32);
    let mut g = Graph::builder();
    let cut = g.conv("conv", g.input(), &v.var(&[6, 3, 3, 3]), None, ConvConfig::square(1, 1));
    let norm = v.norm(6);
    let y = g.norm("bn", cut, &norm);
    let y = g.relu(y);
    let y = g.add(cut, y);
    let whole = g.finish(y).with_frozen_statistics();
    let x = noise(&[2, 3, 6, 6], 1);
    for backend in [Backend::Auto, Backend::Portable] {
        let whole = whole.clone().with_backend(backend);
        let want = whole.forward_t(&x, true)?;
        let middle = whole.until(cut).forward_t(&x, true)?;
        let got = whole.between(cut, y)?.forward_t(&middle, true)?;
        let off = (want - got)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        assert!(off < 1e-5, "{off}");
    }
    assert_eq!(norm.running_mean.to_vec1::<f32>()?, [0.1; 6]);
    assert!(whole.between(y, cut).is_err());
    assert!(whole.between(Value::default(), y).is_ok());
    // The sum reads the convolution, from before the norm.
    let norm_only = whole.nodes().iter().position(|node| node.name == "bn").map(|i| &whole.nodes()[i + 1].inputs[0]);
    let error = whole.between(*norm_only.expect("the norm"), y).map(drop).unwrap_err().to_string();
    assert!(error.contains("comes before"), "{error}");
    Ok(())
}

/// Three blocks cut in two or three parts: results, gradients and running statistics are those of the whole, dropout
/// included, and statistics are updated once.
#[test]
fn recomputation_changes_nothing() -> Result<()> {
    let _one_instruction_set = ISA.read().unwrap_or_else(PoisonError::into_inner);
    let run = |cut_at: &[usize], compute: DType| -> Result<(Vec<Tensor>, Tensor)> {
        let mut v = Vars::new(DType::F32);
        let mut g = Graph::builder();
        let mut x = g.conv("stem", g.input(), &v.var(&[5, 3, 3, 3]), None, ConvConfig::square(1, 1));
        let first_norm = v.norm(5);
        let mut ends = Vec::new();
        for _ in 0..3 {
            let norm = if ends.is_empty() { first_norm.clone() } else { v.norm(5) };
            let y = g.norm("bn", x, &norm);
            let y = g.relu(y);
            let y = g.conv("conv", y, &v.var(&[5, 5, 3, 3]), None, ConvConfig::square(1, 1));
            let y = g.dropout(y, 0.3, resnet_ops::graph::DropUnit::Value);
            x = g.add(y, x);
            ends.push(x);
        }
        let y = g.global_avg_pool("pool", x);
        let y = g.linear("fc", y, &v.var(&[4, 5]), None);
        let cuts: Vec<Value> = cut_at.iter().map(|&i| ends[i]).collect();
        let graph = g.finish(y).with_compute_dtype(compute).with_recomputation(&cuts);
        graph.noise().set(3, 17);
        let input = Var::from_tensor(&noise(&[4, 3, 8, 7], 99))?;
        let y = graph.forward_t(input.as_tensor(), true)?;
        let gradients = (&y * noise(y.dims(), 77))?.sum_all()?.backward()?;
        let mut all = vec![y];
        for var in std::iter::once(&input).chain(&v.all) {
            all.push(gradients.get(var.as_tensor()).expect("every variable has a gradient").clone());
        }
        Ok((all, first_norm.running_mean.as_detached_tensor().copy()?))
    };
    for (compute, bound) in [(DType::F32, 2e-5), (DType::BF16, 0.1)] {
        let (whole, statistics) = run(&[], compute)?;
        for cuts in [&[0][..], &[0, 1], &[0, 1, 2], &[2]] {
            let (parts, again) = run(cuts, compute)?;
            let off = (&again - &statistics)?.abs()?.max(0)?.to_scalar::<f32>()?;
            assert!(off < 1e-6, "{cuts:?}: statistics are off by {off}");
            for (i, (a, b)) in whole.iter().zip(&parts).enumerate() {
                let norm = |t: &Tensor| -> Result<f32> { t.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>() };
                let off = norm(&(a - b)?)? / norm(a)?.max(1e-3);
                assert!(off < bound, "{cuts:?}, {compute:?}: result {i} is off by {off}");
            }
        }
    }
    Ok(())
}

#[test]
fn norm_add_relu_equals_portable() {
    for (n, c, h, w) in [(1, 1, 3, 2), (2, 17, 5, 5), (3, 32, 4, 7)] {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let y = g.norm("bn", g.input(), &v.norm(c));
            let residual = g.given(&v.var(&[n, c, h, w]));
            let y = g.add(y, residual);
            g.relu(y)
        };
        for train in [true, false] {
            compare(&build, &[n, c, h, w], train);
        }
    }
}

#[test]
fn portable_gradients_equal_finite_differences() {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let config = ConvConfig { stride: (2, 1), padding: (1, 0), dilation: (1, 2), groups: 2 };
        let (weight, bias) = (v.var(&[4, 2, 3, 2]), v.var(&[4]));
        let y = g.conv("conv", g.input(), &weight, Some(&bias), config);
        let y = g.max_pool("pool", y, PoolConfig { kernel: (3, 2), stride: (2, 1), padding: (1, 1) });
        let y = g.norm("bn", y, &v.norm(4));
        let y = g.relu(y);
        let y = g.global_avg_pool("avg", y);
        let (weight, bias) = (v.var(&[3, 4]), v.var(&[3]));
        g.linear("fc", y, &weight, Some(&bias))
    };
    for train in [true, false] {
        finite_differences(&build, &[2, 4, 7, 6], train).unwrap();
    }
}

#[test]
fn rarer_gradients_equal_finite_differences() {
    for kind in 0..15 {
        // Dropout draws anew at every pass: without training it is the identity.
        let train = !matches!(kind, 4 | 5);
        finite_differences(&move |g, v| between_convolutions(g, v, 4, 2, kind), &[2, 3, 5, 4], train).unwrap();
    }
}

#[test]
fn dropout_repeats_from_seed_and_step() {
    let mut graph = Graph::builder();
    let y = graph.dropout(graph.input(), 0.5, DropUnit::Value);
    let graph = graph.finish(y);
    let x = noise(&[2, 3, 8, 8], 1);
    let pass = |graph: &Graph| graph.forward_t(&x, true).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    graph.noise().set(9, 0);
    let (first, second) = (pass(&graph), pass(&graph));
    assert_ne!(first, second);
    graph.noise().set(9, 1);
    assert_eq!(second, pass(&graph.clone().with_backend(Backend::Portable)));
    assert_eq!(graph.noise().step(), 2);
    // What stays is doubled.
    let kept = first.iter().zip(x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    assert!(kept.clone().all(|(&y, x)| y == 0. || y == 2. * x));
    assert!(kept.filter(|(y, _)| **y == 0.).count() > 100);
    let unchanged = (graph.forward_t(&x, false).unwrap() - &x).unwrap().abs().unwrap().sum_all().unwrap();
    assert_eq!(unchanged.to_scalar::<f32>().unwrap(), 0.);
}

fn finite_differences(build: &Build, dims: &[usize], train: bool) -> Result<()> {
    let mut vars = Vars::new(DType::F64);
    let mut graph = Graph::builder();
    let output = build(&mut graph, &mut vars);
    let graph = graph.finish(output).with_backend(Backend::Portable);
    let x = Var::from_tensor(&noise(dims, 99).to_dtype(DType::F64)?)?;
    let loss = || -> Result<Tensor> {
        let y = graph.forward_t(x.as_tensor(), train)?;
        (&y * noise(y.dims(), 77).to_dtype(DType::F64)?)?.sum_all()
    };
    let gradients = loss()?.backward()?;
    let step = 1e-6;
    for var in std::iter::once(&x).chain(&vars.all) {
        let gradient = gradients.get(var.as_tensor()).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
        let values = var.flatten_all()?.to_vec1::<f64>()?;
        for i in (0..values.len()).step_by(1 + values.len() / 7) {
            let at = |delta: f64| -> Result<f64> {
                let mut moved = values.clone();
                moved[i] += delta;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu)?)?;
                loss()?.to_scalar::<f64>()
            };
            let numeric = (at(step)? - at(-step)?) / (2. * step);
            at(0.)?;
            let error = (numeric - gradient[i]).abs();
            assert!(error < 1e-4 * numeric.abs().max(1.), "{:?}[{i}]: {} against {numeric}", var.dims(), gradient[i]);
        }
    }
    Ok(())
}
