//! Image data sets, augmentation and a prefetching loader for candle.
//!
//! - [`open`] gives a [`Dataset`] by name: the embedded [`shapes`](mod@shapes), [`cifar`], a [`Folder`] of images, or
//!   shards of many ([`TarShards`], [`ParquetShards`]).
//! - A [`Transform`] is a list of [`Augment`] steps and how bytes are [`Normalize`]d.
//! - A [`Loader`] makes [`Batch`]es of them on threads, in an order that depends on the seed alone.
//!
//! Pixels stay bytes until the batch is made; a batch is f32 (N, 3, H, W). A single picture is an [`Image`], from a file
//! ([`read_image`]) or from memory ([`decode_image`]), and [`Transform::tensor`] makes a tensor of it.
//!
//! ```
//! use resnet_data::{Loader, LoaderConfig, Normalize, Split, Transform, info, open};
//!
//! let info = info("shapes")?;
//! let train = open("shapes", None, Split::Train, &mut ())?;
//! let transform = Transform::crop_and_flip(info.image_size, Normalize::channel(info.mean, info.std))?;
//! let config = LoaderConfig { batch_size: 100, shuffle: true, ..LoaderConfig::default() };
//! let loader = Loader::new(train, transform, config)?;
//! for batch in loader.epoch(0, 0).take(2) {
//!     assert_eq!(batch?.images.dims(), [100, 3, 32, 32]);
//! }
//! # Ok::<(), resnet_data::Error>(())
//! ```
//!
//! # Features
//! - `candle-datasets`: conversion from `candle_datasets::vision::Dataset`; off, because that crate is slow to compile.

#[cfg(feature = "candle-datasets")]
pub mod candle;
pub mod cifar;
mod columns;
mod dataset;
mod decode;
mod error;
mod files;
mod folder;
mod foreign;
mod home;
pub mod hub;
mod image;
pub mod imagenet;
mod kind;
mod layout;
mod left_out;
mod loader;
#[cfg(test)]
mod mutations;
mod names;
mod open;
mod seed;
pub mod shapes;
mod shards;
mod split;
mod split_table;
mod text;
mod train_test_split;
mod transform;
mod tree;
pub mod vectors;
mod walk;

pub use dataset::{Dataset, InMemory};
pub use decode::{decode_image, read_image};
pub use error::{Error, Result};
pub use files::{Files, Searched};
pub use folder::Folder;
pub use home::expand_home;
pub use image::Image;
pub use kind::{Format, Kind, Unreadable, kind_of};
pub use layout::{FolderLayout, FolderOptions, Subfolders};
pub use left_out::LeftOut;
pub use loader::{Batch, BrokenImage, Epoch, Frame, Frames, Loader, LoaderConfig, MixConfig, Mixed, OnBroken};
pub use names::{composed, is_escaped, path_text, shown};
pub use open::{Info, default_data_dir, folder, info, names, open, open_train_test, with_columns};
pub use resnet_hub::Progress;
pub use shapes::shapes;
pub use shards::{ParquetShards, TarShards};
pub use split::Split;
pub use split_table::{Found, SplitTable};
pub use train_test_split::{SplitRule, TrainTestSplit};
pub use transform::{Augment, Filter, MeanImage, Normalize, Padding, Transform};
