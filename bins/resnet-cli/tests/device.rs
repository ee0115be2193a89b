//! Devices: what is refused, and the self-test on the processor.

mod common;

use common::{json, resnet};

#[test]
fn the_processor_passes_its_self_test() {
    let all = json(&["bench", "--self-test", "--device", "cpu"]);
    for dtype in ["f32", "bf16"] {
        let checks: Vec<_> = all.iter().filter(|check| check["dtype"] == dtype).collect();
        assert!(checks.len() > 40, "{}", checks.len());
        for check in &checks {
            assert_eq!(check["passed"], true, "{dtype}: {check}");
            assert!(check["error"].as_f64().unwrap() <= check["tolerance"].as_f64().unwrap());
        }
        let named = |part: &str| checks.iter().any(|check| check["check"].as_str().unwrap().contains(part));
        for part in ["conv 3x3", "batch norm + add + relu", "max-pool", "cross-entropy", "sgd", "golden resnet20"] {
            assert!(named(part), "{part}");
        }
    }
}

#[test]
fn flags_of_cuda_are_refused_on_the_processor() {
    for flag in ["--tf32", "--cudnn-benchmark"] {
        let run = resnet(&["bench", "infer", "--device", "cpu", flag]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        assert!(run.stderr.contains(flag) && run.stderr.lines().count() == 1, "{}", run.stderr);
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_was_not_built_is_refused() {
    for (device, feature) in [("cuda", "cuda"), ("cuda:1", "cuda"), ("metal", "metal")] {
        let run = resnet(&["bench", "infer", "--device", device]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        assert!(run.stderr.contains(&format!("--features {feature}")), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[cfg(feature = "cuda")]
#[test]
fn a_cuda_device_that_is_not_there_is_refused() {
    let run = resnet(&["bench", "infer", "--device", "cuda:99"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    for part in ["--device cuda:99", "--device cpu"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn bench_wants_a_task_or_the_self_test() {
    assert_eq!(resnet(&["bench"]).code, Some(2));
    assert_eq!(resnet(&["bench", "train", "--self-test"]).code, Some(2));
}
