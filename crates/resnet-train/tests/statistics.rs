//! Batch-norm statistics taken anew are those of the data set.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use resnet_data::{Loader, LoaderConfig, Normalize, Split, Transform, shapes};
use resnet_models::{Parameters, create};
use resnet_train::trainer::{Silent, reestimate_statistics};

#[test]
fn statistics_are_the_means_over_the_whole_set() {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let network = create("resnet20", parameters.builder(), Some(10)).unwrap();
    let transform = Transform::plain(Normalize::channel([0.5; 3], [0.25; 3])).unwrap();
    // Batches of 16, 16 and 8: the last counts half.
    let config = LoaderConfig { batch_size: 16, ..LoaderConfig::default() };
    let loader = Loader::new(Arc::new(shapes(Split::Train, 40, 0)), transform, config).unwrap();
    let weight = parameters.get("conv1.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    reestimate_statistics(&network, &loader, &Device::Cpu, &mut Silent).unwrap();

    let graph = network.graph();
    let norm = graph.nodes().iter().find(|node| node.name == "bn1").unwrap();
    let convolution = graph.subgraph_to(norm.inputs[0]);
    let maps: Vec<Tensor> =
        loader.epoch(0, 0).map(|b| convolution.forward_t(&b.unwrap().images, false).unwrap()).collect();
    let all = Tensor::cat(&maps, 0).unwrap();
    let want: Vec<f32> = all.mean((0, 2, 3)).unwrap().to_vec1().unwrap();
    let values = |name: &str| parameters.get(name).unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in values("bn1.running_mean").iter().zip(&want) {
        assert!((got - want).abs() < 1e-4, "{got}, not {want}");
    }
    // Nothing else has changed, and a second time nothing does.
    assert_eq!(parameters.get("conv1.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), weight);
    let (mean, variance) = (values("layer3.2.bn2.running_mean"), values("layer3.2.bn2.running_var"));
    assert!(variance.iter().all(|v| *v > 0.0 && *v != 1.0), "{variance:?}");
    reestimate_statistics(&network, &loader, &Device::Cpu, &mut Silent).unwrap();
    assert_eq!((values("layer3.2.bn2.running_mean"), values("layer3.2.bn2.running_var")), (mean, variance));
}
