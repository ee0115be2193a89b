//! The engine on the emulated device against the reference in f64.

mod constants;
mod library;
mod shapes;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::emulation::Emulation;
use super::plan::{Plan, Step};
use crate::graph::{DropUnit, NormParameters, Op, Pass};
use crate::{AvgPoolConfig, Backend, ConvConfig, Graph, GraphBuilder, NodeId, NormConfig, PoolConfig};

/// Repeatable values in ±1.
fn noise(dims: &[usize], seed: u32) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608. - 1.
    };
    let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|_| next()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

struct Vars {
    dtype: DType,
    all: Vec<Var>,
}

impl Vars {
    fn var(&mut self, dims: &[usize]) -> Result<Tensor> {
        let var = Var::from_tensor(&noise(dims, self.all.len() as u32)?.to_dtype(self.dtype)?)?;
        self.all.push(var.clone());
        Ok(var.as_tensor().clone())
    }
    fn norm(&mut self, channels: usize) -> Result<NormParameters> {
        let (weight, bias) = (self.var(&[channels])?, self.var(&[channels])?);
        let mut buffer = |value: f64| {
            let var = Var::from_tensor(&(Tensor::ones(channels, self.dtype, &Device::Cpu)? * value)?)?;
            self.all.push(var.clone());
            Ok::<Var, candle_core::Error>(var)
        };
        let (running_mean, running_var) = (buffer(0.1)?, buffer(0.7)?);
        Ok(NormParameters {
            weight: Some(weight),
            bias: Some(bias),
            running_mean,
            running_var,
            config: NormConfig::default(),
        })
    }
}

type Build = dyn Fn(&mut GraphBuilder, &mut Vars) -> Result<NodeId>;

/// Output, gradient of the input, of all variables, and the running statistics (as variables, whose gradient is none).
fn results(build: &Build, dims: &[usize], train: bool, on: Option<(&Emulation, DType)>) -> Result<Vec<Tensor>> {
    let dtype = if on.is_some() { DType::F32 } else { DType::F64 };
    let mut vars = Vars { dtype, all: Vec::new() };
    let mut graph = Graph::builder();
    let output = build(&mut graph, &mut vars)?;
    let graph = graph.finish(output).with_backend(Backend::Reference);
    graph.dropout_rng().set(3, 5);
    let x = Var::from_tensor(&noise(dims, 99)?.to_dtype(dtype)?)?;
    let y = match on {
        None => graph.forward_t(x.as_tensor(), train)?,
        Some((runtime, compute)) => {
            let plan = Arc::new(Plan::new(&graph, &Device::Cpu).expect("f32 on this device"));
            let draw = if train { graph.dropout_rng().next() } else { Default::default() };
            super::run(&plan, runtime.clone(), x.as_tensor(), Pass { train, keep: train, draw }, compute, None)?
        }
    };
    let gradients = (&y * noise(y.dims(), 77)?.to_dtype(dtype)?)?.sum_all()?.backward()?;
    let mut all = vec![y];
    for var in std::iter::once(&x).chain(&vars.all) {
        // Running statistics have no gradient: their values are compared.
        all.push(gradients.get(var.as_tensor()).cloned().unwrap_or(var.as_detached_tensor()));
    }
    Ok(all)
}

/// The devices to compare on. Only convolutions are computed otherwise where there is a library.
fn devices(build: &Build) -> Result<Vec<Emulation>> {
    let (mut graph, mut vars) = (Graph::builder(), Vars { dtype: DType::F32, all: Vec::new() });
    let output = build(&mut graph, &mut vars)?;
    let mut devices = Emulation::all();
    if graph.finish(output).nodes().iter().any(|node| matches!(node.op, Op::Conv { .. } | Op::Linear { .. })) {
        devices.extend(Emulation::with_libraries());
    }
    Ok(devices)
}

