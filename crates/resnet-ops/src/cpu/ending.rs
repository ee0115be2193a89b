//! What ends a slot's gradient: contributions of other shapes are added, the rest is left to [`Finish`].

use std::ops::Range;
use std::sync::Arc;

use super::buffer::{Buffer, Shared};
use super::conv::Epilogue;
use super::element::Element;
use super::finish::{Finish, Mask, NormSums};
use super::isa::Isa;
use crate::graph::MapShape;

/// A contribution that is another gradient's buffer, seen through a subsampling and padding.
pub(super) struct Alias<E> {
    pub(super) buffer: Arc<Buffer<E>>,
    /// Shape of the aliased gradient.
    pub(super) shape: MapShape,
    pub(super) stride: (usize, usize),
    /// Zero channels in front; `None`: the same shape as the stored value.
    pub(super) reshaped: Option<usize>,
}

/// What ends a slot: the mask, the sums, the other contributions.
pub(super) struct Ending<'a, E> {
    pub(super) shape: MapShape,
    pub(super) x: &'a Buffer<E>,
    pub(super) mask: Mask<'a>,
    pub(super) mean: Option<&'a [f32]>,
    pub(super) others: Vec<&'a Buffer<E>>,
    pub(super) reshaped: Vec<&'a Alias<E>>,
    pub(super) broadcast: Option<&'a [f32]>,
}

/// A share's passes over its pixels.
pub(super) struct EndingPass<'a, E> {
    ending: &'a Ending<'a, E>,
    out: Shared<E>,
    pub(super) sums: NormSums,
}

impl<'a, E: Element> EndingPass<'a, E> {
    pub(super) fn new(ending: &'a Ending<'a, E>, out: Shared<E>) -> Self {
        Self { ending, out, sums: NormSums::new(ending.shape.channels) }
    }

    /// Adds what is not laid out like the stored value to `values`.
    unsafe fn add_reshaped(&self, range: &Range<usize>, values: *mut f32) {
        let MapShape { channels, height, width } = self.ending.shape;
        for (at, pixel) in range.clone().enumerate() {
            let (image, i, j) = (pixel / (height * width), pixel / width % height, pixel % width);
            // SAFETY: `values` holds the range.
            let values = unsafe { std::slice::from_raw_parts_mut(values.add(at * channels), channels) };
            if let Some(broadcast) = self.ending.broadcast {
                let part = &broadcast[image * channels..(image + 1) * channels];
                values.iter_mut().zip(part).for_each(|(v, b)| *v += b);
            }
            for alias in &self.ending.reshaped {
                let (stride, before) = (alias.stride, alias.reshaped.unwrap_or(0));
                if i % stride.0 == 0 && j % stride.1 == 0 {
                    let from = (image * alias.shape.height + i / stride.0) * alias.shape.width + j / stride.1;
                    let from = from * alias.shape.channels + before;
                    let part = &alias.buffer.as_slice()[from..from + channels];
                    values.iter_mut().zip(part).for_each(|(v, g)| *v += g.to_f32());
                }
            }
        }
    }
}

impl<E: Element> Epilogue for EndingPass<'_, E> {
    unsafe fn pixels(&mut self, isa: Isa, range: Range<usize>, values: *mut f32) {
        let ending = self.ending;
        let channels = ending.shape.channels;
        // SAFETY: `values` holds the range, the other maps everything.
        unsafe {
            if ending.broadcast.is_some() || !ending.reshaped.is_empty() {
                self.add_reshaped(&range, values);
            }
            let at = range.start * channels;
            let mut others = ending.others.iter().map(|buffer| buffer.as_ptr().add(at));
            let mut rest = others.clone().skip(2);
            let pair = [others.next().unwrap_or(std::ptr::null()), others.next().unwrap_or(std::ptr::null())];
            // More than two further contributions are rare: they are added one by one.
            for other in rest.by_ref() {
                for i in 0..range.len() * channels {
                    *values.add(i) += (*other.add(i)).to_f32();
                }
            }
            let out = if self.out.get().is_null() { self.out.get() } else { self.out.get().add(at) };
            let pass = Finish {
                values,
                others: pair,
                x: ending.x.as_ptr().add(at),
                mask: ending.mask,
                mean: ending.mean,
                out,
                sums: std::ptr::null_mut(),
                pixels: range.len(),
                channels,
            };
            self.sums.run(isa, pass);
        }
    }
}

// SAFETY: a pass reads shared maps and writes its own pixels.
unsafe impl<E: Element> Send for EndingPass<'_, E> {}
