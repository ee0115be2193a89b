//! A table of results.

use super::{escape, push};

/// A titled table; the first cell of a row is its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What the table shows.
    pub title: String,
    /// A line under the title.
    pub note: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The cells, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn render(&self) -> String {
        let mut out = format!("<section>\n<h2>{}</h2>\n", escape(&self.title));
        if !self.note.is_empty() {
            push(&mut out, format_args!("<p class=\"note\">{}</p>\n", escape(&self.note)));
        }
        out.push_str("<div class=\"scroll\"><table class=\"results\">\n<tr>");
        for column in &self.columns {
            push(&mut out, format_args!("<th scope=\"col\">{}</th>", escape(column)));
        }
        out.push_str("</tr>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let (open, close) = if i == 0 { ("<th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
                push(&mut out, format_args!("{open}{}{close}", escape(cell)));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>\n</section>\n");
        out
    }
}
