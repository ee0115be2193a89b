//! What a network sees of images: decoded, resized, cut; for comparison with other programs.
//!
//! `preprocess OUT SIZE SHARE bilinear|bicubic IMAGE…` writes `OUT/NUMBER.rgb` (the decoded picture) and
//! `OUT/NUMBER.crop` (the middle after resizing): height and width as little-endian u32, then bytes of RGB.
//! `tests/pillow/compare.py` compares both with Pillow and torchvision.

use std::error::Error;
use std::path::Path;

use resnet_data::{Filter, Normalize, Transform, read_image};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, size, share, filter, images @ ..] = &arguments[..] else {
        return Err("usage: preprocess OUT SIZE SHARE bilinear|bicubic IMAGE...".into());
    };
    let filter = if filter == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
    // Bytes over 255, no more: the values come back exactly.
    let transform =
        Transform::center_crop(size.parse()?, share.parse()?, filter, Normalize::channel([0.0; 3], [1.0; 3]))?;
    for (number, path) in images.iter().enumerate() {
        let image = read_image(path)?;
        write(&Path::new(out).join(format!("{number}.rgb")), image.height, image.width, &image.pixels)?;
        let crop = transform.tensor(image)?.squeeze(0)?.permute((1, 2, 0))?.contiguous()?;
        let (height, width, _) = crop.dims3()?;
        let bytes: Vec<u8> =
            crop.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|v| (v * 255.0).round() as u8).collect();
        write(&Path::new(out).join(format!("{number}.crop")), height, width, &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, height: usize, width: usize, pixels: &[u8]) -> std::io::Result<()> {
    let head = [(height as u32).to_le_bytes(), (width as u32).to_le_bytes()].concat();
    std::fs::write(path, [&head, pixels].concat())
}
