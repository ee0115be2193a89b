use super::*;
use crate::optimizer::{LambConfig, SgdConfig};
use crate::schedule::Schedule;

const SMALL: &str = "arch = 'resnet20'\ndataset = 'shapes'\nepochs = 2\nbatch_size = 8\n";
const CONSTANT: &str = "[schedule]\nkind = 'constant'\nlr = 0.1\n";

fn message(text: &str) -> String {
    Recipe::parse(text, "mine.toml").unwrap_err().to_string()
}

#[test]
fn every_embedded_recipe_goes_round_through_toml() {
    for name in Recipe::names() {
        let recipe = Recipe::load(name).unwrap();
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap(), name).unwrap(), recipe, "{name}");
        assert!(!recipe.description.is_empty(), "{name}");
        assert!(resnet_models::config(&recipe.arch).is_ok(), "{name}");
    }
}

/// He et al. 2015, section 4.2.
#[test]
fn he2015_is_as_published() {
    let r = Recipe::load("he2015-cifar").unwrap();
    assert_eq!((r.length(), r.batch_size, r.accumulation), (Length::Iterations(64_000), 128, 1));
    assert_eq!(r.norm_batch_size, Some(64), "two GPUs");
    let want = SgdConfig { momentum: 0.9, nesterov: false, weight_decay: 1e-4, decay_norm_and_bias: true };
    assert_eq!(r.optimizer, OptimizerConfig::Sgd(want));
    let lr = r.schedule.resolve(r.length().unit(391), 64_000).unwrap();
    for (step, want) in [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)] {
        assert!((lr.at(step) - want).abs() < 1e-12, "step {step}: {}", lr.at(step));
    }
    assert_eq!(r.normalize, Normalization::MeanImage);
    let fill = resnet_data::Padding::Mean;
    assert_eq!(r.augment[0], Augment::RandomCrop { size: 32, padding: 4, fill });
    assert_eq!(r.augment[1], Augment::HorizontalFlip { probability: 0.5 });
    assert_eq!((r.loss.label_smoothing, r.ema, r.clip_norm), (0.0, None, None));
    assert!(r.active_hold().is_none());
    let deep = r.with(&Overrides { arch: Some("resnet110".into()), ..Overrides::default() }).unwrap();
    let hold = deep.active_hold().unwrap();
    assert_eq!((hold.lr, hold.until_train_error), (0.01, Some(0.8)));
}

/// He et al. 2016, appendix: as in 2015, with a warm-up of 400 iterations.
#[test]
fn he2016_is_as_published() {
    let (r, before) = (Recipe::load("he2016-cifar").unwrap(), Recipe::load("he2015-cifar").unwrap());
    let hold = r.active_hold().unwrap();
    assert_eq!((hold.lr, hold.iterations, hold.until_train_error), (0.01, Some(400), None));
    let (description, arch) = (before.description.clone(), before.arch.clone());
    assert_eq!(Recipe { description, arch, hold: before.hold.clone(), ..r }, before);
}

/// He et al. 2015, section 3.4.
#[test]
fn he2015_imagenet_is_as_published() {
    let r = Recipe::load("he2015-imagenet").unwrap();
    assert_eq!((r.length(), r.batch_size, r.schedule.lr()), (Length::Iterations(600_000), 256, 0.1));
    assert_eq!((r.norm_batch_size, r.passes_per_batch()), (Some(32), 8));
    let want = SgdConfig { momentum: 0.9, nesterov: false, weight_decay: 1e-4, decay_norm_and_bias: true };
    assert_eq!(r.optimizer, OptimizerConfig::Sgd(want));
    assert!(matches!(r.schedule, Schedule::Plateau { gamma: 0.1, .. }));
    assert!(matches!(r.augment[0], Augment::RandomResize { min: 256, max: 480, .. }));
    assert!(matches!(r.augment[3], Augment::PcaColour { deviation: 0.1 }));
}

/// torchvision's references/classification/train.py, its defaults.
#[test]
fn torchvision_v1_is_as_published() {
    let r = Recipe::load("torchvision-v1").unwrap();
    assert_eq!((r.length(), r.batch_size, r.schedule.lr()), (Length::Epochs(90), 256, 0.1));
    assert_eq!((r.norm_batch_size, r.network.is_empty()), (Some(32), true), "eight devices, no norm that begins at 0");
    let lr = r.schedule.resolve(r.length().unit(10), 900).unwrap();
    for (epoch, want) in [(0, 0.1), (29, 0.1), (30, 0.01), (60, 0.001), (89, 0.001)] {
        assert!((lr.at(epoch * 10) - want).abs() < 1e-12, "epoch {epoch}");
    }
    assert_eq!(r.augment, [Augment::random_resized_crop(224), Augment::HorizontalFlip { probability: 0.5 }]);
}

