//! Measurements as plots, tables and files.

use std::path::{Path, PathBuf};

use resnet_train::report::{Chart, Report, Scale, Series, Stroke, Table};

use super::{BlockSignal, IdentityRow, Scaling, Shattered};
use crate::{Error, Result, files};

/// Colours of white and brown noise, in all plots the same.
const WHITE: usize = 8;
const BROWN: usize = 9;

/// What one or several diagnostics gave.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Plots with the names of their files.
    pub charts: Vec<(String, Chart)>,
    /// Tables for the page.
    pub tables: Vec<Table>,
    /// CSV files: name and content.
    pub csv: Vec<(String, String)>,
}

impl Output {
    /// Signal and gradient through depth, a line a network.
    ///
    /// # Errors
    /// None that is to be expected.
    pub fn signals(&mut self, networks: &[(String, Vec<BlockSignal>)]) -> Result<()> {
        let lines = |value: fn(&BlockSignal) -> f64| {
            let line = |(name, rows): &(String, Vec<BlockSignal>)| Series {
                name: name.clone(),
                points: rows.iter().map(|row| (row.depth as f64, value(row))).collect(),
                ..Series::default()
            };
            networks.iter().map(line).collect()
        };
        let chart = |title: &str, y_label: &str, series| Chart {
            title: title.into(),
            x_label: "block".into(),
            y_label: y_label.into(),
            scale: Scale::Log,
            y_range: None,
            series,
        };
        let forward = chart("Forward signal", "root mean square of a block's output", lines(|row| row.signal));
        let backward = chart("Gradient", "norm of dE/dx at a block's output", lines(|row| row.gradient));
        self.charts.extend([("signal".into(), forward), ("gradient".into(), backward)]);
        self.tables.push(Table {
            title: "From the first block to the last".into(),
            note: "root mean square of the signal; norm of the gradient of the mean cross-entropy".into(),
            columns: ["network", "signal, first", "last", "gradient, first", "last", "first / last"]
                .map(Into::into)
                .into(),
            rows: networks
                .iter()
                .filter_map(|(name, rows)| {
                    let (first, last) = (rows.first()?, rows.last()?);
                    let numbers = [first.signal, last.signal, first.gradient, last.gradient];
                    let cells = numbers.into_iter().chain([first.gradient / last.gradient]).map(|v| format!("{v:.3e}"));
                    Some(std::iter::once(name.clone()).chain(cells).collect())
                })
                .collect(),
        });
        let rows = networks.iter().flat_map(|(network, rows)| rows.iter().map(move |row| (network, row)));
        let rows: Vec<Vec<String>> = rows
            .map(|(network, row)| {
                let BlockSignal { block, depth, signal, gradient } = row;
                vec![network.clone(), block.clone(), depth.to_string(), signal.to_string(), gradient.to_string()]
            })
            .collect();
        self.add_csv("signal", &["network", "block", "depth", "signal", "gradient"], rows)
    }

    /// Factors on the shortcuts: the gradient through depth, and the products of equation (8).
    ///
    /// # Errors
    /// None that is to be expected.
    pub fn scalings(&mut self, network: &str, all: &[Scaling]) -> Result<()> {
        let chart = |title: &str, y_label: &str, value: fn(&BlockSignal) -> f64| {
            let line = |s: &Scaling| Series {
                name: format!("λ = {}", s.lambda),
                points: s.signals.iter().map(|row| (row.depth as f64, value(row))).collect(),
                ..Series::default()
            };
            Chart {
                title: format!("{network}: {title}"),
                x_label: "block".into(),
                y_label: y_label.into(),
                scale: Scale::Log,
                y_range: None,
                series: all.iter().map(line).collect(),
            }
        };
        let forward = "signal with factors on the shortcuts";
        let forward = chart(forward, "root mean square of a block's output", |row| row.signal);
        let backward = "gradient with factors on the shortcuts";
        let backward = chart(backward, "norm of dE/dx at a block's output", |row| row.gradient);
        self.charts.extend([("scaling-signal".into(), forward), ("scaling".into(), backward)]);
        self.charts.push(("scaling-product".into(), products(network, all)));
        let by_block = all.iter().flat_map(|s| {
            let cells = |row: &BlockSignal| {
                let numbers = [row.signal.to_string(), row.gradient.to_string()];
                let names = [s.lambda.to_string(), row.block.clone(), row.depth.to_string()];
                names.into_iter().chain(numbers).collect()
            };
            s.signals.iter().map(cells).collect::<Vec<Vec<String>>>()
        });
        self.add_csv("scaling-signal", &["lambda", "block", "depth", "signal", "gradient"], by_block.collect())?;
        let rows = || all.iter().flat_map(|s| &s.rows);
        let cells = |row: &super::ScalingRow| {
            let names = [row.lambda.to_string(), row.shallow.clone(), row.deep.clone(), row.units.to_string()];
            let numbers = [row.predicted, row.measured, row.with_branches].map(|v| format!("{v:.4e}"));
            names.into_iter().chain(numbers).collect()
        };
        self.tables.push(Table {
            title: format!("{network}: the product of the factors, equation (8) of He et al. 2016"),
            note: "norm of the gradient at the shallow block over that at the deep one: what passes the shortcuts, predicted \
                   and measured, and all of it"
                .into(),
            columns: ["λ", "shallow block", "deep block", "units", "product of the λs", "measured", "with branches"]
                .map(Into::into)
                .into(),
            rows: rows().map(cells).collect(),
        });
        self.csv.push(("scaling".into(), files::csv(rows())?));
        Ok(())
    }

