//! torchvision's published files, which say nothing of pictures: what its `ResNet*_Weights` say of them.

use std::path::Path;

use crate::Preprocessing;

/// Network, sum in the file's name, and the shorter side that pictures are resized to (torchvision 0.30,
/// `models/resnet.py`). All are of 224 pixels, bilinear, with the usual mean and deviation.
const FILES: [(&str, &str, usize); 17] = [
    ("resnet18", "f37072fd", 256),
    ("resnet34", "b627a593", 256),
    ("resnet50", "0676ba61", 256),
    ("resnet50", "11ad3fa6", 232),
    ("resnet101", "63fe2227", 256),
    ("resnet101", "cd907fc2", 232),
    ("resnet152", "394f9c45", 256),
    ("resnet152", "f82ba261", 232),
    ("resnext50_32x4d", "7cdf4587", 256),
    ("resnext50_32x4d", "1a0047aa", 232),
    ("resnext101_32x8d", "8ba56ff5", 256),
    ("resnext101_32x8d", "110c445d", 232),
    ("resnext101_64x4d", "173b62eb", 232),
    ("wide_resnet50_2", "95faca4d", 256),
    ("wide_resnet50_2", "9ba9bcbe", 232),
    ("wide_resnet101_2", "32ee1156", 256),
    ("wide_resnet101_2", "d733dc28", 232),
];

/// The pictures of a published file, by its name (`resnet50-11ad3fa6.pth`).
pub(super) fn preprocessing(file: &Path) -> Option<Preprocessing> {
    let (network, sum) = file.file_stem()?.to_str()?.split_once('-')?;
    let &(_, _, side) = FILES.iter().find(|row| (row.0, row.1) == (network, sum))?;
    let usual = Preprocessing::default();
    Some(Preprocessing { crop: usual.size as f64 / side as f64, ..usual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart() {
        let crop = |name: &str| preprocessing(Path::new(name)).map(|own| own.crop);
        assert_eq!(crop("a/resnet50-0676ba61.pth"), Some(0.875));
        // Resized to 232 pixels again.
        assert_eq!(crop("resnet50-11ad3fa6.safetensors").map(|crop| (224.0 / crop) as usize), Some(232));
        assert_eq!((crop("resnet18-11ad3fa6.pth"), crop("resnet50.pth")), (None, None));
        assert!(FILES.iter().all(|row| crate::config(row.0).is_ok()));
    }
}
