//! Parameters and inputs that no operation can take: an error of one line, the same from every engine, and no panic, no
//! overflow and no huge allocation. What is possible has one shape on all of them.

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;
use resnet_ops::graph::{DropUnit, NormParameters, Spread};
use resnet_ops::{
    AvgPoolConfig, Backend, ConvConfig, Graph, GraphBuilder, Inference, NodeId, NormConfig, PoolConfig, conv2d,
    max_pool2d, reference,
};

use super::support::{Build, Vars, noise, on_any};

/// How a graph is run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Evaluation(Backend),
    /// With a backward pass: the result and the gradient of the input.
    Training(Backend),
    Inference,
}

const MODES: [Mode; 5] = [
    Mode::Evaluation(Backend::Reference),
    Mode::Evaluation(Backend::Auto),
    Mode::Inference,
    Mode::Training(Backend::Reference),
    Mode::Training(Backend::Auto),
];

fn run(build: &Build, x: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
    let (mut graph, mut vars) = (Graph::builder(), Vars::new(DType::F32));
    let output = build(&mut graph, &mut vars);
    let graph = graph.finish(output);
    graph.dropout_rng().set(3, 5);
    match mode {
        Mode::Evaluation(backend) => Ok(vec![graph.with_backend(backend).forward_t(x, false)?]),
        Mode::Inference => Ok(vec![Inference::new(&graph)?.forward(x)?]),
        Mode::Training(backend) => {
            let x = Var::from_tensor(x)?;
            let y = graph.with_backend(backend).forward_t(x.as_tensor(), true)?;
            let gradients = (&y * noise(y.dims(), 77))?.sum_all()?.backward()?;
            Ok([Some(y), gradients.get(x.as_tensor()).cloned()].into_iter().flatten().collect())
        }
    }
}

/// The error, the same in all modes, whose one line has all these words.
fn refused(build: &Build, dims: &[usize], words: &[&str]) {
    let x = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    for mode in MODES {
        let error = match on_any(|| run(build, &x, mode)) {
            Ok(results) => panic!("{mode:?}, {words:?}: a result {:?}", results[0].dims()),
            Err(error) => error.to_string(),
        };
        assert!(words.iter().all(|word| error.contains(word)) && error.lines().count() == 1, "{mode:?}: {error}");
    }
}

const HUGE: [usize; 6] = [1 << 31, 1 << 32, 1 << 62, 1 << 63, usize::MAX / 2 - 2, usize::MAX];
const MAP: [usize; 4] = [1, 2, 8, 8];

#[test]
fn sizes_of_no_map_are_refused() {
    for (i, huge) in HUGE.into_iter().enumerate() {
        let value = &*huge.to_string();
        let pair = if i % 2 == 0 { (huge, 0) } else { (0, huge) };
        let step = if i % 2 == 0 { (huge, 1) } else { (1, huge) };
        refused(&move |g, _| g.pad_channels(g.input(), huge, 0), &MAP, &["pad_channels: before = ", value]);
        refused(&move |g, _| g.pad_channels(g.input(), 1, huge), &MAP, &["pad_channels: after = ", value]);
        refused(&move |g, _| g.zero_pad(g.input(), pair), &MAP, &["zero_pad: padding", value]);
        refused(&move |g, _| g.subsample(g.input(), step), &MAP, &["subsample: stride", value]);
        refused(&move |g, _| g.blur_pool("b", g.input(), huge), &MAP, &["b: blur_pool2d: stride = ", value]);
        for config in [
            ConvConfig { padding: pair, ..ConvConfig::default() },
            ConvConfig { dilation: step, ..ConvConfig::default() },
            ConvConfig { stride: step, ..ConvConfig::default() },
            ConvConfig { groups: huge, ..ConvConfig::default() },
        ] {
            for kernel in [1, 3] {
                let build = move |g: &mut GraphBuilder, v: &mut Vars| {
                    g.conv("c", g.input(), &v.var(&[4, 2, kernel, kernel]), None, config)
                };
                refused(&build, &MAP, &["c: conv2d: ", value]);
            }
        }
        for [kernel, stride, padding] in [[step, (1, 1), (0, 0)], [(3, 3), step, (1, 1)], [(3, 3), (1, 1), pair]] {
            let build = move |g: &mut GraphBuilder, _: &mut Vars| {
                g.max_pool("m", g.input(), PoolConfig { kernel, stride, padding })
            };
            refused(&build, &MAP, &["m: max_pool2d: ", value]);
            for ceil in [false, true] {
                let config = AvgPoolConfig { kernel, stride, padding, ceil };
                refused(&move |g, _| g.avg_pool("a", g.input(), config), &MAP, &["a: avg_pool2d: ", value]);
            }
        }
    }
}

