//! Training on shards, with everything that a recipe for ImageNet may ask for.

mod common;

use std::fs;
use std::path::Path;

use common::{assert_refused, json, resnet, succeed, text, write_png};

/// Two shards for training and one for validation, of three classes; image 5 cannot be read where `broken` says so.
fn write_shards(folder: &Path, broken: bool) {
    fs::create_dir_all(folder).unwrap();
    let png = folder.join("picture.png");
    for (name, numbers) in [("set-train-000000", 0..12), ("set-train-000001", 12..24), ("set-val-000000", 24..36)] {
        let mut builder = tar::Builder::new(fs::File::create(folder.join(format!("{name}.tar"))).unwrap());
        for n in numbers {
            write_png(&png, n % 3 * 100 + n);
            let picture = if broken && n == 5 { b"no picture".to_vec() } else { fs::read(&png).unwrap() };
            for (extension, bytes) in [("png", &picture), ("cls", &(n % 3).to_string().into_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, format!("{n:04}.{extension}"), &bytes[..]).unwrap();
            }
        }
        builder.finish().unwrap();
    }
    fs::remove_file(png).unwrap();
    fs::write(folder.join("classes.txt"), "ant\nbee\ncat\n").unwrap();
}

/// LAMB, binary cross-entropy, mixing, RandAugment, erasing, colours, repetitions and an average of the weights.
fn write_recipe(path: &Path, shards: &Path) {
    let recipe = format!(
        "arch = 'resnet20'\ndataset = 'shards:{}'\nepochs = 3\nbatch_size = 4\nrepeats = 2\n\
         ema = {{ decay = 0.9 }}\n\
         optimizer = {{ kind = 'lamb', weight_decay = 0.02 }}\n\
         schedule = {{ kind = 'plateau', lr = 0.01, patience = 0 }}\n\
         loss = {{ kind = 'binary-cross-entropy', target_threshold = 0.2 }}\n\
         mix = {{ mixup = 0.1, cutmix = 1.0 }}\n\
         [[augment]]\nstep = 'random-resized-crop'\nsize = 32\nfilter = 'random'\n\
         [[augment]]\nstep = 'horizontal-flip'\n\
         [[augment]]\nstep = 'rand-augment'\nmagnitude = 6.0\n\
         [[augment]]\nstep = 'pca-colour'\n\
         [[augment]]\nstep = 'random-erasing'\n",
        shards.display()
    );
    fs::write(path, recipe).unwrap();
}

#[test]
fn a_run_on_shards_repeats_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (shards, recipe) = (folder.path().join("shards"), folder.path().join("recipe.toml"));
    write_shards(&shards, true);
    write_recipe(&recipe, &shards);
    let out = |name: &str| folder.path().join(name);
    let train = |name: &str, more: &[&str]| {
        let out = out(name);
        resnet(&[&["train", "--recipe", text(&recipe), "--seed", "1", "--out", text(&out)], more].concat())
    };
    let whole = train("whole", &["--shuffle-buffer", "8"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.stdout.contains("1 image could not be read"), "{whole:?}");
    assert!(whole.stdout.contains("set-train-000000.tar/0005.png"), "{whole:?}");
    assert!(whole.stderr.contains("set-train-000000.tar/0005.png"), "{whole:?}");
    let part = train("parts", &["--shuffle-buffer", "8", "--max-steps", "4"]);
    assert_eq!(part.code, Some(0), "{part:?}");
    for steps in ["5", "100"] {
        // The run knows its own buffer; the number of threads changes nothing.
        let run = resnet(&["train", "--out", text(&out("parts")), "--resume", "--workers", "3", "--max-steps", steps]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    for file in ["last.safetensors", "best.safetensors"] {
        assert!(fs::read(out("whole").join(file)).unwrap() == fs::read(out("parts").join(file)).unwrap(), "{file}");
    }
    let other = resnet(&["train", "--out", text(&out("parts")), "--resume", "--shuffle-buffer", "9"]);
    assert_refused(&other, &["run.shuffle_buffer", "config.toml"]);
    assert_refused(
        &train("fatal", &["--on-broken", "fail"]),
        &["set-train-000000.tar/0005.png", "not a readable image"],
    );
    let evaluated = json(&["eval", "--weights", text(&out("whole").join("best.safetensors"))]);
    assert_eq!(evaluated[0]["images"].as_u64(), Some(12));
}

#[test]
fn ranks_train_on_their_own_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (shards, recipe) = (folder.path().join("shards"), folder.path().join("recipe.toml"));
    write_shards(&shards, false);
    write_recipe(&recipe, &shards);
    let train = |rank: &str| {
        let out = folder.path().join(rank);
        let told = ["train", "--recipe", text(&recipe), "--epochs", "1", "--rank", rank, "--world-size", "2"];
        succeed(&[&told[..], &["--out", text(&out)]].concat());
        // Half of 24 images, four a step.
        let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(last["step"].as_u64(), Some(3));
        fs::read(out.join("last.safetensors")).unwrap()
    };
    assert!(train("0") != train("1"));
    let none = resnet(&["train", "--recipe", text(&recipe), "--rank", "2", "--world-size", "2", "--out", "x"]);
    assert_refused(&none, &["rank", "0 to 1"]);
    assert_refused(&resnet(&["train", "--dataset", "shards:nowhere"]), &["nowhere"]);
    assert_refused(&resnet(&["train", "--recipe", "a3"]), &["--data-dir"]);
}

#[test]
fn shards_are_loaded_and_the_memory_told() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), false);
    let name = format!("shards:{}", folder.path().display());
    let load = ["bench", "load", "--data", &name, "--batch-size", "8", "--image-size", "16", "--steps", "1"];
    let found = json(&load);
    assert_eq!(found[0]["images"].as_u64(), Some(24));
    if cfg!(target_os = "linux") {
        assert!(found[0]["memory_most"].as_f64().unwrap() >= found[0]["memory_begun"].as_f64().unwrap());
    }
}
