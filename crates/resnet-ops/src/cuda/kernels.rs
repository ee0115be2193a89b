//! The kernels as functions on arrays: sizes are checked here, once, so that all else is safe code.

use candle_core::{DType, Result, Tensor};

use super::array::Array;
use super::conv_problem::{ConvPass, ConvProblem};
use super::launch::{Grid, Reduction, THREADS, pack};
use super::runtime::{Arg, Element, Module, Runtime};
use crate::graph::{MapShape, NormParameters};
use crate::{AvgPoolConfig, PoolConfig};

use Arg::{Address, Float, Int};

/// A device, and what activations are stored in.
#[derive(Debug, Clone)]
pub(crate) struct Kernels<R: Runtime> {
    pub runtime: R,
    pub element: Element,
}

/// Mean, 1 / deviation, scale and shift of a batch norm, and the number of values behind the mean: 0 for running
/// statistics.
#[derive(Debug)]
pub(crate) struct NormCoefficients<R: Runtime> {
    values: Array<R>,
    channels: usize,
    count: usize,
}

impl<R: Runtime> NormCoefficients<R> {
    fn new(runtime: &R, channels: usize, count: usize) -> Result<Self> {
        Ok(Self { values: Array::new(runtime, 4 * channels, DType::F32)?, channels, count })
    }
    fn mean(&self) -> Arg {
        Address(self.values.at(0))
    }
    fn inverse(&self) -> Arg {
        Address(self.values.at(self.channels))
    }
    fn scale(&self) -> Arg {
        Address(self.values.at(2 * self.channels))
    }
    fn shift(&self) -> Arg {
        Address(self.values.at(3 * self.channels))
    }
}

fn int(value: usize) -> Arg {
    // Counts are below 2^31: see `Array::new`.
    Int(value as i32)
}

fn expect<R: Runtime>(what: &str, array: &Array<R>, count: usize) -> Result<()> {
    if array.count() != count {
        bail!("{what}: {} values where {count} are wanted", array.count());
    }
    Ok(())
}

impl<R: Runtime> Kernels<R> {
    pub(crate) fn map(&self, count: usize) -> Result<Array<R>> {
        Array::of(&self.runtime, count, self.element)
    }

    fn floats(&self, count: usize) -> Result<Array<R>> {
        Array::new(&self.runtime, count, DType::F32)
    }

    fn typed(&self, kernel: &str) -> String {
        format!("{kernel}_{}", self.element.suffix())
    }

    fn packed(&self, kernel: &str, pack: usize) -> String {
        format!("{kernel}_{}_{pack}", self.element.suffix())
    }

    /// Where a parameter of `count` f32 values lies; null for none.
    fn parameter(&self, tensor: Option<&Tensor>, count: usize) -> Result<Arg> {
        let Some(tensor) = tensor else { return Ok(Address(0)) };
        if tensor.elem_count() != count {
            bail!("a parameter {:?} does not fit {count} channels", tensor.dims());
        }
        Ok(Address(self.runtime.tensor_address(tensor, DType::F32)?))
    }

    /// An f32 tensor (outer, channels, pixels…) as channels-last values.
    pub(crate) fn channels_last(&self, x: &Tensor, [outer, channels, pixels]: [usize; 3]) -> Result<Array<R>> {
        let count = outer * channels * pixels;
        if x.elem_count() != count {
            bail!("a tensor {:?} does not hold {count} values", x.dims());
        }
        let out = self.map(count)?;
        let from = self.runtime.tensor_address(x, DType::F32)?;
        let args = [Address(from), Address(out.address()), int(outer), int(channels), int(pixels)];
        // SAFETY: both hold `count` values.
        unsafe { self.runtime.launch(Module::Layout, &self.typed("to_channels_last"), Grid::over(count), &args)? };
        Ok(out)
    }

    /// Channels-last values as f32 in the order (outer, channels, pixels).
    pub(crate) fn channels_first(&self, x: &Array<R>, [outer, channels, pixels]: [usize; 3]) -> Result<Array<R>> {
        let count = outer * channels * pixels;
        expect("channels_first", x, count)?;
        let out = self.floats(count)?;
        let args = [Address(x.address()), Address(out.address()), int(outer), int(channels), int(pixels)];
        // SAFETY: both hold `count` values.
        unsafe { self.runtime.launch(Module::Layout, &self.typed("to_channels_first"), Grid::over(count), &args)? };
        Ok(out)
    }