#[test]
fn results_of_no_memory_are_refused() {
    refused(&|g, _| g.zero_pad(g.input(), (1 << 20, 1 << 20)), &MAP, &["zero_pad: a result [1, 2, 2097160, 2097160]"]);
    refused(&|g, _| g.pad_channels(g.input(), 1 << 30, 1 << 30), &MAP, &["pad_channels: channels = 2147483650"]);
    let far = ConvConfig { padding: (1 << 20, 1 << 20), ..ConvConfig::default() };
    let build = move |g: &mut GraphBuilder, v: &mut Vars| g.conv("c", g.input(), &v.var(&[4, 2, 1, 1]), None, far);
    refused(&build, &MAP, &["c: conv2d: a result", "GB"]);
    // One output pixel, but windows of a million rows and columns.
    let far = ConvConfig { padding: (1 << 19, 1 << 19), dilation: (1 << 20, 1 << 20), ..ConvConfig::default() };
    let build = move |g: &mut GraphBuilder, v: &mut Vars| g.conv("c", g.input(), &v.var(&[4, 2, 2, 2]), None, far);
    let x = Tensor::zeros(&MAP, DType::F32, &Device::Cpu).unwrap();
    for mode in MODES {
        let error = on_any(|| run(&build, &x, mode)).map(drop).unwrap_err().to_string();
        assert!(error.contains("conv2d: ") && error.contains("GB") && error.lines().count() == 1, "{mode:?}: {error}");
    }
}

#[test]
fn nothing_is_no_size() {
    for dims in [[0, 2, 8, 8], [1, 0, 8, 8], [1, 2, 0, 8], [1, 2, 8, 0]] {
        refused(&|g, _| g.relu(g.input()), &dims, &[" = 0; 1 to "]);
        refused(&|g, _| g.global_avg_pool("pool", g.input()), &dims, &[" = 0; 1 to "]);
    }
    let none = (0, 1);
    refused(&move |g, _| g.subsample(g.input(), none), &MAP, &["subsample: stride (rows) = 0"]);
    refused(&|g, _| g.blur_pool("b", g.input(), 0), &MAP, &["blur_pool2d: stride = 0"]);
    refused(&|g, _| g.max_pool("m", g.input(), PoolConfig::square(0, 1, 0)), &MAP, &["max_pool2d: kernel (rows) = 0"]);
    refused(&|g, _| g.max_pool("m", g.input(), PoolConfig::square(2, 0, 0)), &MAP, &["max_pool2d: stride (rows) = 0"]);
    let config = AvgPoolConfig::square(2, 0, true);
    refused(&move |g, _| g.avg_pool("a", g.input(), config), &MAP, &["avg_pool2d: stride (rows) = 0"]);
    for (config, word) in [
        (ConvConfig { groups: 0, ..ConvConfig::default() }, "conv2d: groups = 0"),
        (ConvConfig { stride: none, ..ConvConfig::default() }, "conv2d: stride (rows) = 0"),
        (ConvConfig { dilation: (1, 0), ..ConvConfig::default() }, "conv2d: dilation (columns) = 0"),
    ] {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            g.conv("layer1.0.conv1", g.input(), &v.var(&[4, 2, 3, 3]), None, config)
        };
        refused(&build, &MAP, &["layer1.0.conv1: ", word]);
    }
    for dims in [[0, 2, 1, 1], [4, 0, 1, 1], [4, 2, 0, 1]] {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            g.conv("c", g.input(), &v.var(&dims), None, ConvConfig::default())
        };
        refused(&build, &MAP, &["conv2d: a parameter is [", "0"]);
    }
    let build =
        |g: &mut GraphBuilder, v: &mut Vars| g.group_norm("gn", g.input(), (&v.var(&[2]), &v.var(&[2])), 0, 1e-5);
    refused(&build, &MAP, &["gn: group_norm: groups = 0"]);
    refused(
        &|g, _| g.divide_by_spread("s", g.input(), Spread::Deviation, 0, 1e-5),
        &MAP,
        &["s: divide_by_spread: groups = 0"],
    );
}

