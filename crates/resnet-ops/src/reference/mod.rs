//! The operations in candle's own tensor operations, (N, C, H, W), any device, any float dtype.
//!
//! Every gradient comes from candle's autograd over operations whose backward is right (convolution and pooling
//! of candle itself are avoided: their backward passes are wrong or missing for some shapes).

mod blur;
mod channels;
mod conv;
mod images;
mod loss;
mod norm;
mod pointwise;
mod pool;
mod sgd;
mod shortcut;
mod spread;
mod standardize;
mod window;

pub use blur::blur_pool2d;
pub use channels::channel_conv;
pub use conv::conv2d;
pub(crate) use images::take_images;
pub use loss::cross_entropy;
pub use norm::{batch_norm_eval, batch_norm_train, channel_affine, channel_floor, group_norm};
pub use pointwise::sigmoid;
pub(crate) use pointwise::{drop_images, drop_values};
pub use pool::{avg_pool2d, global_avg_pool2d, max_pool2d, zero_pad};
pub(crate) use sgd::sgd;
pub use shortcut::{pad_channels, subsample};
pub use spread::divide_by_spread;
pub use standardize::standardize_weight;
