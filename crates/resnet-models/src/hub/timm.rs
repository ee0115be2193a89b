//! timm's `config.json`, in all its forms: the pictures' part under `pretrained_cfg`, or in old files beside the name.

use std::collections::BTreeMap;

use resnet_blocks::{Naming, Order, Projection};
use serde_json::Value;

use super::config::{ModelConfig, outputs};
use super::json::{Fields, shown};
use super::labels::LabelNames;
use crate::{Config, Fit, Interpolation, Preprocessing, Stem, StemPool};

/// True where timm wrote it, or transformers' wrapper of timm's networks.
pub(super) fn wrote(fields: &Fields) -> bool {
    fields.get("architecture").is_some() || fields.get("pretrained_cfg").is_some()
}

/// What the file says. Where both parts have a field, that of the whole counts, as in timm.
pub(super) fn config(fields: &Fields) -> Result<ModelConfig, String> {
    let part = fields.table("pretrained_cfg")?;
    let weights = part.as_ref().unwrap_or(fields);
    let name = match (fields.text("architecture")?, weights.text("architecture")?) {
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err("it has no `architecture`: no network is named".into()),
    };
    let mut network = crate::config(name).map_err(|error| format!("`architecture`: {error}"))?;
    if let Some(arguments) = fields.table("model_args")? {
        for (argument, value) in arguments.iter() {
            network = argued(network, argument, value, &arguments).map_err(|why| format!("`model_args`: {why}"))?;
        }
    }
    let (channels, preprocessing) = pictures(weights)?;
    if fields.table("model_args")?.is_none_or(|arguments| arguments.get("in_chans").is_none()) {
        network.in_chans = channels;
    }
    if let Some(pool) = fields.get("global_pool").filter(|pool| *pool != "avg") {
        return Err(format!("`global_pool` is {}; only \"avg\" is known", shown(pool)));
    }
    let classes = fields.count("num_classes")?.or(weights.count("num_classes")?);
    let mut names = None;
    let mut descriptions = BTreeMap::new();
    for part in [fields, weights] {
        // `labels` is the older name.
        for key in ["label_names", "labels"] {
            names = names.or(LabelNames::of(part, key)?);
        }
        let Some(table) = part.table("label_descriptions")? else { continue };
        for (name, description) in table.iter() {
            let text = description.as_str().map_or_else(|| description.to_string(), str::to_owned);
            descriptions.entry(name.to_owned()).or_insert(text);
        }
    }
    Ok(ModelConfig {
        named: names.as_ref().map(LabelNames::len),
        stated: classes,
        network,
        preprocessing,
        classes: names.map(|names| names.all(&descriptions, classes)),
        outputs: outputs(fields)?,
    })
}

/// The number of channels, and what becomes of grey or colour pictures. timm's defaults are those of its
/// `resolve_data_config`; `test_input_size` and `test_crop_pct` are what it leaves alone unless asked.
fn pictures(weights: &Fields) -> Result<(usize, Option<Preprocessing>), String> {
    let usual = Preprocessing::default();
    let (channels, size) = match weights.counts("input_size")?.as_deref() {
        None => (3, usual.size),
        Some(&[channels, height, width]) if height == width && channels > 0 => (channels, height),
        Some(size) => {
            return Err(format!("`input_size` {size:?} is not that of square pictures (channels, side, side)"));
        }
    };
    if !matches!(channels, 1 | 3) {
        // No pictures: what they hold is known to their makers only.
        return Ok((channels, None));
    }
    let number = |key: &str, usual: [f32; 3]| {
        Ok::<_, String>(weights.channels(key)?.map_or(usual, |numbers| numbers.map(|number| number as f32)))
    };
    let crop = weights.number("crop_pct")?.filter(|&crop| crop != 0.0).unwrap_or(usual.crop);
    let fit = match weights.text("crop_mode")? {
        None | Some("center") => Fit::Crop,
        Some("squash") => Fit::Squash,
        Some(other) => return Err(format!("`crop_mode` {other:?} is neither \"center\" nor \"squash\"")),
    };
    let preprocessing = Preprocessing {
        size,
        crop,
        fit,
        interpolation: match weights.text("interpolation")? {
            None | Some("bicubic") => Interpolation::Bicubic,
            Some("bilinear") => Interpolation::Bilinear,
            Some(other) => return Err(format!("`interpolation` {other:?} is neither \"bilinear\" nor \"bicubic\"")),
        },
        mean: number("mean", usual.mean)?,
        std: number("std", usual.std)?,
    };
    preprocessing.check().map_err(|error| match error.field {
        "size" => format!("`input_size`: {}", error.message),
        "crop" => format!("`crop_pct`: {}", error.message),
        field => format!("`{field}`: {}", error.message),
    })?;
    Ok((channels, Some(preprocessing)))
}

