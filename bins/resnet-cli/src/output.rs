//! Standard output for results, standard error for progress.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// One JSON object on a line of standard output.
pub fn json(object: &impl Serialize) -> anyhow::Result<()> {
    text(serde_json::to_string(object)?)
}

/// One line (or more) of text on standard output.
pub fn text(text: impl Display) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Whether standard error is a log that somebody reads later.
static LOG: AtomicBool = AtomicBool::new(false);

/// From now on messages are written without a terminal too.
pub fn always_note() {
    LOG.store(true, Ordering::Relaxed);
}

/// A message on standard error, if somebody is there to read it.
pub fn note(message: impl Display) {
    if LOG.load(Ordering::Relaxed) || stderr().is_terminal() {
        eprintln!("{message}");
    }
}

/// A line on standard error, whoever reads it. That it cannot be written is no reason to end the work.
pub fn say(message: impl Display) {
    let _ = writeln!(stderr(), "{message}");
}

/// A line on standard error that tells what a result rests on: with or without a terminal.
pub fn inform(message: impl Display) {
    say(message);
}

/// What is wrong with each of several images: lines of standard error, whoever reads it.
pub fn name_broken(messages: &[String]) {
    for message in messages {
        say(format!("left out: {message}"));
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
        bar.set_prefix(file.to_owned());
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