#[test]
fn constants_that_are_none_are_refused() {
    for bad in [f64::NAN, -1., f64::INFINITY] {
        let word = &*format!(" = {bad}");
        let norm = move |eps: f64, momentum: f64| {
            move |g: &mut GraphBuilder, v: &mut Vars| {
                let config = NormConfig { eps, momentum };
                g.norm("bn", g.input(), &NormParameters { config, ..v.norm(2) })
            }
        };
        refused(&norm(bad, 0.1), &MAP, &["bn: batch_norm: eps", word]);
        refused(&norm(1e-5, bad), &MAP, &["bn: batch_norm: momentum", word]);
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            g.standardized_conv("c", g.input(), &v.var(&[4, 2, 3, 3]), bad, ConvConfig::default())
        };
        refused(&build, &MAP, &["c: conv2d: eps", word]);
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            g.group_norm("gn", g.input(), (&v.var(&[2]), &v.var(&[2])), 1, bad)
        };
        refused(&build, &MAP, &["gn: group_norm: eps", word]);
        refused(&move |g, _| g.dropout(g.input(), bad, DropUnit::Value), &MAP, &["dropout: rate", word]);
        if !bad.is_finite() {
            refused(&move |g, _| g.affine(g.input(), bad, 0.), &MAP, &["affine: scale", word]);
        }
    }
    refused(&|g, _| g.dropout(g.input(), 1., DropUnit::Image), &MAP, &["dropout: rate = 1 is not in [0, 1)"]);
}

#[test]
fn parameters_of_other_shapes_are_refused() {
    let conv = |weight: [usize; 4], bias: usize, groups: usize| {
        move |g: &mut GraphBuilder, v: &mut Vars| {
            let config = ConvConfig { groups, ..ConvConfig::default() };
            g.conv("c", g.input(), &v.var(&weight), Some(&v.var(&[bias])), config)
        }
    };
    refused(&conv([4, 3, 3, 3], 4, 1), &MAP, &["c: conv2d: a weight [4, 3, 3, 3]", "2"]);
    refused(&conv([4, 2, 3, 3], 3, 1), &MAP, &["c: conv2d: bias is [3]; [4] is needed"]);
    refused(&conv([3, 1, 3, 3], 3, 2), &MAP, &["c: conv2d: groups = 2 do not divide the 3 output channels"]);
    refused(&conv([4, 2, 9, 3], 4, 1), &MAP, &["c: conv2d: a kernel of 9 rows does not fit into 8"]);
    for wrong in 0..4 {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let mut p = v.norm(2);
            let other = v.norm(3);
            match wrong {
                0 => p.weight = other.weight,
                1 => p.bias = other.bias,
                2 => p.running_mean = other.running_mean,
                _ => p.running_var = other.running_var,
            }
            g.norm("bn", g.input(), &p)
        };
        refused(&build, &MAP, &["bn: batch_norm: ", "3"]);
    }
    let build = |g: &mut GraphBuilder, v: &mut Vars| g.linear("fc", g.input(), &v.var(&[5, 2]), None);
    refused(&build, &MAP, &["fc: linear: a weight [5, 2] does not fit", "height: 8"]);
    let both = |dims: [usize; 4], product: bool| {
        move |g: &mut GraphBuilder, v: &mut Vars| {
            let (x, y) = (g.input(), g.constant(&v.var(&dims)));
            if product { g.mul(x, y) } else { g.add(x, y) }
        }
    };
    refused(&both([1, 2, 8, 7], false), &MAP, &["add: ", "width: 8", "width: 7"]);
    refused(&both([2, 2, 8, 8], false), &MAP, &["constant: a map [2, 2, 8, 8]"]);
    refused(&both([1, 2, 8, 1], true), &MAP, &["mul: a gate"]);
    for kernel in [vec![1, 1, 2], vec![3]] {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let mean = g.global_avg_pool("", g.input());
            g.channel_conv("eca", mean, &v.var(&kernel))
        };
        refused(&build, &MAP, &["eca: channel_conv: weight is ["]);
    }
}

