//! Training as a whole: it learns, it leaves what it should, and it stops at a loss that is not finite.

mod common;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use common::{options, recipe, session, train, weights};
use resnet_data::{Dataset, Image, Loader};
use resnet_models::{from_pretrained, weights::load};
use resnet_train::bench::{BenchConfig, bench_infer, bench_train};
use resnet_train::recipe::{Compute, Normalization, Overrides};
use resnet_train::trainer::{Session, Silent, TrainOptions, evaluate};

#[test]
fn a_run_leaves_its_directory() {
    let tmp = tempfile::tempdir().unwrap();
    let session = session(recipe(""));
    assert!(matches!(session.recipe().normalize, Normalization::Channel { .. }));
    let outcome = session.train(&options(tmp.path()), &mut Silent).unwrap();
    assert_eq!((outcome.epochs, outcome.steps), (2, 12));
    let evaluation = outcome.evaluation.unwrap();
    assert_eq!((evaluation.images, evaluation.confusion.len()), (10, 100));
    let mut names: Vec<String> =
        std::fs::read_dir(tmp.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let want = ["best.safetensors", "config.toml", "last.safetensors", "log.jsonl", "report.html", "state.safetensors"];
    assert_eq!(names, want);
    let page = std::fs::read_to_string(tmp.path().join("report.html")).unwrap();
    assert!(page.contains("resnet20 on shapes") && page.contains("<svg"));
    // The weights in the file are those that were evaluated.
    let last = load(outcome.dir.last()).unwrap();
    assert_eq!(last.metadata["arch"], "resnet20");
    for (name, var) in session.parameters().named() {
        let (a, b) = (var.flatten_all().unwrap(), last.tensors[&name].flatten_all().unwrap());
        assert_eq!(a.to_vec1::<f32>().unwrap(), b.to_vec1::<f32>().unwrap(), "{name}");
    }
    // Whoever reads it makes the same of a picture, and gets the same result to the bit.
    let pretrained = from_pretrained(&outcome.dir.last().display().to_string()).unwrap();
    let pictures = pretrained.preprocessing.unwrap();
    assert_eq!((pictures.size, pictures.crop), (32, 1.0));
    let loader = session.test();
    let loader = Loader::new(loader.dataset().clone(), pictures.transform().unwrap(), loader.config().clone()).unwrap();
    let again = evaluate(&pretrained.network, &loader, &Device::Cpu, None, &mut Silent).unwrap().unwrap();
    assert_eq!((again.correct, again.loss), (evaluation.correct, evaluation.loss));
    // The part before the head is taken as a network, too: sixty-four features against ten classes.
    let embedding = pretrained.network.embedding().unwrap();
    assert!(evaluate(&embedding, &loader, &Device::Cpu, None, &mut Silent).unwrap_err().to_string().contains("64"));
    let config = std::fs::read_to_string(tmp.path().join("config.toml")).unwrap();
    assert!(config.contains("seed = 5") && config.contains("revision = "), "{config}");
}

#[test]
fn the_seed_alone_decides() {
    let tmp = tempfile::tempdir().unwrap();
    let run = |name: &str, seed| {
        let recipe = recipe("").with(&Overrides { epochs: Some(1), seed: Some(seed), ..Overrides::default() }).unwrap();
        weights(&train(&recipe, &options(&tmp.path().join(name))).unwrap().dir)
    };
    let first = run("a", 1);
    assert_eq!(first, run("b", 1));
    assert_ne!(first, run("c", 2));
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint() {
    let tmp = tempfile::tempdir().unwrap();
    let good = train(&recipe(""), &TrainOptions { max_steps: Some(6), ..options(tmp.path()) }).unwrap();
    let kept = std::fs::read(good.dir.state()).unwrap();
    let session = session(recipe(""));
    let resume = TrainOptions { resume: true, ..options(tmp.path()) };
    // A weight is spoilt under the trainer's hands, after the checkpoint was read.
    struct Spoil<'a>(&'a resnet_train::trainer::Session);
    impl resnet_train::trainer::Progress for Spoil<'_> {
        fn step(&mut self, status: &resnet_train::trainer::Status) {
            if status.step == 8 {
                let bias = self.0.parameters().get("fc.bias").unwrap();
                bias.set(&Tensor::new(&[f32::NAN; 10], &Device::Cpu).unwrap()).unwrap();
            }
        }
    }
    let message = session.train(&resume, &mut Spoil(&session)).unwrap_err().to_string();
    assert!(message.contains("NaN") && message.contains("epoch 2, step 9, lr "), "{message}");
    assert_eq!(std::fs::read(good.dir.state()).unwrap(), kept);
    assert!(train(&recipe(""), &resume).is_ok());
}

