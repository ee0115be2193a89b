//! A graph's operations as ONNX's. Vectors (N, C) stay maps (N, C, 1, 1) until a fully connected layer.

use candle_core::{DType, Device, Result, Tensor};
use resnet_ops::graph::{MapShape, Node, NormParameters, Op, Spread};
use resnet_ops::{AvgPoolConfig, ConvConfig, Graph, reference};

use super::INPUT;
use super::proto::{Attribute, FLOAT, INT64, NodeProto, TensorProto};

/// Nodes and constants under way.
pub(super) struct Nodes {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// The name of each value of the graph.
    names: Vec<String>,
}

/// Nodes and constants; what cannot be said in ONNX as a message.
type Mapped = std::result::Result<(Vec<NodeProto>, Vec<TensorProto>), String>;

impl Nodes {
    /// All operations of a graph for images of that shape.
    pub(super) fn of(graph: &Graph, input: MapShape, result: &str) -> Result<Mapped> {
        let shapes = graph.shapes(input)?;
        let mut out = Self { nodes: Vec::new(), constants: Vec::new(), names: Vec::new() };
        let output = graph.output().index();
        for (i, node) in graph.nodes()[..=output].iter().enumerate() {
            // Names must be told apart: of two alike the second gets its number.
            let taken = node.name.is_empty() || out.names.contains(&node.name);
            let base = if taken { format!("{}value{i}", node.name) } else { node.name.clone() };
            let inputs: Vec<String> = node.inputs.iter().map(|value| out.names[value.index()].clone()).collect();
            let channels = node.inputs.first().map_or(0, |value| shapes[value.index()].channels);
            match out.push(&base, node, &inputs, channels)? {
                Some(name) => out.names.push(name),
                None => return Ok(Err(format!("{base}: ONNX has no such operation"))),
            }
        }
        // A flat result under the promised name; flattening what is flat changes nothing.
        let last = out.names[output].clone();
        out.nodes.push(NodeProto {
            input: vec![last],
            output: vec![result.into()],
            name: result.into(),
            op_type: "Flatten".into(),
            attribute: vec![int("axis", 1)],
        });
        Ok(Ok((out.nodes, out.constants)))
    }

