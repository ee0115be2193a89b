//! The training loop.

mod epoch;
mod files;

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::Var;
use resnet_models::Preprocessing;

use super::checkpoint::{self, Best, Counters};
use super::log::Log;
use super::meter::Meter;
use super::pictures::preprocessing;
use super::progress::Progress;
use super::rate::Rate;
use super::run_dir::{RunConfig, RunDir, Unbegun};
use super::session::{Session, TrainOptions};
use crate::metrics::Evaluation;
use crate::optimizer::{Ema, Optimizer};
use crate::{Error, Result};
use epoch::Interrupted;

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The recipe's length is done.
    Finished,
    /// It was stopped; it can be resumed.
    Stopped,
}

/// What a training came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The run directory.
    pub dir: RunDir,
    /// Epochs completed.
    pub epochs: u64,
    /// Optimizer steps done.
    pub steps: u64,
    /// The evaluation after the last step; none when it was stopped.
    pub evaluation: Option<Evaluation>,
    /// The best evaluation of all.
    pub best: Option<Best>,
    /// Seconds of training in all.
    pub seconds: f64,
    /// Images that could not be read and were left out, and what is wrong with each.
    pub broken: Vec<String>,
}

/// A training under way.
pub(super) struct Run<'a> {
    session: &'a Session,
    options: &'a TrainOptions,
    config: RunConfig,
    pictures: Option<Preprocessing>,
    dir: RunDir,
    log: Log,
    named: Vec<(String, Var)>,
    trainable: Vec<(String, Var)>,
    optimizer: Optimizer,
    ema: Option<Ema>,
    rate: Rate,
    meter: Meter,
    counters: Counters,
    steps: u64,
    epochs: u64,
    lr: f64,
    steps_now: u64,
    clock: Clock,
    // After the log, which is closed first then.
    unbegun: Unbegun,
}

/// Times of this call.
struct Clock {
    began: Instant,
    /// Seconds of the calls before.
    before: f64,
    epoch_began: Instant,
    epoch_images: usize,
}

impl Clock {
    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn images_per_second(&self) -> f64 {
        self.epoch_images as f64 / self.epoch_began.elapsed().as_secs_f64().max(1e-9)
    }
}

impl<'a> Run<'a> {
    /// Makes the directory or reads its checkpoint.
    pub(super) fn open(session: &'a Session, options: &'a TrainOptions, progress: &mut dyn Progress) -> Result<Self> {
        let recipe = &session.recipe;
        let (out, name) = (options.out.as_deref(), session.name());
        let dir = if options.resume { RunDir::resume(out, &name)? } else { RunDir::create(out, &name)? };
        let unbegun = Unbegun::new(&dir, options.resume);
        let config = RunConfig { run: session.info(options), recipe: recipe.clone() };
        dir.write_config(&config, options.resume)?;
        if !options.resume {
            dir.write_split(&**session.test.dataset())?;
        }

        let named = session.named();
        let mut optimizer = Optimizer::new(&named, recipe.optimizer)?;
        let mut ema = recipe.ema.map(|ema| Ema::new(&named, ema)).transpose()?;
        let batches = session.train.batches();
        let counters = if options.resume {
            checkpoint::load(&dir.state(), &named, &mut optimizer, ema.as_mut())?
        } else {
            Counters { batches_per_epoch: batches, ..Counters::default() }
        };
        if options.resume && ema.is_some() && !counters.ema_statistics {
            progress.message(
                "the checkpoint is of an older version, whose average has the running statistics of its last step: they \
                 are averaged from here on",
            );
        }
        if counters.batches_per_epoch != batches {
            return Err(Error::Checkpoint {
                path: dir.state(),
                message: format!(
                    "it was made with {} batches an epoch, now there are {batches}",
                    counters.batches_per_epoch
                ),
            });
        }
        let per_epoch = batches.div_ceil(recipe.accumulation) as u64;
        let steps = recipe.length().steps(per_epoch);
        let now = Instant::now();
        let mut run = Self {
            log: Log::open(&dir.log(), counters.step, counters.ended_at)?,
            rate: Rate::new(recipe, per_epoch, counters.hold, counters.plateau)?,
            meter: Meter::new(&session.device).going_on(counters.epoch_sums, counters.interval_sums),
            trainable: optimizer.parameters(),
            clock: Clock { began: now, before: counters.seconds, epoch_began: now, epoch_images: 0 },
            lr: 0.0,
            steps_now: 0,
            epochs: steps.div_ceil(per_epoch),
            session,
            options,
            config,
            pictures: preprocessing(recipe, &**session.test.dataset()),
            dir,
            named,
            optimizer,
            ema,
            counters,
            steps,
            unbegun,
        };
        if options.resume {
            let (epoch, step) = (run.counters.epoch + 1, run.counters.step);
            progress.message(&format!("going on in {} at epoch {epoch}, after step {step}", run.dir.path().display()));
            // A crash may have come between the two files.
            run.publish(&run.dir.last())?;
        } else {
            // A run that is killed in its first epoch can be resumed as well.
            run.save()?;
        }
        Ok(run)
    }

    /// Trains until the end or until stopped. A run that fails before it has learned from anything leaves no files.
    pub(super) fn go(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let result = self.train_epochs(progress);
        // A run that was stopped can be resumed, and that one diverged at its first step is worth knowing.
        if result.as_ref().map_or_else(Error::is_divergence, |_| true) {
            self.unbegun.keep();
        }
        result
    }

    fn train_epochs(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let mut evaluation = None;
        while self.counters.step < self.steps || self.counters.ended_at < self.steps {
            let complete = self.train_epoch(progress)?;
            if !complete {
                self.save()?;
                return self.outcome(End::Stopped, None);
            }
            match self.end_epoch(progress)? {
                Ok(result) => evaluation = result,
                // Stopped while evaluating: the epoch is trained, its end comes when the run is resumed.
                Err(Interrupted) => {
                    self.save()?;
                    return self.outcome(End::Stopped, None);
                }
            }
            if self.stopped() && self.counters.step < self.steps {
                return self.outcome(End::Stopped, None);
            }
        }
        if evaluation.is_none() {
            // A run that was complete already.
            let Some(result) = self.evaluate(progress)? else { return self.outcome(End::Stopped, None) };
            self.write_report(Some(&result))?;
            evaluation = Some(result);
        }
        self.outcome(End::Finished, evaluation)
    }

    fn stopped(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed) || self.options.max_steps.is_some_and(|max| self.steps_now >= max)
    }

    fn outcome(&self, end: End, evaluation: Option<Evaluation>) -> Result<Outcome> {
        Ok(Outcome {
            end,
            dir: self.dir.clone(),
            epochs: self.counters.epoch,
            steps: self.counters.step,
            evaluation,
            best: self.counters.best,
            seconds: self.clock.seconds(),
            broken: self.counters.broken.values().cloned().collect(),
        })
    }
}
