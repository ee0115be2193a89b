//! transformers' `preprocessor_config.json`: the image processors that people have, each with its defaults. Every field
//! is obeyed or refused by its name.

use serde_json::Value;

use super::json::{Fields, shown};
use crate::preprocessing::share;
use crate::{Fit, Interpolation, Preprocessing};

/// What becomes of a picture's shape first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// The shorter side gets so many pixels.
    ShortestEdge(usize),
    /// Both sides do.
    Square(usize),
}

/// An image processor, and what holds where its file is silent (transformers 5).
struct Processor {
    name: &'static str,
    size: Size,
    crop: Option<usize>,
    interpolation: Interpolation,
    mean: [f64; 3],
    std: [f64; 3],
}

const HALF: [f64; 3] = [0.5; 3];
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];
const CONVNEXT: &str = "ConvNextImageProcessor";

use Interpolation::{Bicubic, Bilinear};
use Size::{ShortestEdge, Square};

#[rustfmt::skip] // a row a line
const KNOWN: [Processor; 8] = [
    Processor { name: CONVNEXT, size: ShortestEdge(384), crop: None, interpolation: Bicubic, mean: HALF, std: HALF },
    Processor { name: "ViTImageProcessor", size: Square(224), crop: None, interpolation: Bilinear, mean: HALF, std: HALF },
    Processor { name: "BitImageProcessor", size: ShortestEdge(224), crop: Some(224), interpolation: Bicubic, mean: CLIP_MEAN, std: CLIP_STD },
    Processor { name: "CLIPImageProcessor", size: ShortestEdge(224), crop: Some(224), interpolation: Bicubic, mean: CLIP_MEAN, std: CLIP_STD },
    Processor { name: "DeiTImageProcessor", size: Square(256), crop: Some(224), interpolation: Bicubic, mean: HALF, std: HALF },
    Processor { name: "SiglipImageProcessor", size: Square(224), crop: None, interpolation: Bicubic, mean: HALF, std: HALF },
    Processor { name: "MobileNetV1ImageProcessor", size: ShortestEdge(256), crop: Some(224), interpolation: Bilinear, mean: HALF, std: HALF },
    Processor { name: "MobileNetV2ImageProcessor", size: ShortestEdge(256), crop: Some(224), interpolation: Bilinear, mean: HALF, std: HALF },
];

/// ConvNext's processor takes pictures whole from this size on.
const WHOLE_FROM: usize = 384;

/// Switches that are obeyed below, and those that say nothing of the pixels of a colour picture.
const SWITCHES: [&str; 7] = [
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "do_normalize",
    "do_convert_rgb",
    "do_reduce_labels",
    "do_convert_annotations",
];

/// What the file says.
pub(super) fn preprocessing(fields: &Fields) -> Result<Preprocessing, String> {
    let processor = processor(fields)?;
    for (key, value) in fields.iter() {
        let unknown =
            (key.starts_with("do_") && !SWITCHES.contains(&key)) || key == "offset" || key == "rescale_offset";
        if unknown && value != false {
            return Err(format!("`{key}` is {}, which is not supported", shown(value)));
        }
    }
    let (size, side, fit) = shape(fields, processor)?;
    let (mean, std) = levels(fields, processor)?;
    let preprocessing = Preprocessing {
        size,
        crop: share(size, side),
        fit,
        interpolation: interpolation(fields, processor)?,
        mean,
        std,
    };
    preprocessing.check().map_err(|error| match error.field {
        "mean" | "std" => format!("`image_{}`: {}", error.field, error.message),
        _ => format!("`size`: {}", error.message),
    })?;
    Ok(preprocessing)
}

/// Old files say `feature_extractor_type`; those that say nothing are of the processor of transformers' ResNets.
fn processor(fields: &Fields) -> Result<&'static Processor, String> {
    let keys = ["image_processor_type", "feature_extractor_type"];
    let Some(key) = keys.into_iter().find(|key| fields.get(key).is_some()) else { return Ok(&KNOWN[0]) };
    let given = fields.text(key)?.unwrap_or_default();
    let name = given.trim_end_matches("Fast").trim_end_matches("Pil").replace("FeatureExtractor", "ImageProcessor");
    KNOWN.iter().find(|known| known.name == name).ok_or_else(|| {
        let known = KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        format!("`{key}` {given:?} is not known; known are {known}")
    })
}

