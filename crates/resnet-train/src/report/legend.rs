//! The keys above a chart, in as many rows as they need.

use super::chart::{LEFT, RIGHT, Series, WIDTH};
use super::{escape, push};

/// Height of a row of keys in pixels.
const ROW: f64 = 18.0;
/// The stroke beside a key, with its gaps.
const SWATCH: f64 = 24.0;
const GAP: f64 = 16.0;

/// Where each key stands.
pub(super) struct Legend {
    /// Position in the list of series, left end, baseline.
    places: Vec<(usize, f64, f64)>,
    /// Rows below the title's own.
    rows: usize,
}

impl Legend {
    /// Keys of all lines with a name; one line needs none. They stand to the right of the title where they fit, else
    /// in rows of their own.
    pub(super) fn new(title: &str, lines: &[Series]) -> Self {
        let named: Vec<(usize, f64)> =
            lines.iter().enumerate().filter(|(_, l)| !l.name.is_empty()).map(|(i, l)| (i, width(&l.name))).collect();
        if lines.len() < 2 {
            return Self { places: Vec::new(), rows: 0 };
        }
        let right = WIDTH - RIGHT;
        let total: f64 = named.iter().map(|(_, width)| width).sum::<f64>() - GAP;
        // The width of text is known to the browser only; 7.6 pixels a character is the title's mean.
        let title_ends = LEFT + 7.6 * title.chars().count() as f64 + 2.0 * GAP;
        let (mut x, mut row) = if right - total > title_ends { (right - total, 0) } else { (LEFT, 1) };
        let mut places = Vec::new();
        for (i, width) in named {
            if x + width - GAP > right && x > LEFT {
                (x, row) = (LEFT, row + 1);
            }
            places.push((i, x, 18.0 + ROW * row as f64));
            x += width;
        }
        Self { places, rows: row }
    }

    /// Pixels that the keys take below the title.
    pub(super) fn height(&self) -> f64 {
        ROW * self.rows as f64
    }

    pub(super) fn draw(&self, out: &mut String, lines: &[Series]) {
        for &(i, x, y) in &self.places {
            push(
                out,
                format_args!(
                    "<line class=\"{}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\
                     <text class=\"key\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>\n",
                    lines[i].classes(i),
                    x + SWATCH - 6.0,
                    x + SWATCH,
                    escape(&lines[i].name),
                    middle = y - 4.0,
                ),
            );
        }
    }
}

/// Of a key with its stroke; 6.6 pixels a character is the mean at this size.
fn width(name: &str) -> f64 {
    SWATCH + 6.6 * name.chars().count() as f64 + GAP
}
