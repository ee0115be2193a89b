//! Diagnostics against what the papers derive.

use candle_core::{DType, Device, Tensor};
use resnet_lab::diagnose::{
    Batch, ShatteredConfig, autocorrelation, brown_noise, identity, scaling, shattered, signal, white_noise,
};
use resnet_models::{BlockOptions, Config, Merge, Network, Parameters, create};

fn network(arch: &str) -> (Network, Parameters) {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    (create(arch, parameters.builder(), Some(10)).unwrap(), parameters)
}

fn batch(n: usize) -> Batch {
    let values: Vec<f32> = (0..n * 3 * 1024).map(|i| ((i * 7919 + i / 13) % 255) as f32 / 127.0 - 1.0).collect();
    Batch {
        images: Tensor::from_vec(values, (n, 3, 32, 32), &Device::Cpu).unwrap(),
        labels: Tensor::from_vec((0..n as u32).map(|i| i % 10).collect::<Vec<_>>(), n, &Device::Cpu).unwrap(),
    }
}

/// The chain of blocks gives the gradient that the whole network gives, and looking changes no statistics.
#[test]
fn the_signal_at_the_stem_is_that_of_the_whole_network() {
    for arch in ["resnet20", "plain20", "preact_resnet20"] {
        let (network, parameters) = network(arch);
        let before: Vec<Vec<f32>> = values(&parameters);
        let batch = batch(4);
        let rows = signal(&network, &batch).unwrap();
        assert_eq!(values(&parameters), before, "{arch}");
        assert_eq!(rows.len(), 10);
        assert_eq!((rows[0].block.as_str(), rows[9].block.as_str(), rows[9].depth), ("stem", "layer3.2", 9));

        let graph = network.graph().with_frozen_statistics();
        let stem = graph.subgraph_to(network.stem()).forward_t(&batch.images, true).unwrap();
        let stem = candle_core::Var::from_tensor(&stem.detach()).unwrap();
        let rest = graph.subgraph(network.stem(), graph.output()).unwrap();
        let logits = rest.forward_t(stem.as_tensor(), true).unwrap();
        let loss = candle_nn::loss::cross_entropy(&logits, &batch.labels).unwrap();
        let whole = loss.backward().unwrap().get(stem.as_tensor()).unwrap().sqr().unwrap();
        let whole = f64::from(whole.sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
        assert!((rows[0].gradient / whole - 1.0).abs() < 1e-3, "{arch}: {} and {whole}", rows[0].gradient);
    }
}

fn values(parameters: &Parameters) -> Vec<Vec<f32>> {
    parameters.named().iter().map(|(_, var)| var.flatten_all().unwrap().to_vec1().unwrap()).collect()
}

/// He et al. 2016, equation (5).
#[test]
fn the_gradient_is_the_sum_of_equation_five() {
    let (network, _) = network("preact_resnet32");
    let rows = identity(&network, &batch(2)).unwrap();
    // Four units of each stage have an identity shortcut: the first shares its activation or changes the shape.
    assert_eq!(rows.iter().map(|row| row.units).collect::<Vec<_>>(), [4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1]);
    assert_eq!((rows[0].shallow.as_str(), rows[0].deep.as_str()), ("layer1.0", "layer1.4"));
    for row in &rows {
        assert!(row.difference < 1e-12, "{row:?}");
        assert!(row.through_branches > 0.05 * row.gradient, "the branches carry a part: {row:?}");
    }
    for arch in ["plain20", "resnet20"] {
        let message = identity(&self::network(arch).0, &batch(2)).unwrap_err().to_string();
        assert!(message.contains(arch) && message.contains("preact"), "{message}");
    }
}

/// Every pass of a diagnostic sees the same network, although training would drop other parts in each.
#[test]
fn nothing_is_dropped_while_gradients_are_compared() {
    let preact = resnet_models::config("preact_resnet20").unwrap();
    let depth = Config { drop_path: 0.5, ..preact.clone() };
    let shortcut =
        Config { block: BlockOptions { merge: Merge::Dropout { rate: 0.5 }, ..preact.block }, ..preact.clone() };
    let rows = |config: &Config| {
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        identity(&Network::new(config, parameters.builder()).unwrap(), &batch(2)).unwrap()
    };
    let whole = rows(&preact);
    for dropping in [depth, shortcut] {
        let rows = rows(&dropping);
        assert_eq!(rows.len(), whole.len());
        for (row, whole) in rows.iter().zip(&whole) {
            assert!(row.difference < 1e-12, "{row:?}");
            assert!((row.gradient / whole.gradient - 1.0).abs() < 1e-12, "{row:?} {whole:?}");
        }
    }
}

/// He et al. 2016, equation (8).
#[test]
fn what_passes_the_shortcuts_is_the_product_of_their_factors() {
    let (network, parameters) = network("preact_resnet32");
    for lambda in [0.5, 0.9, 1.0, 1.2] {
        let result = scaling(network.config(), &parameters, lambda, &batch(4)).unwrap();
        assert_eq!(result.rows.iter().map(|row| row.units).collect::<Vec<_>>(), [4, 4, 4]);
        for row in &result.rows {
            assert!((row.measured / row.predicted - 1.0).abs() < 1e-6, "{row:?}");
            assert!(row.with_branches > 1.5 * row.measured, "the branches carry a part: {row:?}");
        }
    }
    for arch in ["plain20", "resnet20"] {
        let (network, parameters) = self::network(arch);
        assert!(scaling(network.config(), &parameters, 0.5, &batch(2)).unwrap_err().is_bad_input(), "{arch}");
    }
    // A factor of 1 changes nothing: what is measured is the given weights' own, a checkpoint's too.
    let moved = parameters.get("layer2.3.conv1.weight").unwrap();
    moved.set(&(moved.as_detached_tensor() * 3.0).unwrap()).unwrap();
    let own = signal(&network, &batch(4)).unwrap();
    for (ours, own) in scaling(network.config(), &parameters, 1.0, &batch(4)).unwrap().signals.iter().zip(&own) {
        assert!((ours.signal / own.signal - 1.0).abs() < 1e-4 && (ours.gradient / own.gradient - 1.0).abs() < 1e-3);
    }
    let message = scaling(network.config(), &Parameters::new(1, DType::F32, &Device::Cpu), 0.5, &batch(2)).unwrap_err();
    assert!(message.to_string().contains("conv1.weight"), "{message}");
}

#[test]
fn autocorrelations_of_known_series() {
    let lags = 10;
    let white = autocorrelation(&white_noise(1, 4096), lags);
    assert!(white[1..].iter().all(|r| r.abs() < 0.06), "{white:?}");
    let brown = autocorrelation(&brown_noise(1, 4096), lags);
    assert!(brown[1..].iter().all(|r| *r > 0.9), "{brown:?}");
    let wave: Vec<f64> = (0..4000).map(|i| (f64::from(i) * std::f64::consts::PI / 4.0).cos()).collect();
    let r = autocorrelation(&wave, 8);
    assert!((r[4] + 1.0).abs() < 0.01 && (r[8] - 1.0).abs() < 0.01 && r[2].abs() < 0.01, "{r:?}");
    assert_eq!(autocorrelation(&[3.0; 5], 2), [0.0; 3]);
}

/// Balduzzi et al. 2017: with depth the gradients of plain networks come to look like white noise, those of residual
/// networks hardly.
#[test]
fn plain_gradients_shatter_with_depth_and_residual_ones_do_not() {
    let config = ShatteredConfig { depths: vec![2, 24], runs: 6, width: 100, ..ShatteredConfig::default() };
    let all = shattered(&config, &mut |_, _| {}).unwrap();
    let at = |kind: &str, depth: usize| {
        let found = all.iter().find(|s| s.name() == kind && s.depth == depth).unwrap();
        assert_eq!((found.autocorrelation.len(), found.example.len()), (16, 256));
        found.autocorrelation[3]
    };
    assert!(at("plain", 2) > 0.6, "{}", at("plain", 2));
    assert!(at("plain", 24) < 0.1, "{}", at("plain", 24));
    let (whole, small) = (at("residual, β = 1", 24), at("residual, β = 0.1", 24));
    assert!(whole > at("plain", 24) + 0.3 && small > whole, "{whole} {small}");
    assert!(at("white noise", 0).abs() < 0.1 && at("brown noise", 0) > 0.8);
    for wrong in [
        ShatteredConfig { depths: vec![], ..config.clone() },
        ShatteredConfig { depths: vec![0], ..config.clone() },
        ShatteredConfig { runs: 0, ..config.clone() },
        ShatteredConfig { points: 5, ..config.clone() },
        ShatteredConfig { width: 0, ..config },
    ] {
        assert!(shattered(&wrong, &mut |_, _| {}).unwrap_err().is_bad_input(), "{wrong:?}");
    }
}
