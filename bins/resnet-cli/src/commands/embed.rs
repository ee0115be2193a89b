//! `resnet embed`: feature vectors of images.

use std::path::PathBuf;

use candle_core::{DType, Device};
use resnet_data::vectors::VectorWriter;

use crate::args::{DatasetArgs, DeviceArgs, ImagesArgs, InferenceArgs, LoaderArgs, NormalizeArgs, WeightsArgs};
use crate::images::Images;
use crate::{folders, network, output};

/// Write the feature vectors of images: the input of the classification head
#[derive(clap::Args)]
// Only the place of the weights' own data set is of use here.
#[command(mut_arg("dataset", |arg| arg.hide(true)))]
#[command(mut_arg("data_dir", |arg| arg.help(TRAINED_ON)))]
pub struct Args {
    #[command(flatten)]
    images: ImagesArgs,
    #[command(flatten)]
    network: WeightsArgs,
    /// File to write: .npy (with the images' paths beside it, in .paths.txt) or .parquet
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    data: DatasetArgs,
    #[command(flatten)]
    loader: LoaderArgs,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What `--data-dir` is for here.
const TRAINED_ON: &str = "Folder of the data set that the weights were trained on, where they want its mean image";

/// Writes one vector an image, in order. Images that cannot be read are left out and make the command fail at its end.
pub fn run(args: Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = network::load(&args.network, &device)?;
    let grey = loaded.takes_grey()?;
    loaded.tell();
    let transform = loaded.transform(&args.normalize, &args.data, None)?;
    let images = Images::new(&args.images.images, transform, &args.loader, loaded.image_size(&args.normalize)?, grey)?;
    if images.files().searched().iter().any(|searched| !searched.left_out.is_empty()) {
        folders::tell_files(images.files());
    }
    let width = loaded.network.config().features();
    let mut writer = VectorWriter::create(&args.output, width)?;
    let embedding = args.inference.ready(&loaded.network.embedding()?)?;
    let mut complete = true;
    let read = images.for_each_batch("embedding", |batch, paths| {
        complete = false;
        let features = embedding.forward(&batch.to_device(&device)?)?;
        let features = features.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
        for (path, values) in paths.iter().zip(features) {
            loaded.must_be_finite(&values, path)?;
            writer.push(path, &values)?;
        }
        complete = true;
        Ok(())
    });
    if read.is_err() && (writer.is_empty() || !complete) {
        // Nothing to keep, or not all of what there is: what lies there already stays.
        return read;
    }
    let vectors = writer.finish()?;
    output::text(format!("{}: {vectors} vectors of {width} values", args.output.display()))?;
    read
}