    /// Appends an operation; gives its result's name, or nothing where ONNX lacks it.
    fn push(&mut self, name: &str, node: &Node, inputs: &[String], channels: usize) -> Result<Option<String>> {
        let x = || inputs.first().cloned().unwrap_or_default();
        Ok(Some(match &node.op {
            Op::Input => INPUT.into(),
            Op::Constant(_) => return Ok(None),
            Op::Conv { weight, bias, config, standardize } => {
                let weight = match standardize {
                    Some(eps) => &reference::standardize_weight(weight, *eps)?,
                    None => weight,
                };
                let mut read = vec![x(), self.tensor(&format!("{name}.weight"), weight)?];
                if let Some(bias) = bias {
                    read.push(self.tensor(&format!("{name}.bias"), bias)?);
                }
                self.node(name, "Conv", read, conv(config, weight.dims()))
            }
            Op::Norm(parameters) => self.norm(name, x(), parameters)?,
            Op::Relu => self.node(name, "Relu", vec![x()], Vec::new()),
            Op::Sigmoid => self.node(name, "Sigmoid", vec![x()], Vec::new()),
            Op::Add => self.node(name, "Add", inputs.to_vec(), Vec::new()),
            Op::Mul => self.node(name, "Mul", inputs.to_vec(), Vec::new()),
            Op::Dropout { .. } => self.node(name, "Identity", vec![x()], Vec::new()),
            Op::MaxPool(config) => {
                let attributes = window(config.kernel, config.stride, config.padding);
                self.node(name, "MaxPool", vec![x()], attributes)
            }
            Op::AvgPool(AvgPoolConfig { kernel, stride, padding, ceil }) => {
                let mut attributes = window(*kernel, *stride, *padding);
                attributes.extend([int("ceil_mode", i64::from(*ceil)), int("count_include_pad", 0)]);
                self.node(name, "AveragePool", vec![x()], attributes)
            }
            Op::GlobalAvgPool => self.node(name, "GlobalAveragePool", vec![x()], Vec::new()),
            Op::Linear { weight, bias } => {
                let flat = self.node(&format!("{name}.flat"), "Flatten", vec![x()], vec![int("axis", 1)]);
                let mut read = vec![flat, self.tensor(&format!("{name}.weight"), weight)?];
                if let Some(bias) = bias {
                    read.push(self.tensor(&format!("{name}.bias"), bias)?);
                }
                self.node(name, "Gemm", read, vec![int("transB", 1)])
            }
            Op::Affine { scale, shift } => {
                let factor = self.scalar(&format!("{name}.scale"), *scale)?;
                let scaled = self.node(&format!("{name}.scaled"), "Mul", vec![x(), factor], Vec::new());
                let shift = self.scalar(&format!("{name}.shift"), *shift)?;
                self.node(name, "Add", vec![scaled, shift], Vec::new())
            }
            Op::Subsample { stride: (rows, columns) } => {
                let read = vec![
                    x(),
                    self.integers(&format!("{name}.starts"), &[0, 0]),
                    self.integers(&format!("{name}.ends"), &[i64::MAX, i64::MAX]),
                    self.integers(&format!("{name}.axes"), &[2, 3]),
                    self.integers(&format!("{name}.steps"), &[*rows as i64, *columns as i64]),
                ];
                self.node(name, "Slice", read, Vec::new())
            }
            Op::PadChannels { before, after } => {
                let pads = [0, *before as i64, 0, 0, 0, *after as i64, 0, 0];
                self.pad(name, x(), &pads, "constant")
            }
            Op::ZeroPad { padding: (rows, columns) } => {
                let (rows, columns) = (*rows as i64, *columns as i64);
                self.pad(name, x(), &[0, 0, rows, columns, 0, 0, rows, columns], "constant")
            }
            Op::GroupNorm { weight, bias, groups, eps } => self.group_norm(name, x(), (weight, bias), *groups, *eps)?,
            Op::DivideBySpread { spread, groups, eps } => self.spread(name, x(), *spread, *groups, *eps)?,
            Op::ChannelAffine { weight, bias } => self.channel_affine(name, x(), weight, bias.as_ref())?,
            Op::ChannelFloor { threshold } => {
                let threshold = self.channels(&format!("{name}.threshold"), threshold)?;
                self.node(name, "Max", vec![x(), threshold], Vec::new())
            }
            Op::BlurPool { stride } => {
                let padded = self.pad(&format!("{name}.padded"), x(), &[0, 0, 1, 1, 0, 0, 1, 1], "reflect");
                let taps = [1f32, 2., 1., 2., 4., 2., 1., 2., 1.].map(|tap| tap / 16.);
                let filter = Tensor::new(&taps, &Device::Cpu)?.reshape((1, 1, 3, 3))?.repeat((channels, 1, 1, 1))?;
                let read = vec![padded, self.tensor(&format!("{name}.filter"), &filter)?];
                let config = ConvConfig { groups: channels, ..ConvConfig::square(*stride, 0) };
                self.node(name, "Conv", read, conv(&config, filter.dims()))
            }
            Op::ChannelConv { weight } => {
                // Channels become rows for a moment.
                let swap = || vec![ints("perm", [0, 2, 1, 3])];
                let column = self.node(&format!("{name}.column"), "Transpose", vec![x()], swap());
                let taps = weight.elem_count();
                let read = vec![column, self.tensor(&format!("{name}.weight"), &weight.reshape((1, 1, taps, 1))?)?];
                let config = ConvConfig { padding: (taps / 2, 0), ..ConvConfig::default() };
                let mixed = self.node(&format!("{name}.mixed"), "Conv", read, conv(&config, &[1, 1, taps, 1]));
                self.node(name, "Transpose", vec![mixed], swap())
            }
        }))
    }

    fn norm(&mut self, name: &str, x: String, p: &NormParameters) -> Result<String> {
        let channels = p.running_mean.elem_count();
        let or = |tensor: &Option<Tensor>, value: f32| match tensor {
            Some(tensor) => Ok(tensor.clone()),
            None => Tensor::full(value, channels, &Device::Cpu),
        };
        let read = vec![
            x,
            self.tensor(&format!("{name}.weight"), &or(&p.weight, 1.0)?)?,
            self.tensor(&format!("{name}.bias"), &or(&p.bias, 0.0)?)?,
            self.tensor(&format!("{name}.running_mean"), p.running_mean.as_tensor())?,
            self.tensor(&format!("{name}.running_var"), p.running_var.as_tensor())?,
        ];
        Ok(self.node(name, "BatchNormalization", read, vec![float("epsilon", p.config.eps)]))
    }

    /// Each group as one channel of an instance norm; scale and shift after it.
    fn group_norm(
        &mut self,
        name: &str,
        x: String,
        (weight, bias): (&Tensor, &Tensor),
        groups: usize,
        eps: f64,
    ) -> Result<String> {
        let part = |what: &str| format!("{name}.{what}");
        let shape = self.node(&part("shape"), "Shape", vec![x.clone()], Vec::new());
        let split = self.integers(&part("groups"), &[0, groups as i64, -1]);
        let grouped = self.node(&part("grouped"), "Reshape", vec![x, split], Vec::new());
        let ones = self.tensor(&part("ones"), &Tensor::ones(groups, DType::F32, &Device::Cpu)?)?;
        let zeros = self.tensor(&part("zeros"), &Tensor::zeros(groups, DType::F32, &Device::Cpu)?)?;
        let read = vec![grouped, ones, zeros];
        let normal = self.node(&part("normal"), "InstanceNormalization", read, vec![float("epsilon", eps)]);
        let back = self.node(&part("back"), "Reshape", vec![normal, shape], Vec::new());
        self.channel_affine(name, back, weight, Some(bias))
    }