/// A value may come from another builder.
#[test]
fn values_of_another_graph_are_refused() {
    let mut other = Graph::builder();
    let stranger = (0..9).fold(other.input(), |x, _| other.relu(x));
    refused(&move |_, _| stranger, &MAP, &["graph: there is no node 9"]);
    refused(&move |g, _| g.relu(stranger), &MAP, &["graph: node 1 (relu) reads node 9"]);
    let graph = Graph::builder().finish(NodeId::default()).subgraph_to(stranger);
    assert!(graph.forward_t(&noise(&MAP, 1), false).is_err());
}

#[test]
fn inputs_of_other_ranks_and_dtypes_are_refused() -> Result<()> {
    for dims in [vec![], vec![2], vec![2, 3, 4], vec![1, 2, 3, 4, 5]] {
        refused(&|g, _| g.relu(g.input()), &dims, &["graph: an input [", "(N, C, H, W) is needed"]);
    }
    for dtype in [DType::U8, DType::U32, DType::I64] {
        let x = Tensor::ones(&MAP, dtype, &Device::Cpu)?;
        let weight = Tensor::ones((4, 2, 1, 1), DType::F32, &Device::Cpu)?;
        let config = ConvConfig::default();
        for result in [conv2d(&x, &weight, None, &config), conv2d(&weight, &weight.to_dtype(dtype)?, None, &config)] {
            let error = result.map(drop).unwrap_err().to_string();
            assert!(error.contains(&format!("{dtype:?}")) && error.lines().count() == 1, "{error}");
        }
    }
    Ok(())
}

/// A stride or kernel beyond the map's end is possible: one window is left.
#[test]
fn strides_and_kernels_beyond_the_end_give_one_pixel() {
    const FAR: usize = i32::MAX as usize;
    let conv = |groups: usize, stride: (usize, usize), kernel: usize| {
        move |g: &mut GraphBuilder, v: &mut Vars| {
            let config = ConvConfig { groups, stride, ..ConvConfig::square(1, kernel / 2) };
            g.conv("c", g.input(), &v.var(&[4, 2 / groups, kernel, kernel]), None, config)
        }
    };
    let pool = PoolConfig { kernel: (1 << 15, 1 << 14), stride: (FAR, FAR), padding: (1 << 14, 1 << 13) };
    let average = AvgPoolConfig { kernel: pool.kernel, stride: pool.stride, padding: pool.padding, ceil: true };
    for (wanted, build) in [
        ([1, 4, 1, 1], &conv(2, (1 << 20, FAR), 3) as &Build),
        ([1, 4, 1, 1], &conv(1, (FAR, FAR), 1)),
        ([1, 4, 1, 8], &conv(1, (FAR, 1), 1)),
        ([1, 4, 8, 1], &conv(1, (1, 9), 5)),
        ([1, 2, 1, 1], &|g, _| g.subsample(g.input(), (FAR, FAR))),
        ([1, 2, 1, 1], &|g, _| g.blur_pool("b", g.input(), FAR)),
        ([1, 2, 1, 1], &move |g, _| g.max_pool("m", g.input(), pool)),
        ([1, 2, 1, 1], &move |g, _| g.avg_pool("a", g.input(), average)),
    ] {
        agree(build, &noise(&MAP, 9)).unwrap();
        let y = on_any(|| run(build, &noise(&MAP, 9), Mode::Evaluation(Backend::Auto))).unwrap();
        assert_eq!(y[0].dims(), wanted);
    }
}

