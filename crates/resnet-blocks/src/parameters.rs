//! A named store of parameters whose initial values depend on a seed and on their names alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::init::NormalOrUniform;
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use resnet_ops::memory;

/// Parameters and buffers of a network by name, in the order of their creation; a clone shares them.
///
/// Unlike `candle_nn::VarMap` the initial values are repeatable: each is drawn from the seed and the parameter's
/// name, whatever the order in which layers are made.
#[derive(Clone)]
pub struct Parameters {
    shared: Arc<Mutex<Store>>,
    /// `None`: no random values, all zeros; for parameters that are about to be loaded.
    seed: Option<u64>,
    dtype: DType,
    device: Device,
}

#[derive(Default)]
struct Store {
    named: Vec<(String, Var)>,
    index: HashMap<String, usize>,
}

impl Parameters {
    /// An empty store that draws initial values from `seed`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self { shared: Arc::default(), seed: Some(seed), dtype, device: device.clone() }
    }

    /// An empty store that fills everything with zeros: faster where values are loaded afterwards.
    pub fn zeros(dtype: DType, device: &Device) -> Self {
        Self { shared: Arc::default(), seed: None, dtype, device: device.clone() }
    }

    /// A builder that makes missing parameters and returns existing ones.
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.dtype, self.device.clone())
    }

    /// All parameters and buffers, in the order of creation.
    pub fn named(&self) -> Vec<(String, Var)> {
        self.lock().named.clone()
    }

    /// The values of all of them as they are now, by name, without gradients: what a file of weights holds.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.named().into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect()
    }

    /// What an optimizer changes: all but the running statistics of batch norms.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let mut named = self.named();
        named.retain(|(name, _)| !is_buffer(name));
        named
    }

    /// The parameter or buffer of that name.
    pub fn get(&self, name: &str) -> Option<Var> {
        let store = self.lock();
        store.index.get(name).map(|&i| store.named[i].1.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initial(&self, shape: &Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let bytes = shape.dims().iter().fold(4, |bytes: u128, &size| bytes.saturating_mul(size as u128));
        memory::check(format_args!("parameter {name}: {:?}", shape.dims()), bytes, &Device::Cpu)?;
        let Some(seed) = self.seed else { return Tensor::zeros(shape, dtype, device) };
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
        let count = shape.elem_count();
        let mut normal = |mean: f64, stdev: f64| -> Vec<f32> {
            (0..count).map(|_| (mean + stdev * rng.sample::<f64, _>(StandardNormal)) as f32).collect()
        };
        let values: Vec<f32> = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Randn { mean, stdev } => normal(mean, stdev),
            Init::Uniform { lo, up } => (0..count).map(|_| rng.random_range(lo..up) as f32).collect(),
            Init::Kaiming { dist, fan, non_linearity } => {
                let stdev = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
                let bound = 3f64.sqrt() * stdev;
                match dist {
                    NormalOrUniform::Normal => normal(0., stdev),
                    NormalOrUniform::Uniform => (0..count).map(|_| rng.random_range(-bound..bound) as f32).collect(),
                }
            }
        };
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }
}

/// Whether a name is that of a running statistic, which no gradient changes.
fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}

/// The 64-bit FNV-1a hash: a fixed function, so that initial values do not change between Rust versions.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl SimpleBackend for Parameters {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut store = self.lock();
        if let Some(&i) = store.index.get(name) {
            let tensor = store.named[i].1.as_tensor();
            if tensor.shape() != &shape {
                bail!("parameter {name} is {:?}, asked for as {:?}", tensor.dims(), shape.dims());
            }
            return Ok(tensor.clone());
        }
        if !dtype.is_float() {
            bail!("parameter {name} is asked for as {dtype:?}; a floating-point dtype is needed");
        }
        let var = Var::from_tensor(&self.initial(&shape, name, init, dtype, device)?)?;
        let tensor = var.as_tensor().clone();
        let position = store.named.len();
        store.index.insert(name.to_string(), position);
        store.named.push((name.to_string(), var));
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        match Parameters::get(self, name) {
            Some(var) => Ok(var.into_inner()),
            None => bail!("parameter {name} does not exist"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().index.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_seed_and_name_only() -> Result<()> {
        let draw = |seed: u64, names: &[&str]| -> Result<Vec<f32>> {
            let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
            for name in names {
                parameters.builder().get_with_hints((4, 3), name, candle_nn::init::DEFAULT_KAIMING_NORMAL)?;
            }
            let Some(var) = parameters.get("a") else { bail!("a was not made") };
            var.flatten_all()?.to_vec1()
        };
        assert_eq!(draw(1, &["a", "b"])?, draw(1, &["b", "a"])?);
        assert_ne!(draw(1, &["a"])?, draw(2, &["a"])?);
        Ok(())
    }

    #[test]
    fn running_statistics_are_not_trainable() -> Result<()> {
        let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
        crate::Norm2d::new(3, parameters.builder().pp("bn1"))?;
        let names: Vec<_> = parameters.trainable().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bn1.weight", "bn1.bias"]);
        assert_eq!(parameters.named().len(), 4);
        Ok(())
    }
}