fn compare_in(compute: DType, tolerance: f64, build: &Build, dims: &[usize], train: bool) -> Result<()> {
    let reference = results(build, dims, train, None)?;
    for runtime in devices(build)? {
        let ours = results(build, dims, train, Some((&runtime, compute)))?;
        assert_eq!(ours.len(), reference.len());
        for (i, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
            assert_eq!(ours.dims(), reference.dims());
            let largest = |t: &Tensor| t.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>();
            let error = largest(&(ours.to_dtype(DType::F64)? - reference)?)?;
            let scale = largest(reference)?.max(1.);
            assert!(error <= tolerance * scale, "{runtime:?}, result {i} of {dims:?}: off by {error}, scale {scale}");
        }
    }
    Ok(())
}

fn compare(build: &Build, dims: &[usize]) -> Result<()> {
    compare_in(DType::F32, 1e-4, build, dims, true)?;
    compare_in(DType::F32, 1e-4, build, dims, false)
}

fn conv(g: &mut GraphBuilder, v: &mut Vars, x: NodeId, [c, o, k, stride]: [usize; 4]) -> Result<NodeId> {
    let weight = v.var(&[o, c, k, k])?;
    Ok(g.conv("conv", x, &weight, None, ConvConfig::square(stride, k / 2)))
}

/// A basic block (He et al. 2015) with a projection.
fn block(g: &mut GraphBuilder, v: &mut Vars, x: NodeId, c: usize, o: usize, stride: usize) -> Result<NodeId> {
    let y = conv(g, v, x, [c, o, 3, stride])?;
    let y = g.norm("bn1", y, &v.norm(o)?);
    let y = g.relu(y);
    let y = conv(g, v, y, [o, o, 3, 1])?;
    let y = g.norm("bn2", y, &v.norm(o)?);
    let shortcut = conv(g, v, x, [c, o, 1, stride])?;
    let shortcut = g.norm("bn3", shortcut, &v.norm(o)?);
    let y = g.add(y, shortcut);
    Ok(g.relu(y))
}

/// A small network with every operation of a ResNet.
fn network(g: &mut GraphBuilder, v: &mut Vars) -> Result<NodeId> {
    let y = conv(g, v, g.input(), [3, 8, 3, 1])?;
    let y = g.norm("bn", y, &v.norm(8)?);
    let y = g.relu(y);
    let y = g.max_pool("pool", y, PoolConfig::square(3, 2, 1));
    let y = block(g, v, y, 8, 16, 2)?;
    let shortcut = g.subsample(y, (2, 2));
    let shortcut = g.pad_channels(shortcut, 4, 4);
    let z = conv(g, v, y, [16, 24, 3, 2])?;
    let z = g.norm("bn", z, &v.norm(24)?);
    let y = g.add(z, shortcut);
    let y = g.relu(y);
    let y = g.global_avg_pool("pool", y);
    let (weight, bias) = (v.var(&[5, 24])?, v.var(&[5])?);
    Ok(g.linear("fc", y, &weight, Some(&bias)))
}

#[test]
fn a_network_equals_the_reference() -> Result<()> {
    compare(&network, &[3, 3, 13, 12])
}

/// The largest share of any result's norm that it is off by.
fn share_off(compute: DType, build: &Build, dims: &[usize]) -> Result<f64> {
    let reference = results(build, dims, true, None)?;
    let mut worst = 0f64;
    for runtime in devices(build)? {
        let ours = results(build, dims, true, Some((&runtime, compute)))?;
        for (ours, reference) in ours.iter().zip(&reference) {
            let norm = |t: &Tensor| t.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>();
            worst = worst.max(norm(&(ours.to_dtype(DType::F64)? - reference)?)? / norm(reference)?);
        }
    }
    Ok(worst)
}

#[test]
fn half_precision_is_off_by_its_rounding() -> Result<()> {
    // Nothing here decides by a value, so that errors stay of the size of the rounding: 2^-9 and 2^-12 each.
    let smooth = |g: &mut GraphBuilder, v: &mut Vars| {
        let y = conv(g, v, g.input(), [3, 8, 3, 1])?;
        let y = g.norm("bn", y, &v.norm(8)?);
        let z = conv(g, v, y, [8, 8, 3, 1])?;
        let z = g.norm("bn", z, &v.norm(8)?);
        Ok(g.add(z, y))
    };
    let (bf16, f16) = (share_off(DType::BF16, &smooth, &[4, 3, 9, 8])?, share_off(DType::F16, &smooth, &[4, 3, 9, 8])?);
    assert!(bf16 < 2e-2 && f16 < 2.5e-3, "{bf16} {f16}");
    // In a network rounding moves values across ReLUs and maxima; what a ReLU decides otherwise is off by all of it.
    let (bf16, f16) =
        (share_off(DType::BF16, &network, &[4, 3, 13, 12])?, share_off(DType::F16, &network, &[4, 3, 13, 12])?);
    assert!(bf16 < 0.5 && f16 < 0.1, "{bf16} {f16}");
    Ok(())
}

