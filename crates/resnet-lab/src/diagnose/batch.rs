//! What a network is looked at with.

use candle_core::Tensor;

use crate::{Error, Result};

/// Images and their classes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// f32 (N, 3, H, W), normalised.
    pub images: Tensor,
    /// u32 (N,).
    pub labels: Tensor,
}

impl Batch {
    /// The first images, at most so many.
    ///
    /// # Errors
    /// When images or labels have no dimension.
    pub fn first(&self, count: usize) -> Result<Self> {
        let count = count.min(self.images.dim(0)?);
        Ok(Self { images: self.images.narrow(0, 0, count)?, labels: self.labels.narrow(0, 0, count)? })
    }

    /// # Errors
    /// Where it has fewer than two images, or as many labels as images not.
    pub(super) fn check(&self) -> Result<()> {
        let n = self.images.dims4()?.0;
        if n < 2 || self.labels.dims() != [n] {
            return Err(Error::Invalid(format!(
                "two images or more with a label each are needed, got {:?} and {:?}",
                self.images.dims(),
                self.labels.dims()
            )));
        }
        Ok(())
    }
}