/// The input's side, the side that pictures are resized to, and how.
fn shape(fields: &Fields, processor: &Processor) -> Result<(usize, usize, Fit), String> {
    if fields.flag("do_resize")? == Some(false) {
        return Err("`do_resize` is false, and pictures of several sizes do not go through a network together".into());
    }
    let size = size(fields, processor)?;
    let crops = fields.flag("do_center_crop")?.unwrap_or(processor.crop.is_some());
    let crop = match (crops, square(fields, "crop_size")?) {
        (false, _) => None,
        (true, Some(crop)) => Some(crop),
        (true, None) => Some(processor.crop.ok_or("`do_center_crop` is true, and there is no `crop_size`")?),
    };
    let pct = fields.number("crop_pct")?;
    if pct.is_some() && processor.name != CONVNEXT {
        return Err(format!("`crop_pct` is no field of a {}", processor.name));
    }
    let (size, side, fit) = match size {
        ShortestEdge(size) if processor.name == CONVNEXT && size < WHOLE_FROM => {
            let pct = pct.unwrap_or(224.0 / 256.0);
            if !(pct > 0.0 && pct <= 1.0) {
                return Err(format!("`crop_pct` {pct} is not in (0, 1]"));
            }
            (size, (size as f64 / pct) as usize, Fit::Crop)
        }
        ShortestEdge(size) if processor.name == CONVNEXT => (size, size, Fit::Squash),
        ShortestEdge(side) if crop.is_some() => (side, side, Fit::Crop),
        ShortestEdge(_) => {
            return Err("`size` keeps a picture's shape and nothing is cut out: pictures of several shapes do not go \
                through a network together"
                .into());
        }
        Square(size) => (size, size, Fit::Squash),
    };
    match crop {
        None => Ok((size, side, fit)),
        Some(crop) if crop <= size => Ok((crop, side, fit)),
        Some(crop) => Err(format!("`crop_size` {crop} is more than the {size} pixels of `size`")),
    }
}

fn size(fields: &Fields, processor: &Processor) -> Result<Size, String> {
    let Some(value) = fields.get("size") else { return Ok(processor.size) };
    if let Value::Object(sides) = value {
        if let Some(other) = sides.keys().find(|key| !["shortest_edge", "height", "width"].contains(&key.as_str())) {
            return Err(format!("`size` has {other:?}, which is not supported"));
        }
        if let Some(edge) = sides.get("shortest_edge").filter(|_| sides.len() == 1) {
            let edge = edge.as_u64().and_then(|edge| edge.try_into().ok());
            return edge.map(ShortestEdge).ok_or_else(|| format!("`size` is {}, not a number of pixels", shown(value)));
        }
    }
    let by_shape = fields.flag("default_to_square")?.unwrap_or(matches!(processor.size, Square(_)));
    let side = square(fields, "size")?.unwrap_or_default();
    Ok(if value.is_number() && !by_shape { ShortestEdge(side) } else { Square(side) })
}

/// The side of a square: a number, `{"height": h, "width": w}` or `[h, w]`.
fn square(fields: &Fields, key: &str) -> Result<Option<usize>, String> {
    let Some(value) = fields.get(key) else { return Ok(None) };
    let number =
        |value: &Value| value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as u64));
    let sides = match value {
        Value::Object(sides) => sides.get("height").and_then(number).zip(sides.get("width").and_then(number)),
        Value::Array(sides) if sides.len() == 2 => number(&sides[0]).zip(number(&sides[1])),
        one => number(one).map(|side| (side, side)),
    };
    match sides {
        Some((height, width)) if height == width => Ok(Some(usize::try_from(height).unwrap_or(usize::MAX))),
        Some((height, width)) => {
            Err(format!("`{key}` is {height} rows of {width} pixels, and only squares are supported"))
        }
        None => Err(format!("`{key}` is {}, not a number of pixels", shown(value))),
    }
}

/// Pillow's numbers.
fn interpolation(fields: &Fields, processor: &Processor) -> Result<Interpolation, String> {
    match fields.get("resample") {
        None => Ok(processor.interpolation),
        Some(value) if value == 2 || value == "bilinear" => Ok(Bilinear),
        Some(value) if value == 3 || value == "bicubic" => Ok(Bicubic),
        Some(other) => Err(format!("`resample` {} is neither bilinear (2) nor bicubic (3)", shown(other))),
    }
}

