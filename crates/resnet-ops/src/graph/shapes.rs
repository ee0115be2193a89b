//! Shape inference.

use candle_core::{Result, bail};

use super::{Graph, Op, noise};

/// Channels, rows and columns of a value, without the batch; vectors (N, C) have one row and one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MapShape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl MapShape {
    /// Values an image: channels × rows × columns.
    pub fn count(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl Graph {
    /// The shape of every value for an input of the given one.
    ///
    /// # Errors
    /// If an operation does not fit its inputs; the message names it.
    pub fn shapes(&self, input: MapShape) -> Result<Vec<MapShape>> {
        let mut shapes: Vec<MapShape> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(inputs) = node.inputs.iter().map(|v| shapes.get(v.0).copied()).collect::<Option<Vec<_>>>() else {
                bail!("graph: node {i} reads a value that is not there yet")
            };
            let shape = match infer(&node.op, &inputs, input) {
                Ok(shape) => shape,
                Err(error) if node.name.is_empty() => return Err(error),
                Err(error) => bail!("{}: {error}", node.name),
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }
}

fn infer(op: &Op, inputs: &[MapShape], input: MapShape) -> Result<MapShape> {
    Ok(match (op, inputs) {
        (Op::Input, []) => input,
        (Op::Given(map), []) => {
            let (_, channels, height, width) = map.dims4()?;
            MapShape { channels, height, width }
        }
        (Op::Conv { weight, config, .. }, &[x]) => {
            let (o, cg, kh, kw) = weight.dims4()?;
            if cg * config.groups != x.channels {
                bail!("a weight {:?} in {} groups does not fit {} channels", weight.dims(), config.groups, x.channels);
            }
            let (height, width) = config.output_size((x.height, x.width), (kh, kw))?;
            MapShape { channels: o, height, width }
        }
        (Op::Norm(p), &[x]) => {
            if p.running_mean.dims() != [x.channels] {
                bail!("batch_norm: statistics {:?} do not fit {} channels", p.running_mean.dims(), x.channels);
            }
            x
        }
        (Op::Relu, &[x]) => x,
        (Op::Add, &[a, b]) => {
            if a != b {
                bail!("add: {a:?} and {b:?} differ");
            }
            a
        }
        (Op::MaxPool(config), &[x]) => {
            let (height, width) = config.output_size((x.height, x.width))?;
            MapShape { channels: x.channels, height, width }
        }
        (Op::GlobalAvgPool, &[x]) => MapShape { channels: x.channels, height: 1, width: 1 },
        (Op::Linear { weight, .. }, &[x]) => {
            let (o, i) = weight.dims2()?;
            if (x.channels, x.height, x.width) != (i, 1, 1) {
                bail!("linear: a weight {:?} does not fit {x:?}", weight.dims());
            }
            MapShape { channels: o, height: 1, width: 1 }
        }
        (Op::Subsample { stride }, &[x]) => {
            if stride.0 == 0 || stride.1 == 0 {
                bail!("subsample: a stride of 0");
            }
            MapShape { height: x.height.div_ceil(stride.0), width: x.width.div_ceil(stride.1), ..x }
        }
        (Op::PadChannels { before, after }, &[x]) => MapShape { channels: x.channels + before + after, ..x },
        (Op::Affine { .. } | Op::Sigmoid, &[x]) => x,
        (Op::Mul, &[a, b]) => {
            let fits = (b.channels == a.channels || b.channels == 1) && (b.height, b.width) == (a.height, a.width);
            if !fits && (b.channels, b.height, b.width) != (a.channels, 1, 1) {
                bail!("mul: a gate {b:?} does not fit {a:?}");
            }
            a
        }
        (Op::Dropout { rate, .. }, &[x]) => {
            noise::check_rate(*rate)?;
            x
        }
        (Op::AvgPool(config), &[x]) => {
            let (height, width) = config.output_size((x.height, x.width))?;
            MapShape { height, width, ..x }
        }
        (Op::GroupNorm { weight, bias, groups, .. }, &[x]) => {
            if [weight.dims(), bias.dims()] != [[x.channels]; 2] || *groups == 0 || x.channels % groups != 0 {
                bail!("group_norm: a scale {:?} in {groups} groups does not fit {x:?}", weight.dims());
            }
            x
        }
        (Op::BlurPool { stride }, &[x]) => {
            if x.height < 2 || x.width < 2 || *stride == 0 {
                bail!("blur_pool2d: needs two rows and columns and a stride, got {x:?} and {stride}");
            }
            MapShape { height: x.height.div_ceil(*stride), width: x.width.div_ceil(*stride), ..x }
        }
        (Op::ChannelConv { weight }, &[x]) => {
            let (a, b, k) = weight.dims3()?;
            if (a, b, k % 2) != (1, 1, 1) || (x.height, x.width) != (1, 1) {
                bail!("channel_conv: a kernel {:?} does not fit {x:?}", weight.dims());
            }
            x
        }
        (Op::ZeroPad { padding }, &[x]) => {
            MapShape { height: x.height + 2 * padding.0, width: x.width + 2 * padding.1, ..x }
        }
        (Op::DivideBySpread { groups, .. }, &[x]) => {
            if *groups == 0 || x.channels % groups != 0 {
                bail!("divide_by_spread: {groups} groups do not fit {x:?}");
            }
            x
        }
        (Op::ChannelAffine { .. } | Op::ChannelFloor { .. }, &[x]) => {
            if op.parameters().into_iter().flatten().any(|p| p.dims() != [x.channels]) {
                bail!("{op:?} does not fit {x:?}");
            }
            x
        }
        (op, inputs) => bail!("{op:?} does not take {} inputs", inputs.len()),
    })
}
