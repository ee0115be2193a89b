//! Image data sets, augmentation and a prefetching loader for candle

pub mod cifar;
mod dataset;
mod decode;
mod error;
mod image;
mod loader;
mod seed;
pub mod shapes;
mod transform;

pub use dataset::{Dataset, InMemory, Split};
pub use decode::read_image;
pub use error::{Error, Result};
pub use image::Image;
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use shapes::shapes;
pub use transform::{Augment, Filter, MeanImage, Normalize, Padding, Transform};
