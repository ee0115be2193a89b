//! Small networks that have the engine's operations in them.

use resnet_ops::graph::{DropUnit, Spread};
use resnet_ops::{ConvConfig, GraphBuilder, NodeId, PoolConfig};

use super::support::Vars;

/// One of the rarer operations with convolutions and norms on both sides, so that it meets views and statistics.
pub fn between_convolutions(g: &mut GraphBuilder, v: &mut Vars, c: usize, n: usize, kind: usize) -> NodeId {
    let weight = v.var(&[c, 3, 3, 3]);
    let y = g.conv("before", g.input(), &weight, None, ConvConfig::square(1, 1));
    let y = g.norm("bn1", y, &v.norm(c));
    let x = g.relu(y);
    let pixel_weight = v.var(&[1, c, 1, 1]);
    let gate_weight = v.var(&[c, c, 1, 1]);
    let channel_weight = v.var(&[1, 1, 3]);
    let (scale, shift) = (v.var(&[c]), v.var(&[c]));
    let y = match kind {
        0 => g.affine(x, -0.5, 1.),
        1 => g.sigmoid(y),
        2 => g.mul(x, y),
        3 => g.mul(x, x),
        4 => g.dropout(x, 0.4, DropUnit::Value),
        5 => g.dropout(y, 0.4, DropUnit::Image),
        6 => {
            // Squeeze and excitation, whose pool and product read one view.
            let s = g.global_avg_pool("squeeze", y);
            let s = g.conv("excite", s, &gate_weight, Some(&shift), ConvConfig::default());
            let s = g.sigmoid(s);
            g.mul(y, s)
        }
        7 => {
            let s = g.global_avg_pool("squeeze", x);
            let s = g.channel_conv("eca", s, &channel_weight);
            let s = g.sigmoid(s);
            g.mul(x, s)
        }
        8 => {
            let s = g.conv("pixels", x, &pixel_weight, None, ConvConfig::default());
            let s = g.sigmoid(s);
            g.mul(x, s)
        }
        9 => g.group_norm("gn", x, (&scale, &shift), 2, 1e-5),
        10 => g.blur_pool("blur", x, 2),
        11 => g.divide_by_spread("deviation", y, Spread::Deviation, 2, 1e-3),
        12 => g.divide_by_spread("rms", x, Spread::RootMeanSquare, c, 1e-3),
        13 => {
            let y = g.channel_affine("scaled", y, &scale, None);
            g.channel_floor("floor", y, &shift)
        }
        _ => {
            let y = g.zero_pad(y, (1, 2));
            g.max_pool("pool", y, PoolConfig::square(3, 2, 0))
        }
    };
    // What this kind has no use for still gets a gradient.
    let used = g.standardized_conv("gates", y, &gate_weight, 1e-8, ConvConfig::default());
    let s = g.conv("s", used, &pixel_weight, None, ConvConfig::default());
    let used = g.mul(used, s);
    let used = g.group_norm("last", used, (&scale, &shift), 2, 1e-3);
    let used = g.channel_affine("affine", used, &scale, Some(&shift));
    let y = g.global_avg_pool("avg", used);
    let y = g.channel_conv("eca", y, &channel_weight);
    let rest = g.constant(&v.var(&[n, c, 1, 1]));
    g.add(y, rest)
}

/// Original or pre-activation order, shortcut A or B.
pub fn residual_block(g: &mut GraphBuilder, v: &mut Vars, c: usize, o: usize, stride: usize, kind: usize) -> NodeId {
    let three = |stride| ConvConfig::square(stride, 1);
    let (pre, projection) = (kind % 2 == 1, kind / 2 == 1);
    // A convolution in front, so that the block's input is a value of the engine's own.
    let stem = v.var(&[c, c, 1, 1]);
    let x = g.conv("stem", g.input(), &stem, None, ConvConfig::default());
    let shortcut = |g: &mut GraphBuilder, v: &mut Vars, x: NodeId| {
        if projection {
            let weight = v.var(&[o, c, 1, 1]);
            let y = g.conv("down", x, &weight, None, ConvConfig::square(stride, 0));
            if pre { y } else { g.norm("downbn", y, &v.norm(o)) }
        } else {
            let y = g.subsample(x, (stride, stride));
            g.pad_channels(y, (o - c) / 2, o - c - (o - c) / 2)
        }
    };
    let sum = if pre {
        let y = g.norm("bn1", x, &v.norm(c));
        let y = g.relu(y);
        let weight = v.var(&[o, c, 3, 3]);
        let y = g.conv("conv1", y, &weight, None, three(stride));
        let around = shortcut(g, v, x);
        g.add(y, around)
    } else {
        let weight = v.var(&[o, c, 3, 3]);
        let y = g.conv("conv1", x, &weight, None, three(stride));
        let y = g.norm("bn1", y, &v.norm(o));
        let y = g.relu(y);
        let weight = v.var(&[o, o, 3, 3]);
        let y = g.conv("conv2", y, &weight, None, three(1));
        let y = g.norm("bn2", y, &v.norm(o));
        let around = shortcut(g, v, x);
        let y = g.add(y, around);
        g.relu(y)
    };
    let y = g.norm("last", sum, &v.norm(o));
    let y = g.relu(y);
    let y = g.global_avg_pool("pool", y);
    let (weight, bias) = (v.var(&[5, o]), v.var(&[5]));
    g.linear("fc", y, &weight, Some(&bias))
}
