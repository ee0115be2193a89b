//! What dropout draws.

use resnet_ops::graph::DropUnit;
use resnet_ops::{Backend, Graph};

use super::support::noise;

#[test]
fn dropout_repeats_from_seed_and_step() {
    let mut graph = Graph::builder();
    let y = graph.dropout(graph.input(), 0.5, DropUnit::Value);
    let graph = graph.finish(y);
    let x = noise(&[2, 3, 8, 8], 1);
    let pass = |graph: &Graph| graph.forward_t(&x, true).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    graph.dropout_rng().set(9, 0);
    let (first, second) = (pass(&graph), pass(&graph));
    assert_ne!(first, second);
    graph.dropout_rng().set(9, 1);
    assert_eq!(second, pass(&graph.clone().with_backend(Backend::Reference)));
    assert_eq!(graph.dropout_rng().step(), 2);
    // What stays is doubled.
    let kept = first.iter().zip(x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    assert!(kept.clone().all(|(&y, x)| y == 0. || y == 2. * x));
    assert!(kept.filter(|(y, _)| **y == 0.).count() > 100);
    let unchanged = (graph.forward_t(&x, false).unwrap() - &x).unwrap().abs().unwrap().sum_all().unwrap();
    assert_eq!(unchanged.to_scalar::<f32>().unwrap(), 0.);
}
