//! Who shows a training's progress: the trainer tells, and does not know who listens.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::log::Record;

/// Where a training stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Epochs in all; the last may be cut short.
    pub epochs: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Mean training loss of this epoch so far; on devices other than the CPU up to the log's last record, as nothing waits
    /// for the device to show it.
    pub loss: Option<f64>,
    /// Training images of this epoch classified right so far, in percent; as far as the loss.
    pub top1: Option<f64>,
    /// The learning rate.
    pub lr: f64,
    /// Training images a second in this epoch.
    pub images_per_second: f64,
}

/// Is told what a training does.
pub trait Progress: Send {
    /// A step was done.
    fn step(&mut self, _status: &Status) {}

    /// Of an evaluation so many batches are done.
    fn evaluating(&mut self, _done: usize, _batches: usize) {}

    /// An epoch was done and, where it was due, evaluated.
    fn epoch(&mut self, _record: &Record, _epochs: u64) {}

    /// Something worth a line.
    fn message(&mut self, _text: &str) {}

    /// Nothing more will come.
    fn finish(&mut self) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// A line an epoch on standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Progress for Plain {
    fn epoch(&mut self, record: &Record, epochs: u64) {
        write_line(&epoch_line(record, epochs));
    }

    fn message(&mut self, text: &str) {
        write_line(text);
    }
}

/// A bar on standard error, with images a second, the time left, loss and accuracy, and a line an epoch above it.
#[derive(Debug)]
pub struct Terminal {
    bar: ProgressBar,
    evaluation: Option<ProgressBar>,
    last: Option<Instant>,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { bar: bar("{bar:30} {pos}/{len} {msg} | ETA {eta}"), evaluation: None, last: None }
    }
}

/// A bar that does not move from step to step would only cost time.
const REDRAW: Duration = Duration::from_millis(100);

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Progress for Terminal {
    fn step(&mut self, s: &Status) {
        self.end_evaluation();
        if s.step < s.steps && self.last.is_some_and(|last| last.elapsed() < REDRAW) {
            return;
        }
        if self.last.replace(Instant::now()).is_none() {
            // A resumed run has steps behind it that took no time now.
            self.bar.set_length(s.steps);
            self.bar.set_position(s.step);
            self.bar.reset_eta();
        }
        self.bar.set_position(s.step);
        self.bar.set_message(format!(
            "epoch {}/{} | {:.0} images/s | loss {} | top-1 {} | lr {:.2e}",
            s.epoch,
            s.epochs,
            s.images_per_second,
            s.loss.map_or_else(|| "-".into(), |l| format!("{l:.4}")),
            s.top1.map_or_else(|| "-".into(), |t| format!("{t:.2} %")),
            s.lr
        ));
    }

    fn evaluating(&mut self, done: usize, batches: usize) {
        let bar = self.evaluation.get_or_insert_with(|| bar("{bar:30} {pos}/{len} evaluating | ETA {eta}"));
        bar.set_length(batches as u64);
        bar.set_position(done as u64);
        if done == batches {
            self.end_evaluation();
        }
    }

    fn epoch(&mut self, record: &Record, epochs: u64) {
        self.bar.suspend(|| write_line(&epoch_line(record, epochs)));
    }

    fn message(&mut self, text: &str) {
        self.bar.suspend(|| write_line(text));
    }

    fn finish(&mut self) {
        self.end_evaluation();
        self.bar.finish_and_clear();
    }
}

impl Terminal {
    fn end_evaluation(&mut self) {
        if let Some(bar) = self.evaluation.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar where standard error is a terminal, a line an epoch elsewhere.
pub fn progress_for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Terminal::default()) } else { Box::new(Plain) }
}

/// A line on standard error. That nobody can read it is no reason to end a training.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn epoch_line(r: &Record, epochs: u64) -> String {
    let number = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
    let mut line = format!(
        "epoch {}/{epochs}: train loss {}, top-1 {} %",
        r.epoch,
        number(r.train_loss, 4),
        number(r.train_top1, 2)
    );
    if r.test_top1.is_some() {
        line += &format!("; test loss {}, top-1 {} %", number(r.test_loss, 4), number(r.test_top1, 2));
    }
    line + &format!("; {:.0} images/s, {:.0} s", r.images_per_second, r.seconds)
}
