//! Cross-entropy in which classes have weights.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;

use crate::Result;

/// Cross-entropy of targets f32 (N, classes), smoothed or mixed, with weights f32 (classes,), as PyTorch's
/// `CrossEntropyLoss(weight, label_smoothing)` of labels: what smoothing gives to a class counts by that class's weight, and
/// the mean is over `total`, the weights of the images' own classes.
pub(crate) fn weighted_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
    total: &Tensor,
) -> Result<Tensor> {
    let log = log_softmax(&logits.to_dtype(DType::F32)?, D::Minus1)?;
    let sum = log.broadcast_mul(weights)?.mul(targets)?.sum_all()?;
    Ok(sum.neg()?.div(total)?)
}

#[cfg(test)]
#[path = "../../../resnet-models/tests/rule/mod.rs"]
#[allow(dead_code, reason = "shared with other crates' tests")]
mod rule;

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use serde::Deserialize;

    use super::*;
    use crate::recipe::{ClassWeights, LossConfig};

    /// `torch.nn.functional.cross_entropy(logits, labels, weight, label_smoothing)`, by tests/golden/training.py.
    #[test]
    fn smoothing_weighs_classes_as_pytorch_does() {
        #[derive(Deserialize)]
        struct Golden {
            losses: std::collections::BTreeMap<String, Vec<f64>>,
        }
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/training.json")).unwrap();
        let logits = (rule::filled("input", &[7, 11], DType::F32) * 4.0).unwrap();
        let labels = Tensor::new((0..7).map(|i| i * 3 % 11).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
        let weights = Tensor::new((1..=11).map(|i| i as f32 / 4.0).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        for (label_smoothing, key) in [(0.0, "weighted 0.0"), (0.1, "weighted 0.1")] {
            let logits = Var::from_tensor(&logits).unwrap();
            let config = LossConfig { label_smoothing, class_weights: ClassWeights::Balanced, ..LossConfig::default() };
            let loss = config.of(&logits, &labels, None, Some(&weights)).unwrap();
            let gradient = loss.backward().unwrap().remove(&logits).unwrap();
            let ours =
                [vec![loss.to_scalar::<f32>().unwrap()], gradient.flatten_all().unwrap().to_vec1().unwrap()].concat();
            for (ours, theirs) in ours.iter().zip(&golden.losses[key]) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{key}: {ours}, not {theirs}");
            }
        }
    }
}
