//! Every combination of branch, order and shortcut: shapes, gradients of all parameters, equality of the interpreters.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;
use resnet_blocks::{
    Activation, AntiAlias, Attention, BlockConfig, BlockOptions, Branch, Conv2d, Layer, Linear, Merge, Naming, Norm2d,
    NormKind, Order, Parameters, Projection, ResidualBlock, ShortcutKind, StrideIn,
};
use resnet_ops::{Backend, ConvConfig, Graph, NodeId};

const BRANCHES: [Branch; 4] =
    [Branch::Single, Branch::Basic, Branch::Bottleneck(StrideIn::First), Branch::Bottleneck(StrideIn::Middle)];

fn block(branch: Branch, outputs: usize, stride: usize) -> BlockConfig {
    let config = match branch {
        Branch::Single | Branch::Basic => BlockConfig::basic(8, outputs),
        Branch::Bottleneck(_) => BlockConfig::bottleneck(8, outputs),
    };
    BlockConfig { branch, ..config }.with_stride(stride)
}

fn with(config: BlockConfig, change: impl Fn(&mut BlockOptions)) -> BlockConfig {
    let mut options = config.options;
    change(&mut options);
    config.with_options(options)
}

/// Branch, order, shortcut, shape.
fn plain() -> Vec<BlockConfig> {
    let mut all = Vec::new();
    for branch in BRANCHES {
        for order in Order::ALL {
            for shortcut in [ShortcutKind::None, ShortcutKind::A, ShortcutKind::B, ShortcutKind::C] {
                for (outputs, stride) in [(8, 1), (16, 2), (12, 1)] {
                    for shared_activation in [false, true] {
                        let config = block(branch, outputs, stride).with_order(order).with_shortcut(shortcut);
                        all.push(BlockConfig { shared_activation, ..config });
                    }
                }
            }
        }
    }
    all
}

/// What He et al. 2016, Table 1 does to the shortcut, in every order and on every branch.
fn merged() -> Vec<BlockConfig> {
    let merges = [
        Merge::Scaled { shortcut: 0., branch: 1. },
        Merge::Scaled { shortcut: 0.5, branch: 1. },
        Merge::Scaled { shortcut: 0.5, branch: 0.5 },
        Merge::ExclusiveGate { bias: -1. },
        Merge::ShortcutGate { bias: 0.5 },
        Merge::Dropout { rate: 0.5 },
    ];
    let mut all = Vec::new();
    let shapes = [(ShortcutKind::A, 16, 2), (ShortcutKind::A, 8, 1), (ShortcutKind::B, 12, 2)];
    for merge in merges {
        for order in Order::ALL {
            for branch in BRANCHES {
                all.extend(shapes.map(|(shortcut, outputs, stride)| {
                    block(branch, outputs, stride).with_shortcut(shortcut).with_order(order).with_merge(merge)
                }));
            }
        }
    }
    all
}

/// Everything that timm's networks add.
fn extended() -> Vec<BlockConfig> {
    let mut all = Vec::new();
    for branch in BRANCHES {
        for (outputs, stride) in [(8, 1), (16, 2)] {
            for order in [Order::Original, Order::PreActivation] {
                let base = block(branch, outputs, stride).with_order(order);
                all.extend([
                    base.with_inner(12).with_groups(4),
                    base.with_attention(Attention::SqueezeExcitation { reduction: 2 }),
                    base.with_attention(Attention::EfficientChannel),
                    with(base.with_attention(Attention::SqueezeExcitation { reduction: 2 }), |options| {
                        (options.attn_last, options.naming) = (false, Naming::Configurable);
                        options.activation = Activation::Silu;
                    }),
                    base.with_drop_path(0.4),
                    with(base, |options| options.projection = Projection::Pooled),
                    with(base.with_inner(6), |options| options.projection = Projection::Strided3x3),
                    with(base, |options| options.anti_alias = Some(AntiAlias::Blur)),
                    with(base.with_inner(8), |options| options.anti_alias = Some(AntiAlias::Average)),
                    with(base, |options| options.norm = NormKind::Group { groups: 2 }),
                    with(base, |options| {
                        (options.norm, options.activation) = (NormKind::EvoS0 { groups: 2 }, Activation::None);
                    }),
                    with(base, |options| {
                        (options.norm, options.activation) = (NormKind::FilterResponse, Activation::None);
                    }),
                    base.with_attention(Attention::ChannelKernel { kernel: 5 }),
                    with(base, |options| (options.standardize, options.naming) = (Some(1e-8), Naming::ResNetV2)),
                ]);
            }
        }
    }
    // With groups, a basic branch needs inputs and outputs that divide too; average pooling cuts odd columns off.
    all.retain(|c| c.options.anti_alias != Some(AntiAlias::Average) || c.stride == 1);
    all
}

