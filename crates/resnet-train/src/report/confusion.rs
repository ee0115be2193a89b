//! The confusion matrix as a coloured table, and the pairs most often confused.

use super::{ReportError, escape, push};

/// How often each class was taken for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Class names, by index.
    pub classes: Vec<String>,
    /// `classes x classes` counts, row by row: row = true class, column = predicted class.
    pub counts: Vec<u64>,
}

/// More classes than this get no picture: cells would be smaller than a pixel or two.
const MOST_CLASSES: usize = 200;
/// Up to this many classes every row and column carries its name.
const MOST_NAMED: usize = 40;
/// Up to this many classes every cell carries its count.
const MOST_COUNTED: usize = 20;
/// Rows of the list of confused pairs.
const PAIRS: usize = 10;
/// Names longer than this are cut in the picture's margins.
const LONGEST_NAME: usize = 16;

impl Confusion {
    /// A matrix of zeros over these classes.
    #[must_use]
    pub fn new(classes: Vec<String>) -> Confusion {
        let counts = vec![0; classes.len() * classes.len()];
        Confusion { classes, counts }
    }

    /// Counts one image of class `truth` that was taken for `predicted`. Indices past the classes are ignored.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        let n = self.classes.len();
        if truth < n && predicted < n {
            self.counts[truth * n + predicted] += 1;
        }
    }

    pub(super) fn render(&self) -> Result<String, ReportError> {
        let n = self.classes.len();
        if self.counts.len() != n * n {
            return Err(ReportError::ConfusionSize { classes: n, counts: self.counts.len() });
        }
        let mut out = String::from("<section>\n<h2>Confusion matrix</h2>\n<div class=\"confusion\">\n");
        if n <= MOST_CLASSES {
            self.picture(&mut out);
        }
        self.pairs(&mut out);
        out.push_str("</div>\n</section>\n");
        Ok(out)
    }

    fn picture(&self, out: &mut String) {
        let n = self.classes.len();
        let (named, counted) = (n <= MOST_NAMED, n <= MOST_COUNTED);
        let longest = self.classes.iter().map(|name| name.chars().count().min(LONGEST_NAME)).max().unwrap_or(0) as f64;
        let margin = if named { 12.0 + 6.6 * longest } else { 8.0 };
        let (left, top) = (margin + 18.0, margin + 18.0);
        let cell = ((if counted { 440.0 } else { 560.0 }) / n.max(1) as f64).min(44.0);
        let side = cell * n as f64;
        push(
            out,
            format_args!(
                "<figure>\n<svg viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" role=\"img\" aria-label=\"Confusion matrix\">\n\
                 <text class=\"label\" x=\"{mid:.1}\" y=\"12\" text-anchor=\"middle\">predicted</text>\n\
                 <text class=\"label\" transform=\"translate(12 {mid_y:.1}) rotate(-90)\" text-anchor=\"middle\">true</text>\n\
                 <rect class=\"field\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\"/>\n",
                w = left + side + 4.0,
                h = top + side + 4.0,
                mid = left + side / 2.0,
                mid_y = top + side / 2.0,
            ),
        );
        for (truth, row) in self.counts.chunks(n.max(1)).enumerate() {
            let total = row.iter().sum::<u64>().max(1) as f64;
            for (predicted, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let share = count as f64 / total;
                let kind = if truth == predicted { "right" } else { "wrong" };
                // The root lifts the few errors out of the ground, without which only the diagonal would show.
                let opacity = share.sqrt();
                let (x, y) = (left + cell * predicted as f64, top + cell * truth as f64);
                push(
                    out,
                    format_args!(
                        "<g><rect class=\"{kind}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" \
                         fill-opacity=\"{opacity:.2}\"/><title>true {}, predicted {}: {count} ({:.1} %)</title>",
                        escape(&self.classes[truth]),
                        escape(&self.classes[predicted]),
                        100.0 * share
                    ),
                );
                if counted {
                    let on = if opacity > 0.6 { "count on" } else { "count" };
                    push(
                        out,
                        format_args!(
                            "<text class=\"{on}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                            x + cell / 2.0,
                            y + cell / 2.0 + 4.0
                        ),
                    );
                }
                out.push_str("</g>\n");
            }
        }
        if named {
            for (i, name) in self.classes.iter().enumerate() {
                let (name, at) = (escape(&cut(name)), cell * (i as f64 + 0.5));
                push(
                    out,
                    format_args!(
                        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
                         <text class=\"tick\" transform=\"translate({:.1} {:.1}) rotate(-90)\">{name}</text>\n",
                        left - 6.0,
                        top + at + 4.0,
                        left + at + 4.0,
                        top - 6.0
                    ),
                );
            }
        }
        out.push_str("</svg>\n</figure>\n");
    }

    /// The pairs (true, predicted) most often confused, as a table.
    fn pairs(&self, out: &mut String) {
        let n = self.classes.len();
        let mut pairs: Vec<(u64, usize, usize)> = (0..n * n)
            .filter(|i| i / n != i % n && self.counts[*i] > 0)
            .map(|i| (self.counts[i], i / n, i % n))
            .collect();
        if pairs.is_empty() {
            out.push_str("<p>No image was taken for another class.</p>\n");
            return;
        }
        // By count, then by class, so that equal counts come out in one order.
        pairs.sort_by_key(|(count, truth, predicted)| (std::cmp::Reverse(*count), *truth, *predicted));
        out.push_str(
            "<table class=\"pairs\">\n<caption>Most often confused</caption>\n\
             <tr><th>true</th><th>predicted</th><th class=\"number\">images</th></tr>\n",
        );
        for (count, truth, predicted) in pairs.into_iter().take(PAIRS) {
            push(
                out,
                format_args!(
                    "<tr><td>{}</td><td>{}</td><td class=\"number\">{count}</td></tr>\n",
                    escape(&self.classes[truth]),
                    escape(&self.classes[predicted])
                ),
            );
        }
        out.push_str("</table>\n");
    }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(LONGEST_NAME - 1).collect();
    short.push('…');
    short
}
