//! Inference with folded norms against evaluation.

use candle_core::{DType, Tensor};
use proptest::prelude::*;
use resnet_ops::{Backend, Graph, Inference, Isa};

use super::networks::residual_block;
use super::support::{Vars, noise, on};

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
        let reference = build(DType::F64).with_backend(Backend::Reference).forward_t(&x, false).unwrap();
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