#[test]
fn convolutions_of_every_kind_equal_the_reference() -> Result<()> {
    let kinds = [
        (ConvConfig { stride: (2, 1), padding: (1, 2), ..ConvConfig::default() }, [6, 4, 3, 5]),
        (ConvConfig { dilation: (2, 1), padding: (2, 1), ..ConvConfig::default() }, [5, 4, 3, 3]),
        (ConvConfig { groups: 2, padding: (1, 1), ..ConvConfig::default() }, [6, 2, 3, 3]),
        (ConvConfig { stride: (3, 3), ..ConvConfig::default() }, [1, 4, 1, 1]),
    ];
    for (config, weight) in kinds {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let (weight, bias) = (v.var(&weight)?, v.var(&weight[..1])?);
            Ok(g.conv("conv", g.input(), &weight, Some(&bias), config))
        };
        compare(&build, &[2, 4, 8, 9])?;
    }
    let standardized = |g: &mut GraphBuilder, v: &mut Vars| {
        let weight = v.var(&[6, 4, 3, 3])?;
        Ok(g.standardized_conv("conv", g.input(), &weight, 1e-5, ConvConfig::square(1, 1)))
    };
    compare(&standardized, &[2, 4, 6, 5])
}

#[test]
fn norms_of_any_width_equal_the_reference() -> Result<()> {
    // Alone, with ReLU, with a residual, with both; widths with and without packs, more than one group of channels.
    for channels in [1, 3, 8, 20, 40, 130] {
        for (residual, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let build = move |g: &mut GraphBuilder, v: &mut Vars| {
                let other = if residual { Some(g.affine(g.input(), -0.7, 0.2)) } else { None };
                let y = g.norm("bn", g.input(), &v.norm(channels)?);
                let y = other.map_or(y, |other| g.add(other, y));
                Ok(if relu { g.relu(y) } else { y })
            };
            compare(&build, &[4, channels, 5, 9])?;
        }
    }
    // Enough pixels for several rows of partial sums.
    let build = |g: &mut GraphBuilder, v: &mut Vars| Ok(g.norm("bn", g.input(), &v.norm(2)?));
    compare(&build, &[8, 2, 40, 33])
}

#[test]
fn norms_keep_small_variances_of_large_means() -> Result<()> {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let x = g.affine(g.input(), 0.5, 300.);
        Ok(g.norm("bn", x, &v.norm(4)?))
    };
    compare_in(DType::F32, 2e-3, &build, &[4, 4, 20, 20], true)
}

#[test]
fn pools_and_shortcuts_equal_the_reference() -> Result<()> {
    for (kernel, stride, padding) in [((3, 3), (2, 2), (1, 1)), ((2, 3), (1, 2), (1, 0)), ((2, 2), (3, 3), (0, 0))] {
        let config = PoolConfig { kernel, stride, padding };
        compare(&move |g, _| Ok(g.max_pool("pool", g.input(), config)), &[2, 5, 9, 8])?;
        for ceil in [false, true] {
            let config = AvgPoolConfig { kernel, stride, padding, ceil };
            compare(&move |g, _| Ok(g.avg_pool("pool", g.input(), config)), &[2, 5, 9, 8])?;
        }
    }
    compare(&|g, _| Ok(g.global_avg_pool("pool", g.input())), &[2, 70, 3, 4])?;
    compare(&|g, _| Ok(g.pad_channels(g.input(), 1, 3)), &[2, 3, 4, 5])?;
    compare(&|g, _| Ok(g.subsample(g.input(), (2, 3))), &[2, 3, 5, 7])
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() -> Result<()> {
    // Rectified noise has many zeros side by side.
    let build = |g: &mut GraphBuilder, _: &mut Vars| {
        let y = g.relu(g.input());
        Ok(g.max_pool("pool", y, PoolConfig::square(3, 2, 1)))
    };
    compare(&build, &[2, 3, 9, 9])
}

#[test]
fn values_with_several_readers_sum_their_gradients() -> Result<()> {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let x = conv(g, v, g.input(), [3, 4, 1, 1])?;
        let a = conv(g, v, x, [4, 4, 3, 1])?;
        let b = conv(g, v, x, [4, 4, 1, 1])?;
        let y = g.add(a, b);
        let y = g.add(y, x);
        let y = g.add(y, y);
        let z = g.relu(y);
        Ok(g.add(z, x))
    };
    compare(&build, &[2, 3, 5, 4])
}