fn configurations() -> Vec<BlockConfig> {
    [plain(), merged(), extended()].concat()
}

/// No value is 0: there the ReLU has no gradient, and the interpreters choose differently.
fn input(dtype: DType) -> Result<Var> {
    let values: Vec<f32> = (0..2 * 8 * 6 * 5).map(|i| ((i * 37) % 101) as f32 / 50. - 1.01).collect();
    Var::from_tensor(&Tensor::from_vec(values, (2, 8, 6, 5), &Device::Cpu)?.to_dtype(dtype)?)
}

/// A variable's gradient. Behind a factor of 0 candle leaves gradients out; they are zero.
fn gradient(config: &BlockConfig, gradients: &GradStore, name: &str, var: &Var) -> Result<Tensor> {
    match (gradients.get(var.as_tensor()), config.options.merge) {
        (Some(gradient), _) => Ok(gradient.clone()),
        (None, Merge::Scaled { shortcut: 0., .. }) if name.starts_with("downsample") => var.zeros_like(),
        (None, _) => panic!("{config:?}: {name} has no gradient"),
    }
}

/// Output and all gradients of the block, by name; a fixed weighting makes every output count differently.
fn results(config: &BlockConfig, dtype: DType, backend: Backend) -> Result<Vec<(String, Tensor)>> {
    let parameters = Parameters::new(3, dtype, &Device::Cpu);
    let block = ResidualBlock::new(config, parameters.builder())?;
    let mut graph = Graph::builder();
    let output = block.append(&mut graph, NodeId::default());
    let graph = graph.finish(output).with_backend(backend);
    let x = input(dtype)?;
    let y = graph.forward_t(x.as_tensor(), true)?;
    assert_eq!(y.dims(), [2, config.outputs, 6usize.div_ceil(config.stride), 5usize.div_ceil(config.stride)]);
    let count = y.elem_count();
    let weights: Vec<f64> = (0..count).map(|i| ((i * 13) % 29) as f64 / 14. - 1.).collect();
    let weights = Tensor::from_vec(weights, y.shape(), &Device::Cpu)?.to_dtype(dtype)?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut all = vec![("y".to_string(), y)];
    for (name, var) in std::iter::once(("x".to_string(), x)).chain(parameters.trainable()) {
        all.push((name.clone(), gradient(config, &gradients, &name, &var)?));
    }
    all.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F64)?))).collect()
}

#[test]
fn every_variant_has_the_portable_results_and_gradients() -> Result<()> {
    for config in configurations() {
        let reference = results(&config, DType::F64, Backend::Reference)?;
        let fused = results(&config, DType::F32, Backend::Auto)?;
        for ((name, reference), (_, ours)) in reference.iter().zip(&fused) {
            let largest = |t: &Tensor| t.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>();
            let (error, scale) = (largest(&(ours - reference)?)?, largest(reference)?.max(1.));
            assert!(error <= 1e-3 * scale, "{config:?}: {name} is off by {error}, scale {scale}");
        }
    }
    Ok(())
}

