//! Activations and products in bf16; large maps, where algorithms are chosen by size, in both.

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;
use resnet_ops::{Backend, ConvConfig, Graph, GraphBuilder, Inference, Isa};

use super::networks::residual_block;
use super::support::{Build, Vars, compare, on, run, run_computing_in};

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
        let reference = run(DType::F32, DType::F64, Backend::Reference).unwrap();
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
    let reference = run(build, dims, DType::F64, Backend::Reference, true).unwrap();
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
