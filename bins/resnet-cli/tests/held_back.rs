//! What `eval` takes for validation images, of a folder that is not divided into parts.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_refused, json, resnet, succeed, text, weights_file, write_png};
use resnet_models::weights;

/// A folder of three classes with ten images each, in no parts: a fifth of them is 6.
fn write_undivided(root: &Path) -> String {
    for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
        (0..10).for_each(|i| write_png(&root.join(name).join(format!("{i}.png")), class * 100 + i));
    }
    format!("folder:{}", root.display())
}

/// Weights trained for an epoch on that data set, and what the run said.
fn train(folder: &Path, dataset: &str, more: &str) -> (PathBuf, String) {
    let (recipe, out) = (folder.join("recipe.toml"), folder.join("run"));
    let text_of = format!(
        "arch = 'resnet20'\ndataset = '{dataset}'\nepochs = 1\nbatch_size = 4\n{more}\n\
         [schedule]\nkind = 'constant'\nlr = 0.01\n"
    );
    fs::write(&recipe, text_of).unwrap();
    let told = succeed(&["train", "--recipe", text(&recipe), "--out", text(&out)]);
    (out.join("last.safetensors"), told)
}

fn eval(weights: &Path, more: &[&str]) -> (u64, u64) {
    let object = &json(&[&["eval", "--weights", text(weights)], more].concat())[0];
    (object["images"].as_u64().unwrap(), object["correct"].as_u64().unwrap())
}

#[test]
fn a_trained_networks_own_folder_is_divided_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    let dataset = write_undivided(&data);
    let (file, told) = train(folder.path(), &dataset, "");
    let (images, correct) = eval(&file, &[]);
    assert_eq!(images, 6);
    assert!(told.contains(&format!("({correct} of 6)")), "{told}, evaluated: {correct}");
    assert_eq!(eval(&file, &["--split", "train"]).0, 24);
    assert_eq!(eval(&file, &["--crop", "ten"]).0, 6);
    // By another way to the same folder.
    let again = format!("folder:{}/../photos", data.display());
    assert_eq!(eval(&file, &["--dataset", &again]), (6, correct));
    // A copy is no other folder: what was trained on is not evaluated.
    let copy = write_undivided(&folder.path().join("copy"));
    assert_eq!(eval(&file, &["--dataset", &copy]), (6, correct));
    // Other images are new to the network, all of them, even under the same names.
    let other = folder.path().join("others");
    write_undivided(&other);
    for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
        for i in 0..10 {
            let path = other.join(name).join(format!("{i}.png"));
            let grown = [fs::read(&path).unwrap(), vec![0; 1 + class]].concat();
            fs::write(path, grown).unwrap();
        }
    }
    let other = format!("folder:{}", other.display());
    assert_eq!(eval(&file, &["--dataset", &other]).0, 30);
    // A folder that was moved is known by the names in it.
    let moved = folder.path().join("moved");
    fs::rename(&data, &moved).unwrap();
    let moved_to = format!("folder:{}", moved.display());
    assert_eq!(eval(&file, &["--dataset", &moved_to]), (6, correct));

    // An image more belongs to neither part; one that is gone does not end the evaluation.
    fs::rename(&moved, &data).unwrap();
    write_png(&data.join("ant/00.png"), 7);
    assert_eq!(eval(&file, &[]), (6, correct));
    let run = resnet(&["eval", "--weights", text(&file)]);
    assert!(run.stderr.contains("1 image that came since is in no part"), "{run:?}");
    let table = fs::read_to_string(folder.path().join("run/split.csv")).unwrap();
    let held_back = table.lines().filter(|line| line.ends_with(",val"));
    let held_back: Vec<&str> = held_back.map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!((table.lines().next(), held_back.len()), (Some("path,class,part"), 6));
    fs::remove_file(data.join(held_back[0])).unwrap();
    let run = resnet(&["eval", "--weights", text(&file)]);
    assert!(run.code == Some(0) && run.stderr.contains("1 of 6 validation photos are gone"), "{run:?}");
    assert_eq!((eval(&file, &[]).0, eval(&file, &["--split", "train"]).0), (5, 24));
    for name in held_back {
        let _ = fs::remove_file(data.join(name));
    }
    assert_refused(&resnet(&["eval", "--weights", text(&file)]), &[&dataset, "all 6 images", "are gone"]);
}

/// As runs of earlier versions left them.
#[test]
fn without_a_table_the_rule_and_a_fingerprint_tell_what_was_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    let dataset = write_undivided(&data);
    let (file, _) = train(folder.path(), &dataset, "");
    fs::remove_file(folder.path().join("run/split.csv")).unwrap();
    assert_eq!((eval(&file, &[]).0, eval(&file, &["--split", "train"]).0), (6, 24));
    // With an image more nobody knows which ones were trained on.
    write_png(&data.join("ant/00.png"), 7);
    let refused = resnet(&["eval", "--weights", text(&file)]);
    assert_refused(&refused, &[&dataset, "val/", "no longer the same", "--split train"]);
    assert_eq!(eval(&file, &["--split", "train"]).0, 31);
}

#[test]
fn a_mean_image_is_that_of_the_images_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_undivided(&folder.path().join("photos"));
    let (file, told) = train(folder.path(), &dataset, "normalize = { kind = 'mean-image' }");
    let found = &json(&["eval", "--weights", text(&file)])[0];
    let trained: f64 = told.split("loss ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let loss = found["loss"].as_f64().unwrap();
    assert!((loss - trained).abs() < 1e-3 * trained, "{told}, evaluated: {loss}");
}

#[test]
fn weights_that_do_not_say_what_was_held_back_are_not_evaluated_on_their_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_undivided(&folder.path().join("photos"));
    let (file, _) = train(folder.path(), &dataset, "");
    // As earlier versions wrote them.
    let mut old = weights::load(&file).unwrap();
    assert!(old.metadata.remove("division").is_some());
    let tensors: Vec<_> = old.tensors.into_iter().collect();
    weights::save(&file, &tensors, &old.metadata).unwrap();
    let refused = resnet(&["eval", "--weights", text(&file)]);
    assert_refused(&refused, &[&dataset, "val/", "do not say", "--split train"]);
    assert_eq!(eval(&file, &["--split", "train"]).0, 30);
    // Weights from elsewhere were trained on none of them.
    let foreign = weights_file(folder.path(), "resnet20", Some(3));
    assert_eq!(eval(&foreign, &["--arch", "resnet20", "--dataset", &dataset]).0, 30);
}

#[test]
fn a_fine_tuned_networks_own_folder_is_divided_by_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("photos"), folder.path().join("run"));
    write_undivided(&data);
    let file = weights_file(folder.path(), "resnet20", None);
    let finetune = ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(&data), "--seed", "4"];
    let told = succeed(&[&finetune[..], &["--head-epochs", "1", "--epochs", "0", "--out", text(&out)]].concat());
    let best = out.join("best.safetensors");
    let (images, correct) = eval(&best, &[]);
    assert_eq!(images, 6);
    assert!(told.contains(&format!("({correct} of 6)")), "{told}, evaluated: {correct}");
    let division = weights::load(&best).unwrap().metadata["division"].clone();
    assert!(division.contains("share") && division.contains("\"seed\":4"), "{division}");
}