/// Mean and deviation in units of 255 of `(byte · rescale_factor - image_mean) / image_std`, with what is switched off
/// left out.
fn levels(fields: &Fields, processor: &Processor) -> Result<([f32; 3], [f32; 3]), String> {
    let (mean, std) = if fields.flag("do_normalize")?.unwrap_or(true) {
        let mean = fields.channels("image_mean")?.unwrap_or(processor.mean);
        (mean, fields.channels("image_std")?.unwrap_or(processor.std))
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let factor = fields.number("rescale_factor")?.unwrap_or(1.0 / 255.0);
    if !(factor.is_finite() && factor > 0.0) {
        return Err(format!("`rescale_factor` {factor} is not positive"));
    }
    let whole = 255.0 * if fields.flag("do_rescale")?.unwrap_or(true) { factor } else { 1.0 };
    // 255 times the usual factor is 1, but for the last bit.
    let whole = if (whole - 1.0).abs() < 1e-6 { 1.0 } else { whole };
    Ok((mean.map(|mean| (mean / whole) as f32), std.map(|std| (std / whole) as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Preprocessing, String> {
        preprocessing(&Fields::parse(json.as_bytes()).unwrap())
    }

    /// Expected: what `AutoImageProcessor`'s classes of transformers 5.24 have in place of the fields.
    #[test]
    fn defaults_are_those_of_each_class() {
        let found = |json: &str| {
            let own = read(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            (own.size, own.side(), own.fit, own.interpolation, own.mean[0])
        };
        for (json, expected) in [
            (r#"{}"#, (384, 384, Fit::Squash, Bicubic, 0.5)),
            (r#"{"size": 224, "crop_pct": null}"#, (224, 256, Fit::Crop, Bicubic, 0.5)),
            (r#"{"size": {"shortest_edge": 288}, "crop_pct": 0.95}"#, (288, 303, Fit::Crop, Bicubic, 0.5)),
            (r#"{"size": 224, "do_center_crop": true, "crop_size": 200}"#, (200, 256, Fit::Crop, Bicubic, 0.5)),
            (r#"{"image_processor_type": "ViTImageProcessorFast"}"#, (224, 224, Fit::Squash, Bilinear, 0.5)),
            (
                r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": 96, "resample": 3}"#,
                (96, 96, Fit::Squash, Bicubic, 0.5),
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "size": [96, 96]}"#,
                (96, 96, Fit::Squash, Bilinear, 0.5),
            ),
            (r#"{"image_processor_type": "BitImageProcessor"}"#, (224, 224, Fit::Crop, Bicubic, 0.481_454_66)),
            (
                r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 256, "crop_size": 235}"#,
                (235, 256, Fit::Crop, Bicubic, 0.481_454_66),
            ),
            (r#"{"image_processor_type": "DeiTImageProcessor"}"#, (224, 256, Fit::Squash, Bicubic, 0.5)),
            (
                r#"{"image_processor_type": "MobileNetV2ImageProcessor", "image_mean": 0.25}"#,
                (224, 256, Fit::Crop, Bilinear, 0.25),
            ),
        ] {
            assert_eq!(found(json), expected, "{json}");
        }
    }

    #[test]
    fn levels_follow_every_switch() {
        let levels = |json: &str| read(json).map(|own| (own.mean[0], own.std[0])).unwrap();
        let usual = r#""size": 224, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]"#;
        assert_eq!(levels(&format!("{{{usual}}}")), (0.5, 0.25));
        assert_eq!(levels(&format!(r#"{{{usual}, "do_normalize": false}}"#)), (0.0, 1.0));
        assert_eq!(levels(&format!(r#"{{{usual}, "rescale_factor": 0.00392156862745098}}"#)), (0.5, 0.25));
        let (mean, std) = levels(&format!(r#"{{{usual}, "rescale_factor": 0.00784313725490196}}"#));
        assert!((mean - 0.25).abs() < 1e-6 && (std - 0.125).abs() < 1e-6);
        // (byte - 0.5) / 0.25
        let (mean, std) = levels(&format!(r#"{{{usual}, "do_rescale": false}}"#));
        assert!((mean * 255.0 - 0.5).abs() < 1e-6 && (std * 255.0 - 0.25).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        for (json, part) in [
            (r#"{"do_resize": false}"#, "`do_resize`"),
            (r#"{"do_pad": true}"#, "`do_pad`"),
            (r#"{"do_flip_channel_order": true}"#, "`do_flip_channel_order`"),
            (r#"{"offset": true}"#, "`offset`"),
            (r#"{"do_resize": 1}"#, "`do_resize` is 1"),
            (r#"{"rescale_factor": 0}"#, "`rescale_factor`"),
            (r#"{"rescale_factor": Infinity}"#, "`rescale_factor`"),
            (r#"{"image_std": 0}"#, "`image_std`"),
            (r#"{"image_mean": [1, 2]}"#, "`image_mean`"),
            (r#"{"resample": 1}"#, "`resample` 1"),
            (r#"{"size": 0}"#, "`size`"),
            (r#"{"size": 5000}"#, "`size`: 5000"),
            (r#"{"size": -1}"#, "`size` is -1"),
            (r#"{"size": "224"}"#, "`size` is \"224\""),
            (r#"{"size": 1e300}"#, "`size`"),
            (r#"{"size": {"longest_edge": 224}}"#, "longest_edge"),
            (r#"{"size": {"shortest_edge": 224, "longest_edge": 500}}"#, "longest_edge"),
            (r#"{"size": {"height": 224, "width": 448}}"#, "224 rows of 448"),
            (r#"{"size": 224, "crop_pct": 0}"#, "`crop_pct`"),
            (r#"{"size": 224, "crop_pct": 0.0001}"#, "`size`"),
            (r#"{"do_center_crop": true}"#, "`crop_size`"),
            (r#"{"image_processor_type": "BitImageProcessor", "crop_size": 256}"#, "`crop_size` 256"),
            (r#"{"image_processor_type": "BitImageProcessor", "do_center_crop": false}"#, "several shapes"),
            (r#"{"image_processor_type": "BitImageProcessor", "crop_pct": 0.9}"#, "`crop_pct`"),
            (r#"{"image_processor_type": "PoolFormerImageProcessor"}"#, "PoolFormerImageProcessor"),
            (r#"{"image_processor_type": 3}"#, "`image_processor_type` is 3"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        // Switches that are off, and fields of no meaning for pixels.
        let file = r#"{"size": 224, "do_pad": false, "offset": null, "do_convert_rgb": true, "return_tensors": "pt", "crop_size": null}"#;
        assert!(read(file).is_ok());
    }
}
