//! What is kept of parameters that do not change.

use std::sync::Arc;

use candle_core::{DType, Device, Result};

use super::{Emulation, Plan, Vars, block, noise};
use crate::cuda::constants::Constants;
use crate::graph::Pass;
use crate::{ConvConfig, Graph};

#[test]
fn constants_are_made_once_for_each_dtype() -> Result<()> {
    for on in Emulation::all() {
        let (mut graph, mut vars) = (Graph::builder(), Vars { dtype: DType::F32, all: Vec::new() });
        // Weights of all kinds; biases are read where they lie.
        let weight = vars.var(&[4, 3, 3, 3])?;
        let y = graph.standardized_conv("conv", graph.input(), &weight, 1e-5, ConvConfig::square(1, 1));
        let y = graph.norm("bn", y, &vars.norm(4)?);
        let y = block(&mut graph, &mut vars, y, 4, 8, 2)?;
        let y = graph.global_avg_pool("pool", y);
        let weight = vars.var(&[5, 8])?;
        let output = graph.linear("fc", y, &weight, None);
        let plan = Arc::new(Plan::new(&graph.finish(output), &Device::Cpu).expect("f32"));
        let x = noise(&[2, 3, 9, 8], 2)?;
        let run = |constants: Option<&Constants<Emulation>>, compute| -> Result<Vec<f32>> {
            let y = crate::cuda::run(&plan, on.clone(), &x, Pass::default(), compute, constants)?;
            y.flatten_all()?.to_vec1::<f32>()
        };
        let constants = Constants::default();
        let (single, half) = (run(None, DType::F32)?, run(None, DType::BF16)?);
        assert_eq!(run(Some(&constants), DType::F32)?, single);
        assert_eq!(run(Some(&constants), DType::BF16)?, half);
        // What changes all the same is not looked at again.
        for var in &vars.all {
            var.set(&(var.as_tensor() * 2.)?)?;
        }
        assert_eq!(run(Some(&constants), DType::F32)?, single);
        assert_eq!(run(Some(&constants), DType::BF16)?, half);
        assert_ne!(run(None, DType::F32)?, single);
    }
    Ok(())
}
