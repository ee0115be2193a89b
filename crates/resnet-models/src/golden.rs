//! PyTorch's results on networks whose weights and inputs a rule fills, to check a device by.
//!
//! The files lie beside the tests (`tests/golden`): the logits of an evaluation; and of a training with SGD
//! ([`LEARNING_RATE`], momentum 0.9, weight decay 1e-4 on everything, targets of image i being `(3 i + 1) mod 10`) the
//! gradient norms and running statistics of the first step and the losses of three. This module fills the network and
//! compares; whoever asks runs it, with the engine and the optimizer that are to be checked.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use serde::Deserialize;

use crate::{Network, Parameters};

#[path = "../tests/rule/mod.rs"]
mod rule;

const FILES: [(&str, &str); 6] = [
    ("plain20", include_str!("../tests/golden/cifar_plain20.json")),
    ("resnet20", include_str!("../tests/golden/cifar_resnet20.json")),
    ("preact_resnet20", include_str!("../tests/golden/cifar_preact20.json")),
    ("resnet18", include_str!("../tests/golden/tv_resnet18.json")),
    ("resnet50", include_str!("../tests/golden/tv_resnet50.json")),
    ("resnet152", include_str!("../tests/golden/tv_resnet152.json")),
];

/// See tv_resnet50_f64.py: in f32 this network's gradients are determined to about one per cent, and its later losses
/// less; in f64 all are.
const RESNET50_IN_F64: &str = include_str!("../tests/golden/tv_resnet50_f64.json");

/// The learning rate of the training steps.
pub const LEARNING_RATE: f64 = 0.01;

/// PyTorch's results of one network.
#[derive(Debug, Clone, Deserialize)]
pub struct Golden {
    #[serde(skip)]
    arch: &'static str,
    /// Images of the batch.
    pub batch: usize,
    /// Rows and columns of an image.
    pub size: usize,
    /// Number of values that are trained.
    pub params: usize,
    /// Name and shape of every parameter and buffer.
    pub names: Vec<String>,
    /// The first ten logits of each image, in evaluation.
    pub eval_logits: Vec<Vec<f32>>,
    /// Norm of each parameter's gradient in the first training step; empty where logits alone are known.
    #[serde(default)]
    pub grad_norms: BTreeMap<String, f64>,
    /// Sum of each running statistic after the first training step.
    #[serde(default)]
    pub running: BTreeMap<String, f64>,
    /// Loss of each training step; empty where logits alone are known.
    #[serde(default)]
    pub train_losses: Vec<f64>,
}

#[derive(Deserialize)]
struct Training {
    grad_norms: BTreeMap<String, f64>,
    train_losses: Vec<f64>,
}

/// The largest of several differences; infinite where a value is missing or not a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Worst {
    /// How large it is.
    pub error: f64,
    /// Where it is.
    pub place: String,
}

impl Worst {
    fn of(differences: impl IntoIterator<Item = (String, f64)>) -> Self {
        // `max` passes over NaN, which must not look like no difference at all.
        let far =
            |(place, error): (String, f64)| Self { error: if error.is_nan() { f64::INFINITY } else { error }, place };
        let worst = differences.into_iter().map(far).max_by(|a, b| a.error.total_cmp(&b.error));
        worst.unwrap_or_else(|| Self { error: f64::INFINITY, place: "nothing was compared".into() })
    }
}

/// The networks that there are results of.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(arch, _)| *arch)
}

/// The results of the network of that name (one of [`names`]).
///
/// # Errors
/// If there are none.
pub fn of(arch: &str) -> Result<Golden> {
    let Some((arch, text)) = FILES.iter().find(|(name, _)| *name == arch) else { bail!("no golden values of {arch}") };
    let mut golden: Golden = serde_json::from_str(text).map_err(candle_core::Error::wrap)?;
    golden.arch = arch;
    if *arch == "resnet50" {
        let exact: Training = serde_json::from_str(RESNET50_IN_F64).map_err(candle_core::Error::wrap)?;
        (golden.grad_norms, golden.train_losses) = (exact.grad_norms, exact.train_losses);
    }
    Ok(golden)
}

