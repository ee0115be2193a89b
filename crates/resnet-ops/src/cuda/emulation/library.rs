//! A library that convolves: all products one by one, summed in f64.

use std::sync::{Arc, Mutex, PoisonError};

use half::{bf16, f16};

use crate::cuda::conv_problem::{ConvPass, ConvProblem};
use crate::cuda::runtime::Element;

/// What was asked of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub pass: ConvPass,
    pub accumulate: bool,
}

/// Takes every convolution, or all but those that add to what is there.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    pub adds: bool,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Library {
    pub(super) fn new(adds: bool) -> Self {
        Self { adds, calls: Arc::default() }
    }

    /// What was asked of it so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Safety
    /// As for [`Runtime::convolve`](crate::cuda::runtime::Runtime::convolve).
    pub(super) unsafe fn convolve(
        &self,
        pass: ConvPass,
        shape: &ConvProblem,
        element: Element,
        [a, b]: [u64; 2],
        out: u64,
        accumulate: bool,
    ) -> bool {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(Call { pass, accumulate });
        if accumulate && !self.adds {
            return false;
        }
        let [count_a, count_b, count] = shape.counts(pass);
        // SAFETY: as the caller promises.
        unsafe {
            let (a, b) = (read(a, count_a, element), read(b, count_b, element));
            let start = if accumulate { read(out, count, element) } else { vec![0.; count] };
            write(out, &products(pass, shape, &a, &b, start), element);
        }
        true
    }
}

unsafe fn read(address: u64, count: usize, element: Element) -> Vec<f64> {
    // SAFETY: the caller's values are there.
    unsafe {
        match element {
            Element::F32 => {
                std::slice::from_raw_parts(address as *const f32, count).iter().copied().map(f64::from).collect()
            }
            Element::Bf16 => {
                std::slice::from_raw_parts(address as *const bf16, count).iter().copied().map(f64::from).collect()
            }
            Element::F16 => {
                std::slice::from_raw_parts(address as *const f16, count).iter().copied().map(f64::from).collect()
            }
        }
    }
}

unsafe fn write(address: u64, values: &[f64], element: Element) {
    for (i, &value) in values.iter().enumerate() {
        // SAFETY: the caller's values have room there.
        unsafe {
            match element {
                Element::F32 => (address as *mut f32).add(i).write(value as f32),
                Element::Bf16 => (address as *mut bf16).add(i).write(bf16::from_f64(value)),
                Element::F16 => (address as *mut f16).add(i).write(f16::from_f64(value)),
            }
        }
    }
}

/// Adds to `out`: each pair of an input's pixel and a weight's tap that meet in an output's pixel.
fn products(pass: ConvPass, s: &ConvProblem, a: &[f64], b: &[f64], mut out: Vec<f64>) -> Vec<f64> {
    let (inputs, outputs) = (s.c / s.groups, s.o / s.groups);
    for (n, p, q) in each(s.n, s.oh, s.ow) {
        for (r, t, o) in each(s.kh, s.kw, s.o) {
            let row = (p * s.stride.0 + r * s.dilation.0).checked_sub(s.padding.0).filter(|&row| row < s.h);
            let column = (q * s.stride.1 + t * s.dilation.1).checked_sub(s.padding.1).filter(|&column| column < s.w);
            let (Some(row), Some(column)) = (row, column) else { continue };
            for i in 0..inputs {
                let x = ((n * s.h + row) * s.w + column) * s.c + o / outputs * inputs + i;
                let w = ((o * s.kh + r) * s.kw + t) * inputs + i;
                let y = ((n * s.oh + p) * s.ow + q) * s.o + o;
                match pass {
                    ConvPass::Forward => out[y] += a[x] * b[w],
                    ConvPass::BackwardData => out[x] += a[w] * b[y],
                    ConvPass::BackwardFilter => out[w] += a[x] * b[y],
                }
            }
        }
    }
    out
}

fn each(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}
