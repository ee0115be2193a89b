//! Images that do not fit a network: the error names the layer and the size, whatever runs it.

use candle_core::{DType, Device, Result, Tensor};
use resnet_models::{Parameters, create};
use resnet_ops::{Backend, Inference};

fn refused(name: &str, dims: [usize; 4], words: &[&str]) -> Result<()> {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let network = create(name, parameters.builder(), Some(3)).unwrap();
    let (graph, x) = (network.graph(), Tensor::zeros(&dims, DType::F32, &Device::Cpu)?);
    let results = [
        graph.forward_t(&x, false),
        graph.forward_t(&x, true),
        graph.clone().with_backend(Backend::Reference).forward_t(&x, false),
        Inference::new(graph)?.forward(&x),
    ];
    for result in results {
        let error = result.map(drop).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)) && error.lines().count() == 1, "{name}: {error}");
    }
    Ok(())
}

#[test]
fn images_that_do_not_fit_are_errors_that_name_the_layer_and_the_size() -> Result<()> {
    refused("resnet18", [2, 4, 64, 64], &["conv1: conv2d: ", "takes 3 channels; the input has 4"])?;
    refused("resnet20", [2, 1, 32, 32], &["conv1: conv2d: ", "takes 3 channels; the input has 1"])?;
    refused("resnetblur18", [2, 3, 1, 1], &["blur_pool2d: 1 rows and 1 columns"])?;
    refused("resnet18", [0, 3, 64, 64], &["images = 0"])?;
    refused("resnet18", [2, 3, 0, 64], &["rows = 0"])?;
    Ok(())
}

/// Down to one pixel, which padding makes enough for a stem and a pooling.
#[test]
fn one_pixel_goes_through_a_stem_with_padding() -> Result<()> {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let network = create("resnet18", parameters.builder(), Some(3)).unwrap();
    let x = Tensor::ones((1, 3, 1, 1), DType::F32, &Device::Cpu)?;
    assert_eq!(network.graph().forward_t(&x, false)?.dims(), [1, 3]);
    assert_eq!(Inference::new(network.graph())?.forward(&x)?.dims(), [1, 3]);
    // Norms of a single value have no statistics.
    let error = network.graph().forward_t(&x, true).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("bn1: batch_norm: training needs more than one value a channel"), "{error}");
    Ok(())
}
