//! A run that was interrupted and resumed has the bits of one that was not.

mod common;

use std::process::Command;
use std::sync::atomic::Ordering;

use common::{options, recipe, train, weights};
use resnet_train::trainer::{End, Progress, Record, RecordKind, RunConfig, Session, Status, TrainOptions};

fn records(dir: &std::path::Path) -> Vec<Record> {
    let text = std::fs::read_to_string(dir.join("log.jsonl")).unwrap();
    let mut records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Times differ from run to run.
    for record in &mut records {
        (record.images_per_second, record.seconds) = (0.0, 0.0);
    }
    records
}

#[test]
fn steps_one_by_one_give_the_bits_of_all_in_one_go() {
    let tmp = tempfile::tempdir().unwrap();
    for (name, extra) in [
        ("plain", ""),
        ("average", "ema = { decay = 0.9, warmup = true }"),
        ("accumulated", "accumulation = 4\nclip_norm = 0.5"),
        ("parts", "norm_batch_size = 3\naccumulation = 2\nema = { decay = 0.9 }"),
        ("iterations", "hold = { lr = 0.01, iterations = 3 }"),
    ] {
        let mut recipe = recipe(extra);
        if name == "iterations" {
            // The last epoch is cut short.
            (recipe.epochs, recipe.iterations) = (None, Some(9));
        }
        let whole = train(&recipe, &options(&tmp.path().join(name))).unwrap();
        let epochs = if name == "iterations" { 1 } else { 2 };
        assert_eq!((whole.end, whole.epochs), (End::Finished, epochs), "{name}");
        let out = tmp.path().join(format!("{name}-in-parts"));
        // Stops after one step, in the middle of the first epoch, and then after every two.
        let mut part = train(&recipe, &TrainOptions { max_steps: Some(1), ..options(&out) }).unwrap();
        let mut parts = 1;
        while part.end == End::Stopped {
            let again = TrainOptions { resume: true, max_steps: Some(2), ..options(&out) };
            part = train(&recipe, &again).unwrap();
            parts += 1;
            assert!(parts < 20, "{name}");
        }
        assert!(parts > 2, "{name}");
        assert_eq!(weights(&part.dir), weights(&whole.dir), "{name}");
        assert_eq!(std::fs::read(part.dir.best()).unwrap(), std::fs::read(whole.dir.best()).unwrap(), "{name}");
        assert_eq!(records(part.dir.path()), records(whole.dir.path()), "{name}");
        let (a, b) = (part.evaluation.unwrap(), whole.evaluation.unwrap());
        assert_eq!((a.correct, a.loss, a.confusion), (b.correct, b.loss, b.confusion), "{name}");
    }
}

/// Before, an average held the last step's running statistics.
#[test]
fn an_older_average_is_gone_on_with_and_said() {
    struct Messages(Vec<String>);
    impl Progress for Messages {
        fn message(&mut self, text: &str) {
            self.0.push(text.to_string());
        }
    }
    let tmp = tempfile::tempdir().unwrap();
    let recipe = recipe("ema = { decay = 0.9 }");
    let dir = train(&recipe, &TrainOptions { max_steps: Some(2), ..options(tmp.path()) }).unwrap().dir;
    let resume = |steps| {
        let again = TrainOptions { resume: true, max_steps: Some(steps), ..options(tmp.path()) };
        let mut messages = Messages(Vec::new());
        common::session(recipe.clone()).train(&again, &mut messages).unwrap();
        messages.0.iter().any(|text| text.contains("running statistics"))
    };
    assert!(!resume(2), "it is of this version");
    let load = resnet_models::weights::LoadOptions { keep_names: true, ..Default::default() };
    let file = resnet_models::weights::load_with(dir.state(), &load).unwrap();
    let mut metadata = file.metadata;
    let mut counters: serde_json::Value = serde_json::from_str(&metadata["training"]).unwrap();
    assert_eq!(counters.as_object_mut().unwrap().remove("ema_statistics"), Some(true.into()));
    metadata.insert("training".into(), counters.to_string());
    let tensors: Vec<_> = file.tensors.into_iter().collect();
    resnet_models::weights::save(dir.state(), &tensors, &metadata).unwrap();
    assert!(resume(2));
    assert!(!resume(2), "once");
}

#[test]
fn a_finished_run_goes_on_with_more_epochs() {
    let tmp = tempfile::tempdir().unwrap();
    let constant = |epochs| {
        let mut recipe = recipe("");
        recipe.schedule = toml::from_str("kind = 'constant'\nlr = 0.05").unwrap();
        recipe.epochs = Some(epochs);
        recipe
    };
    let whole = train(&constant(2), &options(&tmp.path().join("whole"))).unwrap();
    let out = tmp.path().join("parts");
    train(&constant(1), &options(&out)).unwrap();
    let resumed = train(&constant(2), &TrainOptions { resume: true, ..options(&out) }).unwrap();
    assert_eq!(weights(&resumed.dir), weights(&whole.dir));
    // And once more, with nothing left to do.
    let again = train(&constant(2), &TrainOptions { resume: true, ..options(&out) }).unwrap();
    assert_eq!((again.end, again.steps), (End::Finished, whole.steps));
    assert_eq!(weights(&again.dir), weights(&whole.dir));
    assert!(again.dir.report().exists());
}

