//! The recipe `finetune` through the trainer: head first, then everything, from pretrained weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use resnet_data::{Dataset, Image, InMemory, OnBroken};
use resnet_models::{Fit, Interpolation, Parameters, Preprocessing, create, from_pretrained};
use resnet_train::recipe::{ClassWeights, Recipe};
use resnet_train::trainer::{
    End, Loading, Outcome, Pretrained, Progress, Record, RunConfig, Session, Silent, TrainOptions,
};
use resnet_train::{Error, Result};

const PICTURES: Preprocessing = Preprocessing {
    size: 32,
    crop: 1.0,
    fit: Fit::Crop,
    interpolation: Interpolation::Bilinear,
    mean: [0.485; 3],
    std: [0.25; 3],
};

/// Dark and bright images, three dark ones to a bright one.
fn two_classes(count: usize) -> Arc<InMemory> {
    let labels: Vec<u32> = (0..count).map(|i| u32::from(i % 4 == 0)).collect();
    let pixels = labels.iter().enumerate().flat_map(|(i, &label)| {
        (0..32 * 32 * 3).map(move |j| (i * 31 + j * 17) as u8 % 60 + if label == 1 { 180 } else { 10 })
    });
    let classes = vec!["dark".to_string(), "bright".to_string()];
    Arc::new(InMemory::new("two", (32, 32), pixels.collect(), labels, classes).unwrap())
}

/// A fine-tuning, and its parameters.
struct Task {
    session: Session,
    parameters: Parameters,
    options: TrainOptions,
}

impl Task {
    fn new(recipe: &Recipe, train: Arc<dyn Dataset>, test: usize, out: &Path) -> Self {
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
        let pretrained =
            Pretrained { network, parameters: parameters.clone(), name: "nothing".into(), preprocessing: PICTURES };
        let loading = Loading { on_broken: OnBroken::Skip, ..Loading::default() };
        let recipe = Recipe { dataset: "two".into(), ..recipe.clone() };
        let session = Session::pretrained(recipe, pretrained, train, two_classes(test), &Device::Cpu, loading).unwrap();
        let options = TrainOptions { out: Some(out.to_owned()), ..TrainOptions::default() };
        Self { session, parameters, options }
    }

    fn train(&self, progress: &mut dyn Progress) -> Result<Outcome> {
        self.session.train(&self.options, progress)
    }
}

/// The recipe with so many epochs of the head and of all, eight images a step.
fn recipe(head_epochs: u64, epochs: u64) -> Recipe {
    let mut recipe = Recipe { batch_size: 8, ..Recipe::load("finetune").unwrap() };
    (recipe.phases[0].epochs, recipe.phases[1].epochs) = (head_epochs, epochs);
    recipe
}

#[test]
fn two_easy_classes_are_learned_and_the_file_knows_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let task = Task::new(&recipe(3, 2), two_classes(40), 16, &out);
    let statistics = || task.parameters.get("bn1.running_mean").unwrap().to_vec1::<f32>().unwrap();
    let before = statistics();
    let outcome = task.train(&mut Silent).unwrap();
    assert_eq!(statistics(), before, "norms keep their statistics");
    assert_eq!((outcome.evaluation.unwrap().correct, outcome.broken.len()), (16, 0));
    assert!(outcome.epochs <= 5 && outcome.best.unwrap().epoch <= outcome.epochs);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Confusion matrix", "Where the network looked", "fine-tuned from nothing"] {
        assert!(report.contains(part), "{part}");
    }
    let loaded = from_pretrained(&out.join("best.safetensors").display().to_string()).unwrap();
    assert_eq!(loaded.classes.unwrap(), ["dark", "bright"]);
    assert_eq!(loaded.preprocessing, Some(PICTURES));
    assert_eq!(std::fs::read_to_string(out.join("log.jsonl")).unwrap().lines().count() as u64, outcome.epochs);
    let again = task.train(&mut Silent).err().unwrap().to_string();
    assert!(again.contains("run"), "{again}");
}

#[test]
fn classes_count_alike() {
    let labels = || [0, 0, 0, 1].into_iter();
    assert_eq!(ClassWeights::Balanced.of(labels(), 2), Some(vec![2.0 / 3.0, 2.0]));
    assert_eq!(ClassWeights::None.of(labels(), 2), None);
}