#[test]
fn what_the_engine_lacks_runs_through_the_reference() -> Result<()> {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let y = conv(g, v, g.input(), [3, 6, 3, 1])?;
        let (weight, bias) = (v.var(&[6])?, v.var(&[6])?);
        let y = g.group_norm("gn", y, (&weight, &bias), 2, 1e-5);
        let s = g.global_avg_pool("", y);
        let s = g.sigmoid(s);
        let y = g.mul(y, s);
        Ok(g.dropout(y, 0.5, DropUnit::Value))
    };
    compare(&build, &[2, 3, 6, 5])
}

#[test]
fn constants_get_no_gradient_and_the_input_does() -> Result<()> {
    let weight = noise(&[4, 3, 3, 3], 1)?;
    let build = move |g: &mut GraphBuilder, _: &mut Vars| -> Result<NodeId> {
        Ok(g.conv("conv", g.input(), &weight, None, ConvConfig::square(1, 1)))
    };
    for runtime in Emulation::all() {
        let mut graph = Graph::builder();
        let output = build(&mut graph, &mut Vars { dtype: DType::F32, all: Vec::new() })?;
        let plan = Arc::new(Plan::new(&graph.finish(output), &Device::Cpu).expect("f32"));
        let x = noise(&[2, 3, 5, 5], 2)?;
        let y = super::run(&plan, runtime.clone(), &x, Pass::default(), DType::F32, None)?;
        assert!(!y.track_op());
        let x = Var::from_tensor(&x)?;
        let z = super::run(&plan, runtime, x.as_tensor(), Pass::default(), DType::F32, None)?;
        assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, z.flatten_all()?.to_vec1::<f32>()?);
        assert!(z.sum_all()?.backward()?.get(x.as_tensor()).is_some());
    }
    Ok(())
}

#[test]
fn a_block_is_six_steps() -> Result<()> {
    let mut graph = Graph::builder();
    let mut vars = Vars { dtype: DType::F32, all: Vec::new() };
    let x = graph.input();
    let output = block(&mut graph, &mut vars, x, 4, 8, 2)?;
    let plan = Plan::new(&graph.finish(output), &Device::Cpu).expect("f32");
    let norms: Vec<(bool, bool)> = plan
        .schedule
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Norm { residual, relu, .. } => Some((residual.is_some(), *relu)),
            _ => None,
        })
        .collect();
    // The norm of the shortcut is stored first; the last one takes up the addition and the ReLU.
    assert_eq!(norms, [(false, true), (false, false), (true, true)]);
    assert_eq!(plan.schedule.steps.len(), 6);
    // Every value but the result is given back after its last reader.
    assert_eq!(plan.schedule.last_reads.iter().flatten().count(), plan.shapes.len() - 1);
    Ok(())
}

#[test]
fn parameters_elsewhere_or_of_another_dtype_are_the_references() -> Result<()> {
    let mut graph = Graph::builder();
    let mut vars = Vars { dtype: DType::F64, all: Vec::new() };
    let x = graph.input();
    let output = conv(&mut graph, &mut vars, x, [3, 4, 3, 1])?;
    assert!(Plan::new(&graph.finish(output), &Device::Cpu).is_none());
    Ok(())
}