    /// One of the three convolutions, into `into` (added to what it holds) or a new array.
    pub(crate) fn convolve(
        &self,
        pass: ConvPass,
        shape: &ConvProblem,
        a: &Array<R>,
        b: &Array<R>,
        into: Option<Array<R>>,
    ) -> Result<Array<R>> {
        let [count_a, count_b, count] = shape.counts(pass);
        expect("convolution", a, count_a)?;
        expect("convolution", b, count_b)?;
        let accumulate = into.is_some();
        let out = match into {
            Some(out) => out,
            None => self.map(count)?,
        };
        expect("convolution", &out, count)?;
        let operands = [a.address(), b.address()];
        // SAFETY: the arrays have the sizes of this pass, checked above.
        let done = unsafe { self.runtime.convolve(pass, shape, self.element, operands, out.address(), accumulate)? };
        if !done && accumulate {
            let sum = self.convolve(pass, shape, a, b, None)?;
            self.add_into(&out, Some(&sum), false, &out)?;
        } else if !done {
            self.convolve_directly(pass, shape, operands, &out)?;
        }
        Ok(out)
    }

    fn convolve_directly(&self, pass: ConvPass, shape: &ConvProblem, [a, b]: [u64; 2], out: &Array<R>) -> Result<()> {
        let kernel = self.typed(match pass {
            ConvPass::Forward => "conv_forward",
            ConvPass::BackwardData => "conv_backward_data",
            ConvPass::BackwardFilter => "conv_backward_filter",
        });
        let args = [Address(a), Address(b), Arg::Conv(shape.as_struct()), Address(out.address())];
        // SAFETY: `convolve` has checked the sizes.
        unsafe { self.runtime.launch(Module::Conv, &kernel, Grid::over(out.count()), &args) }
    }

    /// Adds `bias` (channels) in place.
    pub(crate) fn add_bias(&self, x: &Array<R>, bias: &Tensor, channels: usize) -> Result<()> {
        if channels == 0 || !x.count().is_multiple_of(channels) {
            bail!("bias: {} values in {channels} channels", x.count());
        }
        let args = [Address(x.address()), self.parameter(Some(bias), channels)?, int(x.count()), int(channels)];
        // SAFETY: the bias has one value a channel.
        unsafe { self.runtime.launch(Module::Elementwise, &self.typed("add_bias"), Grid::over(x.count()), &args) }
    }

    /// The sums over all pixels.
    pub(crate) fn bias_gradient(&self, dy: &Array<R>, channels: usize) -> Result<Array<R>> {
        if channels == 0 || !dy.count().is_multiple_of(channels) {
            bail!("bias: {} values in {channels} channels", dy.count());
        }
        let out = self.floats(channels)?;
        let args = [Address(dy.address()), int(dy.count() / channels), int(channels), Address(out.address())];
        let grid = Grid { x: channels, y: 1 };
        // SAFETY: `dy` holds whole pixels, `out` one value a channel.
        unsafe { self.runtime.launch(Module::Elementwise, &self.typed("bias_gradient"), grid, &args)? };
        Ok(out)
    }

    /// Statistics of the batch, which the running ones are updated by.
    pub(crate) fn norm_train(&self, p: &NormParameters, x: &Array<R>, channels: usize) -> Result<NormCoefficients<R>> {
        if channels == 0 || x.count() / channels < 2 {
            bail!("batch_norm: training needs more than one value a channel, got {} in {channels}", x.count());
        }
        let pixels = x.count() / channels;
        expect("batch_norm", x, pixels * channels)?;
        let width = pack(channels, self.element);
        let Reduction { group, grid } = Reduction::new(pixels, channels, width);
        let partial = self.floats(3 * grid.y * channels)?;
        let run = NormCoefficients::new(&self.runtime, channels, pixels)?;
        let args = [Address(x.address()), int(pixels), int(channels), int(group), Address(partial.address())];
        // SAFETY: `partial` has three values for each row of blocks and channel.
        unsafe { self.runtime.launch(Module::Norm, &self.packed("norm_moments", width), grid, &args)? };
        let args = [
            Address(partial.address()),
            int(grid.y),
            int(channels),
            self.parameter(p.weight.as_ref(), channels)?,
            self.parameter(p.bias.as_ref(), channels)?,
            self.parameter(Some(&p.running_mean.as_detached_tensor()), channels)?,
            self.parameter(Some(&p.running_var.as_detached_tensor()), channels)?,
            Float(p.config.momentum as f32),
            Float(p.config.eps as f32),
            run.mean(),
            run.inverse(),
            run.scale(),
            run.shift(),
        ];
        // SAFETY: every array has one value a channel. The running statistics are written in place: the variables own
        // that memory, and whatever reads them is submitted before or after.
        unsafe { self.runtime.launch(Module::Norm, "norm_finish", Grid::finish(channels), &args)? };
        Ok(run)
    }