    /// Equation (5): both sides' terms by shallow block.
    ///
    /// # Errors
    /// None that is to be expected.
    pub fn identity(&mut self, network: &str, rows: &[IdentityRow]) -> Result<()> {
        let line = |name: &str, stroke, value: fn(&IdentityRow) -> f64| Series {
            name: name.into(),
            points: rows.iter().enumerate().map(|(i, row)| (i as f64, value(row))).collect(),
            stroke,
            ..Series::default()
        };
        let chart = Chart {
            title: format!("{network}: equation (5)"),
            x_label: "shallow block".into(),
            y_label: "norm".into(),
            scale: Scale::Linear,
            y_range: None,
            series: vec![
                line("gradient at the shallow block", Stroke::Normal, |row| row.gradient),
                line("gradient at the deep block (shortcuts)", Stroke::Normal, |row| row.through_shortcuts),
                line("through the branches", Stroke::Normal, |row| row.through_branches),
            ],
        };
        self.charts.push((format!("identity-{network}"), chart));
        let cells = |row: &IdentityRow| {
            let norms = [row.gradient, row.through_shortcuts, row.through_branches];
            let names = [row.shallow.clone(), row.deep.clone(), row.units.to_string()];
            names
                .into_iter()
                .chain(norms.map(|v| format!("{v:.4e}")))
                .chain([format!("{:.1e}", row.difference)])
                .collect()
        };
        self.tables.push(Table {
            title: format!("{network}: the gradient at a shallow block against equation (5) of He et al. 2016"),
            note: "norms of the whole, of its two terms, and of the difference, relative".into(),
            columns: [
                "shallow block",
                "deep block",
                "units",
                "gradient",
                "through shortcuts",
                "through branches",
                "difference",
            ]
            .map(Into::into)
            .into(),
            rows: rows.iter().map(cells).collect(),
        });
        let csv = files::csv(rows)?;
        self.csv.push((format!("identity-{network}"), csv));
        Ok(())
    }

    /// Autocorrelations by lag, plain and residual apart, and gradients along the input.
    ///
    /// # Errors
    /// None that is to be expected.
    pub fn shattered(&mut self, all: &[Shattered]) -> Result<()> {
        let mut kinds: Vec<&Shattered> = all.iter().filter(|s| s.depth > 0).collect();
        kinds.dedup_by_key(|s| s.name());
        for of in kinds {
            let like = || all.iter().filter(|s| s.name() == of.name());
            let chart = Chart {
                title: format!("Autocorrelation of dy/dx, {}", of.name()),
                x_label: "lag".into(),
                y_label: "autocorrelation".into(),
                scale: Scale::Linear,
                y_range: None,
                series: like().chain(all.iter().filter(|s| s.depth == 0)).map(correlation).collect(),
            };
            self.charts.push((format!("shattered-{}", slug(of)), chart));
        }
        self.charts.extend(examples(all));
        let lags = [1, 2, 5, 10];
        self.tables.push(Table {
            title: "Shattered gradients".into(),
            note: "autocorrelation of dy/dx along the input, mean over initialisations (Balduzzi et al. 2017)".into(),
            columns: ["network".to_string(), "layers".into()]
                .into_iter()
                .chain(lags.map(|l| format!("lag {l}")))
                .collect(),
            rows: all
                .iter()
                .map(|s| {
                    let at = lags.map(|lag| s.autocorrelation.get(lag).map_or_else(String::new, |r| format!("{r:.3}")));
                    let layers = if s.depth == 0 { String::new() } else { s.depth.to_string() };
                    [s.name(), layers].into_iter().chain(at).collect()
                })
                .collect(),
        });
        let names = |s: &Shattered| {
            let beta = s.beta.map_or_else(String::new, |beta| beta.to_string());
            [s.kind.to_string(), beta, s.depth.to_string()]
        };
        let by_lag = all.iter().flat_map(|s| {
            let rows = s.autocorrelation.iter().enumerate();
            rows.map(move |(lag, r)| names(s).into_iter().chain([lag.to_string(), r.to_string()]).collect())
        });
        self.add_csv("shattered", &["network", "beta", "layers", "lag", "autocorrelation"], by_lag.collect())?;
        let by_input = all.iter().flat_map(|s| {
            let rows = along(&s.example).into_iter();
            rows.map(move |(x, gradient)| names(s).into_iter().chain([x.to_string(), gradient.to_string()]).collect())
        });
        self.add_csv("shattered-gradients", &["network", "beta", "layers", "x", "gradient"], by_input.collect())
    }

