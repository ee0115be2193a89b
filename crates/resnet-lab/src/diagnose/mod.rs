//! Signals and gradients inside a network: what the papers derive, measured.
//!
//! - [`signal`]: the size of the signal and of its gradient at each block through depth.
//! - [`identity`]: the gradient at a shallow block against the sum of equation (5) of He et al. 2016.
//! - [`scaling`]: the product of the shortcuts' factors, equation (8) of He et al. 2016, against what is measured.
//! - [`shattered`]: how fast the gradient of a scalar-input network decorrelates along its input (Balduzzi et al. 2017).
//!
//! All of them leave the network as it is: running statistics are not updated.

mod autocorrelation;
mod batch;
mod identity;
mod noise;
mod output;
mod scalar;
mod scaling;
mod shattered;
mod signal;
mod vjp;

pub use autocorrelation::autocorrelation;
pub use batch::Batch;
pub use identity::{IdentityRow, identity};
pub use noise::{brown_noise, white_noise};
pub use output::Output;
pub use scalar::{ScalarNetwork, Skip};
pub use scaling::{Scaling, ScalingRow, scaling};
pub use shattered::{Shattered, ShatteredConfig, shattered};
pub use signal::{BlockSignal, signal};
