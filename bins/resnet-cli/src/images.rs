//! Images that a command is given, read and prepared in batches on threads of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use resnet_data::{Dataset, Files, Loader, LoaderConfig, OnBroken, Transform};

use crate::args::LoaderArgs;
use crate::failure::bad_input;
use crate::grey::{Grey, one_channel};
use crate::output;

/// The images of a command.
pub struct Images {
    files: Arc<Files>,
    loader: Loader,
    /// Whether the network takes one channel.
    grey: bool,
}

impl Images {
    /// Files, folders and patterns as batches of `size` x `size` pixels, in colour or grey.
    pub fn new(
        names: &[PathBuf],
        transform: Transform,
        args: &LoaderArgs,
        size: usize,
        grey: bool,
    ) -> anyhow::Result<Self> {
        let files = Arc::new(Files::find(names)?);
        let config = LoaderConfig {
            batch_size: args.batch_size.map_or(batch_size(size), |n| n as usize),
            workers: args.workers(),
            on_broken: OnBroken::Skip,
            ..LoaderConfig::default()
        };
        let dataset: Arc<dyn Dataset> = if grey { Arc::new(Grey(files.clone())) } else { files.clone() };
        let loader = Loader::new(dataset, transform, config)?;
        Ok(Self { files, loader, grey })
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Calls `work` with each batch, f32 (N, 3 or 1, H, W), and the paths of its images, in order.
    ///
    /// # Errors
    /// What `work` says, at once; images that could not be read, at the end. Where they are several, each has its line on
    /// standard error before.
    pub fn for_each_batch(
        &self,
        what: &str,
        mut work: impl FnMut(&Tensor, &[&Path]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        output::begin();
        let bar = output::image_bar(what, self.files.paths().len());
        let mut broken = Vec::new();
        for batch in self.loader.epoch(0, 0) {
            let batch = batch?;
            if !batch.indices.is_empty() {
                let paths: Vec<&Path> = batch.indices.iter().map(|&i| self.files.paths()[i].as_path()).collect();
                let images = if self.grey { &one_channel(&batch.images)? } else { &batch.images };
                bar.suspend(|| work(images, &paths))?;
            }
            bar.inc((batch.indices.len() + batch.broken.len()) as u64);
            broken.extend(batch.broken.into_iter().map(|image| image.message));
        }
        bar.finish_and_clear();
        match &broken[..] {
            [] => Ok(()),
            [only] => Err(bad_input(only.clone())),
            [first, ..] => {
                output::name_broken(&broken);
                let (count, all) = (broken.len(), self.files.paths().len());
                Err(bad_input(format!("{count} of {all} images could not be read; the first: {first}")))
            }
        }
    }
}

/// Images a batch that keep the processor busy without filling the memory.
pub fn batch_size(size: usize) -> usize {
    match size {
        0..=64 => 128,
        65..=256 => 16,
        // Maps grow with the square.
        _ => (16 * 256 * 256 / (size * size)).max(1),
    }
}
