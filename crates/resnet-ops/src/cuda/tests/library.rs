//! Convolutions by a library instead of the direct kernels; all comparisons with the reference are made with one too.

use candle_core::{DType, Result, Tensor};

use super::{Emulation, block, noise, results};
use crate::cuda::array::Array;
use crate::cuda::conv_problem::{ConvPass, ConvProblem};
use crate::cuda::emulation::Call;
use crate::cuda::kernels::Kernels;
use crate::graph::MapShape;
use crate::{ConvConfig, GraphBuilder};

#[test]
fn the_second_gradient_of_a_map_is_asked_of_the_library() -> Result<()> {
    for on in Emulation::with_libraries() {
        // The projection's gradient is at the block's input before that of the first convolution comes.
        results(
            &|g: &mut GraphBuilder, v| block(g, v, g.input(), 4, 8, 2),
            &[2, 4, 7, 6],
            true,
            Some((&on, DType::F32)),
        )?;
        let library = on.library.as_ref().expect("a library");
        let calls = library.calls();
        let count = |pass, accumulate| calls.iter().filter(|call| **call == Call { pass, accumulate }).count();
        assert_eq!((count(ConvPass::Forward, false), count(ConvPass::BackwardFilter, false)), (3, 3));
        assert_eq!(count(ConvPass::BackwardData, true), 1);
        // What it does not add it computes by itself.
        assert_eq!(count(ConvPass::BackwardData, false), if library.adds { 2 } else { 3 });
        assert_eq!(calls.len(), if library.adds { 9 } else { 10 });
    }
    Ok(())
}

#[test]
fn a_convolution_is_added_to_what_is_there() -> Result<()> {
    let weight = noise(&[6, 2, 3, 2], 1)?;
    let config = ConvConfig { stride: (2, 1), padding: (1, 0), groups: 2, ..ConvConfig::default() };
    let shape = ConvProblem::new(2, MapShape { channels: 4, height: 5, width: 4 }, &weight, &config)?;
    let direct = Emulation { backwards: false, library: None };
    for pass in [ConvPass::Forward, ConvPass::BackwardData, ConvPass::BackwardFilter] {
        let [a, b, out] = shape.counts(pass);
        let (a, b, before) = (noise(&[a], 2)?, noise(&[b], 3)?, noise(&[out], 4)?);
        let sum = |on: &Emulation, into: Option<&Tensor>| -> Result<Tensor> {
            let kernels = Kernels::new(on.clone(), DType::F32)?;
            let [a, b] = [&a, &b].map(|tensor| Array::borrow(on, tensor, DType::F32));
            // An array of the engine's own, which may be written.
            let copy = |tensor: &Tensor| kernels.channels_last(tensor, [1, 1, tensor.elem_count()]);
            let into = into.map(copy).transpose()?;
            kernels.convolve(pass, &shape, &a?, &b?, into)?.into_tensor(on, out)
        };
        for on in Emulation::with_libraries() {
            let alone = sum(&on, None)?;
            for (ours, wanted) in [
                (sum(&on, Some(&before))?, (&alone + &before)?),
                (alone, sum(&direct, None)?),
                (sum(&direct, Some(&before))?, (sum(&direct, None)? + &before)?),
            ] {
                let off = (ours - wanted)?.abs()?.max(0)?.to_scalar::<f32>()?;
                assert!(off < 1e-5, "{pass:?} on {on:?}: off by {off}");
            }
        }
    }
    Ok(())
}
