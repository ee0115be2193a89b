//! The sizes of a convolution: what cuDNN's descriptors, the cache of algorithms and the direct kernels are made of.

use candle_core::{Result, Tensor};

use crate::ConvConfig;
use crate::graph::MapShape;

/// Which of the three convolutions of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ConvPass {
    /// (input, weight) to output.
    Forward,
    /// (weight, gradient of the output) to the gradient of the input.
    BackwardData,
    /// (input, gradient of the output) to the gradient of the weight.
    BackwardFilter,
}

/// Input (n, h, w, c), weight (o, kh, kw, c / groups), output (n, oh, ow, o).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConvProblem {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub o: usize,
    pub kh: usize,
    pub kw: usize,
    pub oh: usize,
    pub ow: usize,
    pub stride: (usize, usize),
    pub padding: (usize, usize),
    pub dilation: (usize, usize),
    pub groups: usize,
}

impl ConvProblem {
    /// # Errors
    /// If the weight (O, C / groups, kh, kw) does not fit the input.
    pub(crate) fn new(n: usize, input: MapShape, weight: &Tensor, config: &ConvConfig) -> Result<Self> {
        let (o, cg, kh, kw) = weight.dims4()?;
        let MapShape { channels: c, height: h, width: w } = input;
        let (oh, ow) = config.output_size((h, w), (kh, kw))?;
        if cg * config.groups != c || o % config.groups != 0 {
            bail!("conv2d: a weight {:?} in {} groups does not fit {c} channels", weight.dims(), config.groups);
        }
        let ConvConfig { stride, padding, dilation, groups } = *config;
        Ok(Self { n, h, w, c, o, kh, kw, oh, ow, stride, padding, dilation, groups })
    }

    /// A linear layer with weight (O, I) is a 1×1 convolution of one pixel.
    ///
    /// # Errors
    /// If the weight does not have `c` inputs.
    pub(crate) fn linear(n: usize, c: usize, weight: &Tensor) -> Result<Self> {
        let (o, i) = weight.dims2()?;
        if i != c {
            bail!("linear: a weight {:?} does not fit {c} inputs", weight.dims());
        }
        let one = (1, 1);
        Ok(Self {
            n,
            h: 1,
            w: 1,
            c,
            o,
            kh: 1,
            kw: 1,
            oh: 1,
            ow: 1,
            stride: one,
            padding: (0, 0),
            dilation: one,
            groups: 1,
        })
    }

    pub(crate) fn input_count(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    pub(crate) fn weight_count(&self) -> usize {
        self.o * self.kh * self.kw * (self.c / self.groups)
    }

    pub(crate) fn output_count(&self) -> usize {
        self.n * self.oh * self.ow * self.o
    }

    /// Values of the two operands and the result.
    pub(crate) fn counts(&self, pass: ConvPass) -> [usize; 3] {
        let (x, w, y) = (self.input_count(), self.weight_count(), self.output_count());
        match pass {
            ConvPass::Forward => [x, w, y],
            ConvPass::BackwardData => [w, y, x],
            ConvPass::BackwardFilter => [x, y, w],
        }
    }

    /// `struct Conv` of the kernels.
    pub(crate) fn as_struct(&self) -> [i32; 16] {
        let pairs = [self.stride, self.padding, self.dilation];
        let mut all = [self.n, self.h, self.w, self.c, self.o, self.kh, self.kw, self.oh, self.ow].to_vec();
        all.extend(pairs.iter().flat_map(|&(rows, columns)| [rows, columns]));
        all.push(self.groups);
        std::array::from_fn(|i| all[i] as i32)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn operands_have_the_sizes_of_each_pass() -> Result<()> {
        let weight = Tensor::zeros((6, 2, 3, 1), DType::F32, &Device::Cpu)?;
        let config = ConvConfig { stride: (2, 1), padding: (1, 0), groups: 2, ..ConvConfig::default() };
        let input = MapShape { channels: 4, height: 5, width: 7 };
        let shape = ConvProblem::new(3, input, &weight, &config)?;
        assert_eq!((shape.oh, shape.ow), (3, 7));
        let (x, w, y) = (3 * 5 * 7 * 4, 6 * 3 * 2, 3 * 3 * 7 * 6);
        assert_eq!(shape.counts(ConvPass::Forward), [x, w, y]);
        assert_eq!(shape.counts(ConvPass::BackwardData), [w, y, x]);
        assert_eq!(shape.counts(ConvPass::BackwardFilter), [x, y, w]);
        assert_eq!(shape.as_struct(), [3, 5, 7, 4, 6, 3, 1, 3, 7, 2, 1, 1, 0, 1, 1, 2]);
        let other = MapShape { channels: 5, ..input };
        assert!(ConvProblem::new(3, other, &weight, &config).is_err());
        Ok(())
    }
}
