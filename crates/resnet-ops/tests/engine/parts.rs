//! Networks that are cut into parts, for gradients in their middle and for recomputation.

use std::sync::PoisonError;

use candle_core::{DType, Result, Tensor, Var};
use resnet_ops::{Backend, ConvConfig, Graph, NodeId};

use super::support::{ISA, Vars, noise};

/// A network cut in two gives what the whole gives, and looks at no statistics when they are frozen.
#[test]
fn parts_of_a_graph_make_the_whole() -> Result<()> {
    let mut v = Vars::new(DType::F32);
    let mut g = Graph::builder();
    let cut = g.conv("conv", g.input(), &v.var(&[6, 3, 3, 3]), None, ConvConfig::square(1, 1));
    let norm = v.norm(6);
    let y = g.norm("bn", cut, &norm);
    let y = g.relu(y);
    let y = g.add(cut, y);
    let whole = g.finish(y).with_frozen_statistics();
    let x = noise(&[2, 3, 6, 6], 1);
    for backend in [Backend::Auto, Backend::Reference] {
        let whole = whole.clone().with_backend(backend);
        let want = whole.forward_t(&x, true)?;
        let middle = whole.subgraph_to(cut).forward_t(&x, true)?;
        let got = whole.subgraph(cut, y)?.forward_t(&middle, true)?;
        let off = (want - got)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        assert!(off < 1e-5, "{off}");
    }
    assert_eq!(norm.running_mean.to_vec1::<f32>()?, [0.1; 6]);
    assert!(whole.subgraph(y, cut).is_err());
    assert!(whole.subgraph(NodeId::default(), y).is_ok());
    // The sum reads the convolution, from before the norm.
    let norm_only = whole.nodes().iter().position(|node| node.name == "bn").map(|i| &whole.nodes()[i + 1].inputs[0]);
    let error = whole.subgraph(*norm_only.expect("the norm"), y).map(drop).unwrap_err().to_string();
    assert!(error.contains("comes before"), "{error}");
    Ok(())
}

/// Three blocks cut in two or three parts: results, gradients and running statistics are those of the whole, dropout
/// included, and statistics are updated once.
#[test]
fn recomputation_changes_nothing() -> Result<()> {
    let _one_instruction_set = ISA.read().unwrap_or_else(PoisonError::into_inner);
    let run = |cut_at: &[usize], compute: DType| -> Result<(Vec<Tensor>, Tensor)> {
        let mut v = Vars::new(DType::F32);
        let mut g = Graph::builder();
        let mut x = g.conv("stem", g.input(), &v.var(&[5, 3, 3, 3]), None, ConvConfig::square(1, 1));
        let first_norm = v.norm(5);
        let mut ends = Vec::new();
        for _ in 0..3 {
            let norm = if ends.is_empty() { first_norm.clone() } else { v.norm(5) };
            let y = g.norm("bn", x, &norm);
            let y = g.relu(y);
            let y = g.conv("conv", y, &v.var(&[5, 5, 3, 3]), None, ConvConfig::square(1, 1));
            let y = g.dropout(y, 0.3, resnet_ops::graph::DropUnit::Value);
            x = g.add(y, x);
            ends.push(x);
        }
        let y = g.global_avg_pool("pool", x);
        let y = g.linear("fc", y, &v.var(&[4, 5]), None);
        let cuts: Vec<NodeId> = cut_at.iter().map(|&i| ends[i]).collect();
        let graph = g.finish(y).with_compute_dtype(compute).with_recomputation(&cuts);
        graph.dropout_rng().set(3, 17);
        let input = Var::from_tensor(&noise(&[4, 3, 8, 7], 99))?;
        let y = graph.forward_t(input.as_tensor(), true)?;
        let gradients = (&y * noise(y.dims(), 77))?.sum_all()?.backward()?;
        let mut all = vec![y];
        for var in std::iter::once(&input).chain(&v.all) {
            all.push(gradients.get(var.as_tensor()).expect("every variable has a gradient").clone());
        }
        Ok((all, first_norm.running_mean.as_detached_tensor().copy()?))
    };
    for (compute, bound) in [(DType::F32, 2e-5), (DType::BF16, 0.1)] {
        let (whole, statistics) = run(&[], compute)?;
        for cuts in [&[0][..], &[0, 1], &[0, 1, 2], &[2]] {
            let (parts, again) = run(cuts, compute)?;
            let off = (&again - &statistics)?.abs()?.max(0)?.to_scalar::<f32>()?;
            assert!(off < 1e-6, "{cuts:?}: statistics are off by {off}");
            for (i, (a, b)) in whole.iter().zip(&parts).enumerate() {
                let norm = |t: &Tensor| -> Result<f32> { t.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>() };
                let off = norm(&(a - b)?)? / norm(a)?.max(1e-3);
                assert!(off < bound, "{cuts:?}, {compute:?}: result {i} is off by {off}");
            }
        }
    }
    Ok(())
}