#[test]
fn cross_entropy_equals_its_definition() -> Result<()> {
    let (n, classes) = (5, 300);
    let labels = Tensor::new(&[3u32, 299, 0, 7, 7], &Device::Cpu)?;
    let logits = (noise(&[n, classes], 4)? * 20.)?;
    let soft = candle_core::Tensor::rand(0f32, 1f32, (n, classes), &Device::Cpu)?;
    let hard: Vec<f32> =
        labels.to_vec1::<u32>()?.iter().flat_map(|&l| (0..300).map(move |c| f32::from(c == l))).collect();
    let hard = Tensor::from_vec(hard, (n, classes), &Device::Cpu)?;
    for (targets, given) in [(&hard, &labels), (&soft, &soft)] {
        for smoothing in [0., 0.1] {
            let x = Var::from_tensor(&logits.to_dtype(DType::F64)?)?;
            let shifted = x.broadcast_sub(&x.detach().max_keepdim(1)?)?;
            let log_p = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
            let q = ((targets.to_dtype(DType::F64)? * (1. - smoothing))? + smoothing / classes as f64)?;
            let loss = ((log_p * q)?.sum_all()? * (-1. / n as f64))?;
            // The gradient of three times the loss.
            let wanted = (&loss * 3.)?.backward()?;
            let wanted = wanted.get(&x).expect("a gradient");
            for runtime in Emulation::all() {
                let x = Var::from_tensor(&logits)?;
                let ours = super::loss::apply(runtime, &x, given, smoothing as f32)?;
                let gradients = (&ours * 3.)?.backward()?;
                let difference = (f64::from(ours.to_scalar::<f32>()?) - loss.to_scalar::<f64>()?).abs();
                assert!(difference < 1e-3, "{difference}");
                let ours = gradients.get(&x).expect("a gradient").to_dtype(DType::F64)?;
                let error = (ours - wanted)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
                assert!(error < 1e-5, "{error}");
            }
        }
    }
    for runtime in Emulation::all() {
        let wrong = Tensor::new(&[3u32, 300, 0, 7, 7], &Device::Cpu)?;
        assert!(super::loss::apply(runtime, &logits, &wrong, 0.)?.to_scalar::<f32>()?.is_nan());
    }
    Ok(())
}

#[test]
fn sgd_follows_its_formula_in_one_launch() -> Result<()> {
    use super::sgd::{SgdRow, sgd};
    use crate::sgd::SgdStep;
    let sizes = [3usize, 20_000, 1, 40_000];
    for runtime in Emulation::all() {
        for (momentum, nesterov) in [(0f32, false), (0.9, false), (0.9, true)] {
            let tensors = |seed: u32| sizes.iter().map(|&n| noise(&[n], seed + n as u32)).collect::<Result<Vec<_>>>();
            let (parameters, velocities) = (tensors(1)?, tensors(2)?);
            let mut wanted: Vec<[Vec<f32>; 2]> = Vec::new();
            for (p, v) in parameters.iter().zip(&velocities) {
                wanted.push([p.to_vec1()?, v.to_vec1()?]);
            }
            for step in 0..2u32 {
                let gradients = tensors(10 + step)?;
                let all: Vec<SgdRow> = (0..sizes.len())
                    .map(|i| SgdRow {
                        parameter: &parameters[i],
                        gradient: &gradients[i],
                        velocity: (momentum != 0.).then_some(&velocities[i]),
                        rate: 0.1 * (i + 1) as f32,
                        decay: if i == 1 { 1e-2 } else { 0. },
                        first: step == 0,
                    })
                    .collect();
                sgd(&runtime, &all, SgdStep { scale: 0.5, momentum: momentum.into(), nesterov })?;
                for (i, ([p, v], g)) in wanted.iter_mut().zip(&gradients).enumerate() {
                    let (rate, decay) = (0.1 * (i + 1) as f32, if i == 1 { 1e-2 } else { 0. });
                    for ((p, v), g) in p.iter_mut().zip(v).zip(g.to_vec1::<f32>()?) {
                        let g = g * 0.5 + decay * *p;
                        *v = if step == 0 { g } else { momentum * *v + g };
                        let update = if momentum == 0. {
                            g
                        } else if nesterov {
                            g + momentum * *v
                        } else {
                            *v
                        };
                        *p -= rate * update;
                    }
                }
            }
            for ([wanted, _], p) in wanted.iter().zip(&parameters) {
                let error = wanted.iter().zip(p.to_vec1::<f32>()?).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(error < 1e-6, "{error}");
            }
        }
        let (p, g) = (noise(&[3], 1)?, noise(&[4], 1)?);
        let wrong = SgdRow { parameter: &p, gradient: &g, velocity: None, rate: 0., decay: 0., first: true };
        assert!(sgd(&runtime, &[wrong], SgdStep { scale: 1., momentum: 0., nesterov: false }).is_err());
    }
    Ok(())
}

