//! Pictures as transformers prepares them: `fixtures/hub/processors.json`, which `processors.py` beside it wrote.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use resnet_data::Image;
use resnet_models::{Config, Network, Outputs, Parameters, Pretrained, from_pretrained, weights};
use serde_json::{Value, json};

/// A folder with a small network of transformers' form and a file about pictures.
fn folder(root: &Path, config: &Value, processor: Option<&Value>) -> Result<Pretrained, resnet_models::Error> {
    let small = json!({"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8, "layer_type": "basic"});
    let mut whole = small.as_object().unwrap().clone();
    whole.extend(config.as_object().unwrap().clone());
    let text = Value::Object(whole).to_string();
    let network = Config::from_transformers(&text).unwrap();
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    Network::new(&network, parameters.builder()).unwrap();
    let tensors: Vec<(String, Tensor)> =
        parameters.named().iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    weights::save(root.join("model.safetensors"), &tensors, &BTreeMap::new()).unwrap();
    std::fs::write(root.join("config.json"), text).unwrap();
    if let Some(processor) = processor {
        // As an editor of Windows saves it.
        let text = serde_json::to_string_pretty(processor).unwrap().replace('\n', "\r\n");
        std::fs::write(root.join("preprocessor_config.json"), format!("\u{feff}{text}")).unwrap();
    }
    from_pretrained(root.to_str().unwrap())
}

#[test]
fn pictures_are_those_of_transformers() {
    let (rows, columns) = (37, 53);
    let mut picture = Image::filled(rows, columns, [0; 3]);
    for (place, byte) in picture.pixels.iter_mut().enumerate() {
        let (y, x, c) = (place / (3 * columns), place / 3 % columns, place % 3);
        *byte = ((y * 7 + x * 13 + c * 61 + (x * y) % 17 * 5) % 256) as u8;
    }
    let golden: Vec<Value> = serde_json::from_str(include_str!("fixtures/hub/processors.json")).unwrap();
    assert_eq!(golden.len(), 13);
    for row in golden {
        let root = tempfile::tempdir().unwrap();
        let loaded = folder(root.path(), &json!({}), Some(&row["file"])).unwrap();
        let tensor = loaded.preprocessing.unwrap().transform().unwrap().tensor(picture.clone()).unwrap();
        let size = row["size"].as_u64().unwrap() as usize;
        assert_eq!(tensor.dims(), [1, 3, size, size], "{row}");
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for place in row["values"].as_array().unwrap() {
            let (found, expected) = (values[place[0].as_u64().unwrap() as usize], place[1].as_f64().unwrap());
            assert!((f64::from(found) - expected).abs() < 1e-3 + 1e-5 * expected.abs(), "{place}: {found} in {row}");
        }
        let (sum, expected) = (values.iter().map(|&value| f64::from(value)).sum::<f64>(), row["sum"].as_f64().unwrap());
        assert!((sum - expected).abs() < 0.05 + 1e-5 * expected.abs(), "{sum} in {row}");
    }
}

#[test]
fn what_the_outputs_mean_is_what_the_configuration_says() {
    let root = tempfile::tempdir().unwrap();
    let names =
        |count: usize| (0..count).map(|i| (i.to_string(), json!(format!("c{i}")))).collect::<serde_json::Map<_, _>>();
    for (classes, problem, expected) in [
        (3, json!(null), Outputs::OneOf),
        (3, json!("single_label_classification"), Outputs::OneOf),
        (3, json!("multi_label_classification"), Outputs::AnyOf),
        (3, json!("regression"), Outputs::Values),
        (1, json!(null), Outputs::Binary),
        (1, json!("single_label_classification"), Outputs::Binary),
        (1, json!("multi_label_classification"), Outputs::Binary),
        (1, json!("regression"), Outputs::Values),
    ] {
        let loaded = folder(root.path(), &json!({"id2label": names(classes), "problem_type": problem}), None).unwrap();
        assert_eq!((loaded.outputs, loaded.classes.unwrap().len()), (expected, classes), "{classes} {problem}");
    }
    // Two names of one output are no and yes.
    let loaded = folder(root.path(), &json!({"id2label": names(2), "num_labels": 1}), None).unwrap();
    assert_eq!((loaded.outputs, loaded.classes.unwrap().len()), (Outputs::Binary, 2));
    // Names that do not fit are none, and their number is told.
    let loaded = folder(root.path(), &json!({"id2label": names(4), "num_labels": 3}), None).unwrap();
    assert_eq!((loaded.classes, loaded.unfitting_names), (None, Some(4)));
    // Gaps are numbered, and what transformers writes for nobody's names is none.
    let gaps = json!({"num_labels": 3, "id2label": {"2": "c", "0": "a"}});
    assert_eq!(folder(root.path(), &gaps, None).unwrap().classes.unwrap(), ["a", "1", "c"]);
    let placeholders = json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}});
    assert_eq!(folder(root.path(), &placeholders, None).unwrap().classes, None);
    let error = folder(root.path(), &json!({"problem_type": "ranking"}), None).err().unwrap().to_string();
    assert!(error.contains("config.json") && error.contains("`problem_type` \"ranking\""), "{error}");
}

/// The metadata of a trainer's file may say it, too; another program's words under the same key are none of ours.
#[test]
fn what_the_outputs_mean_may_stand_in_the_weights() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("mine.safetensors");
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    resnet_models::create("resnet20", parameters.builder(), Some(3)).unwrap();
    let tensors: Vec<(String, Tensor)> =
        parameters.named().iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let load = |more: &[(&str, &str)]| {
        let own = [("arch", "resnet20"), ("classes", r#"["a", "b", "c"]"#), ("normalize", "{}")];
        let metadata = own.iter().chain(more).map(|(key, value)| (key.to_string(), value.to_string())).collect();
        weights::save(&file, &tensors, &metadata).unwrap();
        from_pretrained(file.to_str().unwrap())
    };
    assert_eq!(load(&[]).unwrap().outputs, Outputs::OneOf);
    assert_eq!(load(&[("outputs", r#""any_of""#)]).unwrap().outputs, Outputs::AnyOf);
    let error = load(&[("outputs", r#""seven_of""#)]).err().unwrap().to_string();
    assert!(error.contains("mine.safetensors") && error.contains("outputs"), "{error}");
    // Sizes of pictures have limits here, too.
    let pictures = r#"{"size": 1000000, "crop": 1.0, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}"#;
    let error = load(&[("preprocessing", pictures)]).err().unwrap().to_string();
    assert!(error.contains("mine.safetensors") && error.contains("size: 1000000 is not in 1 to 4096"), "{error}");
}
