//! Data sets too large for a file an image: WebDataset's tar shards and the hub's parquet files.
//!
//! Both are indexed when they are opened (where each image lies, its label: 24 bytes an image), and an image is read
//! when it is its turn. So any order can be had, and repeats, and memory does not grow over an epoch.

mod choice;
mod classes;
mod files;
mod labels;
mod member_names;
mod members;
mod names;
mod own_names;
mod parquet;
mod parquet_index;
mod samples;
mod summary;
mod tar;
#[cfg(test)]
mod tests;

pub(crate) use choice::with_columns;
pub(crate) use classes::{Labelled, Shards, with_same_classes};
pub(crate) use files::are_in;
pub use parquet::ParquetShards;
pub use tar::TarShards;
