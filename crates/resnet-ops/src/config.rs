//! What the operations are configured by, and the shapes that follow.

use std::fmt::Display;

use candle_core::Result;

/// The largest size in any direction, of a map with its padding or of a parameter: what devices count rows and columns in.
pub(crate) const MOST: usize = i32::MAX as usize;

/// Rows or columns of the largest kernel.
const MOST_KERNEL: usize = 1 << 16;

/// Refuses a parameter of an operation that is not in `least..=most`.
pub(crate) fn in_range(op: &str, parameter: impl Display, value: usize, (least, most): (usize, usize)) -> Result<()> {
    if !(least..=most).contains(&value) {
        bail!("{op}: {parameter} = {value}; {least} to {most} are possible");
    }
    Ok(())
}

/// Refuses an ε that makes no variance positive: one that is negative, infinite or not a number.
pub(crate) fn check_eps(op: &str, eps: f64) -> Result<()> {
    if !(eps >= 0. && eps.is_finite()) {
        bail!("{op}: eps = {eps}; it has to be finite and at least 0");
    }
    Ok(())
}

/// Stride, padding, dilation (rows, columns) and groups of a two-dimensional convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvConfig {
    /// Step of the window, in input pixels (rows, columns).
    pub stride: (usize, usize),
    /// Zeros added on each side (rows, columns).
    pub padding: (usize, usize),
    /// Distance of neighbouring kernel taps, in input pixels (rows, columns).
    pub dilation: (usize, usize),
    /// Channel groups: the input's and the output's channels are both split into this many parts.
    pub groups: usize,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1 }
    }
}

impl ConvConfig {
    /// The same stride and padding in both directions, no dilation, one group.
    pub fn square(stride: usize, padding: usize) -> Self {
        Self { stride: (stride, stride), padding: (padding, padding), ..Self::default() }
    }

    /// Rows and columns of the output of an (h, w) input under a (kh, kw) kernel.
    ///
    /// # Errors
    /// If a stride, dilation or group count is zero or above 2³¹ − 1, or the kernel does not fit into the padded input.
    pub fn output_size(&self, (h, w): (usize, usize), (kh, kw): (usize, usize)) -> Result<(usize, usize)> {
        let [rows, columns] = self.windows((kh, kw))?;
        Ok((rows.count(h)?, columns.count(w)?))
    }

    /// Whether a (kh, kw) kernel can be applied so, to an input that is large enough.
    ///
    /// # Errors
    /// If a stride, dilation or group count is zero, or a parameter is too large.
    pub fn check(&self, kernel: (usize, usize)) -> Result<()> {
        self.windows(kernel).map(drop)
    }

    /// The windows in both directions.
    ///
    /// # Errors
    /// As [`Self::output_size`], where that does not depend on the input.
    pub(crate) fn windows(&self, (kh, kw): (usize, usize)) -> Result<[Windows; 2]> {
        in_range("conv2d", "groups", self.groups, (1, MOST))?;
        let ConvConfig { stride, padding, dilation, .. } = *self;
        Ok([
            Windows::new("conv2d", "rows", kh, stride.0, padding.0, dilation.0)?,
            Windows::new("conv2d", "columns", kw, stride.1, padding.1, dilation.1)?,
        ])
    }
}

/// Kernel, stride and padding (rows, columns) of a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Rows and columns of the window.
    pub kernel: (usize, usize),
    /// Step of the window.
    pub stride: (usize, usize),
    /// Border on each side, which never wins (minus infinity, as in PyTorch). At most half the kernel.
    pub padding: (usize, usize),
}

impl PoolConfig {
    /// The same kernel, stride and padding in both directions.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: (kernel, kernel), stride: (stride, stride), padding: (padding, padding) }
    }

    /// Rows and columns of the output of an (h, w) input.
    ///
    /// # Errors
    /// If the kernel or stride is zero or too large, the padding exceeds half the kernel or the window does not fit.
    pub fn output_size(&self, (h, w): (usize, usize)) -> Result<(usize, usize)> {
        let [rows, columns] = self.windows()?;
        Ok((rows.count(h)?, columns.count(w)?))
    }

    pub(crate) fn windows(&self) -> Result<[Windows; 2]> {
        pool_windows("max_pool2d", self.kernel, self.stride, self.padding)
    }
}

/// Kernel, stride and padding (rows, columns) of an average pooling, whose border does not count
/// (`count_include_pad=False` in PyTorch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPoolConfig {
    /// Rows and columns of the window.
    pub kernel: (usize, usize),
    /// Step of the window.
    pub stride: (usize, usize),
    /// Border on each side. At most half the kernel.
    pub padding: (usize, usize),
    /// Whether a last window that begins inside but reaches beyond the border counts too.
    pub ceil: bool,
}

impl AvgPoolConfig {
    /// The same kernel and stride in both directions, no padding.
    pub fn square(kernel: usize, stride: usize, ceil: bool) -> Self {
        Self { kernel: (kernel, kernel), stride: (stride, stride), padding: (0, 0), ceil }
    }

