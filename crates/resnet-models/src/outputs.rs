//! What the numbers mean that a network gives.

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

/// What a network's outputs mean: how logits become probabilities.
///
/// It is the meaning, not the loss: a network that was trained with a binary cross-entropy for every class, on images of
/// one class each, is [`Outputs::OneOf`]. In a file of weights it is the value of the metadata's key `outputs`; where that
/// is missing, it is one of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// Classes that exclude each other: softmax over all.
    #[default]
    OneOf,
    /// Classes of which several or none may hold: a sigmoid for each.
    AnyOf,
    /// One output that says yes or no: a sigmoid. Of two names, the second is yes.
    Binary,
    /// Quantities (regression): no probabilities.
    Values,
}

impl Outputs {
    /// What is meant where only the number of outputs is known: one output is no choice between classes.
    pub fn of(outputs: usize) -> Self {
        if outputs == 1 { Self::Binary } else { Self::OneOf }
    }

    /// As a `problem_type` of transformers says; `None` where there is no such type.
    pub fn from_problem_type(name: &str) -> Option<Self> {
        match name {
            "single_label_classification" => Some(Self::OneOf),
            "multi_label_classification" => Some(Self::AnyOf),
            "regression" => Some(Self::Values),
            _ => None,
        }
    }

    /// The probabilities that logits (N, outputs) stand for; values stay what they are.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use resnet_models::Outputs;
    ///
    /// let logits = Tensor::new(&[[0_f32, 0., 100.]], &Device::Cpu)?;
    /// assert_eq!(Outputs::AnyOf.probabilities(&logits)?.to_vec2::<f32>()?, [[0.5, 0.5, 1.]]);
    /// assert_eq!(Outputs::OneOf.probabilities(&logits)?.to_vec2::<f32>()?[0][2], 1.);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the logits are no matrix of floating-point numbers.
    pub fn probabilities(self, logits: &Tensor) -> Result<Tensor> {
        match self {
            // One output is no choice: a softmax would be 1 for every picture.
            Self::OneOf if logits.dim(D::Minus1)? > 1 => candle_nn::ops::softmax(logits, D::Minus1),
            Self::OneOf | Self::AnyOf | Self::Binary => candle_nn::ops::sigmoid(logits),
            Self::Values => Ok(logits.clone()),
        }
    }

    /// Whether so many names are names of so many outputs.
    pub(crate) fn fits(self, names: usize, outputs: usize) -> bool {
        names == outputs || (self == Self::Binary && names == 2 && outputs == 1)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn one_output_is_never_certain_of_everything() {
        let logits = Tensor::new(&[[-2_f32], [0.5]], &Device::Cpu).unwrap();
        // torch.sigmoid(torch.tensor([-2., 0.5]))
        for meaning in [Outputs::OneOf, Outputs::AnyOf, Outputs::Binary] {
            let found = meaning.probabilities(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!((found[0] - 0.119_202_92).abs() < 1e-6 && (found[1] - 0.622_459_3).abs() < 1e-6, "{found:?}");
        }
        assert_eq!((Outputs::of(1), Outputs::of(2)), (Outputs::Binary, Outputs::OneOf));
    }

    #[test]
    fn the_meaning_is_a_word_in_a_file() {
        assert_eq!(serde_json::to_string(&Outputs::AnyOf).unwrap(), r#""any_of""#);
        assert_eq!(serde_json::from_str::<Outputs>(r#""one_of""#).unwrap(), Outputs::OneOf);
        assert_eq!(Outputs::from_problem_type("multi_label_classification"), Some(Outputs::AnyOf));
        assert_eq!(Outputs::from_problem_type("ranking"), None);
    }
}