/// The network with an argument of timm's `create_model`. What acts in training alone, and what is so anyway, changes
/// nothing; what the network cannot be is named.
fn argued(mut config: Config, name: &str, value: &Value, all: &Fields) -> Result<Config, String> {
    let plain = config.block.naming == Naming::Torchvision && config.block.order == Order::Original;
    let cannot = || Err(format!("`{name}` {} is not supported", shown(value)));
    match name {
        // The number of classes is the weights' own.
        "num_classes" | "pretrained" | "drop_path_rate" | "drop_block_rate" | "zero_init_last" => Ok(config),
        "drop_rate" => Ok(Config { drop_rate: all.number(name)?.unwrap_or_default(), ..config }),
        "in_chans" => Ok(Config { in_chans: positive(all, name, MOST_CHANNELS)?, ..config }),
        "global_pool" if value == "avg" => Ok(config),
        "output_stride" => Ok(Config { output_stride: positive(all, name, 32)?, ..config }),
        "features_only" | "scriptable" | "exportable" if value == false => Ok(config),
        _ if !plain => cannot(),
        "layers" => Ok(Config { blocks: stages(all, name, &config, 1000)?, ..config }),
        "channels" => Ok(Config { widths: stages(all, name, &config, MOST_CHANNELS)?, ..config }),
        "cardinality" => Ok(Config { groups: positive(all, name, MOST_CHANNELS)?, ..config }),
        "base_width" => Ok(Config { group_width: positive(all, name, MOST_CHANNELS)?, ..config }),
        "block_reduce_first" => Ok(Config { reduce_first: positive(all, name, 64)?, ..config }),
        "avg_down" if value.is_boolean() => {
            config.block.projection = if value == true { Projection::Pooled } else { Projection::Strided };
            Ok(config)
        }
        "replace_stem_pool" if value == true => Ok(Config { stem_pool: StemPool::Convolution, ..config }),
        "replace_stem_pool" if value == false => Ok(config),
        "stem_width" | "stem_type" => stem(config, all),
        _ => cannot(),
    }
}

/// No layer of a network in sight is wider.
const MOST_CHANNELS: usize = 1 << 16;

fn positive(all: &Fields, name: &str, most: usize) -> Result<usize, String> {
    let number = all.count(name)?.unwrap_or_default();
    if (1..=most).contains(&number) { Ok(number) } else { Err(format!("`{name}` {number} is not in 1 to {most}")) }
}

fn stages(all: &Fields, name: &str, config: &Config, most: usize) -> Result<Vec<usize>, String> {
    let numbers = all.counts(name)?.unwrap_or_default();
    if numbers.len() != config.blocks.len() || !numbers.iter().all(|number| (1..=most).contains(number)) {
        let stages = config.blocks.len();
        return Err(format!("`{name}` {numbers:?} is no list of {stages} numbers from 1 to {most}"));
    }
    Ok(numbers)
}

/// Both arguments of the stem together: of three convolutions where its type is deep.
fn stem(config: Config, all: &Fields) -> Result<Config, String> {
    let kind = match (all.text("stem_type")?, &config.stem) {
        (Some(kind), _) => kind,
        (None, Stem::Deep { widths: [first, second] }) if first == second => "deep",
        (None, Stem::Deep { .. }) => "deep_tiered",
        (None, _) => "",
    };
    let width = match (all.get("stem_width"), &config.stem) {
        (Some(_), _) => positive(all, "stem_width", MOST_CHANNELS)?,
        (None, Stem::Deep { widths: [_, second] }) => *second,
        (None, _) => 64,
    };
    match kind {
        // The width is that of a deep stem only.
        "" => Ok(Config { stem: Stem::ImageNet, stem_channels: 64, ..config }),
        "deep" => Ok(Config { stem: Stem::Deep { widths: [width; 2] }, stem_channels: 2 * width, ..config }),
        "deep_tiered" => {
            let first = 3 * (width / 4);
            if first == 0 {
                return Err(format!("`stem_width` {width} is too few for the stem_type deep_tiered"));
            }
            Ok(Config { stem: Stem::Deep { widths: [first, width] }, stem_channels: 2 * width, ..config })
        }
        other => Err(format!("`stem_type` {other:?} is none of \"\", \"deep\" and \"deep_tiered\"")),
    }
}

