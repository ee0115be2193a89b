//! A network, and the pictures that it takes.

use std::path::{Path, PathBuf};

use clap::Args;

use super::must_exist;

/// A pretrained or trained network.
#[derive(Args, Default)]
pub struct WeightsArgs {
    /// Network: one of `resnet list` [default: the one the weights name]
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Weights: a .safetensors file, a PyTorch checkpoint (.pth, .pt, .th, .ckpt), or an index of several files
    #[arg(long, value_name = "FILE", conflicts_with = "hub")]
    pub weights: Option<PathBuf>,
    /// Pretrained network: OWNER/NAME or OWNER/NAME@REVISION on the Hugging Face hub (timm/resnet50.a1_in1k), or a folder
    /// with config.json and model.safetensors
    #[arg(long, value_name = "NAME|DIR")]
    pub hub: Option<String>,
    /// Branch, tag or commit of the hub's repository
    #[arg(long, value_name = "REVISION", requires = "hub", conflicts_with = "weights")]
    pub revision: Option<String>,
    #[command(flatten)]
    pub part: PartArgs,
}

/// Which part of a file of weights is meant.
#[derive(Args, Clone, Default)]
pub struct PartArgs {
    /// Where in a PyTorch checkpoint the weights are, as keys joined by dots (state_dict_ema) [default: the likeliest place]
    #[arg(long, value_name = "KEYS")]
    pub entry: Option<String>,
    /// What the names of the network's tensors begin with (module.encoder_k), where a file holds several networks
    /// [default: the one that users of that kind of file take]
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
}

impl WeightsArgs {
    /// Refuses a file or folder that is not there, before any work is done.
    ///
    /// # Errors
    /// Names the flag, and what it takes.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(file) = &self.weights {
            let mend = "give a .safetensors file or a PyTorch checkpoint; for a network of the hub, --hub OWNER/NAME";
            must_exist("--weights", file, mend)?;
        }
        // No owner on the hub is called like this: a folder is meant.
        if let Some(folder) = self.hub.as_ref().filter(|name| name.starts_with(['.', '/', '~'])) {
            let mend = "give a folder with config.json and model.safetensors, or OWNER/NAME of the hub";
            must_exist("--hub", Path::new(folder), mend)?;
        }
        Ok(())
    }
}

/// From bytes to a network's input.
#[derive(Args, Default)]
pub struct NormalizeArgs {
    /// Mean of R,G,B for pixels scaled to 0..1 [default: what the weights say, else ImageNet's]
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "std", allow_hyphen_values = true)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of R,G,B for pixels scaled to 0..1 [default: what the weights say, else ImageNet's]
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "mean")]
    pub std: Option<[f32; 3]>,
    /// Rows and columns of the network's input [default: what the weights say, else the network's usual size]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub image_size: Option<u32>,
    /// The input's share of the resized image's shorter side [default: what the weights say, else 0.875, and 1 for small
    /// images]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub crop_pct: Option<f64>,
}

/// A share that is more than nothing.
fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&share: &f64| share > 0.0 && share <= 1.0);
    number.ok_or_else(|| "give a share above 0 and up to 1, as in 0.875".into())
}

/// Three numbers separated by commas, or one for all three.
fn triple(text: &str) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> =
        text.split(',').map(|part| part.trim().parse().ok().filter(|n: &f32| n.is_finite())).collect();
    let three = numbers.and_then(|numbers| match numbers[..] {
        // Of grey images.
        [one] => Some([one; 3]),
        _ => numbers.try_into().ok(),
    });
    three.ok_or_else(|| "give three numbers, as in 0.485,0.456,0.406, or one for all channels".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples() {
        assert_eq!(triple(".485, 0.456,0.406"), Ok([0.485, 0.456, 0.406]));
        assert_eq!(triple("0.5"), Ok([0.5; 3]));
        for wrong in ["", "1,2", "1,2,3,4", "a,b,c", "1,2,NaN"] {
            assert!(triple(wrong).is_err(), "{wrong}");
        }
    }
}