/// Photos as they come, each of its own size.
struct Photos(Vec<String>);

impl Dataset for Photos {
    fn len(&self) -> usize {
        8
    }
    fn classes(&self) -> &[String] {
        &self.0
    }
    fn label(&self, index: usize) -> u32 {
        index as u32 % 2
    }
    fn image(&self, index: usize) -> resnet_data::Result<Image> {
        Ok(Image::filled(32, 32 + index, [index as u8; 3]))
    }
}

#[test]
fn a_run_that_fails_on_its_first_batch_leaves_nothing_and_can_be_given_again() {
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join("run");
    let photos = Arc::new(Photos(vec!["a".into(), "b".into()]));
    let mut raw = recipe("");
    raw.augment.clear();
    let session = Session::new(raw, photos.clone(), photos, &Device::Cpu, 1).unwrap();
    let message = session.train(&options(&out), &mut Silent).unwrap_err().to_string();
    assert!(message.contains("resizes or crops"), "{message}");
    assert!(!out.exists());
    assert!(train(&recipe(""), &options(&out)).is_ok(), "nothing stands in the way of another try");
}

#[test]
fn a_rate_far_too_high_is_told() {
    let tmp = tempfile::tempdir().unwrap();
    let mut recipe = recipe("");
    recipe.schedule = toml::from_str("kind = 'constant'\nlr = 1e30").unwrap();
    let message = train(&recipe, &options(tmp.path())).unwrap_err().to_string();
    assert!(message.contains("not finite") || message.contains("is inf") || message.contains("is NaN"), "{message}");
    assert!(message.contains("step") && message.contains("a smaller lr"), "{message}");
}

#[test]
fn bf16_trains_with_f32_weights() {
    let tmp = tempfile::tempdir().unwrap();
    let bf16 = Overrides { epochs: Some(1), dtype: Some(Compute::Bf16), ..Overrides::default() };
    let recipe = recipe("").with(&bf16).unwrap();
    let session = session(recipe);
    session.train(&options(tmp.path()), &mut Silent).unwrap();
    assert!(session.parameters().named().iter().all(|(_, var)| var.dtype() == DType::F32));
}

#[test]
fn activations_that_are_computed_again_train_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    let run = |name: &str, extra: &str| {
        let outcome = train(&recipe(extra), &options(&tmp.path().join(name))).unwrap();
        outcome.evaluation.unwrap().loss
    };
    let (kept, recomputed) = (run("kept", ""), run("recomputed", "recompute = true"));
    assert!((kept - recomputed).abs() < 0.05 * kept, "{kept} and {recomputed}");
    // The setting rounds otherwise, so that a run is not resumed with another.
    let resume = TrainOptions { resume: true, ..options(&tmp.path().join("kept")) };
    let message = train(&recipe("recompute = true"), &resume).unwrap_err().to_string();
    assert!(message.contains("recompute"), "{message}");
}

#[test]
fn benchmarks_give_a_rate() {
    let config = BenchConfig {
        arch: "resnet20".into(),
        batch_size: 2,
        image_size: 32,
        dtype: Compute::F32,
        steps: 2,
        device: Device::Cpu,
    };
    assert!(bench_train(&config).unwrap() > 0.0);
    assert!(bench_infer(&config).unwrap() > 0.0);
    let message = bench_train(&BenchConfig { arch: "resnet21".into(), ..config }).unwrap_err().to_string();
    assert!(message.contains("resnet21"), "{message}");
}
