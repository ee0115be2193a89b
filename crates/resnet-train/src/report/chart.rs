//! Line charts as inline SVG.

use super::axis::Axis;
use super::legend::Legend;
use super::{escape, push, standalone};

/// How values are laid along the vertical axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equal distances.
    #[default]
    Linear,
    /// Equal ratios are equal distances; points at or below zero are left out.
    Log,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stroke {
    /// As most lines.
    #[default]
    Normal,
    /// For the training error, beside the test error.
    Thin,
    /// For the test error, beside the training error.
    Bold,
    /// For what the others are compared with.
    Dashed,
}

/// One line of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The name in the legend, for example `train`; a line without a name is not in it.
    pub name: String,
    /// (x, y) with rising x. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Number of its colour, so that two lines can share one; its place among the lines where none is given.
    pub colour: Option<usize>,
}

/// A line chart with a title, labelled axes and a legend.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What the chart shows.
    pub title: String,
    /// The horizontal axis and its unit, for example `epoch`.
    pub x_label: String,
    /// The vertical axis and its unit, for example `top-1, %`.
    pub y_label: String,
    /// The vertical axis's scale.
    pub scale: Scale,
    /// The lines, in the order of the legend.
    pub series: Vec<Series>,
    /// Values that the vertical axis covers at least, so that several charts can have the same.
    pub y_range: Option<(f64, f64)>,
}

pub(super) const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
pub(super) const LEFT: f64 = 58.0;
pub(super) const RIGHT: f64 = 14.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;
/// Above this many points a line is averaged in buckets: more than one point a pixel only makes the file larger.
const MOST_POINTS: usize = 500;
/// Up to this many points each is marked by a dot that tells its value.
const MOST_DOTS: usize = 60;
/// The style sheet has this many line colours.
const COLOURS: usize = 10;

impl Chart {
    /// The chart as a `<figure>`; one without a drawable point says so.
    pub(super) fn render(&self) -> String {
        format!("<figure class=\"chart\">\n{}</figure>\n", self.image("", ""))
    }

    /// The chart as a file of its own, in the light colours.
    pub fn svg(&self) -> String {
        self.image(" xmlns=\"http://www.w3.org/2000/svg\"", &standalone::style())
    }

    /// The `<svg>` element with that attribute; `inside` comes first in it.
    fn image(&self, attribute: &str, inside: &str) -> String {
        let lines: Vec<Series> = self.series.iter().map(|s| s.drawable(self.scale)).collect();
        let legend = Legend::new(&self.title, &lines);
        // Rows of keys push the plot down: what is drawn below them keeps its own coordinates.
        let shift = legend.height();
        let mut out = format!(
            "<svg{attribute} viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">\n\
             {inside}<text class=\"title\" x=\"{LEFT}\" y=\"18\">{title}</text>\n",
            HEIGHT + shift,
            title = escape(&self.title)
        );
        legend.draw(&mut out, &lines);
        push(&mut out, format_args!("<g transform=\"translate(0 {shift})\">\n"));
        match self.axes(&lines) {
            None => out.push_str("<text class=\"label\" x=\"58\" y=\"150\">no points</text>\n"),
            Some((x, y)) => {
                self.grid(&mut out, &x, &y);
                for (i, line) in lines.iter().enumerate() {
                    line.draw(&mut out, i, &x, &y);
                }
            }
        }
        out.push_str("</g>\n</svg>\n");
        out
    }

    /// Axes that cover every point, or `None` where there is none.
    fn axes(&self, lines: &[Series]) -> Option<(Axis, Axis)> {
        let mut points = lines.iter().flat_map(|line| line.points.iter().copied());
        let first = points.next()?;
        let (mut x, mut y) = ((first.0, first.0), (first.1, first.1));
        for point in points {
            x = (x.0.min(point.0), x.1.max(point.0));
            y = (y.0.min(point.1), y.1.max(point.1));
        }
        if let Some((low, high)) = self.y_range {
            y = (y.0.min(low), y.1.max(high));
        }
        // A linear axis that almost reaches zero starts there, so that heights compare.
        if self.scale == Scale::Linear && y.0 > 0.0 && y.0 < 0.35 * y.1 {
            y.0 = 0.0;
        }
        let mut across = Axis::new(x.0, x.1, LEFT, WIDTH - RIGHT, 7, Scale::Linear).tight(x.0, x.1);
        // Epochs and steps are counted: there is none in between.
        if lines.iter().flat_map(|line| &line.points).all(|(x, _)| x.fract() == 0.0) {
            across = across.whole();
        }
        let up = Axis::new(y.0, y.1, HEIGHT - BOTTOM, TOP, 5, self.scale);
        Some((across, up))
    }

    fn grid(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in &y.ticks {
            let at = y.pixel(*value);
            push(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                     <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                    LEFT - 7.0,
                    at + 4.0
                ),
            );
        }
        for (value, label) in &x.ticks {
            let at = x.pixel(*value);
            push(
                out,
                format_args!(
                    "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                     <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
                    bottom + 4.0,
                    bottom + 17.0
                ),
            );
        }
        let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        push(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\n\
                 <text class=\"label\" x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
                 <text class=\"label\" transform=\"translate(13 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                HEIGHT - 8.0,
                escape(&self.x_label),
                escape(&self.y_label)
            ),
        );
    }
}

impl Series {
    /// The points that can be drawn, averaged where there are more than the eye can see.
    fn drawable(&self, scale: Scale) -> Series {
        let points: Vec<(f64, f64)> = self
            .points
            .iter()
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite() && (scale == Scale::Linear || *y > 0.0))
            .collect();
        let points = if points.len() > MOST_POINTS {
            points.chunks(points.len().div_ceil(MOST_POINTS)).map(mean).collect()
        } else {
            points
        };
        Series { points, ..self.clone() }
    }

    /// The classes of its line in the style sheet; `i` is its place among the lines.
    pub(super) fn classes(&self, i: usize) -> String {
        let stroke = match self.stroke {
            Stroke::Normal => "",
            Stroke::Thin => " thin",
            Stroke::Bold => " bold",
            Stroke::Dashed => " dashed",
        };
        format!("line c{}{stroke}", self.colour.unwrap_or(i) % COLOURS)
    }

    fn draw(&self, out: &mut String, i: usize, x: &Axis, y: &Axis) {
        let path: Vec<String> =
            self.points.iter().map(|p| format!("{:.1},{:.1}", x.pixel(p.0), y.pixel(p.1))).collect();
        push(out, format_args!("<polyline class=\"{}\" points=\"{}\"/>\n", self.classes(i), path.join(" ")));
        if self.points.len() > MOST_DOTS || matches!(self.stroke, Stroke::Thin | Stroke::Dashed) {
            return;
        }
        for (px, py) in &self.points {
            push(
                out,
                format_args!(
                    "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.4\"><title>{}: {}, {}</title></circle>\n",
                    self.colour.unwrap_or(i) % COLOURS,
                    x.pixel(*px),
                    y.pixel(*py),
                    escape(&self.name),
                    short(*px),
                    short(*py)
                ),
            );
        }
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let sum = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
    let n = points.len() as f64;
    (sum.0 / n, sum.1 / n)
}

/// At most four significant decimals, no trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