#[test]
fn every_variant_has_the_gradients_of_finite_differences() -> Result<()> {
    // The reference in f64; one configuration in five of the plain ones, all others.
    for config in plain().into_iter().step_by(5).chain(merged()).chain(extended()) {
        let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
        let block = ResidualBlock::new(&config, parameters.builder())?;
        let graph = block.graph().clone().with_backend(Backend::Reference);
        let x = input(DType::F64)?;
        let loss = || -> Result<Tensor> {
            // The same masks at every pass.
            graph.dropout_rng().set(1, 2);
            let y = graph.forward_t(x.as_tensor(), true)?;
            let weights: Vec<f64> = (0..y.elem_count()).map(|i| ((i * 13) % 29) as f64 / 14. - 1.).collect();
            (&y * Tensor::from_vec(weights, y.shape(), &Device::Cpu)?)?.sum_all()
        };
        let gradients = loss()?.backward()?;
        for (name, var) in std::iter::once(("x".to_string(), x.clone())).chain(parameters.trainable()) {
            let gradient = gradient(&config, &gradients, &name, &var)?;
            // Along a direction in which every value moves, each by another amount.
            let direction: Vec<f64> = (0..var.elem_count()).map(|i| ((i * 31) % 61) as f64 / 30. - 1.01).collect();
            let direction = Tensor::from_vec(direction, var.shape(), &Device::Cpu)?;
            let values = var.as_detached_tensor().copy()?;
            let at = |delta: f64| -> Result<f64> {
                var.set(&(&values + (&direction * delta)?)?)?;
                loss()?.to_scalar::<f64>()
            };
            let numeric = (at(1e-6)? - at(-1e-6)?) / 2e-6;
            var.set(&values)?;
            let ours = (gradient * direction)?.sum_all()?.to_scalar::<f64>()?;
            assert!((numeric - ours).abs() < 1e-5 * numeric.abs().max(1.), "{config:?}: {name}: {ours}, {numeric}");
        }
    }
    Ok(())
}

#[test]
fn gates_begin_where_their_bias_says() -> Result<()> {
    // With weights of zero and a bias of -6 the shortcut-only gate leaves 1 - σ(-6) of the input; the branch of a last
    // scale of zero is zero, so that this is all there is.
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let config = BlockConfig::basic(8, 8).with_merge(Merge::ShortcutGate { bias: -6. }).with_zero_init_last(true);
    let block = ResidualBlock::new(&config, parameters.builder())?;
    let Some(weight) = parameters.get("gate.weight") else { panic!("no gate") };
    weight.set(&weight.zeros_like()?)?;
    let x = input(DType::F32)?.abs()?;
    let expected = (&x * (1. - 1. / (1. + 6f64.exp())))?;
    let difference = (block.forward_t(&x, true)? - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-6, "{difference}");
    Ok(())
}

/// Elements of what a block in training adds to what it would give without its branch, or without its shortcut.
fn difference(config: BlockConfig, without: BlockConfig) -> Result<Vec<Vec<f32>>> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let forward = |config: &BlockConfig| -> Result<Tensor> {
        let block = ResidualBlock::new(config, parameters.builder())?;
        block.graph().dropout_rng().set(4, 7);
        block.forward_t(input(DType::F32)?.as_tensor(), true)
    };
    (forward(&config)? - forward(&without)?)?.flatten_from(1)?.to_vec2()
}

