//! Decodes pictures; for comparison with other programs.
//!
//! `decode OUT IMAGE…` writes `OUT/NAME.rgb` for each: height and width as little-endian u32, then bytes of RGB. What cannot
//! be read is named on standard output. `tests/pillow/formats.py` compares with Pillow.

use std::error::Error;
use std::path::Path;

use resnet_data::read_image;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [out, images @ ..] = &arguments[..] else { return Err("usage: decode OUT IMAGE...".into()) };
    for path in images.iter().map(Path::new) {
        match read_image(path) {
            Ok(image) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let head = [(image.height as u32).to_le_bytes(), (image.width as u32).to_le_bytes()].concat();
                std::fs::write(Path::new(out).join(format!("{name}.rgb")), [head, image.pixels].concat())?;
            }
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
