//! Shapes at the edges of what kernels are written for.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{Emulation, Plan, Vars, block, compare, conv, network, noise};
use crate::cuda::array::Array;
use crate::graph::Pass;
use crate::{AvgPoolConfig, ConvConfig, Graph, GraphBuilder, NodeId, PoolConfig};

use std::sync::Arc;

/// Output and gradient of the input of a graph without parameters.
fn run(build: impl Fn(&mut GraphBuilder) -> NodeId, x: &Tensor, on: &Emulation, compute: DType) -> Result<[Tensor; 2]> {
    let mut graph = Graph::builder();
    let output = build(&mut graph);
    let plan = Arc::new(Plan::new(&graph.finish(output), &Device::Cpu).expect("f32 on this device"));
    let x = Var::from_tensor(x)?;
    let y = crate::cuda::run(
        &plan,
        on.clone(),
        x.as_tensor(),
        Pass { train: true, keep: true, ..Pass::default() },
        compute,
        None,
    )?;
    // Depends on the place, but not on the number of channels behind it.
    let rows = noise(&[y.dim(0)?, 1, y.dim(2)?, y.dim(3)?], 5)?;
    let gradients = y.broadcast_mul(&rows)?.sum_all()?.backward()?;
    let dx = gradients.get(x.as_tensor()).expect("a gradient").clone();
    Ok([y, dx])
}

