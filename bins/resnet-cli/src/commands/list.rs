//! `resnet list`: the names that other commands take.

use std::fmt::Write as _;

use resnet_models::hub::published;
use serde::Serialize;

use crate::args::{self, JsonArgs};
use crate::output;

/// List networks, data sets and recipes
#[derive(clap::Args)]
pub struct Args {
    /// List the pretrained weights that --hub can download, with their published top-1
    #[arg(long)]
    pretrained: bool,
    /// Print a recipe as TOML, with every value: a copy can be changed and given to `resnet train --recipe FILE.toml`
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "pretrained")]
    recipe: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
}

/// A line of the list of weights.
#[derive(Serialize)]
struct Weights {
    /// Always `pretrained`.
    kind: &'static str,
    name: String,
    arch: &'static str,
    top1: f64,
    image_size: usize,
    crop_pct: f64,
    parameters_millions: f64,
}

/// A line of the list.
#[derive(Serialize)]
struct Row {
    /// `network`, `dataset` or `recipe`.
    kind: &'static str,
    name: &'static str,
    about: String,
}

/// Prints the three lists.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.pretrained {
        return pretrained(&args);
    }
    if let Some(name) = &args.recipe {
        let recipe = args::recipe(name)?;
        return if args.json.json { output::json(&recipe) } else { output::text(recipe.to_toml()?.trim_end()) };
    }
    let rows = rows()?;
    if args.json.json {
        return rows.iter().try_for_each(output::json);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut kind = "";
    for row in &rows {
        if row.kind != kind {
            let gap = if kind.is_empty() { "" } else { "\n" };
            kind = row.kind;
            writeln!(text, "{gap}{kind}s")?;
        }
        writeln!(text, "  {:width$}  {}", row.name, row.about)?;
    }
    output::text(text.trim_end())
}

/// The weights on the hub, the best first.
fn pretrained(args: &Args) -> anyhow::Result<()> {
    let weights = published().into_iter().map(|row| Weights {
        kind: "pretrained",
        name: row.repository(),
        arch: row.arch(),
        top1: row.top1,
        image_size: row.size,
        crop_pct: row.crop,
        parameters_millions: row.parameters,
    });
    if args.json.json {
        return weights.into_iter().try_for_each(|row| output::json(&row));
    }
    let rows: Vec<Weights> = weights.collect();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text =
        "ImageNet top-1 in %, as timm measured it (results-imagenet.csv), at that size and crop\n".to_owned();
    writeln!(text, "  {:width$}   top-1  pixels   crop  parameters", "--hub")?;
    for row in rows {
        let (name, size, crop, millions) = (row.name, row.image_size, row.crop_pct, row.parameters_millions);
        writeln!(text, "  {name:width$}  {:6.2}  {size:6}  {crop:5.3}  {millions:9.2}M", row.top1)?;
    }
    // The weights' own configuration may say another size, that of training.
    writeln!(text, "\nTo evaluate as these were measured, give the size and crop of the row:")?;
    writeln!(text, "  resnet eval --hub NAME --dataset folder:DIR --image-size PIXELS --crop-pct CROP")?;
    output::text(text.trim_end())
}

fn rows() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in resnet_models::NETWORKS {
        let config = entry.config();
        let about = format!("{size}x{size}, {} classes; {}", config.classes, entry.source, size = config.image_size);
        rows.push(Row { kind: "network", name: entry.name, about });
    }
    for name in resnet_data::names() {
        let info = resnet_data::info(name)?;
        let about = match info.classes {
            Some(classes) => format!("{size}x{size}, {classes} classes", size = info.image_size),
            None if name.starts_with("shards") => "WebDataset's tar shards, images with .cls or .json".to_owned(),
            None if name.starts_with("parquet") => "the hub's parquet files, columns image and label".to_owned(),
            None => "a folder of images for each class, in train/ and val/ or not divided".to_owned(),
        };
        rows.push(Row { kind: "dataset", name, about });
    }
    for name in resnet_train::recipe::Recipe::names() {
        rows.push(Row { kind: "recipe", name, about: resnet_train::recipe::Recipe::load(name)?.description });
    }
    Ok(rows)
}