    /// The running statistics.
    pub(crate) fn norm_constant(&self, p: &NormParameters, channels: usize) -> Result<NormCoefficients<R>> {
        let run = NormCoefficients::new(&self.runtime, channels, 0)?;
        let args = [
            self.parameter(Some(&p.running_mean.as_detached_tensor()), channels)?,
            self.parameter(Some(&p.running_var.as_detached_tensor()), channels)?,
            int(channels),
            self.parameter(p.weight.as_ref(), channels)?,
            self.parameter(p.bias.as_ref(), channels)?,
            Float(p.config.eps as f32),
            run.mean(),
            run.inverse(),
            run.scale(),
            run.shift(),
        ];
        // SAFETY: every array has one value a channel.
        unsafe { self.runtime.launch(Module::Norm, "norm_constant", Grid::over(channels), &args)? };
        Ok(run)
    }

    /// `x · scale + shift (+ residual)`, rectified or not.
    pub(crate) fn norm_apply(
        &self,
        run: &NormCoefficients<R>,
        x: &Array<R>,
        residual: Option<&Array<R>>,
        relu: bool,
    ) -> Result<Array<R>> {
        if let Some(residual) = residual {
            expect("batch_norm_add_relu", residual, x.count())?;
        }
        if !x.count().is_multiple_of(run.channels) {
            bail!("batch_norm: {} values in {} channels", x.count(), run.channels);
        }
        let out = self.map(x.count())?;
        let width = pack(run.channels, self.element);
        let args = [
            Address(x.address()),
            Address(residual.map_or(0, Array::address)),
            int(x.count()),
            int(run.channels),
            run.scale(),
            run.shift(),
            Int(i32::from(relu)),
            Address(out.address()),
        ];
        let grid = Grid::over(x.count() / width);
        // SAFETY: all maps have the same size, and packs do not cross a pixel.
        unsafe { self.runtime.launch(Module::Norm, &self.packed("norm_apply", width), grid, &args)? };
        Ok(out)
    }

    /// Backwards through [`Kernels::norm_apply`] and the statistics: what the parameters and the inputs get.
    pub(crate) fn norm_backward(
        &self,
        run: &NormCoefficients<R>,
        x: &Array<R>,
        dy: &Array<R>,
        after: Activation<'_, R>,
    ) -> Result<NormGradients<R>> {
        expect("batch_norm", dy, x.count())?;
        let channels = run.channels;
        let (pixels, width) = (x.count() / channels, pack(channels, self.element));
        let Reduction { group, grid } = Reduction::new(pixels, channels, width);
        let (relu, y) = match after {
            Activation::None => (false, None),
            Activation::Relu => (true, None),
            Activation::AddRelu(y) => (true, Some(y)),
        };
        if let Some(y) = y {
            expect("batch_norm", y, x.count())?;
        }
        // With a residual the rectified gradient is the residual's, so it is written.
        let rectified = y.map(|_| self.map(x.count())).transpose()?;
        let partial = self.floats(2 * grid.y * channels)?;
        let args = [
            Address(dy.address()),
            Address(y.map_or(0, Array::address)),
            Address(x.address()),
            run.mean(),
            run.scale(),
            run.shift(),
            Int(i32::from(relu)),
            int(pixels),
            int(channels),
            int(group),
            Address(rectified.as_ref().map_or(0, Array::address)),
            Address(partial.address()),
        ];
        // SAFETY: all maps have the same size; `partial` has two values for each row of blocks and channel.
        unsafe { self.runtime.launch(Module::Norm, &self.packed("norm_backward_sums", width), grid, &args)? };
        let (weight, bias, line) = (self.floats(channels)?, self.floats(channels)?, self.floats(2 * channels)?);
        let (slope, offset) = (Address(line.at(0)), Address(line.at(channels)));
        let args = [
            Address(partial.address()),
            int(grid.y),
            int(channels),
            Float(run.count as f32),
            run.inverse(),
            run.scale(),
            Address(weight.address()),
            Address(bias.address()),
            slope,
            offset,
        ];
        // SAFETY: every array has one value a channel.
        unsafe { self.runtime.launch(Module::Norm, "norm_backward_finish", Grid::finish(channels), &args)? };
        let input = self.map(x.count())?;
        let args = [
            Address(rectified.as_ref().unwrap_or(dy).address()),
            Address(x.address()),
            run.mean(),
            run.scale(),
            run.shift(),
            Int(i32::from(relu && rectified.is_none())),
            slope,
            offset,
            int(x.count()),
            int(channels),
            Address(input.address()),
        ];
        let grid = Grid::over(x.count() / width);
        // SAFETY: all maps have the same size.
        unsafe { self.runtime.launch(Module::Norm, &self.packed("norm_backward_apply", width), grid, &args)? };
        Ok(NormGradients { input, residual: rectified, weight, bias })
    }

