//! Weights as other projects write them, through the program.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::{Run, assert_refused, resnet, succeed, text, write_folder, write_png};
use resnet_models::{Parameters, weights};

/// Seeded weights of a network under other names; where the name is nothing the tensor is left out.
fn tensors(arch: &str, seed: u64, rename: impl Fn(&str) -> Option<String>) -> Vec<(String, Tensor)> {
    let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
    resnet_models::create(arch, parameters.builder(), Some(3)).unwrap();
    let named = parameters.named().into_iter();
    named.filter_map(|(name, var)| Some((rename(&name)?, var.as_tensor().clone()))).collect()
}

fn same(name: &str) -> Option<String> {
    Some(name.to_owned())
}

fn headless(name: &str) -> Option<String> {
    (!name.starts_with("fc.")).then(|| name.to_owned())
}

fn write(folder: &Path, name: &str, tensors: &[(String, Tensor)]) -> PathBuf {
    let path = folder.join(name);
    weights::save_torch(&path, tensors).unwrap();
    path
}

fn extra(name: &str, dims: &[usize]) -> (String, Tensor) {
    (name.to_owned(), Tensor::ones(dims, DType::F32, &Device::Cpu).unwrap())
}

fn picture(folder: &Path) -> PathBuf {
    let path = folder.join("a.png");
    write_png(&path, 3);
    path
}

fn predict(weights: &Path, picture: &Path, more: &[&str]) -> Run {
    let flags = ["predict", "--arch", "resnet20", "--weights", text(weights), "--json", "--logits", text(picture)];
    resnet(&[&flags[..], more].concat())
}

#[test]
fn weights_without_a_head_embed_and_do_not_predict() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    let full = write(here, "full.pth", &tensors("resnet20", 1, same));
    let backbone = write(here, "backbone.pth", &tensors("resnet20", 1, headless));
    let embed = |weights: &Path, name: &str| {
        let out = here.join(name);
        succeed(&["embed", "--arch", "resnet20", "--weights", text(weights), "--output", text(&out), text(&picture)]);
        std::fs::read(out).unwrap()
    };
    assert_eq!(embed(&full, "full.npy"), embed(&backbone, "backbone.npy"));
    assert_refused(&predict(&backbone, &picture, &[]), &["backbone.pth", "no head", "embed", "finetune"]);
    let data = here.join("data");
    write_folder(&data);
    let eval = ["eval", "--arch", "resnet20", "--weights", text(&backbone), "--dataset"];
    assert_refused(&resnet(&[&eval[..], &[&format!("folder:{}", text(&data))]].concat()), &["no head"]);
    let onnx = here.join("features.onnx");
    let export = ["export", "--arch", "resnet20", "--weights", text(&backbone), "--onnx", text(&onnx)];
    assert!(succeed(&export).contains("`features`"));
    let run = here.join("run");
    let finetune = ["finetune", "--arch", "resnet20", "--weights", text(&backbone), "--data", text(&data)];
    let short = ["--head-epochs", "1", "--epochs", "0", "--out", text(&run), "--device", "cpu"];
    let run = resnet(&[&finetune[..], &short].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn the_query_encoder_is_found_and_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    let under = |prefix: &'static str| move |name: &str| headless(name).map(|name| format!("{prefix}{name}"));
    let mut moco = tensors("resnet20", 1, under("module.encoder_q."));
    moco.extend(tensors("resnet20", 2, under("module.encoder_k.")));
    moco.extend([extra("module.queue", &[8, 9]), extra("module.encoder_q.fc.0.weight", &[64, 64])]);
    moco.extend([extra("module.encoder_q.fc.2.weight", &[8, 64])]);
    let moco = write(here, "moco.pth.tar", &moco);
    let run = predict(&moco, &picture, &[]);
    assert_refused(&run, &["no head", "2 layers"]);
    let embed = |more: &[&str], name: &str| {
        let out = here.join(name);
        let flags = ["embed", "--arch", "resnet20", "--weights", text(&moco), "--output", text(&out), text(&picture)];
        let run = resnet(&[&flags[..], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains("left alone") && run.stderr.contains("module.queue"), "{run:?}");
        (std::fs::read(out).unwrap(), run.stderr)
    };
    let (query, said) = embed(&[], "q.npy");
    assert!(said.contains("--prefix module.encoder_k"), "{said}");
    assert_ne!(query, embed(&["--prefix", "module.encoder_k"], "k.npy").0);
    let plain = here.join("plain.safetensors");
    let run = resnet(&["convert", text(&moco), text(&plain)]);
    assert!(run.code == Some(0) && run.stderr.contains("left alone"), "{run:?}");
    let clean = weights::load(&plain).unwrap();
    assert!(clean.tensors.keys().all(|name| !name.contains("encoder")) && clean.left.is_empty());
}

#[test]
fn losses_beside_the_network_and_heads_in_a_sequence_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    let expected = predict(&write(here, "plain.pth", &tensors("resnet20", 1, same)), &picture, &[]);
    assert_eq!((expected.code, expected.stderr.as_str()), (Some(0), ""));
    let mut lightning = tensors("resnet20", 1, |name| Some(format!("model.{name}")));
    lightning.push(extra("criterion.weight", &[3]));
    let run = predict(&write(here, "lightning.ckpt", &lightning), &picture, &[]);
    assert_eq!(run.stdout, expected.stdout);
    assert!(run.stderr.contains("left alone: 1 tensor of criterion.weight"), "{run:?}");
    let wrapped = tensors("resnet20", 1, |name| Some(format!("timm_model.{name}")));
    assert_eq!(predict(&write(here, "wrapped.pth", &wrapped), &picture, &[]).stdout, expected.stdout);
    let sequence = tensors("resnet20", 1, |name| Some(name.replace("fc.", "fc.1.")));
    assert_eq!(predict(&write(here, "sequence.pth", &sequence), &picture, &[]).stdout, expected.stdout);
}

