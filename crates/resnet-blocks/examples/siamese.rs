//! A Siamese network on residual blocks: do two pictures show the same kind of stripes?
//!
//! Both pictures of a pair go through one trunk of four blocks; pairs of one kind are drawn together, others pushed
//! apart (Hadsell et al. 2006, eq. 4). Run it with
//!
//! ```sh
//! cargo run -p resnet-blocks --example siamese
//! ```

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Optimizer, SGD};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use resnet_blocks::{BlockConfig, Conv2d, GlobalAvgPool2d, Layer, Linear, Norm2d, Parameters, ResidualBlock};
use resnet_ops::{Graph, NodeId};

const SIZE: usize = 16;
const PAIRS: usize = 32;

/// Stem, four blocks, mean over the pixels, embedding (N, 8): one graph, run as one fused operation.
fn trunk(parameters: &Parameters) -> Result<Graph> {
    let vb = parameters.builder();
    let mut graph = Graph::builder();
    let x = Conv2d::new(1, 16, 3, 1, vb.pp("conv1"))?.append(&mut graph, NodeId::default());
    let x = Norm2d::new(16, vb.pp("bn1"))?.append(&mut graph, x);
    let mut x = graph.relu(x);
    let configs = [
        BlockConfig::basic(16, 16),
        BlockConfig::basic(16, 32).with_stride(2),
        BlockConfig::bottleneck(32, 64).with_stride(2),
        BlockConfig::bottleneck(64, 64),
    ];
    for (i, config) in configs.iter().enumerate() {
        x = ResidualBlock::new(config, vb.pp("blocks").pp(i))?.append(&mut graph, x);
    }
    let x = GlobalAvgPool2d::new(vb.pp("pool")).append(&mut graph, x);
    let x = Linear::new(64, 8, vb.pp("embedding"))?.append(&mut graph, x);
    Ok(graph.finish(x))
}

/// Horizontal (kind 0) or vertical (kind 1) stripes of random width and phase, with noise.
fn stripes(kind: bool, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (width, phase) = (rng.random_range(2..5), rng.random_range(0..8));
    let pixel = |i: usize| if kind { i % SIZE } else { i / SIZE };
    (0..SIZE * SIZE).map(|i| ((pixel(i) + phase) / width % 2) as f32 - 0.5 + rng.random_range(-0.5..0.5)).collect()
}

/// Two batches (PAIRS, 1, SIZE, SIZE), and for each pair 1 if both are of one kind, else 0.
fn pairs(rng: &mut ChaCha8Rng) -> Result<(Tensor, Tensor, Tensor)> {
    let (mut left, mut right, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let kinds: (bool, bool) = (rng.random(), rng.random());
        left.extend(stripes(kinds.0, rng));
        right.extend(stripes(kinds.1, rng));
        same.push(if kinds.0 == kinds.1 { 1f32 } else { 0. });
    }
    let batch = |values| Tensor::from_vec(values, (PAIRS, 1, SIZE, SIZE), &Device::Cpu);
    Ok((batch(left)?, batch(right)?, Tensor::new(same, &Device::Cpu)?))
}

/// Euclidean distance of the two embeddings of each pair, (PAIRS).
fn distances(trunk: &Graph, left: &Tensor, right: &Tensor, train: bool) -> Result<Tensor> {
    let embeddings = trunk.forward_t(&Tensor::cat(&[left, right], 0)?, train)?;
    let difference = (embeddings.narrow(0, 0, PAIRS)? - embeddings.narrow(0, PAIRS, PAIRS)?)?;
    (difference.sqr()?.sum(1)? + 1e-6)?.sqrt()
}

fn main() -> Result<()> {
    let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
    let trunk = trunk(&parameters)?;
    let variables: Vec<Var> = parameters.trainable().into_iter().map(|(_, var)| var).collect();
    let mut optimizer = SGD::new(variables, 0.05)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for step in 0..=60 {
        let (left, right, same) = pairs(&mut rng)?;
        let distance = distances(&trunk, &left, &right, true)?;
        let apart = (1. - &distance)?.relu()?.sqr()?;
        let loss = ((&same * distance.sqr()?)? + ((1. - &same)? * apart)?)?.mean_all()?;
        optimizer.backward_step(&loss)?;
        if step % 20 == 0 {
            println!("step {step:2}  contrastive loss {:.4}", loss.to_scalar::<f32>()?);
        }
    }
    let (left, right, same) = pairs(&mut rng)?;
    let distance = distances(&trunk, &left, &right, false)?.to_vec1::<f32>()?;
    let right = distance.iter().zip(same.to_vec1::<f32>()?).filter(|&(&d, s)| (d < 0.5) == (s == 1.)).count();
    println!("{right} of {PAIRS} unseen pairs told apart by a distance of 0.5");
    Ok(())
}
