//! `report.html`: one self-contained page about a run, made from plain data.
//!
//! The page needs no network and no script: charts are inline SVG coloured by the page's style sheet (so that they
//! follow the reader's light or dark setting), pictures are inline PNG.
//!
//! ```
//! use resnet_train::report::{Chart, Report, Scale, Series};
//!
//! let report = Report {
//!     title: "resnet20 on shapes".into(),
//!     headline: vec![("Test accuracy".into(), "97.1 %".into())],
//!     charts: vec![Chart {
//!         title: "Loss".into(),
//!         x_label: "epoch".into(),
//!         y_label: "cross-entropy".into(),
//!         scale: Scale::Linear,
//!         y_range: None,
//!         series: vec![Series { name: "train".into(), points: vec![(1.0, 1.9), (2.0, 0.8)], ..Series::default() }],
//!     }],
//!     ..Report::default()
//! };
//! assert!(report.render()?.contains("<svg"));
//! # Ok::<(), resnet_train::report::ReportError>(())
//! ```

mod axis;
mod chart;
mod confusion;
mod heat;
mod legend;
mod pictures;
mod standalone;
mod table;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub use chart::{Chart, Scale, Series, Stroke};
pub use confusion::Confusion;
pub use heat::HeatPicture;
pub use pictures::WorstError;
pub use table::Table;

const STYLE: &str = include_str!("style.css");

/// Everything that a report shows. Empty parts are left out of the page.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The page's title, for example `resnet20 on cifar10`.
    pub title: String,
    /// One line under the title, for example the command that made the run.
    pub subtitle: String,
    /// The results to see first: (what, value), for example `("Test accuracy", "92.1 %")`.
    pub headline: Vec<(String, String)>,
    /// Tables of results, before the charts.
    pub tables: Vec<Table>,
    /// Line charts in the order shown.
    pub charts: Vec<Chart>,
    /// The evaluated split's confusion matrix.
    pub confusion: Option<Confusion>,
    /// Wrongly classified images, those of the least probable truth first.
    pub worst_errors: Vec<WorstError>,
    /// Images with what spoke for the class that they were given.
    pub heat: Vec<HeatPicture>,
    /// The settings that decide the run: (name, value), in the order shown.
    pub configuration: Vec<(String, String)>,
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The confusion matrix has not one count for each pair of classes.
    #[error("confusion matrix of {classes} classes needs {} counts, but has {counts}", classes * classes)]
    ConfusionSize {
        /// Number of class names.
        classes: usize,
        /// Number of counts given.
        counts: usize,
    },
    /// A picture's bytes are not `height * width * 3`.
    #[error("picture of image {index}: {height}x{width} RGB needs {} bytes, but has {bytes}", height * width * 3)]
    PictureSize {
        /// The image's index in its data set.
        index: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Number of bytes given.
        bytes: usize,
    },
    /// A picture could not be encoded as PNG.
    #[error("picture of image {index} cannot be encoded: {source}")]
    Encode {
        /// The image's index in its data set.
        index: usize,
        /// What the encoder said.
        source: png::EncodingError,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The report's path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Report {
    /// The whole page.
    ///
    /// # Errors
    /// When the confusion matrix or a picture has another size than it says.
    pub fn render(&self) -> Result<String, ReportError> {
        let title = escape(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<header>\n<h1>{title}</h1>\n"
        );
        if !self.subtitle.is_empty() {
            push(&mut page, format_args!("<p class=\"subtitle\">{}</p>\n", escape(&self.subtitle)));
        }
        page.push_str("</header>\n");
        if !self.headline.is_empty() {
            page.push_str("<section class=\"headline\">\n");
            for (what, value) in &self.headline {
                push(
                    &mut page,
                    format_args!(
                        "<div class=\"figure\"><div class=\"value\">{}</div><div class=\"what\">{}</div></div>\n",
                        escape(value),
                        escape(what)
                    ),
                );
            }
            page.push_str("</section>\n");
        }
        for table in &self.tables {
            page.push_str(&table.render());
        }
        if !self.charts.is_empty() {
            page.push_str("<section>\n<h2>Curves</h2>\n<div class=\"charts\">\n");
            for chart in &self.charts {
                page.push_str(&chart.render());
            }
            page.push_str("</div>\n</section>\n");
        }
        if let Some(confusion) = &self.confusion {
            page.push_str(&confusion.render()?);
        }
        if !self.worst_errors.is_empty() {
            page.push_str(&pictures::render(&self.worst_errors)?);
        }
        if !self.heat.is_empty() {
            page.push_str(&heat::render(&self.heat)?);
        }
        if !self.configuration.is_empty() {
            page.push_str("<section>\n<h2>Configuration</h2>\n<table class=\"configuration\">\n");
            for (name, value) in &self.configuration {
                push(
                    &mut page,
                    format_args!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(name), escape(value)),
                );
            }
            page.push_str("</table>\n</section>\n");
        }
        page.push_str("</main>\n</body>\n</html>\n");
        Ok(page)
    }

    /// Writes the page to `path`, whole or not at all, so that a reader never sees half a report.
    ///
    /// # Errors
    /// As [`Report::render`], and when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let page = self.render()?;
        resnet_files::write(path, page.as_bytes())
            .map_err(|source| ReportError::Write { path: path.to_owned(), source })
    }
}

/// `text` with the characters that mean something in HTML replaced.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Appends formatted text.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String has no way to fail.
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests;