#[test]
fn shards_are_joined_and_one_alone_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    let whole = tensors("resnet20", 1, same);
    let expected = predict(&write(here, "plain.pth", &whole), &picture, &[]).stdout;
    for (ending, safe) in [("safetensors", true), ("bin", false)] {
        let folder = here.join(ending);
        std::fs::create_dir(&folder).unwrap();
        let stem = if safe { "model" } else { "pytorch_model" };
        let mut map = BTreeMap::new();
        for (i, part) in whole.chunks(whole.len().div_ceil(2)).enumerate() {
            let name = format!("{stem}-{:05}-of-00002.{ending}", i + 1);
            if safe {
                weights::save(folder.join(&name), part, &BTreeMap::new()).unwrap();
            } else {
                weights::save_torch(folder.join(&name), part).unwrap();
            }
            part.iter().for_each(|(tensor, _)| drop(map.insert(tensor.clone(), name.clone())));
        }
        let index = folder.join(format!("{stem}.{ending}.index.json"));
        std::fs::write(&index, serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
        for named in [index.as_path(), &folder] {
            let run = predict(named, &picture, &[]);
            assert_eq!((run.code, &run.stdout), (Some(0), &expected), "{run:?}");
        }
        let config = r#"{"architecture": "resnet20", "num_classes": 3}"#;
        std::fs::write(folder.join("config.json"), config).unwrap();
        let run = resnet(&["predict", "--hub", text(&folder), "--image-size", "32", "--json", text(&picture)]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let alone = folder.join(format!("{stem}-00001-of-00002.{ending}"));
        assert_refused(&predict(&alone, &picture, &[]), &["part 1 of 2", "index"]);
    }
}

#[test]
fn grey_networks_take_pictures_as_grey_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    let with = |channels: usize| {
        let mut all = tensors("resnet20", 1, same);
        let stem = all.iter_mut().find(|(name, _)| name == "conv1.weight").unwrap();
        stem.1 = Tensor::ones((16, channels, 3, 3), DType::F32, &Device::Cpu).unwrap();
        write(here, &format!("{channels}.pth"), &all)
    };
    let run = predict(&with(1), &picture, &["--mean", "0.5", "--std", "0.25"]);
    assert!(run.code == Some(0) && run.stderr.contains("1 channel"), "{run:?}");
    assert_refused(&predict(&with(4), &picture, &[]), &["4 channels", "forward"]);
}

#[test]
fn files_that_are_no_weights_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (here, picture) = (folder.path(), picture(folder.path()));
    for (bytes, word) in [
        (&b"\x08\x08\x12\x07pytorch\x1a\x052.3.0"[..], "ONNX"),
        (b"\x89HDF\r\n\x1a\n\0\0", "Keras"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"{\"error\":\"Repository not found\"}", "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\x81\xa6params\x81\xa5conv1\xc0", "Flax"),
        (b"", "empty"),
    ] {
        let path = here.join("weights.pth");
        std::fs::write(&path, bytes).unwrap();
        assert_refused(&predict(&path, &picture, &[]), &["weights.pth", word]);
    }
}
