use super::*;
use crate::Fit;

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<Option<ModelCard>, BadCard> {
    ModelCard::read(&metadata(pairs))
}

/// As the trainer and the fine-tuning of version 0.1 wrote it.
#[test]
fn cards_of_version_0_are_read() {
    let trained = [
        ("arch", "resnet20"),
        ("classes", r#"["circle","ring"]"#),
        ("dataset", "shapes"),
        ("division", r#"{"rule":{"kind":"share","seed":4,"share":0.2},"held_back":14695981039346656037}"#),
        ("format", "pt"),
        ("network", r#"{"shortcut":"c","classes":2}"#),
        ("normalize", r#"{"kind":"channel","mean":[0.485,0.456,0.406],"std":[0.25,0.25,0.25]}"#),
        (
            "preprocessing",
            r#"{"size":32,"crop":1.0,"interpolation":"bicubic","mean":[0.5,0.5,0.5],"std":[0.25,0.25,0.25]}"#,
        ),
        ("step", "2340"),
    ];
    let card = read(&trained).unwrap().unwrap();
    let network = card.network.as_ref().unwrap();
    assert_eq!((network.name.as_str(), network.block.shortcut), ("resnet20", crate::ShortcutKind::C));
    assert_eq!(card.classes.as_ref().unwrap(), &["circle", "ring"]);
    let pictures = card.preprocessing.unwrap();
    assert_eq!((pictures.size, pictures.fit, pictures.std), (32, Fit::Crop, [0.25; 3]));
    assert_eq!(card.outputs, None);
    assert_eq!((card.training.step, card.training.dataset.as_deref()), (Some(2340), Some("shapes")));
    let division: serde_json::Value = card.training.split.clone().unwrap().read().unwrap();
    assert_eq!(division["held_back"], 14_695_981_039_346_656_037_u64);
    assert!(card.other.is_empty());
    // Written again it says the same, in the form of today.
    let again = card.metadata().unwrap();
    assert_eq!((again["model_card"].as_str(), again["normalize"].as_str()), ("1", trained[6].1));
    assert_eq!(ModelCard::read(&again).unwrap().unwrap(), card);

    // Fine-tuned: the whole network, with fields that have other names today.
    let tuned = [
        ("arch", "seresnet"),
        ("classes", r#"["a"]"#),
        ("config", r#"{"name":"seresnet","entry_reduction":2,"attention_inside":true,"classes":1}"#),
        ("normalize", "{}"),
        ("pretrained", "timm/resnet50.a1_in1k"),
    ];
    let card = read(&tuned).unwrap().unwrap();
    let network = card.network.unwrap();
    assert_eq!((network.reduce_first, network.block.attn_last, network.classes), (2, false, 1));
    assert_eq!(card.training.pretrained.as_deref(), Some("timm/resnet50.a1_in1k"));
}

/// The metadata of `resnet train` and of `resnet finetune` before there was a version.
#[test]
fn files_without_a_version_say_what_they_said() {
    let files: Vec<BTreeMap<String, String>> = serde_json::from_str(include_str!("version_0.json")).unwrap();
    let cards: Vec<ModelCard> = files.iter().map(|file| ModelCard::read(file).unwrap().unwrap()).collect();
    let [trained, tuned] = &cards[..] else { panic!("{} files", cards.len()) };
    assert_eq!(trained.network, crate::config("resnet20").ok());
    assert_eq!(tuned.network, crate::config("resnet20").ok().map(|config| config.with_classes(2)));
    assert_eq!((trained.training.step, tuned.training.pretrained.as_deref()), (Some(2), Some("last.safetensors")));
    assert_eq!(tuned.classes.as_ref().unwrap(), &["a", "b"]);
    for (file, card) in files.iter().zip(&cards) {
        let again = card.metadata().unwrap();
        assert_eq!(ModelCard::read(&again).unwrap().as_ref(), Some(card));
        assert!(file.keys().all(|key| again[key] == file[key]), "{again:?}");
    }
}

#[test]
fn everything_comes_back() {
    let config = crate::config("resnet50").unwrap().with_classes(1);
    let training = Training {
        dataset: Some("folder:photos".into()),
        normalize: Some(Json::of(&[0.1_f32]).unwrap()),
        seed: Some(u64::MAX),
        epoch: Some(3),
        program: Some("mine 1.0".into()),
        ..Training::default()
    };
    let card = ModelCard::new(&config).with_classes(["no", "yes"]).with_outputs(Outputs::Binary);
    let mut card = card.with_preprocessing(Preprocessing::default()).with_training(training);
    card.other = metadata(&[("author", "me"), ("license", "MIT")]);
    let written = card.metadata().unwrap();
    assert_eq!(written["normalize"], "[0.1]");
    assert_eq!(ModelCard::read(&written).unwrap().unwrap(), card);
    assert!(written.keys().all(|key| KEYS.contains(&key.as_str()) || card.other.contains_key(key)));
    // A card that says nothing of the network is one, too.
    let empty = ModelCard::default().metadata().unwrap();
    assert_eq!(ModelCard::read(&empty).unwrap().unwrap(), ModelCard::default());
}

#[test]
fn other_programs_metadata_is_no_card() {
    for pairs in [
        &[][..],
        &[("format", "pt")],
        &[("arch", "resnet20"), ("classes", "10")],
        &[("model_card", "A ResNet for flowers"), ("arch", "x")],
        &[("model_card", "0")],
    ] {
        assert_eq!(read(pairs), Ok(None), "{pairs:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_its_key() {
    for (pairs, words) in [
        (&[("model_card", "2")][..], &["\"model_card\": 2 is a newer version than 1"][..]),
        (&[("model_card", "1"), ("config", r#"{"global_pol":"max"}"#)], &["\"config\"", "no field \"global_pol\""]),
        (&[("model_card", "1"), ("config", r#"{"stem":"x\ny"}"#)], &["\"config\"", "`x\\ny`"]),
        (&[("model_card", "1"), ("arch", "resnet21")], &["\"arch\": unknown network 'resnet21'"]),
        (&[("model_card", "1"), ("outputs", r#""seven_of""#)], &["\"outputs\"", "any_of"]),
        (&[("model_card", "1"), ("classes", "[1]")], &["\"classes\""]),
        (&[("model_card", "1"), ("step", "-3")], &["\"step\""]),
    ] {
        let error = read(pairs).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)) && error.lines().count() == 1, "{pairs:?}: {error}");
        assert!(error.len() < 400, "{error}");
    }
    let two = ModelCard::new(&Config::default()).with_classes(["a", "b"]);
    assert_eq!(two.metadata().unwrap_err().to_string(), "its metadata \"classes\": 2 names for 1000 classes");
    let none = ModelCard::new(&Config { stem_channels: 0, ..Config::default() });
    assert!(none.metadata().unwrap_err().to_string().contains("`stem_channels`"));
}
