//! The run: two phases, evaluation after every epoch, the best weights, the report.

mod epoch;
mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use resnet_data::{Augment, Dataset, Loader, LoaderConfig, Normalize, OnBroken, Transform};
use resnet_models::{Network, Parameters, Preprocessing};
use resnet_ops::{Backend, Graph};

use super::state::Place;
use super::{FinetuneConfig, page, steps};
use crate::metrics::Evaluation;
use crate::optimizer::{Sgd, SgdConfig};
use crate::trainer::{DataFingerprint, Progress, Record, RunDir, RunGuard, evaluate};
use crate::{Error, Result, with_large_stack};

/// Gradients longer than this are shortened.
const CLIP_NORM: f64 = 1.0;

/// What is to be learned, from what.
pub struct Task<'a> {
    /// The network, with a head for the data set's classes.
    pub network: &'a Network,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// Where its weights came from, for the report.
    pub pretrained: &'a str,
    /// The pictures that it takes.
    pub preprocessing: Preprocessing,
    /// Images to learn from.
    pub train: Arc<dyn Dataset>,
    /// Images held back.
    pub test: Arc<dyn Dataset>,
    /// What the images are called: `folder:DIR`.
    pub dataset: &'a str,
    /// Where the work is done.
    pub device: &'a Device,
    /// Threads that read images.
    pub workers: usize,
    /// The run directory; `runs/ARCH-finetuned` with a number where none is given.
    pub out: Option<&'a Path>,
    /// What an image that cannot be read does.
    pub on_broken: OnBroken,
    /// Goes on with the run in the directory, after the last step that was saved.
    pub resume: bool,
    /// Once true, the step under way is finished, the state written, and training ends.
    pub stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Finetuned {
    /// The run directory, with `best.safetensors`, `report.html`, `log.jsonl` and `config.toml`.
    pub dir: PathBuf,
    /// The best weights on the held-back images; none when it was stopped.
    pub evaluation: Option<Evaluation>,
    /// The epoch that they are of, counted from 1; 0 before the first one's end.
    pub best_epoch: u64,
    /// Epochs done.
    pub epochs: u64,
    /// Seconds in all.
    pub seconds: f64,
    /// Images that could not be read, and what is wrong with each.
    pub broken: Vec<String>,
    /// True where it was stopped before its end.
    pub stopped: bool,
}

/// Fine-tunes a network and writes its run directory.
///
/// # Errors
/// When the directory holds a run already, a file cannot be written, the images do not fit, or the loss is not finite.
/// A new run that fails before its first step leaves no files.
pub fn finetune(task: &Task, config: &FinetuneConfig, progress: &mut dyn Progress) -> Result<Finetuned> {
    config.check()?;
    let result = with_large_stack(|| Run::new(task, config)?.go(progress));
    progress.finish();
    result
}

struct Run<'a> {
    task: &'a Task<'a>,
    config: &'a FinetuneConfig,
    dir: RunDir,
    guard: RunGuard,
    train: Loader,
    test: Loader,
    named: Vec<(String, Var)>,
    class_weights: Vec<f32>,
    /// The same where the loss is taken.
    device_weights: Tensor,
    records: Vec<Record>,
    best: Option<Best>,
    place: Place,
    /// Of a resumed run, until its phase takes them up.
    velocity: Option<BTreeMap<String, Tensor>>,
    /// What is to be said once the run has begun.
    notices: Vec<String>,
    began: Instant,
    /// Seconds of the calls before.
    before: f64,
}

/// The best epoch so far.
struct Best {
    epoch: u64,
    /// With the classes weighted as in training.
    loss: f64,
    values: Vec<Tensor>,
    /// Not known of a resumed run.
    evaluation: Option<Evaluation>,
}

/// One of the two phases.
struct Phase {
    epochs: u64,
    lr: f64,
    /// Turns images into what `part` reads, with parameters that stay as they are.
    fixed: Option<Graph>,
    /// The part that learns.
    part: Graph,
    sgd: Sgd,
}

/// Phases, of which the first trains the head alone.
pub(super) const PHASES: usize = 2;

