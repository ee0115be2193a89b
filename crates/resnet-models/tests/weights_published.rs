//! Published CIFAR checkpoints of the legacy form, where the environment variable
//! `RESNET_TEST_DATA` names a folder that has them in `weights/`.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use resnet_models::weights::{Format, load};

#[test]
fn published_cifar_checkpoints() {
    let Some(folder) = std::env::var_os("RESNET_TEST_DATA").map(PathBuf::from) else {
        println!("skipped: RESNET_TEST_DATA is not set");
        return;
    };
    for (file, depth, parameters) in [("resnet20-12fca82f.th", 20, 269_722), ("resnet32-d509ac18.th", 32, 464_154)] {
        let path = folder.join("weights").join(file);
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let read = load(&path).unwrap();
        assert_eq!((read.format, read.entry.as_str()), (Some(Format::TorchLegacy), "state_dict"));
        let accuracy: f64 = read.metadata["best_prec1"].parse().unwrap();
        assert!(accuracy > 91.0, "{accuracy}");

        // conv1 and bn1, two of each in every block, fc; option A's shortcuts have nothing.
        let convolutions = depth - 1;
        assert_eq!(read.tensors.len(), convolutions * 5 + 2);
        assert_eq!(read.tensors["conv1.weight"].dims(), [16, 3, 3, 3]);
        assert_eq!(read.tensors["layer2.0.conv1.weight"].dims(), [32, 16, 3, 3]);
        assert_eq!(read.tensors["layer3.2.bn2.running_var"].dims(), [64]);
        assert_eq!(read.tensors["fc.weight"].dims(), [10, 64]);
        assert_eq!(read.tensors["fc.bias"].dims(), [10]);
        let is_parameter = |name: &&String| !name.contains("running_");
        let counted: usize = read.tensors.keys().filter(is_parameter).map(|name| read.tensors[name].elem_count()).sum();
        assert_eq!(counted, parameters);
        for (name, tensor) in &read.tensors {
            assert_eq!(tensor.dtype(), DType::F32, "{name}");
            let flat: Vec<f32> = tensor.flatten_all().and_then(|t: Tensor| t.to_vec1()).unwrap();
            assert!(flat.iter().all(|value| value.is_finite()), "{name}");
            if name.ends_with("running_var") {
                assert!(flat.iter().all(|&value| value > 0.0), "{name} has variances that are not positive");
            }
        }
    }
}
