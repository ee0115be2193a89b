//! Measurements as plots, tables and files.

use std::path::{Path, PathBuf};

use super::{BlockSignal, IdentityRow, Scaling, Shattered};
use crate::report::{Chart, Report, Scale, Series, Stroke, Table};
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
            note:
                "gradient at the shallow block over that at the deep one: predicted and measured with silent branches, \
                   and with the branches of the weights"
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
        for kind in ["plain", "residual"] {
            let chart = Chart {
                title: format!("Autocorrelation of dy/dx, {kind}"),
                x_label: "lag".into(),
                y_label: "autocorrelation".into(),
                scale: Scale::Linear,
                y_range: None,
                series: all.iter().filter(|s| s.kind == kind || s.depth == 0).map(correlation).collect(),
            };
            self.charts.push((format!("shattered-{kind}"), chart));
            if let Some(deepest) = all.iter().filter(|s| s.kind == kind).max_by_key(|s| s.depth) {
                let chart = Chart {
                    title: format!("dy/dx of one network, {kind}, {} layers", deepest.depth),
                    x_label: "x".into(),
                    y_label: "dy/dx, scaled".into(),
                    scale: Scale::Linear,
                    y_range: None,
                    series: vec![Series { points: along(&deepest.example), stroke: Stroke::Thin, ..Series::default() }],
                };
                self.charts.push((format!("gradient-{kind}-{}", deepest.depth), chart));
            }
        }
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
                    [s.kind.to_string(), layers].into_iter().chain(at).collect()
                })
                .collect(),
        });
        let by_lag = all.iter().flat_map(|s| {
            let row =
                move |(lag, r): (usize, &f64)| vec![s.kind.into(), s.depth.to_string(), lag.to_string(), r.to_string()];
            s.autocorrelation.iter().enumerate().map(row)
        });
        self.add_csv("shattered", &["network", "layers", "lag", "autocorrelation"], by_lag.collect())
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