impl<'a> Run<'a> {
    fn new(task: &'a Task<'a>, config: &'a FinetuneConfig) -> Result<Self> {
        let classes = task.train.classes().len();
        if classes < 2 || task.network.config().classes != classes || task.test.classes() != task.train.classes() {
            let have = task.network.config().classes;
            return Err(Error::Invalid(format!(
                "{}: two classes or more are needed, the same in both parts, and a head for them (it has {have})",
                task.dataset
            )));
        }
        let p = task.preprocessing;
        // Milder crops than for training from nothing: a few images must not lose what they show.
        let (scale, ratio) = ((0.35, 1.0), (0.75, 4.0 / 3.0));
        let crop = Augment::RandomResizedCrop { size: p.size, scale, ratio, filter: p.interpolation.into() };
        let augment = vec![crop, Augment::HorizontalFlip { probability: 0.5 }];
        let loading = LoaderConfig {
            batch_size: config.batch_size,
            shuffle: true,
            seed: config.seed,
            workers: task.workers,
            on_broken: task.on_broken,
            ..LoaderConfig::default()
        };
        let learned = Transform::new(augment, Normalize::channel(p.mean, p.std))?;
        let train = Loader::new(task.train.clone(), learned, loading.clone())?;
        let test = Loader::new(task.test.clone(), p.transform()?, LoaderConfig { shuffle: false, ..loading })?;
        let labels = (0..task.train.len()).map(|index| task.train.label(index));
        let class_weights = steps::class_weights(labels, classes, config.balance);
        let arch = &task.network.config().name;
        let guard = RunGuard::take(task.out, &format!("{arch}-finetuned"), task.resume)?;
        let data = DataFingerprint::of(&*task.train, &*task.test);
        let mut run = Self {
            task,
            config,
            train,
            test,
            named: task.parameters.named(),
            device_weights: steps::weights_on(class_weights.clone(), task.device)?,
            class_weights,
            records: Vec::new(),
            best: None,
            place: Place { data: Some(data), ..Place::default() },
            velocity: None,
            notices: Vec::new(),
            began: Instant::now(),
            before: 0.0,
            dir: guard.dir.clone(),
            guard,
        };
        run.notices = if run.guard.resumed { run.resume(data)? } else { run.begin()? };
        Ok(run)
    }

    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn go(mut self, progress: &mut dyn Progress) -> Result<Finetuned> {
        for number in self.place.phase..PHASES {
            let mut phase = if number == 0 { self.head()? } else { self.all()? };
            if number > self.place.phase {
                self.place = Place { phase: number, done: 0, without_gain: 0, first: self.place.step, ..self.place };
            } else if let Some(velocity) = self.velocity.take().filter(|velocity| !velocity.is_empty()) {
                phase.sgd.load_state(&velocity)?;
            }
            if !self.phase(&mut phase, progress)? {
                return Ok(self.outcome(None));
            }
            // The next phase begins where this one was best.
            if let Some(best) = &self.best {
                steps::restore(&self.named, &best.values)?;
            }
        }
        self.announce(progress);
        let Some(best) = self.best.take() else {
            return Err(Error::Invalid("no epoch was completed: nothing was learned".into()));
        };
        steps::restore(&self.named, &best.values)?;
        let evaluation = match best.evaluation {
            Some(evaluation) => evaluation,
            None => {
                // Stopped at the very end, it is complete all the same.
                let result = evaluate(self.task.network, &self.test, self.task.device, None, progress)?;
                result.ok_or_else(|| Error::Invalid("the evaluation was stopped".into()))?
            }
        };
        let report = page::report(self.task, &self.written(), &self.records, &evaluation, best.epoch, &self.test)?;
        report.write(&self.dir.report())?;
        Ok(self.outcome(Some(evaluation)))
    }

    /// Says what is to be said at the beginning, once: a run that is refused before says nothing but why.
    fn announce(&mut self, progress: &mut dyn Progress) {
        std::mem::take(&mut self.notices).iter().for_each(|notice| progress.message(notice));
    }

    /// What came of it; without an evaluation it was stopped.
    fn outcome(mut self, evaluation: Option<Evaluation>) -> Finetuned {
        // One that was stopped before its first step can be gone on with as well.
        self.guard.keep();
        Finetuned {
            dir: self.dir.path().to_owned(),
            stopped: evaluation.is_none(),
            evaluation,
            best_epoch: self.place.best.map_or(0, |(epoch, _)| epoch),
            epochs: self.place.epochs,
            seconds: self.seconds(),
            broken: self.place.broken.into_values().collect(),
        }
    }

    /// True once the last phase has no epoch left.
    fn is_over(&self) -> bool {
        self.place.phase + 1 == PHASES && self.phase_is_over(self.config.epochs)
    }

    fn phase_is_over(&self, epochs: u64) -> bool {
        self.place.done >= epochs || self.place.without_gain >= self.config.patience
    }

    /// The head on features that stay as they are.
    fn head(&self) -> Result<Phase> {
        let graph = self.task.network.graph();
        let head = self.task.network.config().head();
        let node = graph.nodes().iter().find(|node| node.name == head);
        let Some(features) = node.and_then(|node| node.inputs.first().copied()) else {
            return Err(Error::Invalid(format!("the network has no head called {head}")));
        };
        let own: Vec<_> = self.named.iter().filter(|(name, _)| name.starts_with(head)).cloned().collect();
        Ok(Phase {
            epochs: self.config.head_epochs,
            lr: self.config.head_lr,
            fixed: Some(graph.subgraph_to(features)),
            // Vectors, not maps: candle's own operations take them as they are.
            part: graph.subgraph(features, graph.output())?.with_backend(Backend::Reference),
            sgd: Sgd::new(&own, self.optimizer())?,
        })
    }

    /// All parameters, early stages slowly.
    fn all(&self) -> Result<Phase> {
        let mut sgd = Sgd::new(&self.named, self.optimizer())?;
        sgd.set_lr_scales(|name| steps::share(name, self.task.network, self.config));
        let part = self.task.network.graph().clone();
        Ok(Phase { epochs: self.config.epochs, lr: self.config.lr, fixed: None, part, sgd })
    }

    fn optimizer(&self) -> SgdConfig {
        let weight_decay = self.config.weight_decay;
        SgdConfig { weight_decay, decay_norm_and_bias: false, nesterov: true, ..SgdConfig::default() }
    }

    fn stopped(&self) -> bool {
        self.task.stop.load(Ordering::Relaxed)
    }

    /// Trains to the phase's end; false when stopped before.
    fn phase(&mut self, phase: &mut Phase, progress: &mut dyn Progress) -> Result<bool> {
        while !self.phase_is_over(phase.epochs) {
            // At an epoch's end the state is written already.
            if self.stopped() && self.place.batch == 0 {
                return Ok(false);
            }
            let Some(gained) = self.epoch(phase, progress)? else {
                self.save_state(Some(&phase.sgd))?;
                return Ok(false);
            };
            self.place.without_gain = if gained { 0 } else { self.place.without_gain + 1 };
            self.place.done += 1;
            self.place.epochs += 1;
            self.save_state(Some(&phase.sgd))?;
        }
        Ok(true)
    }
}
