//! The parts of a training, and a training of two steps, against PyTorch and timm (golden/training.py). With
//! `--nocapture` each test prints the largest difference found.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use resnet_data::{InMemory, Normalize};
use resnet_models::{Parameters, create_changed, weights};
use resnet_train::loss::{BinaryCrossEntropy, CrossEntropy, mixed, one_hot};
use resnet_train::metrics::Counter;
use resnet_train::optimizer::{Ema, EmaConfig, Gradients, LambConfig, Optimizer, OptimizerConfig, SgdConfig};
use resnet_train::recipe::Recipe;
use resnet_train::schedule::{PlateauState, Schedule};
use resnet_train::trainer::{Session, Silent, TrainOptions, read_log};
use serde::Deserialize;

#[path = "../../resnet-models/tests/rule/mod.rs"]
mod rule;

use rule::filled;

#[derive(Deserialize)]
struct Golden {
    losses: BTreeMap<String, Vec<f64>>,
    optimizers: BTreeMap<String, Vec<f64>>,
    average: Vec<Vec<f64>>,
    schedules: BTreeMap<String, Vec<f64>>,
    metrics: Vec<f64>,
    resnet50: BTreeMap<String, Vec<String>>,
    order: Vec<Vec<usize>>,
    training: Training,
}

#[derive(Deserialize)]
struct Training {
    losses: Vec<f64>,
    weights: BTreeMap<String, f64>,
    average: BTreeMap<String, f64>,
    #[serde(rename = "loss of the average")]
    loss_of_average: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/training.json")).unwrap()
}

