//! Passes for training with norms that stay as they are: what evaluation gives, and its gradients.

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_ops::graph::NormParameters;
use resnet_ops::{ConvConfig, Graph, NormConfig};

fn var(dims: &[usize], step: f32) -> Result<Var> {
    let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| (i as f32 * step).sin()).collect();
    Var::from_tensor(&Tensor::from_vec(values, dims, &Device::Cpu)?)
}

#[test]
fn the_same_bits_as_evaluation_and_its_gradients() -> Result<()> {
    let (x, weight) = (var(&[2, 3, 8, 9], 0.37)?, var(&[16, 3, 3, 3], 0.71)?);
    let (scale, shift, mean) = (var(&[16], 0.9)?, var(&[16], 1.3)?, var(&[16], 0.2)?);
    let parameters = NormParameters {
        weight: Some(scale.as_tensor().clone()),
        bias: Some(shift.as_tensor().clone()),
        running_mean: mean.clone(),
        running_var: Var::ones(16, DType::F32, &Device::Cpu)?,
        config: NormConfig::default(),
    };
    let mut g = Graph::builder();
    let y = g.conv("conv", g.input(), &weight, None, ConvConfig::square(1, 1));
    let y = g.norm("bn", y, &parameters);
    let y = g.relu(y);
    let graph = g.finish(y);
    for compute in [DType::F32, DType::BF16] {
        let graph = graph.clone().with_compute_dtype(compute);
        let results = |y: Tensor| -> Result<Vec<Vec<f32>>> {
            let gradients = (&y * y.detach())?.sum_all()?.backward()?;
            let mut all = vec![y.flatten_all()?.to_vec1()?];
            for var in [&x, &weight, &scale, &shift] {
                let Some(gradient) = gradients.get(var) else { candle_core::bail!("no gradient of {:?}", var.dims()) };
                all.push(gradient.flatten_all()?.to_vec1()?);
            }
            Ok(all)
        };
        let before = mean.as_tensor().to_vec1::<f32>()?;
        let evaluated = results(graph.forward_t(&x, false)?)?;
        assert_eq!(results(graph.forward_with_fixed_norms(&x)?)?, evaluated, "{compute:?}");
        assert_eq!(mean.as_tensor().to_vec1::<f32>()?, before);
        assert_ne!(results(graph.forward_t(&x, true)?)?, evaluated);
        mean.set(&Tensor::new(before, &Device::Cpu)?)?;
    }
    Ok(())
}