#[test]
fn packs_of_channels_give_what_single_channels_give() -> Result<()> {
    let max = PoolConfig::square(3, 2, 1);
    let average = AvgPoolConfig { kernel: (3, 2), stride: (2, 2), padding: (1, 1), ceil: true };
    // 17 channels are read one by one, the first 16 of them in packs. Rounded to few bits, so that maxima are often equal.
    let x = ((noise(&[2, 17, 7, 9], 3)? * 8.)?.round()? / 8.)?;
    for on in Emulation::all() {
        for compute in [DType::F32, DType::BF16, DType::F16] {
            let builds: [&dyn Fn(&mut GraphBuilder) -> NodeId; 2] =
                [&|g| g.max_pool("pool", g.input(), max), &|g| g.avg_pool("pool", g.input(), average)];
            for build in builds {
                let single = run(build, &x, &on, compute)?;
                let packed = run(build, &x.narrow(1, 0, 16)?.contiguous()?, &on, compute)?;
                for (single, packed) in single.iter().zip(&packed) {
                    let single = single.narrow(1, 0, 16)?.flatten_all()?.to_vec1::<f32>()?;
                    assert_eq!(single, packed.flatten_all()?.to_vec1::<f32>()?, "{compute:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_image_trains() -> Result<()> {
    compare(&network, &[1, 3, 13, 12])?;
    compare(&|g, v| block(g, v, g.input(), 5, 7, 2), &[1, 5, 3, 2])
}

#[test]
fn odd_convolutions_equal_the_reference() -> Result<()> {
    let kinds = [
        // Every channel by itself; an even kernel; a stride beyond the kernel; a kernel as large as the map.
        (ConvConfig { groups: 5, padding: (1, 1), ..ConvConfig::default() }, [5, 1, 3, 3]),
        (ConvConfig { padding: (1, 1), ..ConvConfig::default() }, [3, 5, 2, 2]),
        (ConvConfig { stride: (3, 2), ..ConvConfig::default() }, [7, 5, 2, 1]),
        (ConvConfig::default(), [2, 5, 7, 6]),
    ];
    for (config, weight) in kinds {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let weight = v.var(&weight)?;
            Ok(g.conv("conv", g.input(), &weight, None, config))
        };
        compare(&build, &[1, 5, 7, 6])?;
    }
    Ok(())
}

#[test]
fn input_that_begins_within_a_pack_is_copied() -> Result<()> {
    // Image 1 of (3, 6, 1, 1) begins at byte 24: what is read there in packs of 16 bytes has to be moved.
    let all = noise(&[3, 6, 1, 1], 4)?;
    let part = all.narrow(0, 1, 2)?;
    for on in Emulation::all() {
        let mut graph = Graph::builder();
        let output = graph.relu(graph.input());
        let plan = Arc::new(Plan::new(&graph.finish(output), &Device::Cpu).expect("no parameters"));
        let y = crate::cuda::run(&plan, on, &part, Pass::default(), DType::F32, None)?;
        assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, part.relu()?.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}

#[test]
fn more_values_than_32_bits_count_are_refused() -> Result<()> {
    // A view of one value, so that nothing of the size is there.
    let huge = Tensor::zeros((1, 1), DType::F32, &Device::Cpu)?.broadcast_as((1 << 16, 1 << 15))?;
    for on in Emulation::all() {
        assert!(Array::new(&on, 1 << 31, DType::U8).is_err());
        assert!(Array::borrow(&on, &huge, DType::F32).is_err());
    }
    Ok(())
}

#[test]
fn gradients_are_delivered_as_candle_sums_them() -> Result<()> {
    // A weight that two convolutions and an operation of candle's share, and one that is no variable itself.
    let (shared, inner) = (Var::from_tensor(&noise(&[3, 3, 3, 3], 1)?)?, Var::from_tensor(&noise(&[4, 3, 1, 1], 2)?)?);
    let x = noise(&[2, 3, 5, 4], 3)?;
    for on in Emulation::all() {
        let loss = || -> Result<Tensor> {
            let mut g = Graph::builder();
            let y = g.conv("a", g.input(), &shared, None, ConvConfig::square(1, 1));
            let y = g.conv("b", y, &shared, None, ConvConfig::square(1, 1));
            let last = (inner.as_tensor() * 3.)?;
            let y = g.conv("c", y, &last, None, ConvConfig::default());
            let plan = Arc::new(Plan::new(&g.finish(y), &Device::Cpu).expect("f32 on this device"));
            let pass = Pass { train: true, keep: true, ..Pass::default() };
            crate::cuda::run(&plan, on.clone(), &x, pass, DType::F32, None)?.mean_all()? + shared.sqr()?.sum_all()?
        };
        let (expected, found) = (loss()?.backward()?, crate::backward(&loss()?)?);
        for var in [&shared, &inner] {
            let values = |store: &candle_core::backprop::GradStore| {
                store.get(var.as_tensor()).expect("a gradient").flatten_all()?.to_vec1::<f32>()
            };
            for (a, b) in values(&expected)?.iter().zip(&values(&found)?) {
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1e-3), "{a} {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn more_parameters_than_a_table_holds_take_a_step() -> Result<()> {
    use crate::cuda::sgd::{SgdRow, sgd};
    use crate::sgd::SgdStep;
    let (all, gradient) = (noise(&[2000], 1)?, noise(&[1], 2)?);
    for on in Emulation::all() {
        let copy = all.copy()?;
        let parameters = (0..2000).map(|i| copy.narrow(0, i, 1)).collect::<Result<Vec<_>>>()?;
        let step =
            |parameter| SgdRow { parameter, gradient: &gradient, velocity: None, rate: 0.5, decay: 0., first: true };
        let steps: Vec<SgdRow> = parameters.iter().map(step).collect();
        sgd(&on, &steps, SgdStep { scale: 1., momentum: 0., nesterov: false })?;
        let by = gradient.to_vec1::<f32>()?[0] * 0.5;
        for (after, before) in copy.to_vec1::<f32>()?.iter().zip(all.to_vec1::<f32>()?) {
            assert_eq!(*after, before - by);
        }
    }
    Ok(())
}

#[test]
fn strided_convolutions_of_odd_maps_equal_the_reference() -> Result<()> {
    for (k, stride) in [(3, 2), (1, 2), (7, 2)] {
        compare(&move |g, v| conv(g, v, g.input(), [3, 5, k, stride]), &[2, 3, 9, 8])?;
    }
    Ok(())
}
