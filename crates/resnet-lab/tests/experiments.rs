//! The runner on a small experiment: it runs, goes on, skips what is done, and shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use resnet_data::{Split, shapes};
use resnet_lab::experiments::{Experiment, Opened, Plan, ReproduceOptions, Scale, reproduce};
use resnet_train::multi_crop::Crop;
use resnet_train::recipe::{Overrides, Recipe};
use resnet_train::trainer::{Progress, Silent, Status};

fn plan() -> Plan {
    let mut plan = Experiment::load("degradation").unwrap().plan(Scale::Smoke).unwrap();
    plan = plan.only(&["plain-20".into(), "resnet-20".into()]).unwrap();
    (plan.config.train_images, plan.config.test_images) = (Some(96), Some(20));
    for v in &mut plan.variants {
        let epochs = Overrides { epochs: Some(1), ..Overrides::default() };
        v.recipe = Recipe { ..v.recipe.clone().with(&epochs).unwrap() };
    }
    plan
}

fn options(out: &std::path::Path) -> ReproduceOptions {
    ReproduceOptions {
        out: out.to_owned(),
        seeds: Some(2),
        device: Device::Cpu,
        workers: 1,
        stop: Arc::default(),
        command: "resnet reproduce degradation".into(),
    }
}

fn open(name: &str) -> resnet_train::Result<Opened> {
    assert_eq!(name, "shapes");
    Ok((Arc::new(shapes(Split::Train, 200, 0)), Arc::new(shapes(Split::Test, 40, 0))))
}

/// Counts the runs that begin and stops after so many steps.
struct Watch {
    begun: Vec<String>,
    steps: usize,
    stop_after: usize,
    stop: Arc<AtomicBool>,
}

impl Progress for Watch {
    fn step(&mut self, _: &Status) {
        self.steps += 1;
        if self.steps == self.stop_after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn message(&mut self, text: &str) {
        self.begun.push(text.to_owned());
    }
}

#[test]
fn an_experiment_is_run_stopped_gone_on_with_and_skipped() {
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join("degradation");
    let run = |stop_after| {
        let options = options(&out);
        let mut watch = Watch { begun: Vec::new(), steps: 0, stop_after, stop: Arc::clone(&options.stop) };
        let outcome = reproduce(&plan(), &options, &mut open, &mut watch).unwrap();
        (outcome, watch)
    };
    // Three steps a run: the fourth is the second run's first.
    let (outcome, watch) = run(4);
    assert!(!outcome.complete);
    assert_eq!(outcome.variants.iter().map(|v| v.runs.len()).collect::<Vec<_>>(), [1, 0]);
    assert!(watch.begun[0].contains("run 1 of 4: plain-20, seed 0"), "{:?}", watch.begun);

    let (outcome, watch) = run(usize::MAX);
    assert!(outcome.complete);
    assert_eq!(watch.steps, 2 + 3 + 3, "the first run is done, the second goes on after its first step");
    assert_eq!(outcome.variants.iter().map(|v| v.runs.len()).collect::<Vec<_>>(), [2, 2]);

    let (again, watch) = run(usize::MAX);
    assert_eq!((watch.steps, again.complete), (0, true));
    assert_eq!(again.variants, outcome.variants);

    let csv = std::fs::read_to_string(&again.csv).unwrap();
    assert_eq!(csv.lines().count(), 5, "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("degradation,smoke,plain-20,plain20,shapes,0,"), "{csv}");
    let page = std::fs::read_to_string(&again.page).unwrap();
    assert!(page.contains("resnet-20") && page.contains("8.75, Table 6") && page.contains("line c0 bold"));
    assert!(!page.contains("http"), "the page needs nothing from outside");

    // One row alone leaves the others' on the page.
    let one = plan().only(&["resnet-20".into()]).unwrap();
    let outcome = reproduce(&one, &options(&out), &mut |_| panic!("nothing is run"), &mut Silent).unwrap();
    assert_eq!(outcome.variants.iter().map(|v| v.variant.name.as_str()).collect::<Vec<_>>(), ["plain-20", "resnet-20"]);
    assert_eq!(std::fs::read_to_string(&outcome.csv).unwrap(), csv);

    // Another recipe in the same folder would mix what cannot be compared.
    let mut other = plan();
    other.variants[0].recipe.batch_size = 16;
    let error = reproduce(&other, &options(&out), &mut open, &mut Silent).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("another folder"), "{error}");
    assert!(error.to_string().contains("batch_size = 32, and now it is 16"), "{error}");
}

/// A variant that diverges fails, as in Table 1 of He et al. 2016; the others are run all the same, and a run that was
/// killed before its first checkpoint begins anew.
#[test]
fn a_run_that_diverges_fails_and_the_others_go_on() {
    let tmp = tempfile::tempdir().unwrap();
    let mut plan = plan();
    let overrides = Overrides { lr: Some(1e30), ..Overrides::default() };
    plan.variants[0].recipe = plan.variants[0].recipe.clone().with(&overrides).unwrap();
    let killed = tmp.path().join("resnet-20-seed0");
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join("config.toml"), "half writ").unwrap();
    let options = ReproduceOptions { seeds: None, ..options(tmp.path()) };
    let outcome = reproduce(&plan, &options, &mut open, &mut Silent).unwrap();
    let [failed, other] = outcome.variants.as_slice() else { panic!() };
    assert!(failed.fails(None) && failed.runs[0].diverged.as_ref().unwrap().contains("loss"), "{:?}", failed.runs[0]);
    assert!(failed.test_cell(Some(20.0)).starts_with("fail (100.00"), "{}", failed.test_cell(Some(20.0)));
    assert!(other.runs[0].diverged.is_none() && outcome.complete);
    assert!(std::fs::read_to_string(&outcome.page).unwrap().contains("1 of 1 diverged"));
    // Done is done, with that result too.
    let again = reproduce(&plan, &options, &mut |_| panic!("nothing is run"), &mut Silent).unwrap();
    assert_eq!(again.variants, outcome.variants);
}

#[test]
fn the_last_evaluation_has_the_experiments_views() {
    let tmp = tempfile::tempdir().unwrap();
    let mut plan = plan().only(&["resnet-20".into()]).unwrap();
    plan.others.clear();
    plan.config.crop = Crop::Ten;
    let options = ReproduceOptions { seeds: None, ..options(tmp.path()) };
    let outcome = reproduce(&plan, &options, &mut open, &mut Silent).unwrap();
    let error = outcome.variants[0].runs[0].test_error;
    assert!((0.0..=100.0).contains(&error));
}