    /// Rows and columns of the output of an (h, w) input.
    ///
    /// # Errors
    /// If the kernel or stride is zero or too large, the padding exceeds half the kernel or the window does not fit.
    pub fn output_size(&self, (h, w): (usize, usize)) -> Result<(usize, usize)> {
        let [rows, columns] = self.windows()?;
        let count = |windows: Windows, size| if self.ceil { windows.count_up(size) } else { windows.count(size) };
        Ok((count(rows, h)?, count(columns, w)?))
    }

    pub(crate) fn windows(&self) -> Result<[Windows; 2]> {
        pool_windows("avg_pool2d", self.kernel, self.stride, self.padding)
    }

    /// The pixels (first, end) of one direction that the window of output `o` covers in an input of `size`.
    pub(crate) fn span(o: usize, kernel: usize, stride: usize, padding: usize, size: usize) -> (usize, usize) {
        ((o * stride).saturating_sub(padding), (o * stride + kernel).saturating_sub(padding).min(size))
    }

    /// The number of pixels that count in the window of output (i, j) of an (h, w) input.
    pub(crate) fn count(&self, (h, w): (usize, usize), (i, j): (usize, usize)) -> usize {
        let (top, bottom) = Self::span(i, self.kernel.0, self.stride.0, self.padding.0, h);
        let (left, right) = Self::span(j, self.kernel.1, self.stride.1, self.padding.1, w);
        (bottom - top) * (right - left)
    }
}

/// Constants of a batch norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConfig {
    /// Added to the variance before its root.
    pub eps: f64,
    /// Weight of the new batch in the running statistics: `running = (1 - momentum) running + momentum batch`.
    pub momentum: f64,
}

impl Default for NormConfig {
    /// PyTorch's: eps 1e-5, momentum 0.1.
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

/// The windows of a convolution or pooling in one direction, whose parameters are possible.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    op: &'static str,
    direction: &'static str,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Windows {
    fn new(
        op: &'static str,
        direction: &'static str,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Result<Self> {
        in_range(op, format_args!("kernel ({direction})"), kernel, (1, MOST_KERNEL))?;
        in_range(op, format_args!("stride ({direction})"), stride, (1, MOST))?;
        in_range(op, format_args!("padding ({direction})"), padding, (0, MOST))?;
        in_range(op, format_args!("dilation ({direction})"), dilation, (1, MOST))?;
        Ok(Self { op, direction, kernel, stride, padding, dilation })
    }

    /// Pixels from a window's first to its last. At most 2⁴⁷: kernel and dilation are bounded.
    fn span(&self) -> u64 {
        self.dilation as u64 * (self.kernel as u64 - 1) + 1
    }

    /// The input's pixels with the padding on both sides.
    ///
    /// # Errors
    /// If there are none, or more than can be counted.
    pub(crate) fn padded(&self, size: usize) -> Result<usize> {
        let Self { op, direction, padding, .. } = *self;
        in_range(op, direction, size, (1, MOST))?;
        // Both are below 2³¹.
        let padded = size as u64 + 2 * padding as u64;
        if padded > MOST as u64 {
            bail!("{op}: padding ({direction}) = {padding} makes {size} more than {MOST}");
        }
        Ok(padded as usize)
    }

    /// How many windows lie inside.
    fn count(&self, size: usize) -> Result<usize> {
        let (padded, span) = (self.padded(size)? as u64, self.span());
        if padded < span {
            return self.does_not_fit(size);
        }
        Ok(((padded - span) / self.stride as u64 + 1) as usize)
    }

    /// The same with a last one that reaches beyond, but begins inside.
    fn count_up(&self, size: usize) -> Result<usize> {
        let (padded, span, stride) = (self.padded(size)? as u64, self.span(), self.stride as u64);
        if padded + stride - 1 < span {
            return self.does_not_fit(size);
        }
        let count = padded.saturating_sub(span).div_ceil(stride) + 1;
        let begins_inside = (count - 1) * stride < size as u64 + self.padding as u64;
        Ok((if begins_inside { count } else { count - 1 }) as usize)
    }

    fn does_not_fit(&self, size: usize) -> Result<usize> {
        let Self { op, direction, kernel, padding, dilation, .. } = *self;
        let dilation = if dilation > 1 { format!(", {dilation} apart,") } else { String::new() };
        bail!("{op}: a kernel of {kernel} {direction}{dilation} does not fit into {size} with a padding of {padding}")
    }
}

fn pool_windows(
    op: &'static str,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
) -> Result<[Windows; 2]> {
    let windows = [
        Windows::new(op, "rows", kernel.0, stride.0, padding.0, 1)?,
        Windows::new(op, "columns", kernel.1, stride.1, padding.1, 1)?,
    ];
    if padding.0 > kernel.0 / 2 || padding.1 > kernel.1 / 2 {
        bail!("{op}: padding = {padding:?} is more than half the kernel {kernel:?}");
    }
    Ok(windows)
}
