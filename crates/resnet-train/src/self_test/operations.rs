//! Each operation of a graph on the device, forwards and backwards, against the reference in f64.

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_ops::graph::NormParameters;
use resnet_ops::{AvgPoolConfig, Backend, ConvConfig, Graph, GraphBuilder, NodeId, NormConfig, PoolConfig};

use super::{noise, worst_difference};

/// Variables of a case, the same values in every dtype and on every device.
pub(super) struct Vars {
    dtype: DType,
    device: Device,
    trained: Vec<Var>,
    statistics: Vec<Var>,
}

impl Vars {
    fn fixed(&self, values: &Tensor) -> Result<Var> {
        Var::from_tensor(&values.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
    fn var(&mut self, dims: &[usize]) -> Result<Tensor> {
        let var = self.fixed(&noise(dims, self.trained.len() as u32 + 1)?)?;
        self.trained.push(var.clone());
        Ok(var.as_tensor().clone())
    }
    /// A weight whose sums stay of the size of the values.
    pub(super) fn weight(&mut self, dims: &[usize]) -> Result<Tensor> {
        let scale = (3. / dims[1..].iter().product::<usize>() as f64).sqrt();
        let var = self.fixed(&(noise(dims, self.trained.len() as u32 + 1)? * scale)?)?;
        self.trained.push(var.clone());
        Ok(var.as_tensor().clone())
    }
    pub(super) fn norm(&mut self, channels: usize) -> Result<NormParameters> {
        let (weight, bias) = (self.var(&[channels])?, self.var(&[channels])?);
        let ones = Tensor::ones(channels, DType::F32, &Device::Cpu)?;
        let (running_mean, running_var) = (self.fixed(&(&ones * 0.1)?)?, self.fixed(&(&ones * 0.7)?)?);
        self.statistics.extend([running_mean.clone(), running_var.clone()]);
        let config = NormConfig::default();
        Ok(NormParameters { weight: Some(weight), bias: Some(bias), running_mean, running_var, config })
    }
}

type Build = dyn Fn(&mut GraphBuilder, &mut Vars) -> Result<NodeId>;

/// An operation, or some, and the input that they get.
pub(super) struct Case {
    build: Box<Build>,
    pub(super) dims: Vec<usize>,
}

impl Case {
    /// Its graph and parameters; in f64, run by the reference.
    pub(super) fn graph(&self, device: &Device, on: DType) -> Result<(Graph, Vars)> {
        let mut vars = Vars { dtype: on, device: device.clone(), trained: Vec::new(), statistics: Vec::new() };
        let mut graph = Graph::builder();
        let output = (self.build)(&mut graph, &mut vars)?;
        let backend = if on == DType::F64 { Backend::Reference } else { Backend::Auto };
        Ok((graph.finish(output).with_backend(backend), vars))
    }
}

pub(super) fn case(dims: &[usize], build: impl Fn(&mut GraphBuilder, &mut Vars) -> Result<NodeId> + 'static) -> Case {
    Case { build: Box::new(build), dims: dims.to_vec() }
}

fn conv(dims: &[usize], weight: &[usize], config: ConvConfig) -> Case {
    let weight = weight.to_vec();
    case(dims, move |g, v| {
        let weight = v.weight(&weight)?;
        Ok(g.conv("conv", g.input(), &weight, None, config))
    })
}

fn norm(channels: usize, residual: bool, relu: bool) -> Case {
    case(&[8, channels, 14, 15], move |g, v| {
        let other = if residual { Some(g.affine(g.input(), -0.7, 0.2)) } else { None };
        let y = g.norm("bn", g.input(), &v.norm(channels)?);
        let y = other.map_or(y, |other| g.add(other, y));
        Ok(if relu { g.relu(y) } else { y })
    })
}

/// Every operation of the networks here, in the shapes that they have it in.
pub(super) fn all() -> Vec<(&'static str, Case)> {
    let square = ConvConfig::square;
    vec![
        ("conv 3x3, 16 channels", conv(&[8, 16, 32, 32], &[16, 16, 3, 3], square(1, 1))),
        ("conv 3x3, 64 channels", conv(&[2, 64, 56, 56], &[64, 64, 3, 3], square(1, 1))),
        ("conv 3x3 / 2", conv(&[2, 64, 28, 27], &[128, 64, 3, 3], square(2, 1))),
        ("conv 1x1", conv(&[2, 64, 28, 28], &[256, 64, 1, 1], square(1, 0))),
        ("conv 1x1 / 2", conv(&[2, 64, 29, 28], &[128, 64, 1, 1], square(2, 0))),
        ("conv 7x7 / 2, 3 channels", conv(&[2, 3, 64, 65], &[64, 3, 7, 7], square(2, 3))),
        ("conv 3x3, 3 channels", conv(&[8, 3, 32, 32], &[16, 3, 3, 3], square(1, 1))),
        ("conv 3x3, odd channels", conv(&[3, 5, 9, 11], &[7, 5, 3, 3], square(1, 1))),
        ("conv 3x3, 4 groups", conv(&[2, 32, 14, 14], &[64, 8, 3, 3], ConvConfig { groups: 4, ..square(1, 1) })),
        ("conv 3x3, dilated", conv(&[2, 8, 14, 14], &[8, 8, 3, 3], ConvConfig { dilation: (2, 2), ..square(1, 2) })),
        (
            "conv with bias",
            case(&[2, 6, 9, 9], |g, v| {
                let (weight, bias) = (v.weight(&[10, 6, 3, 3])?, v.var(&[10])?);
                Ok(g.conv("conv", g.input(), &weight, Some(&bias), ConvConfig::square(1, 1)))
            }),
        ),
        (
            "conv, standardised weight",
            case(&[2, 6, 9, 9], |g, v| {
                let weight = v.weight(&[10, 6, 3, 3])?;
                Ok(g.standardized_conv("conv", g.input(), &weight, 1e-5, ConvConfig::square(1, 1)))
            }),
        ),
        ("batch norm", norm(64, false, false)),
        ("batch norm + relu", norm(16, false, true)),
        ("batch norm + add", norm(24, true, false)),
        ("batch norm + add + relu", norm(64, true, true)),
        ("batch norm + add + relu, odd channels", norm(7, true, true)),
        (
            "relu, add",
            case(&[2, 9, 5, 7], |g, _| {
                let y = g.relu(g.input());
                Ok(g.add(y, g.input()))
            }),
        ),
        ("max-pool 3x3 / 2", pool(PoolConfig::square(3, 2, 1))),
        ("max-pool 2x2", pool(PoolConfig::square(2, 2, 0))),
        (
            "average pool 2x2, ceil",
            case(&[2, 16, 13, 15], |g, _| Ok(g.avg_pool("pool", g.input(), AvgPoolConfig::square(2, 2, true)))),
        ),
        ("global average pool", case(&[4, 70, 7, 7], |g, _| Ok(g.global_avg_pool("pool", g.input())))),
        (
            "linear",
            case(&[32, 64, 1, 1], |g, v| {
                let (weight, bias) = (v.weight(&[10, 64])?, v.var(&[10])?);
                let y = g.global_avg_pool("pool", g.input());
                Ok(g.linear("fc", y, &weight, Some(&bias)))
            }),
        ),
        (
            "subsampling and zero channels",
            case(&[2, 16, 15, 16], |g, _| {
                let y = g.subsample(g.input(), (2, 2));
                Ok(g.pad_channels(y, 8, 8))
            }),
        ),
        (
            "group norm, sigmoid gate",
            case(&[2, 8, 6, 5], |g, v| {
                let (weight, bias) = (v.var(&[8])?, v.var(&[8])?);
                let y = g.group_norm("gn", g.input(), (&weight, &bias), 4, 1e-5);
                let gate = g.global_avg_pool("", y);
                let gate = g.sigmoid(gate);
                Ok(g.mul(y, gate))
            }),
        ),
    ]
}

fn pool(config: PoolConfig) -> Case {
    case(&[2, 16, 15, 14], move |g, _| Ok(g.max_pool("pool", g.input(), config)))
}

/// The result, the gradients of the input (where it is a variable) and of all variables, and the running statistics after
/// that; parameters in the dtype `on`, on the input's device.
pub(super) fn results(case: &Case, x: &Tensor, on: DType, compute: DType, train: bool) -> Result<Vec<Tensor>> {
    let device = x.device();
    let (graph, vars) = case.graph(device, on)?;
    let y = graph.with_compute_dtype(compute).forward_t(x, train)?;
    let weights = noise(y.dims(), 77)?.to_dtype(y.dtype())?.to_device(device)?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut all = vec![y];
    let input = Some(x).filter(|x| x.is_variable());
    for tensor in input.into_iter().chain(vars.trained.iter().map(Var::as_tensor)) {
        match gradients.get(tensor) {
            Some(gradient) => all.push(gradient.clone()),
            None => candle_core::bail!("a variable {:?} got no gradient", tensor.dims()),
        }
    }
    all.extend(vars.statistics.iter().map(|var| var.as_detached_tensor()));
    Ok(all)
}

/// How far the device is off, at worst.
pub(super) fn error(case: &Case, device: &Device, compute: DType, train: bool) -> Result<f64> {
    // What the compute dtype cannot hold is rounded for both, or a maximum would be another value's.
    let x = noise(&case.dims, 99)?.to_dtype(DType::BF16)?;
    let on = |device: &Device, dtype: DType| Var::from_tensor(&x.to_dtype(dtype)?.to_device(device)?);
    let reference = results(case, on(&Device::Cpu, DType::F64)?.as_tensor(), DType::F64, DType::F32, train)?;
    let ours = results(case, on(device, DType::F32)?.as_tensor(), DType::F32, compute, train)?;
    worst_difference(&ours, &reference)
}