/// He et al. 2016, Fig. 2f: half of the shortcut's values are zero, the others twice what they were; in evaluation it is
/// the identity.
#[test]
fn dropout_takes_values_of_the_shortcut_alone() -> Result<()> {
    for branch in [Branch::Basic, Branch::Bottleneck(StrideIn::First)] {
        let base = block(branch, 8, 1).with_order(Order::PreActivation);
        let config = base.with_merge(Merge::Dropout { rate: 0.5 });
        let shortcut = difference(config, base.with_shortcut(ShortcutKind::None))?.concat();
        let x = input(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let near = |a: f32, b: f32| (a - b).abs() < 1e-5;
        assert!(shortcut.iter().zip(&x).all(|(s, x)| near(*s, 0.) || near(*s, 2. * x)));
        let kept = shortcut.iter().zip(&x).filter(|(s, x)| near(**s, 2. * **x)).count() as f64 / x.len() as f64;
        // Five standard deviations of 480 draws.
        assert!((kept - 0.5).abs() < 5. * (0.25 / x.len() as f64).sqrt(), "{kept}");

        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let evaluated = |config: &BlockConfig| -> Result<Vec<f32>> {
            let block = ResidualBlock::new(config, parameters.builder())?;
            block.forward_t(input(DType::F32)?.as_tensor(), false)?.flatten_all()?.to_vec1()
        };
        assert_eq!(evaluated(&config)?, evaluated(&base)?);
    }
    Ok(())
}

/// Huang et al. 2016: an image skips the whole branch, or has it divided by the share that stays, so that the mean over
/// draws is what evaluation gives.
#[test]
fn stochastic_depth_takes_whole_branches_of_images() -> Result<()> {
    let (rate, mut skipped, mut draws) = (0.3f64, 0, 0);
    for branch in [Branch::Basic, Branch::Bottleneck(StrideIn::Middle)] {
        let base = block(branch, 8, 1).with_order(Order::PreActivation);
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let x = input(DType::F32)?.as_detached_tensor();
        let dropping = ResidualBlock::new(&base.with_drop_path(rate), parameters.builder())?;
        let always = ResidualBlock::new(&base, parameters.builder())?;
        let f = (always.forward_t(&x, true)? - &x)?.flatten_from(1)?.to_vec2::<f32>()?;
        for step in 0..200 {
            dropping.graph().dropout_rng().set(1, step);
            let ours = (dropping.forward_t(&x, true)? - &x)?.flatten_from(1)?.to_vec2::<f32>()?;
            for (ours, f) in ours.iter().zip(&f) {
                let is = |scale: f32| ours.iter().zip(f).all(|(a, b)| (a - scale * b).abs() < 1e-4);
                assert!(is(0.) || is(1. / 0.7));
                (skipped, draws) = (skipped + usize::from(is(0.)), draws + 1);
            }
        }
    }
    let share = f64::from(skipped as u32) / f64::from(draws);
    assert!((share - rate).abs() < 5. * (rate * (1. - rate) / f64::from(draws)).sqrt(), "{share} of {draws}");
    Ok(())
}

#[test]
fn impossible_numbers_are_errors() {
    let basic = BlockConfig::basic(8, 8);
    let squeezed = |reduction| Attention::SqueezeExcitation { reduction };
    for (field, config) in [
        ("drop_path = 1 ", basic.with_drop_path(1.)),
        ("drop_path = NaN ", basic.with_drop_path(f64::NAN)),
        ("merge: rate = -0.1 ", basic.with_merge(Merge::Dropout { rate: -0.1 })),
        ("merge: branch = inf ", basic.with_merge(Merge::Scaled { shortcut: 1., branch: f64::INFINITY })),
        ("merge: bias = NaN ", basic.with_merge(Merge::ShortcutGate { bias: f64::NAN })),
        ("inputs = 0;", BlockConfig { inputs: 0, ..basic }),
        ("outputs = 0;", BlockConfig { outputs: 0, ..basic }),
        ("outputs = 18446744073709551615;", BlockConfig { outputs: usize::MAX, ..basic }),
        ("inner = 0;", BlockConfig::bottleneck(8, 3)),
        ("first = 0;", BlockConfig { first: 0, ..BlockConfig::bottleneck(8, 8) }),
        ("groups = 0;", basic.with_groups(0)),
        ("groups = 3 do not divide inputs = 8", basic.with_groups(3)),
        ("groups = 4 do not divide inner = 6", basic.with_inner(6).with_groups(4)),
        ("groups = 3 do not divide first = 4", BlockConfig::bottleneck(8, 16).with_groups(3)),
        ("stride = 0;", basic.with_stride(0)),
        ("stride = 9223372036854775808;", basic.with_stride(1 << 63)),
        (
            "shortcut A cannot go from inputs = 8 to outputs = 4",
            BlockConfig::basic(8, 4).with_shortcut(ShortcutKind::A),
        ),
        ("standardize = -1;", with(basic, |options| options.standardize = Some(-1.))),
        ("groups = 3 do not divide channels = 8", with(basic, |options| options.norm = NormKind::Group { groups: 3 })),
        ("groups = 0;", with(basic, |options| options.norm = NormKind::EvoS0 { groups: 0 })),
        ("kernel = 4;", basic.with_attention(Attention::ChannelKernel { kernel: 4 })),
        ("kernel = 18446744073709551615;", basic.with_attention(Attention::ChannelKernel { kernel: usize::MAX })),
        ("reduction = 0;", basic.with_attention(squeezed(0))),
    ] {
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let error = ResidualBlock::new(&config, parameters.builder().pp("layer1.0")).map(drop).unwrap_err().to_string();
        assert!(
            error.starts_with("layer1.0") && error.contains(field) && error.lines().count() == 1,
            "{field}: {error}"
        );
    }
}

/// Layers of their own: the message names the path and the number.
#[test]
fn layers_of_impossible_sizes_are_errors() {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let vb = |name: &str| parameters.builder().pp(name);
    let config = ConvConfig { stride: (0, 1), ..ConvConfig::default() };
    let grouped = ConvConfig { groups: 3, ..ConvConfig::default() };
    // 2⁶⁰ values: more than memory, and in bytes more than a usize holds.
    let (wide, many) = (1 << 30, ConvConfig::default());
    for (wanted, result) in [
        ("a: inputs = 0;", Conv2d::new(0, 8, 3, 1, vb("a")).map(drop)),
        ("b: conv2d: kernel (rows) = 0;", Conv2d::new(8, 8, 0, 1, vb("b")).map(drop)),
        ("c: conv2d: stride (rows) = 0;", Conv2d::with_config(8, 8, (3, 3), config, vb("c")).map(drop)),
        ("d: groups = 3 do not divide", Conv2d::with_config(8, 9, (3, 3), grouped, vb("d")).map(drop)),
        ("parameter e.weight: [1073741824,", Conv2d::with_config(wide, wide, (1, 1), many, vb("e")).map(drop)),
        ("f: outputs = 0;", Linear::new(8, 0, vb("f")).map(drop)),
        ("g: inputs = 0;", Linear::pointwise(0, 8, vb("g")).map(drop)),
        ("h: channels = 0;", Norm2d::new(0, vb("h")).map(drop)),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(line(&error).starts_with(wanted), "{wanted}: {error}");
    }
    assert!(parameters.named().is_empty());
}

/// An error's own words; candle puts a backtrace behind them where one is asked for.
fn line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

/// A parameter is asked for again under another shape, one that does not exist, one of integers.
#[test]
fn parameters_are_named_where_they_are_not_what_is_asked_for() -> Result<()> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let vb = parameters.builder();
    vb.pp("conv1").get((4, 3), "weight")?;
    let shape = vb.pp("conv1").get((4, 2), "weight").map(drop).unwrap_err().to_string();
    assert_eq!(line(&shape), "parameter conv1.weight is [4, 3], asked for as [4, 2]");
    let missing = vb.get_unchecked("conv9.weight").map(drop).unwrap_err().to_string();
    assert_eq!(line(&missing), "parameter conv9.weight does not exist");
    let integers = Parameters::new(3, DType::U8, &Device::Cpu);
    let error = integers.builder().get(3, "bias").map(drop).unwrap_err().to_string();
    assert_eq!(line(&error), "parameter bias is asked for as U8; a floating-point dtype is needed");
    // Blocks in other floating-point dtypes are made and run.
    for dtype in [DType::BF16, DType::F16, DType::F64] {
        let parameters = Parameters::new(3, dtype, &Device::Cpu);
        let block = ResidualBlock::new(&BlockConfig::basic(4, 8).with_stride(2), parameters.builder())?;
        let x = Tensor::ones((2, 4, 5, 5), dtype, &Device::Cpu)?;
        let y = block.forward_t(&x, true)?;
        assert_eq!((y.dims(), y.dtype()), ([2, 8, 3, 3].as_slice(), dtype));
    }
    Ok(())
}

