//! Every combination of branch, order and shortcut: shapes, gradients of all parameters, equality of the interpreters.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;
use resnet_blocks::{BlockConfig, Branch, Layer, Order, Parameters, ResidualBlock, ShortcutKind, StrideIn};
use resnet_ops::{Backend, Graph, Value};

fn configurations() -> Vec<BlockConfig> {
    let mut all = Vec::new();
    for branch in [Branch::Basic, Branch::Bottleneck(StrideIn::First), Branch::Bottleneck(StrideIn::Middle)] {
        for order in [Order::Original, Order::PreActivation] {
            for shortcut in [ShortcutKind::None, ShortcutKind::A, ShortcutKind::B, ShortcutKind::C] {
                for (outputs, stride) in [(8, 1), (16, 2), (12, 1)] {
                    for shared_activation in [false, true] {
                        all.push(BlockConfig {
                            branch,
                            shared_activation,
                            ..BlockConfig::basic(8, outputs)
                                .with_stride(stride)
                                .with_order(order)
                                .with_shortcut(shortcut)
                        });
                    }
                }
            }
        }
    }
    all
}

fn input(dtype: DType) -> Result<Var> {
    let values: Vec<f32> = (0..2 * 8 * 6 * 5).map(|i| ((i * 37) % 101) as f32 / 50. - 1.).collect();
    Var::from_tensor(&Tensor::from_vec(values, (2, 8, 6, 5), &Device::Cpu)?.to_dtype(dtype)?)
}

/// Output and all gradients of the block, by name; a fixed weighting makes every output count differently.
fn results(config: &BlockConfig, dtype: DType, backend: Backend) -> Result<Vec<(String, Tensor)>> {
    let parameters = Parameters::new(3, dtype, &Device::Cpu);
    let block = ResidualBlock::new(config, parameters.builder())?;
    let mut graph = Graph::builder();
    let output = block.append(&mut graph, "", Value::default());
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
        all.push((name.clone(), gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name}")).clone()));
    }
    all.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F64)?))).collect()
}

#[test]
fn every_variant_has_the_portable_results_and_gradients() -> Result<()> {
    for config in configurations() {
        let reference = results(&config, DType::F64, Backend::Portable)?;
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
fn a_zero_last_gamma_makes_the_block_the_identity_on_positive_inputs() -> Result<()> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let block = ResidualBlock::new(&BlockConfig::basic(8, 8).with_zero_init_last(true), parameters.builder())?;
    let x = input(DType::F32)?.abs()?;
    let difference = (block.forward_t(&x, true)? - &x)?.abs()?.sum_all()?.to_scalar::<f32>()?;
    assert_eq!(difference, 0.);
    Ok(())
}