    /// `a + b`, rectified or not; without `b` the ReLU of `a`.
    pub(crate) fn add(&self, a: &Array<R>, b: Option<&Array<R>>, relu: bool) -> Result<Array<R>> {
        let out = self.map(a.count())?;
        self.add_into(a, b, relu, &out)?;
        Ok(out)
    }

    /// The same into `out`, which may be `a`.
    pub(crate) fn add_into(&self, a: &Array<R>, b: Option<&Array<R>>, relu: bool, out: &Array<R>) -> Result<()> {
        let count = a.count();
        if let Some(b) = b {
            expect("add", b, count)?;
        }
        expect("add", out, count)?;
        let width = pack(count, self.element);
        let args = [
            Address(a.address()),
            Address(b.map_or(0, Array::address)),
            int(count),
            Int(i32::from(relu)),
            Address(out.address()),
        ];
        let (kernel, grid) = (self.packed("add", width), Grid::over(count / width));
        // SAFETY: all have the same size, and each thread reads its values before it writes them.
        unsafe { self.runtime.launch(Module::Elementwise, &kernel, grid, &args) }
    }

    /// The gradient before a ReLU whose result is `y`.
    pub(crate) fn relu_backward(&self, dy: &Array<R>, y: &Array<R>) -> Result<Array<R>> {
        let count = y.count();
        expect("relu", dy, count)?;
        let out = self.map(count)?;
        let width = pack(count, self.element);
        let args = [Address(dy.address()), Address(y.address()), int(count), Address(out.address())];
        let (kernel, grid) = (self.packed("relu_backward", width), Grid::over(count / width));
        // SAFETY: all have the same size.
        unsafe { self.runtime.launch(Module::Elementwise, &kernel, grid, &args)? };
        Ok(out)
    }

    /// Every stride-th row and column, with zero channels around; `backward`: the gradient of that, from `to` to `from`.
    pub(crate) fn shortcut(&self, x: &Array<R>, s: &Shortcut, backward: bool) -> Result<Array<R>> {
        let (from, to) = (s.n * s.from.count(), s.n * s.to.count());
        let (read, written) = if backward { (to, from) } else { (from, to) };
        expect("shortcut", x, read)?;
        if s.stride.0 == 0
            || s.stride.1 == 0
            || s.to.height != s.from.height.div_ceil(s.stride.0)
            || s.to.width != s.from.width.div_ceil(s.stride.1)
        {
            bail!("shortcut: {:?} does not come from {:?} in steps of {:?}", s.to, s.from, s.stride);
        }
        let out = self.map(written)?;
        let sizes = [s.n, s.from.height, s.from.width, s.from.channels, s.to.height, s.to.width, s.to.channels];
        let mut args = vec![Address(x.address())];
        args.extend(sizes.into_iter().chain([s.stride.0, s.stride.1, s.before]).map(int));
        args.push(Address(out.address()));
        let kernel = self.typed(if backward { "shortcut_backward" } else { "shortcut" });
        // SAFETY: the sizes are those of the two maps; the kernel checks channels, rows and columns come from the
        // checks above.
        unsafe { self.runtime.launch(Module::Elementwise, &kernel, Grid::over(written), &args)? };
        Ok(out)
    }

    fn window(config: [(usize, usize); 3], n: usize, from: MapShape, to: MapShape) -> Arg {
        let [kernel, stride, padding] = config;
        let sizes = [n, from.height, from.width, from.channels, to.height, to.width];
        let rest = [kernel.0, kernel.1, stride.0, stride.1, padding.0, padding.1];
        Arg::Window(std::array::from_fn(|i| if i < 6 { sizes[i] } else { rest[i - 6] } as i32))
    }

    /// The greatest values, and the taps that hold them.
    pub(crate) fn max_pool(
        &self,
        x: &Array<R>,
        c: &PoolConfig,
        n: usize,
        from: MapShape,
    ) -> Result<(Array<R>, Array<R>)> {
        expect("max_pool2d", x, n * from.count())?;
        let (height, width) = c.output_size((from.height, from.width))?;
        let to = MapShape { height, width, ..from };
        let (out, taps) = (self.map(n * to.count())?, Array::new(&self.runtime, n * to.count(), DType::U8)?);
        let window = Self::window([c.kernel, c.stride, c.padding], n, from, to);
        let args = [Address(x.address()), window, Address(out.address()), Address(taps.address())];
        let width = pack(from.channels, self.element);
        let (kernel, grid) = (self.packed("max_pool", width), Grid::over(out.count() / width));
        // SAFETY: the maps have the window's sizes, and packs do not cross a pixel.
        unsafe { self.runtime.launch(Module::Pool, &kernel, grid, &args)? };
        Ok((out, taps))
    }

