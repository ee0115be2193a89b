//! An exponential moving average of the weights (Polyak averaging), evaluated in place of them.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::fused::{self, SwapOp};
use crate::{Error, Result};

/// Settings of [`Ema`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the average kept at each update, below 1.
    pub decay: f64,
    /// Begin with a small decay: `min(decay, (1 + n) / (10 + n))` at the n-th update.
    #[serde(default)]
    pub warmup: bool,
}

#[derive(Debug)]
enum Average {
    Host(Vec<f32>),
    Device(Tensor),
}

#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    average: Average,
}

/// The average of every parameter and of every running statistic, as timm's `ModelEmaV2` and `ModelEmaV3`.
///
/// A norm's statistics describe the activations of the weights that made them. Beside averaged weights those of the
/// last step alone would be another network's, and in mid-training, where weights move far, cost most of the accuracy.
#[derive(Debug)]
pub struct Ema {
    config: EmaConfig,
    updates: u64,
    slots: Vec<Slot>,
}

impl Ema {
    /// An average that begins at the weights as they are.
    pub fn new(named: &[(String, Var)], config: EmaConfig) -> Result<Self> {
        if !(0.0..1.0).contains(&config.decay) {
            return Err(Error::Invalid(format!("ema: decay {} is not in [0, 1)", config.decay)));
        }
        let mut slots = Vec::with_capacity(named.len());
        for (name, var) in named {
            let average = if fused::applies(var) {
                let mut values = vec![0.0; var.elem_count()];
                fused::copy_into(&mut values, var)?;
                Average::Host(values)
            } else {
                Average::Device(var.as_detached_tensor().copy()?)
            };
            slots.push(Slot { name: name.clone(), var: var.clone(), average });
        }
        Ok(Self { config, updates: 0, slots })
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes the weights and statistics of this step into the average.
    pub fn update(&mut self) -> Result<()> {
        let n = self.updates as f64;
        let decay = if self.config.warmup { self.config.decay.min((1.0 + n) / (10.0 + n)) } else { self.config.decay };
        for slot in &mut self.slots {
            match &mut slot.average {
                Average::Host(a) => fused::average_into(a, &slot.var, decay)?,
                Average::Device(a) => {
                    let v = slot.var.as_detached_tensor();
                    *a = (&*a + ((v - &*a)? * (1.0 - decay))?)?;
                }
            }
        }
        self.updates += 1;
        Ok(())
    }

    /// Exchanges the weights and their averages; a second call undoes the first, bit for bit.
    pub fn swap(&mut self) -> Result<()> {
        for slot in &mut self.slots {
            match &mut slot.average {
                Average::Host(a) => slot.var.inplace_op1(&SwapOp::new(a))?,
                Average::Device(a) => {
                    let weights = slot.var.as_detached_tensor().copy()?;
                    slot.var.set(a)?;
                    *a = weights;
                }
            }
        }
        Ok(())
    }

    /// The averages by name; exact.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.slots
            .iter()
            .map(|slot| {
                let tensor = match &slot.average {
                    Average::Host(a) => Tensor::from_slice(a, slot.var.shape(), &Device::Cpu)?,
                    Average::Device(a) => a.clone(),
                };
                Ok((slot.name.clone(), tensor))
            })
            .collect()
    }

    /// Loads what [`Ema::state`] and [`Ema::updates`] gave.
    ///
    /// # Errors
    /// When an average is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>, updates: u64) -> Result<()> {
        for slot in &mut self.slots {
            let saved = match state.get(&slot.name) {
                Some(t) if t.shape() == slot.var.shape() => t,
                Some(t) => {
                    return Err(Error::State(format!(
                        "average of {} has shape {:?}, the weight has {:?}",
                        slot.name,
                        t.dims(),
                        slot.var.dims()
                    )));
                }
                None => return Err(Error::State(format!("the average of {} is missing", slot.name))),
            };
            match &mut slot.average {
                Average::Host(a) => fused::copy_into(a, &saved.to_device(&Device::Cpu)?.contiguous()?)?,
                Average::Device(a) => {
                    *a = saved.to_dtype(slot.var.dtype())?.to_device(slot.var.device())?;
                }
            }
        }
        self.updates = updates;
        Ok(())
    }
}

/// The first of the tensors that holds a value that is not finite.
pub(crate) fn first_not_finite(named: &[(String, Var)]) -> Result<Option<&str>> {
    for (name, var) in named {
        let finite = if fused::applies(var) {
            fused::all_finite(var)?
        } else {
            // 0 times x is 0 for every finite x and NaN otherwise.
            let x = var.as_detached_tensor().to_dtype(candle_core::DType::F32)?;
            (x * 0.0)?.sum_all()?.to_scalar::<f32>()? == 0.0
        };
        if !finite {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    fn named(dtype: DType) -> Vec<(String, Var)> {
        ["w", "bn.running_var"]
            .map(|name| {
                let t = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                (name.to_string(), Var::from_tensor(&t).unwrap())
            })
            .to_vec()
    }

    fn set(named: &[(String, Var)], values: [f32; 2]) {
        for (_, var) in named {
            let t = Tensor::new(&values, &Device::Cpu).unwrap().to_dtype(var.dtype()).unwrap();
            var.set(&t).unwrap();
        }
    }

    fn get(var: &Var) -> Vec<f32> {
        var.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn averages_weights_and_statistics_alike() {
        for dtype in [DType::F32, DType::F64] {
            let named = named(dtype);
            let mut ema = Ema::new(&named, EmaConfig { decay: 0.75, warmup: false }).unwrap();
            set(&named, [5.0, 6.0]);
            ema.update().unwrap();
            ema.swap().unwrap();
            assert_eq!(get(&named[0].1), [2.0, 3.0]);
            assert_eq!(get(&named[1].1), [2.0, 3.0]);
            ema.swap().unwrap();
            assert_eq!(get(&named[0].1), [5.0, 6.0]);
            let state = ema.state().unwrap().into_iter().collect();
            let mut other = Ema::new(&named, EmaConfig { decay: 0.75, warmup: false }).unwrap();
            other.load_state(&state, ema.updates()).unwrap();
            other.swap().unwrap();
            assert_eq!(get(&named[0].1), [2.0, 3.0]);
        }
    }

    #[test]
    fn warmup_begins_with_a_small_decay() {
        let named = named(DType::F32);
        let mut ema = Ema::new(&named, EmaConfig { decay: 0.999, warmup: true }).unwrap();
        set(&named, [11.0, 12.0]);
        ema.update().unwrap();
        ema.swap().unwrap();
        // The first decay is 1/10.
        assert_eq!(get(&named[0].1), [10.0, 11.0]);
    }

    #[test]
    fn finds_the_weight_that_is_not_finite() {
        for dtype in [DType::F32, DType::F64] {
            let named = named(dtype);
            assert_eq!(first_not_finite(&named).unwrap(), None);
            let t = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            named[1].1.set(&t).unwrap();
            assert_eq!(first_not_finite(&named).unwrap(), Some("bn.running_var"));
        }
    }
}
