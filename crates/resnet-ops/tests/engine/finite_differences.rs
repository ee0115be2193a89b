//! The reference against finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_ops::{Backend, ConvConfig, Graph, GraphBuilder, PoolConfig};

use super::networks::between_convolutions;
use super::support::{Build, Vars, noise};

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

fn finite_differences(build: &Build, dims: &[usize], train: bool) -> Result<()> {
    let mut vars = Vars::new(DType::F64);
    let mut graph = Graph::builder();
    let output = build(&mut graph, &mut vars);
    let graph = graph.finish(output).with_backend(Backend::Reference);
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
