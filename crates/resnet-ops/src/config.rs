//! What the operations are configured by, and the shapes that follow.

use candle_core::{Result, bail};

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
    /// If a stride, dilation or group count is zero, or the kernel does not fit into the padded input.
    pub fn output_size(&self, (h, w): (usize, usize), (kh, kw): (usize, usize)) -> Result<(usize, usize)> {
        if self.groups == 0 {
            bail!("conv2d: groups must be at least 1");
        }
        Ok((
            window_count("conv2d", h, kh, self.stride.0, self.padding.0, self.dilation.0)?,
            window_count("conv2d", w, kw, self.stride.1, self.padding.1, self.dilation.1)?,
        ))
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
    /// If the stride is zero, the padding exceeds half the kernel or the window does not fit.
    pub fn output_size(&self, (h, w): (usize, usize)) -> Result<(usize, usize)> {
        if self.padding.0 * 2 > self.kernel.0 || self.padding.1 * 2 > self.kernel.1 {
            bail!("max_pool2d: padding {:?} is more than half the kernel {:?}", self.padding, self.kernel);
        }
        Ok((
            window_count("max_pool2d", h, self.kernel.0, self.stride.0, self.padding.0, 1)?,
            window_count("max_pool2d", w, self.kernel.1, self.stride.1, self.padding.1, 1)?,
        ))
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
    /// If the stride is zero, the padding exceeds half the kernel or the window does not fit.
    pub fn output_size(&self, (h, w): (usize, usize)) -> Result<(usize, usize)> {
        if self.padding.0 * 2 > self.kernel.0 || self.padding.1 * 2 > self.kernel.1 {
            bail!("avg_pool2d: padding {:?} is more than half the kernel {:?}", self.padding, self.kernel);
        }
        let count = |size: usize, kernel: usize, stride: usize, padding: usize| -> Result<usize> {
            if !self.ceil {
                return window_count("avg_pool2d", size, kernel, stride, padding, 1);
            }
            if stride == 0 || kernel == 0 || size == 0 {
                bail!("avg_pool2d: kernel, stride and size must be at least 1, got {kernel}, {stride}, {size}");
            }
            let count = (size + 2 * padding).saturating_sub(kernel).div_ceil(stride) + 1;
            // The last window has to begin inside.
            Ok(if (count - 1) * stride >= size + padding { count - 1 } else { count })
        };
        Ok((
            count(h, self.kernel.0, self.stride.0, self.padding.0)?,
            count(w, self.kernel.1, self.stride.1, self.padding.1)?,
        ))
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

fn window_count(op: &str, size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize> {
    if stride == 0 || dilation == 0 || kernel == 0 {
        bail!("{op}: kernel, stride and dilation must be at least 1, got {kernel}, {stride}, {dilation}");
    }
    let span = dilation * (kernel - 1) + 1;
    let padded = size + 2 * padding;
    if size == 0 || padded < span {
        bail!("{op}: a window of {span} pixels does not fit into {size} pixels with a padding of {padding}");
    }
    Ok((padded - span) / stride + 1)
}
