//! Every operation, forward and backward, against the reference.

use proptest::prelude::*;
use resnet_ops::{AvgPoolConfig, ConvConfig, GraphBuilder, PoolConfig};

use super::networks::{between_convolutions, residual_block};
use super::support::{Vars, compare};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn convolution_equals_portable(
        n in 1usize..4, (h, w) in (1usize..14, 1usize..14), groups in 1usize..4, cg in 1usize..20, og in 1usize..40,
        (kh, kw) in (1usize..5, 1usize..5), stride in (1usize..4, 1usize..4), dilation in (1usize..3, 1usize..3),
        pad in (0usize..3, 0usize..3), bias: bool,
    ) {
        let config = ConvConfig {
            stride,
            padding: (pad.0.min(dilation.0 * (kh - 1)), pad.1.min(dilation.1 * (kw - 1))),
            dilation,
            groups,
        };
        prop_assume!(config.output_size((h, w), (kh, kw)).is_ok());
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let weight = v.var(&[og * groups, cg, kh, kw]);
            let bias = bias.then(|| v.var(&[og * groups]));
            g.conv("conv", g.input(), &weight, bias.as_ref(), config)
        };
        compare(&build, &[n, cg * groups, h, w], true);
    }

    #[test]
    fn max_pool_equals_portable(
        n in 1usize..3, c in 1usize..20, (h, w) in (2usize..12, 2usize..12),
        kernel in (1usize..4, 1usize..4), stride in (1usize..4, 1usize..4),
    ) {
        let config = PoolConfig { kernel, stride, padding: (kernel.0 / 2, kernel.1 / 2) };
        prop_assume!(config.output_size((h, w)).is_ok());
        compare(&move |g, _| g.max_pool("pool", g.input(), config), &[n, c, h, w], true);
    }

    #[test]
    fn average_pool_equals_portable(
        n in 1usize..3, c in 1usize..20, (h, w) in (1usize..12, 1usize..12),
        kernel in (1usize..4, 1usize..4), stride in (1usize..4, 1usize..4), pad: bool, ceil: bool,
    ) {
        let padding = if pad { (kernel.0 / 2, kernel.1 / 2) } else { (0, 0) };
        let config = AvgPoolConfig { kernel, stride, padding, ceil };
        prop_assume!(config.output_size((h, w)).is_ok());
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let y = g.norm("bn", g.input(), &v.norm(c));
            let y = g.relu(y);
            g.avg_pool("pool", y, config)
        };
        compare(&build, &[n, c, h, w], n * h * w > 1);
    }

    #[test]
    fn pointwise_operations_and_escapes_equal_portable(
        n in 1usize..4, (h, w) in (2usize..7, 2usize..7), c in 1usize..20, kind in 0usize..15, train: bool,
    ) {
        compare(&move |g, v| between_convolutions(g, v, 2 * c, n, kind), &[n, 3, h, w], train);
    }

    #[test]
    fn a_residual_block_equals_portable(
        n in 1usize..4, (h, w) in (2usize..9, 2usize..9), c in 1usize..36, wide in 0usize..20, stride in 1usize..3,
        kind in 0usize..4, train: bool,
    ) {
        // Of two values a channel batch norm makes ±1, whatever they are: their gradients are differences of rounding.
        prop_assume!(n * h.div_ceil(stride) * w.div_ceil(stride) > 3);
        let build = move |g: &mut GraphBuilder, v: &mut Vars| residual_block(g, v, c, c + wide, stride, kind);
        compare(&build, &[n, c, h, w], train);
    }
}

#[test]
fn norm_add_relu_equals_portable() {
    for (n, c, h, w) in [(1, 1, 3, 2), (2, 17, 5, 5), (3, 32, 4, 7)] {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let y = g.norm("bn", g.input(), &v.norm(c));
            let residual = g.constant(&v.var(&[n, c, h, w]));
            let y = g.add(y, residual);
            g.relu(y)
        };
        for train in [true, false] {
            compare(&build, &[n, c, h, w], train);
        }
    }
}

/// A value that nothing depends on once kept the gradients of what it was made of from coming.
#[test]
fn values_that_are_not_used_change_nothing() {
    let build = |g: &mut GraphBuilder, v: &mut Vars| {
        let x = g.conv("a", g.input(), &v.var(&[4, 3, 1, 1]), None, ConvConfig::default());
        let y = g.conv("b", x, &v.var(&[4, 4, 1, 1]), None, ConvConfig::default());
        let dead = g.add(x, y);
        g.relu(dead);
        y
    };
    compare(&build, &[2, 3, 5, 4], true);
}
