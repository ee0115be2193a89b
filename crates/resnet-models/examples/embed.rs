//! An image through a pretrained network: logits, the embedding, and the maps of its stages.
//!
//! `cargo run -p resnet-models --example embed -- timm/resnet50.a1_in1k photo.jpg`

use candle_nn::ModuleT;
use resnet_data::read_image;
use resnet_models::from_pretrained;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, image] = &arguments[..] else {
        return Err("usage: embed OWNER/NAME|DIR|FILE IMAGE".into());
    };
    let pretrained = from_pretrained(name)?;
    let transform = pretrained.preprocessing.unwrap_or_default().transform()?;
    let image = transform.tensor(read_image(image)?)?;
    let logits = pretrained.network.forward_t(&image, false)?;
    let features = pretrained.network.embedding()?.forward_t(&image, false)?;
    println!("logits {:?}, embedding {:?}", logits.dims(), features.dims());
    for (stage, map) in (1..).zip(pretrained.network.features(&image, &[1, 2, 3])?) {
        println!("stage {stage}: {:?}", map.dims());
    }
    Ok(())
}