/// Wightman et al. 2021, Table 2, column A3. The rates are timm 1.0.31's:
///
/// ```python
/// import torch
/// from timm.scheduler import CosineLRScheduler
/// o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=8e-3)
/// s = CosineLRScheduler(o, t_initial=100, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4)
/// for e in range(100):
///     s.step(e); print(e, "%.9g" % o.param_groups[0]["lr"])
/// ```
#[test]
fn a3_is_as_published() {
    let r = Recipe::load("a3").unwrap();
    assert_eq!((r.length(), r.batch_size, r.repeats, r.ema), (Length::Epochs(100), 2048, 1, None));
    assert_eq!(r.optimizer, OptimizerConfig::Lamb(LambConfig { weight_decay: 0.02, ..LambConfig::default() }));
    let lr = r.schedule.resolve(r.length().unit(10), 1000).unwrap();
    let timm = [
        (0, 0.0001),
        (1, 0.00168),
        (4, 0.00642),
        (5, 0.00795075952),
        (6, 0.00792915786),
        (25, 0.00682857357),
        (50, 0.0040005),
        (75, 0.00117242643),
        (99, 2.97351182e-06),
    ];
    for (epoch, want) in timm {
        for step in [epoch * 10, epoch * 10 + 9] {
            assert!((lr.at(step) - want).abs() < 1e-11, "epoch {epoch}, step {step}: {}", lr.at(step));
        }
    }
    assert_eq!((r.norm_batch_size, r.passes_per_batch()), (Some(512), 4), "four devices");
    assert_eq!(r.network["zero_init_last"], true);
    assert_eq!((r.loss.kind, r.loss.label_smoothing), (LossKind::BinaryCrossEntropy, 0.0));
    let mix = r.mix.unwrap();
    assert_eq!((mix.mixup, mix.cutmix), (0.1, 1.0));
    assert!(matches!(r.augment[0], Augment::RandomResizedCrop { size: 160, .. }));
    assert!(matches!(r.augment[2], Augment::RandAugment { magnitude: 6.0, deviation: 0.5, layers: 2, .. }));
    assert!(matches!(r.test_transform[..], [Augment::Resize { size: 235, .. }, Augment::CenterCrop { size: 224 }]));
}

#[test]
fn a_recipe_changes_a_network() {
    let text = format!("{SMALL}[network]\nshortcut = 'c'\n{CONSTANT}");
    let recipe = Recipe::parse(&text, "x").unwrap();
    assert_eq!(recipe.network["shortcut"], "c");
    assert_eq!(Recipe::parse(&recipe.to_toml().unwrap(), "x").unwrap(), recipe);
}

#[test]
fn the_schedule_stretches_with_the_epochs() {
    let o = Overrides { epochs: Some(16), lr: Some(0.5), batch_size: Some(64), seed: Some(7), ..Overrides::default() };
    let r = Recipe::load("he2015-cifar").unwrap().with(&o).unwrap();
    assert_eq!((r.length(), r.batch_size, r.seed), (Length::Epochs(16), 64, 7));
    let Schedule::MultiStep { lr, milestones, .. } = &r.schedule else { panic!("{:?}", r.schedule) };
    assert_eq!((*lr, &milestones[..]), (0.5, &[8.0, 12.0][..]));
    let message = r.with(&Overrides { epochs: Some(0), ..Overrides::default() }).unwrap_err().to_string();
    assert!(message.contains("epochs"), "{message}");
}

#[test]
fn a_plateaus_patience_stretches_with_the_epochs() {
    let plateau = "[schedule]\nkind = 'plateau'\nlr = 0.1\npatience = 4\n";
    let patience = |recipe: &Recipe, epochs| {
        let recipe = recipe.clone().with(&Overrides { epochs: Some(epochs), ..Overrides::default() }).unwrap();
        let Schedule::Plateau { patience, .. } = recipe.schedule else { panic!("{:?}", recipe.schedule) };
        patience
    };
    let recipe = Recipe::parse(&format!("{SMALL}{plateau}"), "x").unwrap();
    assert_eq!((patience(&recipe, 4), patience(&recipe, 1), patience(&recipe, 2)), (8.0, 2.0, 4.0));
    // 600,000 iterations of 256 images are 119.9 epochs of ImageNet.
    let recipe = Recipe::load("he2015-imagenet").unwrap();
    assert!((patience(&recipe, 60) - 2.5).abs() < 0.01 && (patience(&recipe, 120) - 5.0).abs() < 0.01);
    // Of images of one's own nobody knows how many iterations an epoch has.
    let text = SMALL.replace("epochs = 2", "iterations = 600").replace("shapes", "folder:photos");
    assert_eq!(patience(&Recipe::parse(&format!("{text}{plateau}"), "x").unwrap(), 60), 4.0);
}

