use resnet_ops::{AvgPoolConfig, GraphBuilder, Value};
use serde::{Deserialize, Serialize};

/// A low-pass filter that takes a stride in place of a convolution or max-pool (Zhang 2019, "Making convolutional
/// networks shift-invariant again").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AntiAlias {
    /// The binomial filter of three taps.
    Blur,
    /// The mean of stride × stride pixels.
    Average,
}

impl AntiAlias {
    /// Appends it.
    pub fn append(self, graph: &mut GraphBuilder, path: &str, x: Value, stride: usize) -> Value {
        match self {
            Self::Blur => graph.blur_pool(path, x, stride),
            Self::Average => graph.avg_pool(path, x, AvgPoolConfig::square(stride, stride, false)),
        }
    }
}
