//! What all tests of the engine share: an instruction set at a time, repeatable values, and networks run both ways.

use std::sync::{PoisonError, RwLock};

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_ops::graph::NormParameters;
use resnet_ops::{Backend, Graph, GraphBuilder, Isa, NodeId, NormConfig, force_isa};

/// The instruction set in use, which all tests of this process share.
pub static ISA: RwLock<()> = RwLock::new(());

/// Computes something on the given instruction set, while no other test does so on another.
pub fn on<R>(isa: Isa, compute: impl FnOnce() -> R) -> R {
    let _alone = ISA.write().unwrap_or_else(PoisonError::into_inner);
    force_isa(Some(isa));
    let result = compute();
    force_isa(None);
    result
}

/// Computes something on the best instruction set, while no test changes it.
pub fn on_any<R>(compute: impl FnOnce() -> R) -> R {
    let _together = ISA.read().unwrap_or_else(PoisonError::into_inner);
    compute()
}

/// Repeatable values in ±1.
pub fn noise(dims: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let values: Vec<f32> = (0..dims.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608. - 1.
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Variables of a test network, made in f32 and copied to f64.
pub struct Vars {
    dtype: DType,
    seed: u32,
    pub all: Vec<Var>,
}

impl Vars {
    pub fn new(dtype: DType) -> Self {
        Self { dtype, seed: 0, all: Vec::new() }
    }
    pub fn var(&mut self, dims: &[usize]) -> Tensor {
        self.seed += 1;
        let var = Var::from_tensor(&noise(dims, self.seed).to_dtype(self.dtype).unwrap()).unwrap();
        self.all.push(var.clone());
        var.as_tensor().clone()
    }
    pub fn norm(&mut self, channels: usize) -> NormParameters {
        let buffer = |value: f64| {
            let full = (Tensor::ones(channels, self.dtype, &Device::Cpu).unwrap() * value).unwrap();
            Var::from_tensor(&full).unwrap()
        };
        let (running_mean, running_var) = (buffer(0.1), buffer(0.7));
        NormParameters {
            weight: Some(self.var(&[channels])),
            bias: Some(self.var(&[channels])),
            running_mean,
            running_var,
            config: NormConfig::default(),
        }
    }
}

pub type Build = dyn Fn(&mut GraphBuilder, &mut Vars) -> NodeId;

/// Output, gradient of the input, gradients of all variables, running statistics are left out.
pub fn run(build: &Build, dims: &[usize], dtype: DType, backend: Backend, train: bool) -> Result<Vec<Tensor>> {
    run_computing_in(DType::F32, build, dims, dtype, backend, train)
}

pub fn run_computing_in(
    compute: DType,
    build: &Build,
    dims: &[usize],
    dtype: DType,
    backend: Backend,
    train: bool,
) -> Result<Vec<Tensor>> {
    let mut vars = Vars::new(dtype);
    let mut graph = Graph::builder();
    let output = build(&mut graph, &mut vars);
    let graph = graph.finish(output).with_backend(backend).with_compute_dtype(compute);
    graph.dropout_rng().set(3, 5);
    let x = Var::from_tensor(&noise(dims, 99).to_dtype(dtype)?)?;
    let y = graph.forward_t(x.as_tensor(), train)?;
    let weights = noise(y.dims(), 77).to_dtype(dtype)?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut all = vec![y];
    for var in std::iter::once(&x).chain(&vars.all) {
        all.push(gradients.get(var.as_tensor()).expect("every variable has a gradient").clone());
    }
    Ok(all)
}

pub fn compare(build: &Build, dims: &[usize], train: bool) {
    let reference = run(build, dims, DType::F64, Backend::Reference, train).unwrap();
    for isa in Isa::available() {
        let ours = on(isa, || run(build, dims, DType::F32, Backend::Auto, train)).unwrap();
        assert_eq!(ours.len(), reference.len());
        for (i, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
            assert_eq!(ours.dims(), reference.dims());
            let difference = (ours.to_dtype(DType::F64).unwrap() - reference).unwrap().abs().unwrap();
            let largest = |t: &Tensor| t.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            let scale = largest(&reference.abs().unwrap()).max(1.);
            let error = largest(&difference);
            assert!(error <= 2e-4 * scale, "{isa:?}, result {i} of {dims:?}: off by {error}, scale {scale}");
        }
    }
}