impl Golden {
    /// The network, filled, with its parameters in `dtype` on `device`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn network(&self, dtype: DType, device: &Device) -> Result<(Network, Parameters)> {
        let parameters = Parameters::zeros(dtype, device);
        let network = crate::create(self.arch, parameters.builder(), None).map_err(candle_core::Error::wrap)?;
        for (name, var) in parameters.named() {
            var.set(&rule::filled(&name, var.dims(), dtype).to_device(device)?)?;
        }
        Ok((network, parameters))
    }

    /// The batch, (N, 3, size, size).
    ///
    /// # Errors
    /// If the device fails.
    pub fn input(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        rule::filled("input", &[self.batch, 3, self.size, self.size], dtype).to_device(device)
    }

    /// The batch's labels, (N).
    ///
    /// # Errors
    /// If the device fails.
    pub fn targets(&self, device: &Device) -> Result<Tensor> {
        Tensor::new((0..self.batch as u32).map(|i| (3 * i + 1) % 10).collect::<Vec<_>>(), device)
    }

    /// How far logits (N, classes) are off in evaluation, as a share of the largest.
    ///
    /// # Errors
    /// If they have another shape.
    pub fn logits_off(&self, logits: &Tensor) -> Result<Worst> {
        let logits = logits.narrow(1, 0, 10)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        if logits.len() != self.eval_logits.len() {
            bail!("{}: logits of {} images, there are {}", self.arch, logits.len(), self.batch);
        }
        let largest = self.eval_logits.iter().flatten().fold(0f32, |m, v| m.max(v.abs()));
        let pairs = logits.iter().flatten().zip(self.eval_logits.iter().flatten()).enumerate();
        let place = |i: usize| format!("image {}, class {}", i / 10, i % 10);
        Ok(Worst::of(pairs.map(|(i, (a, b))| (place(i), f64::from((a - b).abs() / largest)))))
    }

    /// How far the loss of training step `step`, from 0, is off, as a share of it.
    pub fn loss_off(&self, step: usize, loss: f64) -> Worst {
        let difference = |wanted: &f64| (format!("step {}", step + 1), (loss - wanted).abs() / wanted);
        Worst::of(self.train_losses.get(step).map(difference))
    }

    /// How far norms of gradients of the first training step are off, each as a share of it: the largest, and the root of
    /// the mean square of all, which a few values on the edge of a ReLU move less.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradients_off<'a>(&self, gradients: impl IntoIterator<Item = (String, &'a Tensor)>) -> Result<(Worst, f64)> {
        let mut norms = BTreeMap::new();
        for (name, gradient) in gradients {
            norms.insert(name, in_f64(gradient)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt());
        }
        let norm = |name: &String| norms.get(name).copied().unwrap_or(f64::NAN);
        let off = |(name, wanted): (&String, &f64)| (name.clone(), (norm(name) - wanted).abs() / wanted);
        let all: Vec<_> = self.grad_norms.iter().map(off).collect();
        let together = (all.iter().map(|(_, error)| error * error).sum::<f64>() / all.len() as f64).sqrt();
        Ok((Worst::of(all), together))
    }

    /// How far sums of running statistics after the first training step are off, as a share of those beyond 1.
    ///
    /// # Errors
    /// If the device fails.
    pub fn running_off(&self, parameters: &Parameters) -> Result<Worst> {
        let mut differences = Vec::new();
        for (name, wanted) in &self.running {
            let sum = match parameters.get(name) {
                Some(var) => in_f64(&var.as_detached_tensor())?.sum_all()?.to_scalar::<f64>()?,
                None => f64::NAN,
            };
            differences.push((name.clone(), (sum - wanted).abs() / wanted.abs().max(1.)));
        }
        Ok(Worst::of(differences))
    }
}

/// On the CPU: not every device has f64.
fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_results_of_these_alone() {
        assert!(names().all(|arch| of(arch).is_ok()));
        assert!(of("resnet1").is_err());
    }

    #[test]
    fn what_is_wrong_shows_with_its_place() -> Result<()> {
        let golden = of("resnet20")?;
        let mut logits = golden.eval_logits.clone();
        let off =
            |logits: &[Vec<f32>]| golden.logits_off(&Tensor::new(logits.concat(), &Device::Cpu)?.reshape(((), 10))?);
        assert_eq!(off(&logits)?.error, 0.);
        logits[2][3] += 0.5;
        let worst = off(&logits)?;
        assert!(worst.error > 1e-2 && worst.place == "image 2, class 3", "{worst:?}");
        logits[1][4] = f32::NAN;
        assert_eq!(off(&logits)?, Worst { error: f64::INFINITY, place: "image 1, class 4".into() });
        assert!(off(&logits[1..]).is_err());

        assert_eq!(golden.loss_off(1, golden.train_losses[1]).error, 0.);
        assert!(golden.loss_off(1, golden.train_losses[0]).error > 0.03);
        assert_eq!(golden.loss_off(3, 1.).error, f64::INFINITY);

        let mut gradients = BTreeMap::new();
        for (name, norm) in &golden.grad_norms {
            gradients.insert(name.clone(), Tensor::new(&[*norm], &Device::Cpu)?);
        }
        let off =
            |gradients: &BTreeMap<String, Tensor>| golden.gradients_off(gradients.iter().map(|(n, g)| (n.clone(), g)));
        let (worst, together) = off(&gradients)?;
        assert!(worst.error < 1e-9 && together < 1e-9);
        let name = "layer2.1.conv1.weight".to_string();
        gradients.insert(name.clone(), Tensor::new(&[golden.grad_norms[&name] * 1.1], &Device::Cpu)?);
        let (worst, together) = off(&gradients)?;
        assert!((worst.error - 0.1).abs() < 1e-6 && worst.place == name, "{worst:?}");
        assert!((together - 0.1 / 59f64.sqrt()).abs() < 1e-6, "{together}");
        gradients.remove(&name);
        let (worst, together) = off(&gradients)?;
        assert_eq!(worst, Worst { error: f64::INFINITY, place: name });
        assert!(together.is_nan());
        Ok(())
    }

    #[test]
    fn statistics_that_no_step_has_updated_are_wrong() -> Result<()> {
        let golden = of("resnet20")?;
        let (_, parameters) = golden.network(DType::F32, &Device::Cpu)?;
        assert!(golden.running_off(&parameters)?.error > 1e-2);
        for (name, sum) in &golden.running {
            let var = parameters.get(name).expect("a statistic");
            var.set(&(Tensor::ones(var.dims(), DType::F32, &Device::Cpu)? * (sum / var.elem_count() as f64))?)?;
        }
        assert!(golden.running_off(&parameters)?.error < 1e-5);
        assert_eq!(golden.running_off(&Parameters::zeros(DType::F32, &Device::Cpu))?.error, f64::INFINITY);
        Ok(())
    }
}
