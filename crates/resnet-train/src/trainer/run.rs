//! The training loop.

mod epoch;
mod files;

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::Var;
use resnet_models::Preprocessing;

use super::checkpoint::{Best, Counters, Saved};
use super::data_fingerprint::{self, DataFingerprint};
use super::log::Log;
use super::lr_scheduler::LrScheduler;
use super::meter::Meter;
use super::preprocessing::preprocessing;
use super::progress::Progress;
use super::run_dir::{RunConfig, RunDir, RunGuard};
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
    rate: LrScheduler,
    meter: Meter,
    counters: Counters,
    steps: u64,
    epochs: u64,
    lr: f64,
    steps_now: u64,
    clock: Clock,
    /// What is to be said once the run has begun.
    notices: Vec<String>,
    /// Whether it was said that a batch of one image is passed over.
    said_alone: bool,
    // After the log, which is closed first then.
    guard: RunGuard,
}

/// What is to be said of a run that goes on.
///
/// # Errors
/// When it is to end before the steps that it has done.
fn going_on(
    begun: &RunConfig,
    now: &RunConfig,
    counters: &Counters,
    per_epoch: u64,
    dir: &RunDir,
) -> Result<Vec<String>> {
    let (before, length) = (begun.recipe.length(), now.recipe.length());
    let (step, steps) = (counters.step, length.steps(per_epoch));
    if step > steps {
        let (path, epoch) = (dir.config(), counters.epoch);
        let (key, done) = ("recipe.epochs".to_string(), format!("{before} and has done {epoch} epochs ({step} steps)"));
        return Err(Error::ConfigChanged { path, key, before: done, now: length.to_string() });
    }
    let dir = dir.path().display();
    let mut messages = Vec::new();
    if step == steps && counters.ended_at == steps {
        messages.push(format!("{dir}: the run is complete after {length}; to go on with it, give more epochs"));
    } else {
        messages.push(format!("run directory {dir}: going on at epoch {}, after step {step}", counters.epoch + 1));
    }
    if before != length {
        messages.push(format!(
            "{length} in place of {before}: from here on the learning rate is that of a training of {length}"
        ));
    }
    Ok(messages)
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
    pub(super) fn open(session: &'a Session, options: &'a TrainOptions) -> Result<Self> {
        let recipe = &session.recipe;
        let guard = RunGuard::take(options.out.as_deref(), &session.name(), options.resume)?;
        let dir = guard.dir.clone();
        let config = RunConfig { run: session.info(options), recipe: recipe.clone() };
        let (train, test) = (&**session.train.dataset(), &**session.test.dataset());
        let data = DataFingerprint::of(train, test);

        let saved = guard.resumed.then(|| Saved::read(&dir.state())).transpose()?;
        let mut begun = None;
        if let Some(saved) = &saved {
            let before = saved.counters.data;
            if let Some(difference) = before.and_then(|b| data.difference(&b, [train, test], &dir.images())) {
                return Err(Error::DataChanged { path: dir.path().to_owned(), difference });
            }
            begun = Some(dir.begun_with(&config, before.is_some())?);
        }
        let named = session.named();
        let mut optimizer = Optimizer::new(&named, recipe.optimizer)?;
        let mut ema = recipe.ema.map(|ema| Ema::new(&named, ema)).transpose()?;
        let batches = session.train.batches();
        let counters = match saved {
            Some(saved) => saved.load(recipe.accumulation, &named, &mut optimizer, ema.as_mut())?,
            None => Counters { batches_per_epoch: batches, ..Counters::default() },
        };
        let counters = Counters { data: Some(data), ..counters };
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
        let mut messages = session.notices();
        messages.extend(guard.notice.clone());
        if guard.resumed && ema.is_some() && !counters.ema_statistics {
            messages.push(
                "the checkpoint is of an older version, whose average has the running statistics of its last step: they \
                 are averaged from here on"
                    .into(),
            );
        }
        if let Some(begun) = &begun {
            messages.extend(going_on(begun, &config, &counters, per_epoch, &dir)?);
        }
        dir.write_config(&config, begun)?;
        if !guard.resumed {
            dir.write_split(test)?;
            if let Some(list) = data_fingerprint::list(train, test)? {
                crate::files::write(&dir.images(), list.as_bytes())?;
            }
        }
        let now = Instant::now();
        let mut run = Self {
            log: Log::open(&dir.log(), counters.step, counters.ended_at)?,
            rate: LrScheduler::new(recipe, per_epoch, counters.hold, counters.plateau)?,
            meter: Meter::new(&session.device).going_on(counters.epoch_sums, counters.interval_sums),
            trainable: optimizer.parameters(),
            clock: Clock { began: now, before: counters.seconds, epoch_began: now, epoch_images: 0 },
            lr: 0.0,
            steps_now: 0,
            notices: Vec::new(),
            said_alone: false,
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
            guard,
        };
        if run.guard.resumed {
            // A crash may have come between the two files.
            run.publish(&run.dir.last())?;
        } else {
            // A run that is killed in its first epoch can be resumed as well.
            run.save()?;
            let (dir, epochs) = (run.dir.path().display(), run.epochs);
            messages.push(format!("run directory {dir}: {epochs} epochs of {per_epoch} steps"));
        }
        run.notices = messages;
        Ok(run)
    }

    /// Says what is to be said at the beginning, once: a run that is refused before says nothing but why.
    fn announce(&mut self, progress: &mut dyn Progress) {
        std::mem::take(&mut self.notices).iter().for_each(|notice| progress.message(notice));
    }

    /// Trains until the end or until stopped. A run that fails before its first step leaves no files.
    pub(super) fn go(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let result = self.train_epochs(progress);
        // A run that was stopped can be resumed, and that one diverged at its first step is worth knowing.
        if result.as_ref().map_or_else(Error::is_divergence, |_| true) {
            self.guard.keep();
        }
        result
    }

    fn train_epochs(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let mut evaluation = None;
        if self.counters.step >= self.steps {
            self.announce(progress);
        }
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