/// Says and checks the largest difference, for numbers above 1 as a share of them.
fn close(what: &str, ours: &[f64], theirs: &[f64], allowed: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    let largest = differences.fold(0f64, f64::max);
    println!("{what}: {largest:.1e}");
    assert!(largest <= allowed, "{what}: {largest:e}\n{ours:?}\n{theirs:?}");
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn losses_and_their_gradients() {
    let golden = golden().losses;
    let logits = Var::from_tensor(&(filled("input", &[7, 11], DType::F32) * 4.0).unwrap()).unwrap();
    let labels: Vec<u32> = (0..7).map(|i| i * 3 % 11).collect();
    let others = Tensor::new(labels.iter().rev().copied().collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let check = |name: String, loss: Tensor| {
        let gradient = loss.backward().unwrap().remove(&logits).unwrap();
        let ours = [values(&loss), values(&gradient)].concat();
        close(&name, &ours, &golden[&name], 3e-7);
    };
    for (s, smoothing) in [("0.0", 0.0), ("0.1", 0.1)] {
        // A batch of odd size: the image in the middle is mixed with itself.
        let soft = mixed(&labels, &others, 0.7, 11, smoothing).unwrap();
        close(&format!("mixed {s}"), &values(&soft), &golden[&format!("mixed {s}")], 1e-7);
        let cross = CrossEntropy { label_smoothing: smoothing };
        check(format!("hard {s}"), cross.forward(&logits, &labels).unwrap());
        check(format!("soft {s}"), CrossEntropy::default().forward(&logits, &soft).unwrap());
        let hard = one_hot(&labels, 11, smoothing).unwrap();
        check(format!("binary hard {s}"), BinaryCrossEntropy::default().forward(&logits, &hard).unwrap());
        let binary = BinaryCrossEntropy { target_threshold: Some(0.2) };
        check(format!("binary soft {s}"), binary.forward(&logits, &soft).unwrap());
    }
}

#[test]
fn optimizers_over_twenty_steps() {
    let sgd = SgdConfig::default();
    let lamb = LambConfig { weight_decay: 0.02, ..LambConfig::default() };
    let configs = [
        ("sgd", OptimizerConfig::Sgd(sgd)),
        ("nesterov", OptimizerConfig::Sgd(SgdConfig { nesterov: true, weight_decay: 5e-2, ..sgd })),
        (
            "sgd without decay of biases",
            OptimizerConfig::Sgd(SgdConfig { weight_decay: 0.02, decay_norm_and_bias: false, ..sgd }),
        ),
        ("lamb", OptimizerConfig::Lamb(lamb)),
        ("lamb with decay of all", OptimizerConfig::Lamb(LambConfig { decay_norm_and_bias: true, ..lamb })),
    ];
    let golden = golden().optimizers;
    for (name, config) in configs {
        let var = |name: &str, dims: &[usize]| Var::from_tensor(&filled(name, dims, DType::F32)).unwrap();
        let named = vec![("w".to_string(), var("w", &[5, 6])), ("b.bias".to_string(), var("b.bias", &[6]))];
        let mut optimizer = Optimizer::new(&named, config).unwrap();
        for t in 0..20 {
            let factor = if t % 2 == 1 { 3.0 } else { 0.2 };
            let gw = (filled(&format!("w{t}"), &[5, 6], DType::F32) * factor).unwrap();
            let gb = filled(&format!("b{t}.bias"), &[6], DType::F32);
            let term = |i: usize, g: &Tensor| (named[i].1.as_tensor() * g).unwrap().sum_all().unwrap();
            let loss = (term(0, &gw) + term(1, &gb)).unwrap();
            let mut gradients = Gradients::new();
            gradients.add(&optimizer.parameters(), loss.backward().unwrap(), 1).unwrap();
            let (scale, _) = gradients.clipped_scale(1.0).unwrap();
            optimizer.step(&gradients, scale, 0.05 / f64::from(1 + t)).unwrap();
        }
        let ours: Vec<f64> = named.iter().flat_map(|(_, var)| values(var)).collect();
        close(name, &ours, &golden[name], 5e-7);
    }
}

/// timm's `ModelEmaV2` averages a norm's statistics as it does weights.
#[test]
fn an_average_of_weights_has_the_average_of_their_statistics() {
    let names = ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"];
    let moved: Vec<Vec<f64>> = (0..5).map(|i| values(&filled(&i.to_string(), &[10], DType::F32))).collect();
    // A convolution of one, and as a norm begins.
    let begin = [1f32, 1.0, 0.0, 0.0, 1.0];
    let named: Vec<(String, Var)> = names
        .iter()
        .zip(begin)
        .map(|(name, value)| (name.to_string(), Var::from_slice(&[value], 1, &Device::Cpu).unwrap()))
        .collect();
    let mut ema = Ema::new(&named, EmaConfig { decay: 0.75, warmup: false }).unwrap();
    for (t, want) in golden().average.iter().enumerate() {
        for ((_, var), moved) in named.iter().zip(&moved) {
            var.set(&Tensor::new(&[moved[t] as f32], &Device::Cpu).unwrap()).unwrap();
        }
        ema.update().unwrap();
        let ours: Vec<f64> = ema.state().unwrap().iter().flat_map(|(_, t)| values(t)).collect();
        close(&format!("average, update {t}"), &ours, want, 1e-7);
    }
}

#[test]
fn schedules_step_by_step() {
    let golden = golden().schedules;
    let warm = "lr = 0.4\nwarmup = 10\nwarmup_start = 0.25\n";
    for (name, text) in [
        ("multi-step", "kind = 'multi-step'\nlr = 0.4\nmilestones = [30, 60]".to_string()),
        ("cosine after a warm-up (PyTorch)", format!("kind = 'cosine'\nfinal_lr = 1e-3\n{warm}")),
        ("polynomial after a warm-up (PyTorch)", format!("kind = 'polynomial'\npower = 2.0\n{warm}")),
        ("one cycle", "kind = 'one-cycle'\nlr = 0.4".to_string()),
        ("cosine with a warm-up (timm)", format!("kind = 'cosine'\nfinal_lr = 1e-3\nwarmup_prefix = false\n{warm}")),
        (
            "polynomial with a warm-up (timm)",
            format!("kind = 'polynomial'\npower = 2.0\nfinal_lr = 1e-3\nwarmup_prefix = false\n{warm}"),
        ),
    ] {
        // What timm's schedulers give once the training is over is another thing: a restart.
        let want = &golden[name][..100];
        let lr = toml::from_str::<Schedule>(&text).unwrap().resolve(1.0, 100).unwrap();
        close(name, &(0..100).map(|t| lr.at(t)).collect::<Vec<_>>(), want, 1e-9);
        // Asked once an epoch of ten steps, as timm asks.
        let once = toml::from_str::<Schedule>(&format!("{text}\nper_epoch = true\n"));
        let Ok(once) = once else { continue };
        let lr = once.resolve(10.0, 1000).unwrap();
        let ours: Vec<f64> = (0..1000).map(|t| lr.at(t)).collect();
        let want: Vec<f64> = want.iter().flat_map(|&rate| [rate; 10]).collect();
        close(&format!("{name}, once an epoch"), &ours, &want, 1e-9);
    }
    let text = "kind = 'plateau'\nlr = 0.4\npatience = 3\nthreshold = 0.1";
    let lr = toml::from_str::<Schedule>(text).unwrap().resolve(1.0, 40).unwrap();
    let mut state = PlateauState::default();
    let ours: Vec<f64> = (0..40)
        .map(|t| {
            lr.observe(&mut state, (60.0 / f64::from(1 + t).sqrt() / 4.0).floor() * 4.0);
            lr.at(0) * lr.factor(&state)
        })
        .collect();
    close("plateau", &ours, &golden["plateau"], 1e-9);
}

#[test]
fn accuracy_and_loss_over_batches_of_uneven_size() {
    let logits = filled("input", &[21, 11], DType::F32);
    let labels = Tensor::new((0..21).map(|i| i * 5 % 11).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
    let mut counter = Counter::new(11);
    for (first, count) in [(0, 10), (10, 10), (20, 1)] {
        let part = |t: &Tensor| t.narrow(0, first, count).unwrap();
        counter.add(&part(&logits), &part(&labels), &(first..first + count).collect::<Vec<_>>()).unwrap();
    }
    let e = counter.finish(1.0).unwrap();
    let weights: Vec<f32> = (1..=11).map(|i| i as f32 / 4.0).collect();
    let ours = [e.loss, e.top1, e.top5, e.weighted_loss(&weights)];
    close("loss, top-1, top-5, loss with weighted classes", &ours, &golden().metrics, 1e-7);
}

/// The parameters that timm's groups leave without weight decay, and the norms that its ResNet-50 begins at 0.
#[test]
fn a3s_parameters_are_timms() {
    let recipe = Recipe::load("a3").unwrap();
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    create_changed("resnet50", &recipe.network, parameters.builder(), Some(10)).unwrap();
    let all = parameters.named();
    let trained = || all.iter().filter(|(name, _)| !name.contains("running"));
    let names = |wanted: &dyn Fn(&str, &Var) -> bool| {
        let mut names: Vec<String> = trained().filter(|(n, v)| wanted(n, v)).map(|(n, _)| n.clone()).collect();
        names.sort();
        names
    };
    let golden = golden().resnet50;
    assert_eq!(names(&|_, var| var.rank() < 2), golden["without decay"]);
    let zero = |name: &str, var: &Var| name.ends_with("weight") && values(var).iter().all(|v| *v == 0.0);
    assert_eq!(names(&zero), golden["zero"]);
}

/// A wave in each channel, of another length in each image.
fn image(index: usize) -> Vec<u8> {
    let i = index as f64;
    let value = |y: usize, x: usize, c: usize| {
        let phase = 0.05 * (1. + i) * x as f64 + 0.07 * (1. + c as f64) * y as f64 + i;
        (128. + 100. * phase.sin()).floor() as u8
    };
    let places = (0..48).flat_map(|y| (0..48).map(move |x| (y, x)));
    places.flat_map(|(y, x)| [0, 1, 2].map(|c| value(y, x, c))).collect()
}

fn set() -> Arc<InMemory> {
    let classes = (0..10).map(|i| i.to_string()).collect();
    let pixels = (0..10).flat_map(image).collect();
    Arc::new(InMemory::new("waves", (48, 48), pixels, (0..10).collect(), classes).unwrap())
}

fn session(extra: &str) -> Session {
    let text = format!(
        "arch = 'resnet18'\ndataset = 'waves'\nepochs = 1\nbatch_size = 7\nseed = 5\n{extra}\n
        [optimizer]\nmomentum = 0.9\nweight_decay = 1e-4\n
        [schedule]\nkind = 'constant'\nlr = 0.01\n
        [normalize]\nkind = 'channel'\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n"
    );
    let session = Session::new(Recipe::parse(&text, "test").unwrap(), set(), set(), &Device::Cpu, 1).unwrap();
    for (name, var) in session.parameters().named() {
        var.set(&filled(&name, var.dims(), DType::F32)).unwrap();
    }
    assert!(matches!(session.train_loader().transform().normalize(), Normalize::Channel { .. }));
    session
}

/// Batches of 7 and 3 images whose norms see four at most (3 and 4, and 3): every loss, weight and statistic, and their
/// average by timm, evaluated. More steps than two are not compared: sooner or later a value next to 0 falls on the other
/// side of a ReLU.
#[test]
fn norms_that_see_a_part_of_a_batch_train_as_in_pytorch() {
    let golden = golden();
    let session = session("norm_batch_size = 4\nema = { decay = 0.6 }");
    let order: Vec<Vec<usize>> = session.train_loader().epoch(0, 0).map(|b| b.unwrap().indices).collect();
    assert_eq!(order, golden.order, "the order that the script was given");
    let tmp = tempfile::tempdir().unwrap();
    let options = TrainOptions { out: Some(tmp.path().into()), log_every: 1, ..TrainOptions::default() };
    let outcome = session.train(&options, &mut Silent).unwrap();
    let records = read_log(&outcome.dir.log()).unwrap();
    let losses: Vec<f64> = records.iter().filter(|r| r.test_loss.is_none()).filter_map(|r| r.train_loss).collect();
    close("losses", &losses, &golden.training.losses, 1e-5);
    let load = weights::LoadOptions { keep_names: true, ..Default::default() };
    let state = weights::load_with(outcome.dir.state(), &load).unwrap().tensors;
    let probes = |part: &str, want: &BTreeMap<String, f64>| {
        let probe = |name: &String| {
            let value = state[&format!("{part}/{name}")].to_dtype(DType::F64).unwrap();
            let probe = filled(&format!("{name}probe"), value.dims(), DType::F64);
            (value * probe).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
        };
        let ours: Vec<f64> = want.keys().map(probe).collect();
        close(part, &ours, &want.values().copied().collect::<Vec<_>>(), 1e-4);
    };
    probes("weights", &golden.training.weights);
    probes("ema", &golden.training.average);
    close("loss of the average", &[outcome.evaluation.unwrap().loss], &[golden.training.loss_of_average], 1e-5);
}
