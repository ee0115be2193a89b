//! `resnet list`: the names that other commands take.

use std::fmt::Write as _;

use serde::Serialize;

use crate::args::JsonArgs;
use crate::output;

/// List networks, data sets and recipes
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    json: JsonArgs,
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
            None => "a folder of images for each class, in train/ and val/ or not divided".to_owned(),
        };
        rows.push(Row { kind: "dataset", name, about });
    }
    for name in resnet_train::recipe::Recipe::names() {
        rows.push(Row { kind: "recipe", name, about: resnet_train::recipe::Recipe::load(name)?.description });
    }
    Ok(rows)
}