/// Runs in a process of its own, started by the test below; ends itself as `kill -9` would.
#[test]
fn child_that_is_killed() {
    let Ok(out) = std::env::var("RESNET_TEST_KILL_OUT") else { return };
    struct Kill;
    impl Progress for Kill {
        fn step(&mut self, status: &Status) {
            // In the second epoch, steps after the last checkpoint.
            if status.step == 10 {
                let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            }
        }
    }
    let session: Session = common::session(recipe(""));
    let _ = session.train(&options(out.as_ref()), &mut Kill);
    std::process::exit(0);
}

#[test]
fn a_run_killed_in_the_middle_resumes_to_the_same_bits() {
    let tmp = tempfile::tempdir().unwrap();
    let whole = train(&recipe(""), &options(&tmp.path().join("whole"))).unwrap();
    let out = tmp.path().join("killed");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_is_killed", "--exact"])
        .env("RESNET_TEST_KILL_OUT", &out)
        .status()
        .unwrap();
    assert_eq!(status.code(), None, "killed by a signal, not ended");
    assert!(records(&out).iter().any(|r| r.step == 10), "the log is ahead of the checkpoint");
    // The temporary file of a write that was cut off must not disturb.
    std::fs::write(out.join(".state.safetensors.1-0.tmp"), b"half").unwrap();
    let resumed = train(&recipe(""), &TrainOptions { resume: true, ..options(&out) }).unwrap();
    assert_eq!(weights(&resumed.dir), weights(&whole.dir));
    assert_eq!(records(&out), records(whole.dir.path()));
}

#[test]
fn a_stop_flag_saves_at_the_step_reached() {
    let tmp = tempfile::tempdir().unwrap();
    let stopping = options(tmp.path());
    struct StopAt(TrainOptions, u64);
    impl Progress for StopAt {
        fn step(&mut self, status: &Status) {
            if status.step == self.1 {
                self.0.stop.store(true, Ordering::Relaxed);
            }
        }
    }
    let session = common::session(recipe(""));
    let outcome = session.train(&stopping, &mut StopAt(stopping.clone(), 3)).unwrap();
    assert_eq!((outcome.end, outcome.steps, outcome.epochs), (End::Stopped, 3, 0));
    assert!(outcome.dir.last().exists() && !outcome.dir.best().exists());
    // Stopped in the last step of the epoch: its evaluation is done when the run goes on.
    let again = TrainOptions { resume: true, ..options(tmp.path()) };
    let session = common::session(recipe(""));
    let outcome = session.train(&again, &mut StopAt(again.clone(), 6)).unwrap();
    assert_eq!((outcome.end, outcome.steps, outcome.epochs), (End::Stopped, 6, 0));
    assert!(outcome.evaluation.is_none());
    // And the same after the very last step.
    let again = TrainOptions { resume: true, ..options(tmp.path()) };
    let session = common::session(recipe(""));
    let outcome = session.train(&again, &mut StopAt(again.clone(), 12)).unwrap();
    assert_eq!((outcome.end, outcome.steps, outcome.epochs), (End::Stopped, 12, 1));
    let outcome = train(&recipe(""), &TrainOptions { resume: true, ..options(tmp.path()) }).unwrap();
    assert_eq!((outcome.end, outcome.epochs), (End::Finished, 2));
    assert!(outcome.best.is_some() && outcome.evaluation.is_some());
    let epochs: Vec<u64> =
        records(tmp.path()).iter().filter(|r| r.kind == RecordKind::Epoch).map(|r| r.epoch).collect();
    assert_eq!(epochs, [1, 2]);
    let whole = tempfile::tempdir().unwrap();
    assert_eq!(weights(&outcome.dir), weights(&train(&recipe(""), &options(whole.path())).unwrap().dir));
}

#[test]
fn only_the_same_run_is_resumed() {
    let tmp = tempfile::tempdir().unwrap();
    let first = TrainOptions { max_steps: Some(1), ..options(tmp.path()) };
    train(&recipe(""), &first).unwrap();
    let message = train(&recipe(""), &first).unwrap_err().to_string();
    assert!(message.contains("resume it"), "{message}");
    let resume = TrainOptions { resume: true, ..options(tmp.path()) };
    let mut other = recipe("");
    other.schedule.set_lr(0.5);
    let message = train(&other, &resume).unwrap_err().to_string();
    assert!(message.contains("recipe.schedule.lr") && message.contains("0.05"), "{message}");
    let kept = RunConfig::read(&tmp.path().join("config.toml")).unwrap();
    assert_eq!(kept.recipe.schedule.lr(), 0.05);
    assert_eq!(kept.run.train_images, 23);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = train(&recipe(""), &TrainOptions { max_steps: Some(1), ..options(tmp.path()) }).unwrap().dir;
    let resume = TrainOptions { resume: true, ..options(tmp.path()) };
    let state = std::fs::read(dir.state()).unwrap();
    let refuse = |bytes: &[u8], what: &str| {
        std::fs::write(dir.state(), bytes).unwrap();
        let error = train(&recipe(""), &resume).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("state.safetensors") && !message.contains('\n'), "{what}: {message}");
        assert!(error.is_bad_input(), "{what}: {message}");
    };
    refuse(&state[..state.len() / 2], "cut off");
    refuse(b"", "empty");
    refuse(&std::fs::read(dir.last()).unwrap(), "weights only");
    std::fs::remove_file(dir.state()).unwrap();
    let message = train(&recipe(""), &resume).unwrap_err().to_string();
    assert!(message.contains("state.safetensors"), "{message}");
}