/// Results of all modes against the reference's; errors are the same.
fn agree(build: &Build, x: &Tensor) -> std::result::Result<(), String> {
    let mut references: Vec<(Mode, std::result::Result<Vec<Tensor>, String>)> = Vec::new();
    for mode in MODES {
        let result = on_any(|| run(build, x, mode)).map_err(|error| error.to_string());
        let trains = matches!(mode, Mode::Training(_));
        let Some((_, wanted)) = references.iter().find(|(mode, _)| matches!(mode, Mode::Training(_)) == trains) else {
            references.push((mode, result));
            continue;
        };
        match (&result, wanted) {
            (Err(error), Err(wanted)) if error == wanted && error.lines().count() == 1 && !error.is_empty() => {}
            (Ok(results), Ok(wanted)) if results.len() == wanted.len() => {
                for (i, (result, wanted)) in results.iter().zip(wanted).enumerate() {
                    if result.dims() != wanted.dims() {
                        return Err(format!("{mode:?}, result {i}: {:?} for {:?}", result.dims(), wanted.dims()));
                    }
                    let off = distance(result, wanted).map_err(|error| error.to_string())?;
                    if off > 2e-3 {
                        return Err(format!("{mode:?}, result {i} {:?} is off by {off}", result.dims()));
                    }
                }
            }
            other => return Err(format!("{mode:?}: {other:?}")),
        }
    }
    Ok(())
}

/// The largest difference, relative to the largest value; nothing where values are infinite or none.
fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    let (a, b): (Vec<f32>, Vec<f32>) = (a.flatten_all()?.to_vec1()?, b.flatten_all()?.to_vec1()?);
    let scale = b.iter().fold(1f32, |scale, b| scale.max(b.abs()));
    if !(scale < 1e4 && b.iter().all(|b| b.is_finite())) {
        return Ok(0.);
    }
    let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale);
    Ok(off.map(|off| if off.is_nan() { f32::INFINITY } else { off }).fold(0., f32::max))
}

/// Random parameters: mostly small, now and then absurd.
struct Draws(std::vec::IntoIter<u32>);

impl Draws {
    fn next(&mut self) -> usize {
        self.0.next().unwrap_or(7) as usize
    }
    fn below(&mut self, end: usize) -> usize {
        self.next() % end
    }
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
    /// One time in `n`.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn size(&mut self, usual: &[usize]) -> usize {
        if self.rarely(24) {
            self.one(&[0, 9, 40, HUGE[0], HUGE[1], HUGE[2], HUGE[3], HUGE[5]])
        } else {
            self.one(usual)
        }
    }
    fn pair(&mut self, usual: &[usize]) -> (usize, usize) {
        (self.size(usual), self.size(usual))
    }
    /// A number of channels, the right one but for mistakes.
    fn channels(&mut self, right: usize) -> usize {
        if self.rarely(20) { self.below(6) } else { right }
    }
    fn eps(&mut self) -> f64 {
        if self.rarely(12) { self.one(&[-1e-3, f64::NAN, f64::INFINITY]) } else { 1e-3 }
    }
    fn dims(&mut self, map: [usize; 4]) -> Vec<usize> {
        let mut dims = map.map(|size| self.channels(size)).to_vec();
        if self.rarely(20) {
            dims.pop();
        }
        dims
    }
}