    /// Each group as one row, over the root of its mean square, of the distances from its mean or of the values.
    fn spread(&mut self, name: &str, x: String, spread: Spread, groups: usize, eps: f64) -> Result<String> {
        let part = |what: &str| format!("{name}.{what}");
        let mean = || vec![ints("axes", [2]), int("keepdims", 1)];
        let shape = self.node(&part("shape"), "Shape", vec![x.clone()], Vec::new());
        let split = self.integers(&part("groups"), &[0, groups as i64, -1]);
        let grouped = self.node(&part("grouped"), "Reshape", vec![x, split], Vec::new());
        let distance = match spread {
            Spread::Deviation => {
                let middle = self.node(&part("mean"), "ReduceMean", vec![grouped.clone()], mean());
                self.node(&part("centred"), "Sub", vec![grouped.clone(), middle], Vec::new())
            }
            Spread::RootMeanSquare => grouped.clone(),
        };
        let square = self.node(&part("square"), "Mul", vec![distance.clone(), distance], Vec::new());
        let power = self.node(&part("power"), "ReduceMean", vec![square], mean());
        let eps = self.scalar(&part("eps"), eps)?;
        let power = self.node(&part("power_eps"), "Add", vec![power, eps], Vec::new());
        let root = self.node(&part("root"), "Sqrt", vec![power], Vec::new());
        let even = self.node(&part("even"), "Div", vec![grouped, root], Vec::new());
        Ok(self.node(name, "Reshape", vec![even, shape], Vec::new()))
    }

    fn channel_affine(&mut self, name: &str, x: String, weight: &Tensor, bias: Option<&Tensor>) -> Result<String> {
        let part = |what: &str| format!("{name}.{what}");
        let weight = self.channels(&part("weight"), weight)?;
        let Some(bias) = bias else { return Ok(self.node(name, "Mul", vec![x, weight], Vec::new())) };
        let scaled = self.node(&part("scaled"), "Mul", vec![x, weight], Vec::new());
        let bias = self.channels(&part("bias"), bias)?;
        Ok(self.node(name, "Add", vec![scaled, bias], Vec::new()))
    }

    /// A constant (C) as (1, C, 1, 1).
    fn channels(&mut self, name: &str, values: &Tensor) -> Result<String> {
        self.tensor(name, &values.reshape((1, values.elem_count(), 1, 1))?)
    }

    fn pad(&mut self, name: &str, x: String, pads: &[i64], mode: &str) -> String {
        let pads = self.integers(&format!("{name}.pads"), pads);
        self.node(name, "Pad", vec![x, pads], vec![text("mode", mode)])
    }

    /// Appends a node; its result has its name.
    fn node(&mut self, name: &str, op: &str, input: Vec<String>, attribute: Vec<Attribute>) -> String {
        let output = vec![name.to_owned()];
        self.nodes.push(NodeProto { input, output, name: name.to_owned(), op_type: op.to_owned(), attribute });
        name.to_owned()
    }

    /// A constant f32 tensor.
    fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<String> {
        let values = tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        self.constants.push(TensorProto {
            dims: tensor.dims().iter().map(|&dim| dim as i64).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        Ok(name.to_owned())
    }

    fn scalar(&mut self, name: &str, value: f64) -> Result<String> {
        self.tensor(name, &Tensor::new(value as f32, &Device::Cpu)?)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        self.constants.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: INT64,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name.to_owned()
    }
}

fn conv(config: &ConvConfig, weight: &[usize]) -> Vec<Attribute> {
    let kernel = (weight.get(2).copied().unwrap_or(1), weight.get(3).copied().unwrap_or(1));
    let mut attributes = window(kernel, config.stride, config.padding);
    let (rows, columns) = config.dilation;
    attributes.extend([ints("dilations", [rows as i64, columns as i64]), int("group", config.groups as i64)]);
    attributes
}

fn window(kernel: (usize, usize), stride: (usize, usize), padding: (usize, usize)) -> Vec<Attribute> {
    let (rows, columns) = (padding.0 as i64, padding.1 as i64);
    vec![
        ints("kernel_shape", [kernel.0 as i64, kernel.1 as i64]),
        ints("strides", [stride.0 as i64, stride.1 as i64]),
        ints("pads", [rows, columns, rows, columns]),
    ]
}

fn float(name: &str, value: f64) -> Attribute {
    Attribute { name: name.into(), f: value as f32, kind: 1, ..Attribute::default() }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), i: value, kind: 2, ..Attribute::default() }
}

fn text(name: &str, value: &str) -> Attribute {
    Attribute { name: name.into(), s: value.into(), kind: 3, ..Attribute::default() }
}

fn ints<const N: usize>(name: &str, values: [i64; N]) -> Attribute {
    Attribute { name: name.into(), ints: values.to_vec(), kind: 7, ..Attribute::default() }
}