#[test]
fn images_are_cropped_mirrored_and_normalised() -> Result<()> {
    use super::images::take_images;
    use super::runtime::Element;
    use crate::images::{ImageScale, ImageView};
    let (height, width, rows, columns) = (5, 6, 4, 5);
    let bytes: Vec<u8> = (0..3 * height * width * 3).map(|i| (i * 37 % 251) as u8).collect();
    let pixels = Tensor::from_vec(bytes.clone(), (3, height, width, 3), &Device::Cpu)?;
    let (mean, deviation, border) = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4], [-1., -2., -3.]);
    let means = noise(&[3, height, width], 8)?;
    let planes_of_means = means.flatten_all()?.to_vec1::<f32>()?;
    let views = [
        ImageView { image: 2, row: -1, column: 1, flip: false },
        ImageView { image: 0, row: 2, column: -2, flip: true },
    ];
    let wanted = |view: &ImageView, with_image: bool, [c, i, j]: [usize; 3]| {
        let j = if view.flip { columns - 1 - j } else { j };
        let (p, q) = (view.row + i as i32, view.column + j as i32);
        if p < 0 || q < 0 || p >= height as i32 || q >= width as i32 {
            return border[c];
        }
        let (p, q) = (p as usize, q as usize);
        let value = f32::from(bytes[((view.image as usize * height + p) * width + q) * 3 + c]) / 255.;
        match with_image {
            true => (value - planes_of_means[(c * height + p) * width + q]) * deviation[c],
            false => (value - mean[c]) / deviation[c],
        }
    };
    for (runtime, (planes, with_image)) in
        Emulation::all().iter().flat_map(|r| [(r, (false, false)), (r, (true, false)), (r, (false, true))])
    {
        let scale = ImageScale { mean_image: with_image.then(|| means.clone()), mean, deviation, border };
        let batch = take_images(runtime, Element::F32, &pixels, &views, (rows, columns), &scale, planes)?;
        let dims = if planes { [2, 3, rows, columns] } else { [2, rows, columns, 3] };
        let batch = batch.into_tensor(runtime, dims.as_slice())?;
        let batch = if planes { batch } else { batch.permute((0, 3, 1, 2))? };
        let ours = batch.flatten_all()?.to_vec1::<f32>()?;
        let places = (0..3 * rows * columns).map(|at| [at / rows / columns, at / columns % rows, at % columns]);
        let wanted: Vec<f32> =
            views.iter().flat_map(|view| places.clone().map(|at| wanted(view, with_image, at))).collect();
        assert_eq!(ours, wanted);
        let none = ImageView { image: 3, ..views[0] };
        assert!(take_images(runtime, Element::F32, &pixels, &[none], (4, 4), &scale, true).is_err());
    }
    Ok(())
}

#[test]
fn channels_last_input_is_read_where_it_lies() -> Result<()> {
    for runtime in Emulation::all() {
        let mut graph = Graph::builder();
        let x = graph.input();
        let output = conv(&mut graph, &mut Vars { dtype: DType::F32, all: Vec::new() }, x, [3, 4, 3, 1])?;
        let plan = Arc::new(Plan::new(&graph.finish(output), &Device::Cpu).expect("f32"));
        let x = noise(&[2, 3, 5, 6], 2)?;
        let last = x.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2))?;
        let pass = Pass { train: true, keep: true, ..Pass::default() };
        let both = [x, last]
            .map(|x| super::run(&plan, runtime.clone(), &x, pass, DType::F32, None)?.flatten_all()?.to_vec1::<f32>());
        let [a, b] = both;
        assert_eq!(a?, b?);
    }
    Ok(())
}