#[cfg(test)]
mod tests {
    use resnet_blocks::BlockOptions;

    use super::*;

    fn read(json: &str) -> Result<ModelConfig, String> {
        config(&Fields::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn old_and_new_forms_say_the_same() {
        let pictures =
            r#""input_size": [3, 64, 64], "interpolation": "bilinear", "crop_pct": 0.95, "mean": 0.5, "std": [0.25]"#;
        let new = read(&format!(
            r#"{{"architecture": "resnet18", "num_classes": 2, "label_names": ["a", "b"], "pretrained_cfg": {{{pictures}}}}}"#
        ))
        .unwrap();
        assert_eq!((new.named, new.stated), (Some(2), Some(2)));
        let own = new.preprocessing.unwrap();
        assert_eq!((own.size, own.side(), own.interpolation), (64, 67, Interpolation::Bilinear));
        assert_eq!((own.mean, own.std, own.fit), ([0.5; 3], [0.25; 3], Fit::Crop));
        assert_eq!(new.classes.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        for old in [
            format!(r#"{{"architecture": "resnet18.a1_in1k", "labels": ["a", "b"], "num_features": 512, {pictures}}}"#),
            format!(
                r#"{{"labels": {{"1": "b", "0": "a"}}, "pretrained_cfg": {{"architecture": "resnet18", {pictures}}}}}"#
            ),
            format!(
                r#"{{"architecture": "resnet18", "model_args": null, "pretrained_cfg": {{"label_names": ["a", "b"], {pictures}}}}}"#
            ),
            format!(
                r#"{{"architecture": "resnet18", "pretrained_cfg": null, "label_names": ["x", "y"],
                "label_descriptions": {{"x": "a", "y": "b"}}, {pictures}}}"#
            ),
        ] {
            let old_form = ModelConfig { stated: None, ..new.clone() };
            assert_eq!(read(&old), Ok(old_form), "{old}");
        }
    }

    /// `timm.create_model("resnet18", stem_type="deep", stem_width=24, avg_down=True).state_dict()`: conv1.0 is
    /// (24, 3, 3, 3), conv1.6 (48, 24, 3, 3), layer2.0.downsample.1 a 1×1 convolution behind the pooling.
    #[test]
    fn arguments_change_the_network_or_are_named() {
        let with = |arch: &str, arguments: &str| {
            read(&format!(r#"{{"architecture": "{arch}", "model_args": {arguments}, "pretrained_cfg": {{}}}}"#))
        };
        let plain = with("resnet18", "{}").unwrap().network;
        let usual = r#"{"in_chans": 3, "num_classes": 5, "global_pool": "avg", "drop_rate": 0.1, "norm_layer": null}"#;
        assert_eq!(with("resnet18", usual).unwrap().network, Config { drop_rate: 0.1, ..plain.clone() });
        let deep = with("resnet18", r#"{"stem_type": "deep", "stem_width": 24, "avg_down": true}"#).unwrap().network;
        assert_eq!(
            deep,
            Config {
                stem: Stem::Deep { widths: [24; 2] },
                stem_channels: 48,
                block: BlockOptions { projection: Projection::Pooled, ..plain.block },
                ..plain.clone()
            }
        );
        let d = crate::config("resnet18d").unwrap();
        assert_eq!(with("resnet18d", r#"{"stem_width": 32}"#).unwrap().network, d);
        let dilated = with("resnet18", r#"{"output_stride": 8}"#).unwrap().network;
        assert_eq!(dilated, Config { output_stride: 8, ..plain.clone() });
        assert_eq!(with("resnet18", r#"{"in_chans": 4}"#).unwrap().network, Config { in_chans: 4, ..plain.clone() });
        let wide = with("resnet50", r#"{"base_width": 128, "layers": [1, 1, 1, 1]}"#).unwrap().network;
        assert_eq!((wide.group_width, wide.blocks), (128, vec![1; 4]));
        for (arch, arguments, part) in [
            ("resnet18", r#"{"in_chans": 0}"#, "`in_chans` 0"),
            ("resnet18", r#"{"block_args": {"attn_layer": "se"}}"#, "`block_args`"),
            ("resnet18", r#"{"output_stride": 64}"#, "`output_stride` 64"),
            ("resnet18", r#"{"layers": [2, 2, 2]}"#, "`layers`"),
            ("resnet18", r#"{"layers": [2, 2, 2, 1000000000000]}"#, "`layers`"),
            ("resnet18", r#"{"base_width": 0}"#, "`base_width` 0"),
            ("resnet18", r#"{"stem_type": "deep", "stem_width": "24"}"#, "`stem_width` is \"24\""),
            ("resnetv2_50", r#"{"stem_type": "deep"}"#, "`stem_type`"),
            ("resnet18", "[1]", "`model_args` is [1]"),
        ] {
            let error = with(arch, arguments).unwrap_err();
            assert!(error.contains(part), "{arguments}: {error}");
        }
    }

    #[test]
    fn pictures_are_obeyed_or_refused() {
        let of = |fields: &str| read(&format!(r#"{{"architecture": "resnet18", "pretrained_cfg": {{{fields}}}}}"#));
        // timm's resolve_data_config of nothing: 224 of 256, bicubic.
        let usual = of("").unwrap().preprocessing.unwrap();
        assert_eq!((usual.size, usual.side(), usual.interpolation), (224, 256, Interpolation::Bicubic));
        assert_eq!(of(r#""crop_mode": "squash", "crop_pct": 1.0"#).unwrap().preprocessing.unwrap().fit, Fit::Squash);
        let grey = of(r#""input_size": [1, 64, 64], "mean": [0.5], "std": [0.2]"#).unwrap();
        assert_eq!((grey.network.in_chans, grey.preprocessing.unwrap().mean), (1, [0.5; 3]));
        let five = of(r#""input_size": [5, 64, 64], "mean": [0.1, 0.2, 0.3, 0.4, 0.5]"#).unwrap();
        assert_eq!((five.network.in_chans, five.preprocessing), (5, None));
        // What only training or another measurement needs.
        assert!(of(r#""fixed_input_size": true, "pool_size": [7, 7], "test_input_size": [3, 999, 1]"#).is_ok());
        for (fields, part) in [
            (r#""input_size": [3, 224, 448]"#, "`input_size` [3, 224, 448]"),
            (r#""input_size": [0, 224, 224]"#, "`input_size` [0, 224, 224]"),
            (r#""input_size": [3, 0, 0]"#, "`input_size`: 0 "),
            (r#""input_size": [3, 1000000, 1000000]"#, "4096"),
            (r#""input_size": 224"#, "`input_size` is 224"),
            (r#""crop_pct": 9.5"#, "`crop_pct`: 9.5"),
            (r#""crop_pct": -1"#, "`crop_pct`"),
            (r#""crop_pct": 0.0001"#, "`crop_pct`"),
            (r#""crop_pct": "0.9""#, "`crop_pct` is \"0.9\""),
            (r#""crop_mode": "border""#, "`crop_mode` \"border\""),
            (r#""interpolation": "lanczos""#, "`interpolation` \"lanczos\""),
            (r#""mean": [1, 2]"#, "`mean` is [1,2]"),
            (r#""std": [0.2, 0, 0.2]"#, "`std`"),
            (r#""std": NaN"#, "`std` is \"NaN\""),
            (r#""mean": 1e300"#, "`mean`"),
        ] {
            let error = of(fields).unwrap_err();
            assert!(error.contains(part), "{fields}: {error}");
        }
        assert!(read(r#"{"pretrained_cfg": {}}"#).unwrap_err().contains("`architecture`"));
        assert!(read(r#"{"architecture": "resnet18", "global_pool": "max"}"#).unwrap_err().contains("`global_pool`"));
        assert!(read(r#"{"architecture": "resnet18", "problem_type": "x"}"#).unwrap_err().contains("`problem_type`"));
    }
}
