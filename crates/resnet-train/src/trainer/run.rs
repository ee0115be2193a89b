//! The training loop.

mod epoch;
mod files;

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::{Tensor, Var};
use resnet_models::Preprocessing;

use super::checkpoint::{Best, Counters, Saved};
use super::data_fingerprint::{self, DataFingerprint};
use super::log::Log;
use super::lr_scheduler::HoldState;
use super::meter::Meter;
use super::phase::ActivePhase;
use super::preprocessing::preprocessing;
use super::progress::Progress;
use super::run_dir::{RunConfig, RunDir, RunGuard};
use super::session::{Session, TrainOptions};
use crate::metrics::Evaluation;
use crate::optimizer::Ema;
use crate::recipe::{Length, Phase};
use crate::schedule::PlateauState;
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
    phases: Vec<(Phase, Length)>,
    phase: ActivePhase,
    ema: Option<Ema>,
    /// The weights of the best epoch, where a phase ends with them, and their evaluation, which a resumed run does not know.
    best: Option<Vec<(String, Tensor)>>,
    best_evaluation: Option<Evaluation>,
    meter: Meter,
    counters: Counters,
    /// Steps of an epoch, and steps and epochs of all phases, at most.
    steps_per_epoch: u64,
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
    let phases = now.recipe.phases();
    let steps = phases.get(counters.phase).map_or(0, |(_, length)| length.steps(per_epoch));
    let (step, in_phase) = (counters.step, counters.step - counters.phase_begin);
    if in_phase > steps {
        let (path, epoch) = (dir.config(), counters.epoch);
        let key = match now.recipe.phases.len() {
            0 => "recipe.epochs".to_string(),
            _ => format!("recipe.phases[{}].epochs", counters.phase),
        };
        let (key, done) = (key, format!("{before} and has done {epoch} epochs ({step} steps)"));
        return Err(Error::ConfigChanged { path, key, before: done, now: length.to_string() });
    }
    let dir = dir.path().display();
    let mut messages = Vec::new();
    let ended_early = now.recipe.patience.is_some_and(|patience| counters.without_gain >= patience);
    if counters.ended_at == step && counters.phase + 1 == phases.len() && (in_phase == steps || ended_early) {
        let done = if ended_early { Length::Epochs(counters.epoch) } else { length };
        messages.push(format!("{dir}: the run is complete after {done}; to go on with it, give more epochs"));
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
        let batches = session.train.batches();
        let steps_per_epoch = batches.div_ceil(recipe.accumulation) as u64;
        let phases = recipe.phases();
        let number = saved.as_ref().map_or(0, |saved| saved.counters.phase);
        let Some(first) = phases.get(number) else {
            let message = format!("it is in phase {}, and the recipe has {}", number + 1, phases.len());
            return Err(Error::Checkpoint { path: dir.state(), message });
        };
        let mut phase = ActivePhase::new(recipe, *first, &session.network, &named, steps_per_epoch)?;
        let mut ema = recipe.ema.map(|ema| Ema::new(&named, ema)).transpose()?;
        let (counters, best) = match saved {
            Some(saved) => saved.load(recipe.accumulation, &named, &mut phase.optimizer, ema.as_mut())?,
            None => (Counters { batches_per_epoch: batches, ..Counters::default() }, None),
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
        (phase.rate.state, phase.rate.plateau) = (counters.hold, counters.plateau);
        let steps = phases.iter().map(|(_, length)| length.steps(steps_per_epoch)).sum::<u64>();
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
            messages.extend(going_on(begun, &config, &counters, steps_per_epoch, &dir)?);
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
            meter: Meter::new(&session.device).going_on(counters.epoch_sums, counters.interval_sums),
            clock: Clock { began: now, before: counters.seconds, epoch_began: now, epoch_images: 0 },
            lr: 0.0,
            steps_now: 0,
            notices: Vec::new(),
            said_alone: false,
            epochs: steps.div_ceil(steps_per_epoch),
            steps_per_epoch,
            session,
            options,
            config,
            pictures: session.pictures.or_else(|| preprocessing(recipe, &**session.test.dataset())),
            dir,
            named,
            phases,
            phase,
            ema,
            best,
            best_evaluation: None,
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
            messages.push(format!("run directory {dir}: {epochs} epochs of {steps_per_epoch} steps"));
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
        loop {
            if self.phase_is_over() {
                if !self.next_phase()? {
                    break;
                }
                continue;
            }
            if !self.train_epoch(progress)? {
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
            if self.stopped() && !(self.phase_is_over() && self.in_last_phase()) {
                return self.outcome(End::Stopped, None);
            }
        }
        self.announce(progress);
        if self.session.recipe.restore_best {
            self.restore_best()?;
            evaluation = self.best_evaluation.take();
        }
        let result = match evaluation {
            Some(result) => result,
            // A run that was complete already.
            None => match self.evaluate(progress)? {
                Some(result) => result,
                None => return self.outcome(End::Stopped, None),
            },
        };
        self.write_report(Some(&result), true)?;
        self.outcome(End::Finished, Some(result))
    }

    /// Steps of the phase that are done.
    fn steps_in_phase(&self) -> u64 {
        self.counters.step - self.counters.phase_begin
    }

    /// Whether the phase under way has no step left.
    fn is_trained(&self) -> bool {
        self.steps_in_phase() >= self.phase.steps
    }

    /// Whether the phase under way has no step left and its last epoch was ended, or it ends early.
    fn phase_is_over(&self) -> bool {
        let waited = self.counters.without_gain;
        let ended = self.counters.ended_at == self.counters.step;
        ended && (self.is_trained() || self.session.recipe.patience.is_some_and(|patience| waited >= patience))
    }

    fn in_last_phase(&self) -> bool {
        self.counters.phase + 1 == self.phases.len()
    }

    /// Begins the next phase; false where there is none.
    fn next_phase(&mut self) -> Result<bool> {
        if self.in_last_phase() {
            return Ok(false);
        }
        let session = self.session;
        if session.recipe.restore_best {
            self.restore_best()?;
            self.ema = session.recipe.ema.map(|ema| Ema::new(&self.named, ema)).transpose()?;
        }
        let number = self.counters.phase + 1;
        (self.counters.phase, self.counters.phase_begin, self.counters.without_gain) = (number, self.counters.step, 0);
        (self.counters.hold, self.counters.plateau) = (HoldState::default(), PlateauState::default());
        let next = self.phases[number];
        self.phase = ActivePhase::new(&session.recipe, next, &session.network, &self.named, self.steps_per_epoch)?;
        Ok(true)
    }

    /// Gives the network the weights of the best epoch, if there was one.
    fn restore_best(&mut self) -> Result<()> {
        // An average of the last epochs' weights would be evaluated in their place.
        if let Some(best) = &self.best {
            self.ema = None;
            for ((_, var), (_, value)) in self.named.iter().zip(best) {
                var.set(&value.to_dtype(var.dtype())?.to_device(var.device())?)?;
            }
        }
        Ok(())
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