    pub(crate) fn max_pool_backward(
        &self,
        dy: &Array<R>,
        taps: &Array<R>,
        c: &PoolConfig,
        n: usize,
        from: MapShape,
    ) -> Result<Array<R>> {
        let (height, width) = c.output_size((from.height, from.width))?;
        let to = MapShape { height, width, ..from };
        expect("max_pool2d", dy, n * to.count())?;
        expect("max_pool2d", taps, n * to.count())?;
        let out = self.map(n * from.count())?;
        let window = Self::window([c.kernel, c.stride, c.padding], n, from, to);
        let args = [Address(dy.address()), Address(taps.address()), window, Address(out.address())];
        let width = pack(from.channels, self.element);
        let (kernel, grid) = (self.packed("max_pool_backward", width), Grid::over(out.count() / width));
        // SAFETY: as above.
        unsafe { self.runtime.launch(Module::Pool, &kernel, grid, &args)? };
        Ok(out)
    }

    /// Means of windows; `backward`: the gradient of that.
    pub(crate) fn average_pool(
        &self,
        x: &Array<R>,
        c: &AvgPoolConfig,
        n: usize,
        from: MapShape,
        backward: bool,
    ) -> Result<Array<R>> {
        let (height, width) = c.output_size((from.height, from.width))?;
        let to = MapShape { height, width, ..from };
        let (read, written) = if backward { (to, from) } else { (from, to) };
        expect("avg_pool2d", x, n * read.count())?;
        let out = self.map(n * written.count())?;
        let window = Self::window([c.kernel, c.stride, c.padding], n, from, to);
        let args = [Address(x.address()), window, Address(out.address())];
        let width = pack(from.channels, self.element);
        let kernel = self.packed(if backward { "average_pool_backward" } else { "average_pool" }, width);
        // SAFETY: the maps have the window's sizes, and packs do not cross a pixel.
        unsafe { self.runtime.launch(Module::Pool, &kernel, Grid::over(out.count() / width), &args)? };
        Ok(out)
    }

    /// The mean over all pixels.
    pub(crate) fn pixel_mean(&self, x: &Array<R>, n: usize, from: MapShape) -> Result<Array<R>> {
        expect("global_avg_pool2d", x, n * from.count())?;
        let group = from.channels.min(32).next_power_of_two();
        let out = self.map(n * from.channels)?;
        let grid = Grid { x: from.channels.div_ceil(group), y: n };
        let pixels = from.height * from.width;
        let args = [Address(x.address()), int(pixels), int(from.channels), int(group), Address(out.address())];
        // The second direction of a grid ends at 65,535.
        if n > 65_535 || !THREADS.is_multiple_of(group) {
            bail!("global_avg_pool2d: a batch of {n} is too large");
        }
        // SAFETY: `x` holds n maps, `out` one value for each and channel.
        unsafe { self.runtime.launch(Module::Pool, &self.typed("pixel_mean"), grid, &args)? };
        Ok(out)
    }

    pub(crate) fn pixel_mean_backward(&self, dy: &Array<R>, n: usize, from: MapShape) -> Result<Array<R>> {
        expect("global_avg_pool2d", dy, n * from.channels)?;
        let out = self.map(n * from.count())?;
        let pixels = from.height * from.width;
        let args = [Address(dy.address()), int(n), int(pixels), int(from.channels), Address(out.address())];
        let kernel = self.typed("pixel_mean_backward");
        // SAFETY: as above, the other way round.
        unsafe { self.runtime.launch(Module::Pool, &kernel, Grid::over(out.count()), &args)? };
        Ok(out)
    }
}

/// What follows a norm before its result is stored.
pub(crate) enum Activation<'a, R: Runtime> {
    None,
    Relu,
    /// An addition and a ReLU, with this result.
    AddRelu(&'a Array<R>),
}

pub(crate) struct NormGradients<R: Runtime> {
    pub input: Array<R>,
    /// What the residual gets, where the norm knows it: with [`Activation::AddRelu`].
    pub residual: Option<Array<R>>,
    pub weight: Array<R>,
    pub bias: Array<R>,
}

/// Subsampling and zero channels of a shortcut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shortcut {
    pub n: usize,
    pub from: MapShape,
    pub to: MapShape,
    pub stride: (usize, usize),
    pub before: usize,
}
