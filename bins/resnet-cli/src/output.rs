//! Standard output for results, standard error for progress.
//!
//! Text out of files (names of classes, files, tensors) may hold what a terminal takes for orders: it is written escaped.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicU8, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// One JSON object on a line of standard output.
pub fn json(object: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(object)?;
    // JSON leaves some of them as they are; by their numbers they are the same text.
    let number = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    write_line(&replaced(&text, is_order, number))
}

/// One line (or more) of text on standard output.
pub fn text(text: impl Display) -> anyhow::Result<()> {
    write_line(&shown(&text.to_string()))
}

fn write_line(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Told by its kind, so that it can be told from a failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error.into()),
        Err(error) => Err(anyhow::anyhow!("cannot write to standard output: {error}")),
        Ok(()) => Ok(()),
    }
}

/// A name out of a file as a part of one line: control characters and those that turn the direction of writing become
/// what Rust writes for them.
pub fn escaped(name: &str) -> String {
    replaced(name, is_order, |c| c.escape_default().to_string())
}

/// Text of several lines, escaped but for its ends of lines and tabs.
fn shown(text: &str) -> String {
    replaced(text, |c| is_order(c) && !matches!(c, '\n' | '\t'), |c| c.escape_default().to_string())
}

fn replaced(text: &str, which: impl Fn(char) -> bool, with: impl Fn(char) -> String) -> String {
    if !text.contains(&which) {
        return text.to_owned();
    }
    text.chars().map(|c| if which(c) { with(c) } else { c.to_string() }).collect()
}

/// True for what is no letter to a terminal: control characters, ends of lines, marks of direction.
fn is_order(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || direction || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether somebody reads messages: at a terminal, unless the command decides.
static NOTES: AtomicU8 = AtomicU8::new(AT_A_TERMINAL);
const AT_A_TERMINAL: u8 = 0;
const ALWAYS: u8 = 1;
const NEVER: u8 = 2;

/// From now on messages are written without a terminal too.
pub fn always_note() {
    NOTES.store(ALWAYS, Ordering::Relaxed);
}

/// From now on messages are not written.
pub fn never_note() {
    NOTES.store(NEVER, Ordering::Relaxed);
}

/// A message on standard error, if somebody is there to read it.
pub fn note(message: impl Display) {
    match NOTES.load(Ordering::Relaxed) {
        ALWAYS => say(message),
        NEVER => {}
        _ if stderr().is_terminal() => say(message),
        _ => {}
    }
}

/// A message on standard error, whoever reads it: what decides a result. Where it cannot be written, the work goes on.
pub fn say(message: impl Display) {
    let _ = writeln!(stderr().lock(), "{}", shown(&message.to_string()));
}

/// What is wrong with each of several images: lines of standard error, whoever reads it.
pub fn name_broken(messages: &[String]) {
    for message in messages {
        say(format!("left out: {}", escaped(message)));
    }
}

/// How many images were left out, for the end of a result; empty where there are none.
pub fn left_out(broken: &[String]) -> String {
    match broken {
        [] => String::new(),
        [one] => format!("\n1 image could not be read and was left out: {one}"),
        [first, ..] => format!("\n{} images could not be read and were left out, the first: {first}", broken.len()),
    }
}

/// A bar over so many images on standard error, hidden when that is no terminal.
pub fn image_bar(what: &str, images: usize) -> ProgressBar {
    bar(what, images, "images  {per_sec:>12}")
}

/// A bar over so many things on standard error, hidden when that is no terminal.
pub fn bar(what: &str, count: usize, things: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{{prefix}} {{bar:32}} {{pos}}/{{len}} {things}  {{eta}} left  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// A bar a file on standard error while a data set is downloaded.
#[derive(Default)]
pub struct Download(Option<ProgressBar>);

impl resnet_data::Progress for Download {
    fn start(&mut self, file: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
        {
            bar.set_style(style);
        }
        bar.set_prefix(escaped(file));
        self.0 = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_files_gives_a_terminal_no_orders() {
        assert_eq!(escaped("red\u{1b}[31m\u{7}"), "red\\u{1b}[31m\\u{7}");
        assert_eq!(escaped("b\nc\r\t"), "b\\nc\\r\\t");
        assert_eq!(escaped("a\u{202e}gpj.exe \u{9b}2J\u{2028}"), "a\\u{202e}gpj.exe \\u{9b}2J\\u{2028}");
        assert_eq!(escaped("größe, 猫, 🙂, \"x\", a\\b"), "größe, 猫, 🙂, \"x\", a\\b");
        assert_eq!(shown("two\n\tlines\u{1b}"), "two\n\tlines\\u{1b}");
    }
}