/// Three of four images are dark. To say "dark" with 75 % has the lower loss, to say it with 50 % the lower one where both
/// classes count alike.
#[test]
fn the_best_epoch_is_chosen_with_the_balance_of_training() {
    /// Gives the head a bias for dark images after each epoch: with all else 0 it decides the next evaluation.
    struct Bias(Var);
    impl Bias {
        fn set(&self, value: f32) {
            self.0.set(&Tensor::new(&[value, 0.0], &Device::Cpu).unwrap()).unwrap();
        }
    }
    impl Progress for Bias {
        fn epoch(&mut self, record: &Record, _: u64) {
            self.set(if record.epoch == 1 { 0.0 } else { 3f32.ln() });
        }
    }
    let best = |class_weights: ClassWeights| {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = recipe(3, 0);
        recipe.phases[0].lr = Some(1e-12);
        recipe.loss.class_weights = class_weights;
        let task = Task::new(&recipe, two_classes(8), 8, &folder.path().join("run"));
        let weight = task.parameters.get("fc.weight").unwrap();
        let mut bias = Bias(task.parameters.get("fc.bias").unwrap().clone());
        weight.set(&weight.zeros_like().unwrap()).unwrap();
        bias.set(-3.0);
        task.train(&mut bias).unwrap().best.unwrap().epoch
    };
    assert_eq!((best(ClassWeights::Balanced), best(ClassWeights::None)), (2, 3));
}

/// `finetune` had a state and a configuration of its own before it was a recipe.
#[test]
fn a_fine_tuning_of_an_earlier_version_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut task = Task::new(&recipe(1, 0), two_classes(8), 8, &out);
    task.options.max_steps = Some(1);
    task.train(&mut Silent).unwrap();
    let (state, config) = (out.join("state.safetensors"), out.join("config.toml"));
    let metadata = [("finetuning".to_string(), "{}".to_string())].into();
    resnet_models::weights::save(
        &state,
        &[("weights/a".to_string(), Tensor::new(1f32, &Device::Cpu).unwrap())],
        &metadata,
    )
    .unwrap();
    task.options.resume = true;
    std::fs::write(&config, "arch = \"resnet20\"\n\n[finetune]\nepochs = 2\n").unwrap();
    for (message, file) in [
        (task.train(&mut Silent).unwrap_err().to_string(), "state.safetensors"),
        (RunConfig::read(&config).unwrap_err().to_string(), "config.toml"),
    ] {
        assert!(message.contains(file) && message.contains("begin another run"), "{message}");
        assert!(message.contains("best.safetensors is of use"), "{message}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let with = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(1, 1);
        change(&mut recipe);
        recipe.check().unwrap_err().to_string()
    };
    for (message, key) in [
        (with(|r| r.schedule.set_lr(-1.0)), "lr"),
        (with(|r| r.phases[0].lr = Some(-1.0)), "phases[0].lr"),
        (with(|r| r.phases[1].stage_decay = 0.0), "phases[1].stage_decay"),
        (with(|r| r.patience = Some(0)), "patience"),
        (with(|r| r.phases.iter_mut().for_each(|phase| phase.epochs = 0)), "epochs"),
        (with(|r| r.epochs = Some(3)), "phases"),
    ] {
        assert!(message.contains(key), "{message}");
    }
}

