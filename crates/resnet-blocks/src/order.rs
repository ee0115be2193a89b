//! Where norm and activation stand.

use serde::{Deserialize, Serialize};

/// Where norm and activation stand (He et al. 2016, Table 2 and Fig. 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Convolution, norm, ReLU; the last ReLU after the addition (Fig. 4a).
    #[default]
    Original,
    /// As the original, but the last norm after the addition too (Fig. 4b).
    NormAfterAddition,
    /// As the original, but the last ReLU before the addition (Fig. 4c).
    ReluBeforeAddition,
    /// ReLU, convolution, norm: nothing after the addition (Fig. 4d).
    ReluPreActivation,
    /// Norm, ReLU, convolution: nothing after the addition (Fig. 4e).
    PreActivation,
}

impl Order {
    /// All of them, in the order of the table.
    pub const ALL: [Order; 5] = [
        Order::Original,
        Order::NormAfterAddition,
        Order::ReluBeforeAddition,
        Order::ReluPreActivation,
        Order::PreActivation,
    ];

    /// Whether each convolution is preceded by its activation.
    pub fn is_pre_activation(self) -> bool {
        matches!(self, Order::ReluPreActivation | Order::PreActivation)
    }

    /// Whether norms stand before their convolutions.
    pub fn norm_first(self) -> bool {
        self == Order::PreActivation
    }
}
