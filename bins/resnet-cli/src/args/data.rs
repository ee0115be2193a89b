//! Images and data sets, and how they are read.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use resnet_data::{Dataset, Error, FolderLayout, FolderOptions, OnBroken, Split, SplitRule, Subfolders, shown};

use crate::failure::bad_input;
use crate::folders;
use crate::output::{self, Download};

/// Which images a command reads.
#[derive(Args)]
pub struct ImagesArgs {
    /// Images, folders of images, or patterns such as 'photos/*.jpg'
    #[arg(required = true, value_name = "IMAGE|DIR|PATTERN")]
    pub images: Vec<PathBuf>,
}

/// A data set.
#[derive(Args)]
pub struct DatasetArgs {
    /// Data set: one of `resnet list`; folder:DIR with a folder of images per class; shards:DIR or
    /// shards:DIR/train-{000000..000099}.tar; parquet:DIR [default: the recipe's, or the one the weights name]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder with the files of CIFAR or ImageNet [default for CIFAR: the user's cache, downloaded if missing]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Column of pictures in parquet files; parquet:DIR?image=NAME says the same [default: image, img, or the only one]
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// Column of labels in parquet files; parquet:DIR?label=NAME says the same [default: label, fine_label and so on, or
    /// the only one]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// How a folder of images is read.
#[derive(Args, Clone, Copy, Default)]
pub struct FolderArgs {
    /// What the folders in a folder of images are, where that is not plain [default: what their names and what lies in
    /// them show]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub layout: Option<Layout>,
    /// Keep classes whose folder holds no readable image; otherwise one among the training images ends the command
    #[arg(long)]
    pub allow_empty: bool,
}

/// What `--layout` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Parts such as train and val, that hold a folder for each class
    Parts,
    /// Classes, whatever they are called
    Classes,
}

impl FolderArgs {
    /// As the library takes it.
    pub fn options(&self) -> FolderOptions {
        let subfolders = match self.layout {
            None => Subfolders::Auto,
            Some(Layout::Parts) => Subfolders::Parts,
            Some(Layout::Classes) => Subfolders::Classes,
        };
        FolderOptions { subfolders, allow_empty: self.allow_empty }
    }

    /// An error about a folder with the flag that mends it.
    pub fn explained(error: Error) -> anyhow::Error {
        match error {
            Error::Layout { .. } => bad_input(format!("{error}; say which: --layout parts or --layout classes")),
            Error::EmptyClass { .. } => bad_input(format!("{error}; --allow-empty keeps such classes")),
            other => other.into(),
        }
    }
}

impl DatasetArgs {
    /// The name of a data set with the columns that flags choose.
    pub fn named(&self, name: &str) -> anyhow::Result<String> {
        let (image, label) = (self.image_column.as_deref(), self.label_column.as_deref());
        resnet_data::with_columns(name, image, label).map_err(|error| match error {
            Error::Setting { message, .. } => {
                let flag = if image.is_some() { "--image-column" } else { "--label-column" };
                bad_input(format!("{flag}: {message}"))
            }
            other => other.into(),
        })
    }

    /// How the folder of images of that name is understood; `None` where the name is another data set's.
    pub fn layout(&self, name: &str, options: FolderOptions) -> anyhow::Result<Option<FolderLayout>> {
        let layout = resnet_data::folder(name, self.data_dir.as_deref(), options);
        layout.map_err(|error| self.explained(name, error))
    }

    /// A part of the data set of that name, from `--data-dir` or from the hub.
    pub fn open(&self, name: &str, split: Split) -> anyhow::Result<Arc<dyn Dataset>> {
        let name = &*self.named(name)?;
        if let Some(layout) = self.layout(name, self.folder.options())? {
            return Ok(Arc::new(layout.open(split).map_err(FolderArgs::explained)?));
        }
        let opened = resnet_data::open(name, self.data_dir.as_deref(), split, &mut Download::default());
        opened.map_err(|error| self.explained(name, error))
    }

    /// Its parts for training and testing; of folders and shards it is told how they were understood.
    pub fn open_train_test(&self, name: &str) -> anyhow::Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
        let name = &*self.named(name)?;
        if let Some(layout) = self.layout(name, self.folder.options())? {
            let (train, test) = layout.open_train_test(SplitRule::EveryFifth).map_err(FolderArgs::explained)?;
            folders::tell_both(&layout, &train, &test);
            return Ok((Arc::new(train), Arc::new(test)));
        }
        let opened = resnet_data::open_train_test(name, self.data_dir.as_deref(), &mut Download::default());
        let (train, test) = opened.map_err(|error| self.explained(name, error))?;
        tell(&*train);
        tell(&*test);
        Ok((train, test))
    }

    /// Of a place that is not there, names the flag that it comes from.
    fn explained(&self, name: &str, error: Error) -> anyhow::Error {
        match error {
            Error::Io { path, source } if source.kind() == ErrorKind::NotFound => {
                let flag = match &self.data_dir {
                    Some(dir) if path.starts_with(dir) => format!("--data-dir {}", shown(dir)),
                    _ => format!("--dataset {name}"),
                };
                bad_input(format!("{flag}: {} does not exist; give the folder that holds the images", shown(path)))
            }
            other => FolderArgs::explained(other),
        }
    }
}

/// Tells how a set's shards were understood; of folders [`folders`] tells.
pub fn tell(set: &dyn Dataset) {
    set.understood().iter().for_each(|line| output::inform(format!("data: {line}")));
}

/// How images are read.
#[derive(Args)]
pub struct LoaderArgs {
    /// Images per batch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: Option<u32>,
    /// Threads that read and augment images [default: half of the CPU's threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=256))]
    workers: Option<u32>,
}

impl LoaderArgs {
    /// The number of threads.
    pub fn workers(&self) -> usize {
        self.workers.map_or_else(Self::default_workers, |n| n as usize)
    }

    /// Half of the processor's threads.
    pub fn default_workers() -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2))
    }
}

/// What a training does with an image that cannot be read.
#[derive(Args)]
pub struct BrokenArgs {
    /// What to do with an unreadable image [default: skip]
    #[arg(long, value_enum)]
    pub on_broken: Option<OnBrokenArg>,
}

/// What `--on-broken` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnBrokenArg {
    /// Leave it out, and name it at the end
    Skip,
    /// End the run
    Fail,
}

impl From<OnBrokenArg> for OnBroken {
    fn from(broken: OnBrokenArg) -> Self {
        match broken {
            OnBrokenArg::Skip => Self::Skip,
            OnBrokenArg::Fail => Self::Fail,
        }
    }
}
