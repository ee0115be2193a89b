use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor, Var};
use resnet_data::{Dataset, Image, InMemory, OnBroken};
use resnet_models::{Fit, Interpolation, Network, Parameters, Preprocessing, create, from_pretrained};

use super::*;
#[path = "../../../resnet-models/tests/rule/mod.rs"]
#[allow(dead_code, reason = "shared with other crates' tests")]
mod rule;

use crate::trainer::{Progress, Record, Silent};

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

/// So many images to learn from, and held back.
fn two_class_task<'a>(
    network: &'a Network,
    parameters: &'a Parameters,
    (train, test): (usize, usize),
    out: &'a Path,
) -> Task<'a> {
    Task {
        network,
        parameters,
        pretrained: "nothing",
        preprocessing: PICTURES,
        train: two_classes(train),
        test: two_classes(test),
        dataset: "two",
        device: &Device::Cpu,
        workers: 1,
        out: Some(out),
        on_broken: OnBroken::Skip,
        resume: false,
        stop: Arc::new(AtomicBool::new(false)),
    }
}

#[test]
fn two_easy_classes_are_learned_and_the_file_knows_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
    let task = two_class_task(&network, &parameters, (40, 16), &out);
    let config = FinetuneConfig { head_epochs: 3, epochs: 2, batch_size: 8, ..FinetuneConfig::default() };
    let statistics = |parameters: &Parameters| parameters.get("bn1.running_mean").unwrap().to_vec1::<f32>().unwrap();
    let before = statistics(&parameters);
    let result = finetune(&task, &config, &mut Silent).unwrap();
    assert_eq!(statistics(&parameters), before, "norms keep their statistics");
    assert_eq!((result.evaluation.unwrap().correct, result.broken.len()), (16, 0));
    assert!(result.epochs <= 5 && result.best_epoch <= result.epochs);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Confusion matrix", "Where the network looked", "fine-tuned from nothing"] {
        assert!(report.contains(part), "{part}");
    }
    let loaded = from_pretrained(&out.join("best.safetensors").display().to_string()).unwrap();
    assert_eq!(loaded.classes.unwrap(), ["dark", "bright"]);
    assert_eq!(loaded.preprocessing, Some(PICTURES));
    assert_eq!(std::fs::read_to_string(out.join("log.jsonl")).unwrap().lines().count() as u64, result.epochs);
    let again = finetune(&task, &config, &mut Silent).err().unwrap().to_string();
    assert!(again.contains("run"), "{again}");
}

#[test]
fn classes_count_alike_and_early_stages_learn_slowly() {
    let weights = steps::class_weights([0, 0, 0, 1].into_iter(), 2, true);
    assert_eq!(weights, [2.0 / 3.0, 2.0]);
    assert_eq!(steps::class_weights([0, 0, 0, 1].into_iter(), 2, false), [1.0, 1.0]);
    let network = create("resnet20", Parameters::new(0, DType::F32, &Device::Cpu).builder(), None).unwrap();
    let share = |name| steps::share(name, &network, &FinetuneConfig::default());
    let shares =
        ["conv1.weight", "layer1.0.bn1.bias", "layer2.0.conv1.weight", "layer3.1.conv2.weight", "fc.bias"].map(share);
    assert_eq!(shares, [0.125, 0.25, 0.5, 1.0, 1.0]);
}

#[test]
fn what_stands_behind_the_last_stage_learns_as_fast_as_the_head() {
    for (arch, names) in [
        ("resnet33ts", ["final_conv.conv.weight", "final_conv.bn.bias", "head.fc.weight"]),
        ("preact_resnet20", ["bn1.weight", "bn1.bias", "fc.weight"]),
        ("resnetv2_18d", ["norm.weight", "norm.bias", "head.fc.weight"]),
    ] {
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let network = create(arch, parameters.builder(), None).unwrap();
        for name in names {
            assert!(parameters.get(name).is_some(), "{arch}: {name}");
            assert_eq!(steps::share(name, &network, &FinetuneConfig::default()), 1.0, "{arch}: {name}");
        }
    }
}