/// A run cut after any step, in either phase or between them, ends with the bits of one that was not; so it does with an
/// average of weights, mixed images, bf16 and AdamW.
#[test]
fn a_run_in_parts_is_bit_for_bit_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Recipe { patience: Some(9), ..recipe(2, 2) };
    let more = "ema = { decay = 0.9 }\nmix = { mixup = 0.2 }\noptimizer = { kind = 'adamw' }\ndtype = 'bf16'";
    let more: toml::Table = more.parse().unwrap();
    let mut rich: toml::Table = plain.to_toml().unwrap().parse().unwrap();
    rich.extend(more);
    let rich = Recipe::parse(&toml::to_string(&rich).unwrap(), "rich").unwrap();
    for (name, recipe) in [("plain", plain), ("rich", rich)] {
        let run = |out: &Path, resume: bool, steps: Option<u64>, recipe: &Recipe| {
            // Fresh weights each time, as a new process reads them.
            let mut task = Task::new(recipe, two_classes(24), 8, out);
            (task.options.resume, task.options.max_steps) = (resume, steps);
            task.train(&mut Silent)
        };
        let dirs: [PathBuf; 3] = ["whole", "parts", "none"].map(|part| folder.path().join(format!("{name}-{part}")));
        let [whole, parts, none] = &dirs;
        let one = run(whole, false, None, &recipe).unwrap();
        assert_eq!((one.epochs, one.steps, one.end), (4, 12, End::Finished), "{name}");
        let mut part = run(parts, false, Some(1), &recipe).unwrap();
        let mut calls = 1;
        while part.end == End::Stopped {
            part = run(parts, true, Some(1 + calls % 3), &recipe).unwrap();
            calls += 1;
            assert!(calls < 30, "{name}");
        }
        assert!(calls > 5, "{name}");
        for file in ["best.safetensors", "last.safetensors", "config.toml"] {
            assert!(
                std::fs::read(whole.join(file)).unwrap() == std::fs::read(parts.join(file)).unwrap(),
                "{name} {file}"
            );
        }
        let again = run(parts, true, None, &recipe).unwrap();
        let loss = |result: &Outcome| result.evaluation.as_ref().unwrap().loss;
        assert_eq!((again.epochs, again.best, loss(&again)), (4, one.best, loss(&one)), "{name}");
        let mut other = recipe.clone();
        other.schedule.set_lr(0.1);
        let message = run(parts, true, None, &other).unwrap_err().to_string();
        assert!(message.contains("recipe.schedule.lr") && message.contains("config.toml"), "{message}");
        // Where there is no checkpoint yet, it begins at its start.
        assert_eq!(loss(&run(none, true, None, &recipe).unwrap()), loss(&one), "{name}");
    }
}

/// The second phase begins where the first was best, and each ends early.
#[test]
fn patience_ends_a_phase_and_the_best_weights_are_kept() {
    /// Spoils the head from the second epoch on: the first stays the best.
    struct Spoil(Var);
    impl Progress for Spoil {
        fn epoch(&mut self, _: &Record, _: u64) {
            self.0.set(&Tensor::new(&[50f32, -50.0], &Device::Cpu).unwrap()).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut recipe = Recipe { patience: Some(2), ..recipe(9, 9) };
    recipe.phases.iter_mut().for_each(|phase| phase.lr = Some(1e-9));
    let task = Task::new(&recipe, two_classes(8), 8, &out);
    let bias = task.parameters.get("fc.bias").unwrap().clone();
    let before = bias.to_vec1::<f32>().unwrap();
    let outcome = task.train(&mut Spoil(bias.clone())).unwrap();
    let best = outcome.best.unwrap().epoch;
    assert!(best <= 4 && outcome.epochs < 18, "{outcome:?}");
    let after = bias.to_vec1::<f32>().unwrap();
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4), "{before:?} {after:?}");
}

/// No image of it can be read.
struct Unreadable(Arc<InMemory>);

impl Dataset for Unreadable {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }
    fn image(&self, index: usize) -> resnet_data::Result<Image> {
        Err(resnet_data::Error::Decode { path: self.origin(index), message: "no image".into() })
    }
}

#[test]
fn a_run_that_trains_on_nothing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let recipe = recipe(1, 0);
    let unreadable = Task::new(&recipe, Arc::new(Unreadable(two_classes(8))), 8, &out);
    let message = unreadable.train(&mut Silent).unwrap_err().to_string();
    assert!(message.contains("no image of the epoch could be read"), "{message}");
    assert!(!out.exists());
    // Once the images can be read, the same directory is free for the same command.
    assert!(Task::new(&recipe, two_classes(8), 8, &out).train(&mut Silent).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_names_its_step() {
    /// Spoils a weight after the first epoch.
    struct Spoil(Var);
    impl Progress for Spoil {
        fn epoch(&mut self, _: &Record, _: u64) {
            self.0.set(&(self.0.as_tensor() * f64::NAN).unwrap()).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let task = Task::new(&recipe(2, 0), two_classes(24), 8, &folder.path().join("run"));
    let bias = task.parameters.get("fc.bias").unwrap().clone();
    let error = task.train(&mut Spoil(bias)).unwrap_err();
    assert!(matches!(error, Error::LossNotFinite { epoch: 2, step: 4, .. }), "{error}");
}
