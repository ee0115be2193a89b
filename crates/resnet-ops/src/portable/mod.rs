//! The operations in candle's own tensor operations, (N, C, H, W), any device, any float dtype.
//!
//! Every gradient comes from candle's autograd over operations whose backward is right (convolution and pooling
//! of candle itself are avoided: their backward passes are wrong or missing for some shapes).

mod conv;
mod norm;
mod pool;
mod shortcut;
mod window;

pub use conv::conv2d;
pub use norm::{batch_norm_eval, batch_norm_train};
pub use pool::{global_avg_pool2d, max_pool2d};
pub use shortcut::{pad_channels, subsample};