/// What a block is given: other channels, too few pixels, nothing.
#[test]
fn inputs_that_do_not_fit_are_errors_that_name_the_layer() -> Result<()> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let config = with(BlockConfig::basic(4, 8).with_stride(2), |options| options.anti_alias = Some(AntiAlias::Blur));
    let block = ResidualBlock::new(&config, parameters.builder())?;
    for (dims, words) in [
        ([2, 3, 5, 5], ["conv1: conv2d: ", "takes 4 channels; the input has 3"]),
        ([2, 4, 1, 5], ["aa: blur_pool2d: ", "1 rows and 5 columns"]),
        ([0, 4, 5, 5], ["graph: ", "images = 0"]),
    ] {
        let x = Tensor::zeros(&dims, DType::F32, &Device::Cpu)?;
        for train in [true, false] {
            let error = block.forward_t(&x, train).map(drop).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_zero_last_gamma_makes_the_block_the_identity_on_positive_inputs() -> Result<()> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let block = ResidualBlock::new(&BlockConfig::basic(8, 8).with_zero_init_last(true), parameters.builder())?;
    let x = input(DType::F32)?.abs()?;
    let difference = (block.forward_t(&x, true)? - &x)?.abs()?.sum_all()?.to_scalar::<f32>()?;
    assert_eq!(difference, 0.);
    Ok(())
}