#[test]
fn wrong_keys_are_named_with_the_nearest() {
    let m = message(&format!("{SMALL}bach_size = 3\n{CONSTANT}"));
    assert!(m.contains("mine.toml") && m.contains("line 5") && m.contains("did you mean `batch_size`?"), "{m}");
    let m = message(&format!("{SMALL}[optimizer]\nmomentun = 0.5\n{CONSTANT}"));
    assert!(m.contains("`momentun`") && m.contains("did you mean `momentum`?"), "{m}");
    let m = message(&format!("{SMALL}{CONSTANT}warm_up = 1.0\n"));
    assert!(m.contains("`warm_up`") && m.contains("did you mean `warmup`?"), "{m}");
    let m = message(&format!("{SMALL}[schedule]\nkind = 'cosin'\nlr = 0.1\n"));
    assert!(m.contains("did you mean `cosine`?"), "{m}");
    let m = message(&format!("{SMALL}{CONSTANT}[[augment]]\nstep = 'random-crop'\nsiz = 3\n"));
    assert!(m.contains("did you mean `size`?"), "{m}");
    for m in [message("arch = ["), message(&format!("{SMALL}{CONSTANT}zzzzz = 1\n")), message("")] {
        assert!(m.starts_with("recipe mine.toml: ") && !m.contains('\n'), "{m}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (line, key) in [
        ("clip_norm = -1.0", "clip_norm"),
        ("accumulation = 0", "accumulation"),
        ("norm_batch_size = 1", "norm_batch_size"),
        ("evaluate_every = 0", "evaluate_every"),
        ("iterations = 3", "iterations"),
        ("ema = { decay = 1.5 }", "ema.decay"),
        ("loss = { label_smoothing = 1.5 }", "label_smoothing"),
        ("hold = { lr = 0.1 }", "hold"),
        ("optimizer = { momentum = -0.5 }", "momentum"),
        ("optimizer = { weight_decay = nan }", "weight_decay"),
        ("optimizer = { momentum = 0.0, nesterov = true }", "nesterov"),
        ("optimizer = { kind = 'lamb', momentum = 0.9 }", "optimizer.momentum"),
        ("optimizer = { beta1 = 0.5 }", "optimizer.beta1"),
        ("optimizer = { kind = 'lamb', beta1 = 1.0 }", "optimizer.beta1"),
        ("loss = { target_threshold = 0.2 }", "target_threshold"),
        ("mix = { mixup = -0.5 }", "mix.mixup"),
        ("repeats = 0", "repeats"),
        ("seed = 'x'", "line 5"),
    ] {
        let m = message(&format!("{SMALL}{line}\n{CONSTANT}"));
        assert!(m.contains("mine.toml") && m.contains(key) && !m.contains('\n'), "{line}: {m}");
    }
    assert!(
        message("arch = 'a'\ndataset = 'b'\nbatch_size = 1\n[schedule]\nkind = 'constant'\nlr = 1\n")
            .contains("length")
    );
}

#[test]
fn unknown_names_and_files_are_errors() {
    let m = Recipe::load("he2015-cifra").unwrap_err().to_string();
    assert!(m.contains("did you mean \"he2015-cifar\"?"), "{m}");
    let m = Recipe::load("qqq").unwrap_err().to_string();
    assert!(m.contains("quick, cifar-fast"), "{m}");
    let m = Recipe::load("no/such/file.toml").unwrap_err().to_string();
    assert!(m.contains("no/such/file.toml"), "{m}");
}

#[test]
fn a_data_set_is_measured() {
    let pixels = [[0u8, 10, 255], [200, 10, 255]].concat();
    let set = resnet_data::InMemory::new("t", (1, 1), pixels, vec![0, 0], vec!["a".into()]).unwrap();
    let Normalization::Channel { mean, std } =
        Normalization::Dataset.measured(&set, resnet_data::OnBroken::Fail).unwrap()
    else {
        panic!()
    };
    assert_eq!(mean, [100.0 / 255.0, 10.0 / 255.0, 1.0]);
    assert_eq!(std, [100.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0]);
    assert!(matches!(Normalization::MeanImage.resolve(&set).unwrap(), resnet_data::Normalize::MeanImage { .. }));
}