/// One operation with drawn parameters on `x`, of which `map` is right; `x` is the second operand too where there is one.
fn operation(g: &mut GraphBuilder, v: &mut Vars, d: &mut Draws, x: NodeId, map: [usize; 4]) -> NodeId {
    let [_, c, _, _] = map;
    match d.below(22) {
        0..=3 => {
            let groups = d.size(&[1, 1, 1, 2, c.max(1)]);
            let (kh, kw) = (d.one(&[1, 1, 2, 3, 5]), d.one(&[1, 1, 2, 3]));
            let per_group = d.channels(c / groups.clamp(1, 64));
            let o = d.one(&[1, 2, 3, 4, 20]);
            let o = if d.rarely(8) { o } else { o * groups.clamp(1, 8) };
            let config = ConvConfig {
                stride: d.pair(&[1, 1, 2, 3]),
                padding: d.pair(&[0, 1, 1, 2]),
                dilation: d.pair(&[1, 1, 1, 2]),
                groups,
            };
            let weight = v.var(&[o, per_group, kh, kw]);
            let bias = d.rarely(2).then(|| v.var(&[d.channels(o)]));
            if d.rarely(5) {
                return g.standardized_conv("conv", x, &weight, d.eps(), config);
            }
            g.conv("conv", x, &weight, bias.as_ref(), config)
        }
        4 => {
            let momentum = if d.rarely(8) { d.one(&[0., 1., 1.5, f64::NAN]) } else { 0.1 };
            let (mut p, eps) = (v.norm(d.channels(c)), d.eps());
            if d.rarely(8) {
                p.bias = d.rarely(2).then(|| v.var(&[d.channels(c)]));
            }
            g.norm("bn", x, &NormParameters { config: NormConfig { eps, momentum }, ..p })
        }
        5 => g.relu(x),
        6 => g.add(x, x),
        7 => {
            let other = g.constant(&v.var(&d.dims(map)));
            g.add(x, other)
        }
        8 => {
            let kernel = d.pair(&[1, 2, 3, 3, 20]);
            let padding = (d.size(&[0, kernel.0 / 2]), d.size(&[0, kernel.1 / 2]));
            g.max_pool("max", x, PoolConfig { kernel, stride: d.pair(&[1, 2, 3]), padding })
        }
        9 => {
            let kernel = d.pair(&[1, 2, 3, 3]);
            let padding = (d.size(&[0, kernel.0 / 2]), d.size(&[0, kernel.1 / 2]));
            let config = AvgPoolConfig { kernel, stride: d.pair(&[1, 2, 3]), padding, ceil: d.rarely(2) };
            g.avg_pool("avg", x, config)
        }
        10 => g.global_avg_pool("gap", x),
        11 => {
            let (o, i) = (d.one(&[1, 3, 17]), d.channels(c));
            g.linear("fc", x, &v.var(&[o, i]), d.rarely(2).then(|| v.var(&[d.channels(o)])).as_ref())
        }
        12 => g.subsample(x, d.pair(&[1, 2, 3])),
        13 => g.pad_channels(x, d.size(&[0, 1, 17]), d.size(&[0, 3])),
        14 => g.affine(x, d.one(&[1., -0.5, f64::NAN]), d.one(&[0., 2.])),
        15 => g.sigmoid(x),
        16 => {
            let shapes = [map, [map[0], c, 1, 1], [map[0], 1, map[2], map[3]]];
            let gate = d.one(&shapes);
            let gate = g.constant(&v.var(&d.dims(gate)));
            g.mul(x, gate)
        }
        17 => {
            let (rate, unit) = (d.one(&[0.3, 0.5, 0.9, 1., -0.5]), d.one(&[DropUnit::Value, DropUnit::Image]));
            g.dropout(x, rate, unit)
        }
        18 => {
            let (c, groups, eps) = (d.channels(c), d.size(&[1, 2, c]), d.eps());
            g.group_norm("gn", x, (&v.var(&[c]), &v.var(&[c])), groups, eps)
        }
        19 => g.blur_pool("blur", x, d.size(&[1, 2, 3])),
        20 => {
            if d.rarely(2) {
                let spread = d.one(&[Spread::Deviation, Spread::RootMeanSquare]);
                return g.divide_by_spread("spread", x, spread, d.size(&[1, 2, c]), d.eps());
            }
            let weight = v.var(&[d.channels(c)]);
            let bias = d.rarely(2).then(|| v.var(&[d.channels(c)]));
            let y = g.channel_affine("affine", x, &weight, bias.as_ref());
            g.channel_floor("floor", y, &v.var(&[d.channels(c)]))
        }
        _ => {
            if d.rarely(2) {
                return g.zero_pad(x, d.pair(&[0, 1, 2]));
            }
            let x = g.global_avg_pool("gap", x);
            g.channel_conv("eca", x, &v.var(&d.one(&[[1, 1, 3], [1, 1, 5], [1, 1, 2]])))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Any operation with any parameters on any input: alone, after convolution, norm and ReLU, or after a linear layer.
    #[test]
    fn all_engines_agree_on_what_is_possible(draws in prop::collection::vec(any::<u32>(), 64)) {
        let mut d = Draws(draws.into_iter());
        let dims = [d.one(&[1, 2, 3]), d.one(&[1, 2, 4, 17]), d.one(&[1, 4, 7]), d.one(&[1, 5, 8])];
        let mut dims = if d.rarely(16) { dims.map(|size| size * d.below(2)).to_vec() } else { dims.to_vec() };
        if d.rarely(12) {
            dims.truncate(2);
        }
        let (place, end, rest) = (d.below(4), d.below(4), d.0.clone().collect::<Vec<_>>());
        let whole: [usize; 4] = std::array::from_fn(|i| dims.get(i).copied().unwrap_or(1));
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let mut d = Draws(rest.clone().into_iter());
            let [n, c, h, w] = whole;
            let (x, map) = match place {
                0 => {
                    let y = g.conv("before", g.input(), &v.var(&[6, c, 1, 1]), None, ConvConfig::default());
                    let y = g.norm("norm", y, &v.norm(6));
                    (g.relu(y), [n, 6, h, w])
                }
                1 => {
                    let y = g.global_avg_pool("pool", g.input());
                    (g.linear("head", y, &v.var(&[6, c]), None), [n, 6, 1, 1])
                }
                _ => (g.input(), whole),
            };
            let y = operation(g, v, &mut d, x, map);
            match end {
                0 => g.relu(y),
                1 => g.affine(y, 2., 1.),
                _ => y,
            }
        };
        // Another order of the same values in memory.
        let x = if d.rarely(2) { noise(&dims, 5) } else {
            let last = dims.len() - 1;
            let mut swapped = dims.clone();
            swapped.swap(0, last);
            noise(&swapped, 5).transpose(0, last).unwrap()
        };
        if let Err(difference) = agree(&build, &x) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

/// After a linear layer a value is (N, C), and stays it until a window or a map needs rows and columns.
#[test]
fn every_operation_after_a_linear_layer_has_one_shape() {
    type Next = fn(&mut GraphBuilder, &mut Vars, NodeId) -> NodeId;
    let (vector, map) = (vec![2, 6], vec![2, 6, 1, 1]);
    let nexts: [(&[usize], Next); 21] = [
        (&vector, |g, _, x| g.relu(x)),
        (&vector, |g, v, x| g.norm("bn", x, &v.norm(6))),
        (&vector, |g, _, x| g.add(x, x)),
        (&vector, |g, _, x| g.mul(x, x)),
        (&vector, |g, _, x| g.affine(x, 2., 1.)),
        (&vector, |g, _, x| g.sigmoid(x)),
        (&vector, |g, _, x| g.dropout(x, 0.5, DropUnit::Value)),
        (&vector, |g, _, x| g.dropout(x, 0.5, DropUnit::Image)),
        (&vector, |g, v, x| g.group_norm("gn", x, (&v.var(&[6]), &v.var(&[6])), 2, 1e-3)),
        (&vector, |g, _, x| g.divide_by_spread("s", x, Spread::RootMeanSquare, 2, 1e-3)),
        (&vector, |g, v, x| g.channel_affine("a", x, &v.var(&[6]), None)),
        (&vector, |g, v, x| g.channel_floor("f", x, &v.var(&[6]))),
        (&vector, |g, v, x| g.channel_conv("eca", x, &v.var(&[1, 1, 3]))),
        (&vector, |g, v, x| g.linear("again", x, &v.var(&[6, 6]), None)),
        (&vector, |g, _, x| g.global_avg_pool("gap", x)),
        (&vector, |g, _, x| g.pad_channels(x, 0, 0)),
        (&map, |g, v, x| g.conv("c", x, &v.var(&[6, 6, 1, 1]), None, ConvConfig::default())),
        (&map, |g, _, x| g.max_pool("m", x, PoolConfig::square(3, 2, 1))),
        (&map, |g, _, x| g.avg_pool("p", x, AvgPoolConfig::square(2, 2, true))),
        (&map, |g, _, x| g.subsample(x, (2, 2))),
        (&map, |g, v, x| {
            let map = g.constant(&v.var(&[2, 6, 1, 1]));
            g.add(x, map)
        }),
    ];
    for (i, (wanted, next)) in nexts.into_iter().enumerate() {
        let build = move |g: &mut GraphBuilder, v: &mut Vars| {
            let y = g.global_avg_pool("pool", g.input());
            let y = g.linear("fc", y, &v.var(&[6, 3]), None);
            next(g, v, y)
        };
        let x = noise(&[2, 3, 4, 5], 8);
        agree(&build, &x).unwrap_or_else(|difference| panic!("{i}: {difference}"));
        let y = on_any(|| run(&build, &x, Mode::Evaluation(Backend::Reference))).unwrap();
        assert_eq!(y[0].dims(), wanted, "{i}");
    }
}

/// The functions on single tensors check for themselves.
#[test]
fn functions_of_the_reference_refuse_what_is_impossible() -> Result<()> {
    let x = noise(&MAP, 1);
    let (two, three) = (noise(&[2], 2), noise(&[3], 3));
    let far = 1 << 62;
    let errors = [
        reference::subsample(&x, (0, 1)),
        reference::blur_pool2d(&x, 0),
        reference::blur_pool2d(&x.narrow(2, 0, 1)?, 1),
        reference::pad_channels(&x, far, far),
        reference::zero_pad(&x, (far, 0)),
        reference::max_pool2d(&x, &PoolConfig { kernel: (far, 1), stride: (1, 1), padding: (far / 2, 0) }),
        reference::avg_pool2d(&x, &AvgPoolConfig::square(2, 0, true)),
        reference::avg_pool2d(&x, &AvgPoolConfig::square(far, 2, true)),
        reference::conv2d(&x, &noise(&[4, 2, 3, 3], 4), None, &ConvConfig::square(1, far)),
        reference::conv2d(&x, &noise(&[4, 2, 3, 3], 4), Some(&two), &ConvConfig::default()),
        reference::batch_norm_eval(&x, &two, &three, None, None, 1e-5),
        reference::batch_norm_eval(&x, &two, &two, Some(&three), None, 1e-5),
        reference::batch_norm_eval(&x, &two, &two, None, None, f64::NAN),
        reference::batch_norm_train(&x.narrow(2, 0, 1)?.narrow(3, 0, 1)?, None, None, 1e-5).map(|(y, _, _)| y),
        reference::group_norm(&x, 0, None, None, 1e-5),
        reference::group_norm(&x, far, None, None, 1e-5),
        reference::group_norm(&x, 2, Some(&three), None, 1e-5),
        reference::divide_by_spread(&x, Spread::Deviation, 3, 1e-5),
        reference::channel_affine(&x, None, Some(&three)),
        reference::channel_floor(&x, &three),
        reference::channel_conv(&x, &noise(&[1, 1, 3], 5)),
        reference::global_avg_pool2d(&x.narrow(0, 0, 0)?),
        reference::global_avg_pool2d(&two),
        reference::standardize_weight(&noise(&[4, 0, 1, 1], 6), 1e-5),
        max_pool2d(&x, &PoolConfig::square(far, 1, 1)),
    ];
    for (i, result) in errors.into_iter().enumerate() {
        let Err(error) = result else { panic!("{i} is no error") };
        assert_eq!(error.to_string().lines().count(), 1, "{i}: {error}");
    }
    Ok(())
}