#[test]
fn the_loss_is_pytorchs() {
    // torch.nn.functional.cross_entropy(logits, labels, weight, label_smoothing=0) by hand: weighted mean of -log p.
    let logits = Tensor::new(&[[1f32, 2.0, 0.5], [0.0, 0.0, 3.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 2], &Device::Cpu).unwrap();
    let weights = Tensor::new(&[2f32, 1.0, 0.5], &Device::Cpu).unwrap();
    let value = steps::loss(&logits, &labels, &weights, 0.0).unwrap().to_scalar::<f32>().unwrap();
    let log = |row: [f64; 3], i: usize| row[i] - row.iter().map(|x| x.exp()).sum::<f64>().ln();
    let want = -(2.0 * log([1.0, 2.0, 0.5], 0) + 0.5 * log([0.0, 0.0, 3.0], 2)) / 2.5;
    assert!((f64::from(value) - want).abs() < 1e-5, "{value} {want}");
}

/// `torch.nn.functional.cross_entropy(logits, labels, weight, label_smoothing)`, by tests/golden/training.py.
#[test]
fn smoothing_weighs_classes_as_pytorch_does() {
    #[derive(Deserialize)]
    struct Golden {
        losses: std::collections::BTreeMap<String, Vec<f64>>,
    }
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/training.json")).unwrap();
    let logits = (rule::filled("input", &[7, 11], DType::F32) * 4.0).unwrap();
    let labels = Tensor::new((0..7).map(|i| i * 3 % 11).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
    let weights = Tensor::new((1..=11).map(|i| i as f32 / 4.0).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    for (smoothing, key) in [(0.0, "weighted 0.0"), (0.1, "weighted 0.1")] {
        let logits = Var::from_tensor(&logits).unwrap();
        let loss = steps::loss(&logits, &labels, &weights, smoothing).unwrap();
        let gradient = loss.backward().unwrap().remove(&logits).unwrap();
        let ours =
            [vec![loss.to_scalar::<f32>().unwrap()], gradient.flatten_all().unwrap().to_vec1().unwrap()].concat();
        for (ours, theirs) in ours.iter().zip(&golden.losses[key]) {
            assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{key}: {ours}, not {theirs}");
        }
    }
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
    let best = |balance: bool| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
        let task = two_class_task(&network, &parameters, (8, 8), &out);
        let (weight, bias) = (parameters.get("fc.weight").unwrap(), Bias(parameters.get("fc.bias").unwrap().clone()));
        weight.set(&weight.zeros_like().unwrap()).unwrap();
        bias.set(-3.0);
        let few = FinetuneConfig { head_epochs: 3, epochs: 0, batch_size: 8, ..FinetuneConfig::default() };
        let config = FinetuneConfig { head_lr: 1e-12, balance, ..few };
        let mut progress = bias;
        finetune(&task, &config, &mut progress).unwrap().best_epoch
    };
    assert_eq!((best(true), best(false)), (2, 3));
}

/// A state of before the best epoch was chosen with the classes' weights: its best is measured anew.
#[test]
fn an_older_state_is_gone_on_with_by_the_measure_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let config = FinetuneConfig { head_epochs: 2, epochs: 0, batch_size: 8, ..FinetuneConfig::default() };
    let run = |resume: bool, epochs: u64| {
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task { resume, stop: stop.clone(), ..two_class_task(&network, &parameters, (24, 8), &out) };
        finetune(&task, &config, &mut StopAfter(epochs, stop)).unwrap()
    };
    run(false, 1);
    let state = out.join("state.safetensors");
    let file = resnet_models::weights::load_with(
        &state,
        &resnet_models::weights::LoadOptions { keep_names: true, ..Default::default() },
    )
    .unwrap();
    let tensors: Vec<_> = file.tensors.into_iter().collect();
    let mut metadata = file.metadata;
    let mut place: serde_json::Value = serde_json::from_str(&metadata["finetuning"]).unwrap();
    // As good as nothing by the old measure: nothing would ever be better.
    place["best"][1] = 0.0.into();
    place.as_object_mut().unwrap().remove("weighted").unwrap();
    metadata.insert("finetuning".into(), place.to_string());
    resnet_models::weights::save(&state, &tensors, &metadata).unwrap();
    assert_eq!(run(true, 99).best_epoch, 2);
}

#[test]
fn settings_out_of_range_are_named() {
    for (config, key) in [
        (FinetuneConfig { lr: -1.0, ..FinetuneConfig::default() }, "lr"),
        (FinetuneConfig { stage_decay: 0.0, ..FinetuneConfig::default() }, "stage_decay"),
        (FinetuneConfig { patience: 0, ..FinetuneConfig::default() }, "patience"),
        (FinetuneConfig { head_epochs: 0, epochs: 0, ..FinetuneConfig::default() }, "epochs"),
    ] {
        assert!(config.check().unwrap_err().to_string().contains(key));
    }
}

/// Stops after so many epochs.
struct StopAfter(u64, Arc<AtomicBool>);

impl Progress for StopAfter {
    fn epoch(&mut self, record: &Record, _: u64) {
        if record.epoch >= self.0 {
            self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// A run cut after one epoch, in either phase or between them, ends with the bits of one that was not.
#[test]
fn a_run_in_parts_is_bit_for_bit_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = FinetuneConfig { head_epochs: 2, epochs: 2, batch_size: 8, patience: 9, ..FinetuneConfig::default() };
    let run = |out: &std::path::Path, resume: bool, epochs: u64, config: &FinetuneConfig| {
        // Fresh weights each time, as a new process reads them.
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task { resume, stop: stop.clone(), ..two_class_task(&network, &parameters, (24, 8), out) };
        finetune(&task, config, &mut StopAfter(epochs, stop))
    };
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let one = run(&whole, false, 99, &config).unwrap();
    assert_eq!((one.epochs, one.stopped), (4, false));
    assert!(run(&parts, false, 1, &config).unwrap().stopped);
    for epochs in 2..=4 {
        // As if it had been killed after the log was written and before the state was.
        let log = parts.join("log.jsonl");
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::write(&log, text.clone() + text.lines().last().unwrap() + "\n").unwrap();
        let part = run(&parts, true, epochs, &config).unwrap();
        assert_eq!((part.epochs, part.stopped), (epochs, epochs < 4));
    }
    for file in ["best.safetensors", "config.toml"] {
        assert!(std::fs::read(whole.join(file)).unwrap() == std::fs::read(parts.join(file)).unwrap(), "{file}");
    }
    let again = run(&parts, true, 99, &config).unwrap();
    let loss = |result: &Finetuned| result.evaluation.as_ref().unwrap().loss;
    assert_eq!((again.epochs, again.best_epoch, loss(&again)), (4, one.best_epoch, loss(&one)));
    assert_eq!(std::fs::read_to_string(parts.join("log.jsonl")).unwrap().lines().count(), 4);
    let other = FinetuneConfig { lr: 0.1, ..config.clone() };
    let message = run(&parts, true, 99, &other).unwrap_err().to_string();
    assert!(message.contains("finetune.lr") && message.contains("config.toml"), "{message}");
    // Where there is no checkpoint yet, it begins at its start.
    assert_eq!(loss(&run(&folder.path().join("none"), true, 99, &config).unwrap()), loss(&one));
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
fn a_run_that_learns_nothing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
    let task = two_class_task(&network, &parameters, (8, 8), &out);
    let unreadable = Task { train: Arc::new(Unreadable(two_classes(8))), ..task };
    let config = FinetuneConfig { head_epochs: 1, epochs: 0, batch_size: 8, ..FinetuneConfig::default() };
    let message = finetune(&unreadable, &config, &mut Silent).unwrap_err().to_string();
    assert!(message.contains("no image could be read"), "{message}");
    assert!(!out.exists());
    // Once the images can be read, the same directory is free for the same command.
    let mended = Task { train: two_classes(8), ..unreadable };
    assert!(finetune(&mended, &config, &mut Silent).is_ok());
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
    let out = folder.path().join("run");
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let network = create("resnet20", parameters.builder(), Some(2)).unwrap();
    let task = two_class_task(&network, &parameters, (24, 8), &out);
    let config = FinetuneConfig { head_epochs: 2, epochs: 0, batch_size: 8, ..FinetuneConfig::default() };
    let bias = parameters.get("fc.bias").unwrap().clone();
    let error = finetune(&task, &config, &mut Spoil(bias)).unwrap_err();
    assert!(matches!(error, Error::LossNotFinite { epoch: 2, step: 4, .. }), "{error}");
}