    /// Writes every plot as SVG, every table of numbers as CSV, and `diagnose.html` with all of them.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be written.
    pub fn write(&self, dir: &Path, command: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        for (name, chart) in &self.charts {
            files::write(&dir.join(format!("{name}.svg")), chart.svg().as_bytes())?;
        }
        for (name, text) in &self.csv {
            files::write(&dir.join(format!("{name}.csv")), text.as_bytes())?;
        }
        let page = dir.join("diagnose.html");
        let report = Report {
            title: "Signals and gradients through depth".into(),
            subtitle: command.into(),
            tables: self.tables.clone(),
            charts: self.charts.iter().map(|(_, chart)| chart.clone()).collect(),
            ..Report::default()
        };
        report.write(&page)?;
        Ok(page)
    }

    fn add_csv(&mut self, name: &str, header: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
        self.csv.push((name.into(), files::csv_with(header, rows)?));
        Ok(())
    }
}

/// What passes the shortcuts of each stage by λ: predicted dashed, measured a line a stage.
fn products(network: &str, all: &[Scaling]) -> Chart {
    let stages = all.iter().map(|s| s.rows.len()).max().unwrap_or_default();
    let points = |stage: usize, value: fn(&super::ScalingRow) -> f64| {
        let mut points: Vec<(f64, f64)> =
            all.iter().filter_map(|s| s.rows.get(stage).map(|row| (row.lambda, value(row)))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let line = |name: String, points, stroke| Series { name, points, stroke, ..Series::default() };
    let measured = (0..stages).flat_map(|stage| {
        let name = all.iter().find_map(|s| s.rows.get(stage)).map(|row| format!("{} to {}", row.shallow, row.deep));
        let name = name.unwrap_or_default();
        [
            line(format!("{name}, measured"), points(stage, |row| row.measured), Stroke::Normal),
            line(format!("{name}, with branches"), points(stage, |row| row.with_branches), Stroke::Thin),
        ]
    });
    let predicted = line("product of the λs".into(), points(0, |row| row.predicted), Stroke::Dashed);
    Chart {
        title: format!("{network}: what of the gradient passes a stage"),
        x_label: "λ".into(),
        y_label: "gradient, first block over last".into(),
        scale: Scale::Log,
        y_range: None,
        series: measured.chain([predicted]).collect(),
    }
}

/// dy/dx along the input, as in Balduzzi et al.'s Figure 1: of a shallow network, of the deepest of each kind, and both
/// noises.
fn examples(all: &[Shattered]) -> Vec<(String, Chart)> {
    let depths = || all.iter().map(|s| s.depth).filter(|&depth| depth > 0);
    let (shallowest, deepest) = (depths().min(), depths().max());
    let drawn =
        |s: &&Shattered| s.depth == 0 || Some(s.depth) == deepest || (s.beta.is_none() && Some(s.depth) == shallowest);
    let chart = |s: &Shattered| {
        let (network, layers) = match s.depth {
            0 => ("", String::new()),
            depth => ("dy/dx of one network: ", format!(", {depth} layers")),
        };
        let chart = Chart {
            title: format!("{network}{}{layers}", s.name()),
            x_label: "x".into(),
            y_label: if s.depth == 0 { "value, scaled" } else { "dy/dx, scaled" }.into(),
            scale: Scale::Linear,
            y_range: None,
            series: vec![Series { points: along(&s.example), stroke: Stroke::Thin, ..Series::default() }],
        };
        let depth = if s.depth == 0 { String::new() } else { format!("-{}", s.depth) };
        (format!("gradient-{}{depth}", slug(s)), chart)
    };
    all.iter().filter(drawn).map(chart).collect()
}

/// `plain`, `residual-beta-0.1`, `white-noise`.
fn slug(s: &Shattered) -> String {
    let beta = s.beta.map_or_else(String::new, |beta| format!("-beta-{beta}"));
    format!("{}{beta}", s.kind.replace(' ', "-"))
}

fn correlation(s: &Shattered) -> Series {
    let points = s.autocorrelation.iter().enumerate().map(|(lag, &r)| (lag as f64, r)).collect();
    let (name, stroke, colour) = match (s.kind, s.depth) {
        ("white noise", _) => ("white noise".to_string(), Stroke::Dashed, Some(WHITE)),
        ("brown noise", _) => ("brown noise".to_string(), Stroke::Dashed, Some(BROWN)),
        (_, depth) => (format!("{depth} layers"), Stroke::Normal, None),
    };
    Series { name, points, stroke, colour }
}

/// Values of a grid from -2 to 2.
fn along(values: &[f64]) -> Vec<(f64, f64)> {
    let step = 4.0 / (values.len().max(2) - 1) as f64;
    values.iter().enumerate().map(|(i, &v)| (-2.0 + step * i as f64, v)).collect()
}
