//! Winograd's algorithm F(4×4, 3×3): a 4×4 square of outputs from 36 products instead of 144 (Lavin and Gray 2016,
//! "Fast Algorithms for Convolutional Neural Networks", section 4.3).

use super::map::{Layout, Stored};
use crate::cpu::buffer::Buffer;
use crate::cpu::gather::Gather;
use crate::cpu::geometry::{ConvShape, LANES, Run};
use crate::cpu::isa::{Arithmetic, Isa, Kernel, Simd, launch};
use crate::cpu::weights::{Direction, Packed};

/// Rows and columns of a square of outputs, and of the inputs that it depends on.
pub(super) const OUT: usize = 4;
const IN: usize = 6;
/// Products of a square.
pub(super) const POSITIONS: usize = IN * IN;

/// G g Gᵀ for each output and input channel, packed as the matrix of each position.
pub(super) fn transform_weights(isa: Isa, weight: &[f32], (o, c): (usize, usize), vectors: usize) -> Vec<Packed> {
    const G: [[f64; 3]; IN] = [
        [1. / 4., 0., 0.],
        [-1. / 6., -1. / 6., -1. / 6.],
        [-1. / 6., 1. / 6., -1. / 6.],
        [1. / 24., 1. / 12., 1. / 6.],
        [1. / 24., -1. / 12., 1. / 6.],
        [0., 0., 1.],
    ];
    let mut transformed = vec![vec![0f32; o * c]; POSITIONS];
    for (at, g) in weight.chunks_exact(9).enumerate() {
        let mut rows = [[0f64; 3]; IN];
        for (row, factors) in rows.iter_mut().zip(&G) {
            for (j, value) in row.iter_mut().enumerate() {
                *value = (0..3).map(|i| factors[i] * f64::from(g[3 * i + j])).sum();
            }
        }
        for (i, row) in rows.iter().enumerate() {
            for (j, factors) in G.iter().enumerate() {
                transformed[i * IN + j][at] = (0..3).map(|k| row[k] * factors[k]).sum::<f64>() as f32;
            }
        }
    }
    let shape = ConvShape { n: 1, h: 1, w: 1, c, o, kh: 1, kw: 1, oh: 1, ow: 1, config: Default::default() };
    let taps = crate::cpu::geometry::forward_taps(&shape);
    let pack = |w: &Vec<f32>| Packed::new((isa, Arithmetic::Single), w, &shape, &taps, vectors, Direction::Forward);
    transformed.iter().map(pack).collect()
}

/// Some squares of one image, for some blocks of output channels.
pub(super) struct Squares<'a, E> {
    /// The input's pixel (0, 0) of the first panel; around it a border of at least one zero.
    pub x: *const E,
    pub from: Layout,
    /// Rows and columns of the map.
    pub size: (usize, usize),
    /// First square, counted row by row, and how many.
    pub first: usize,
    pub count: usize,
    pub weights: &'a [Packed],
    /// Blocks of output channels.
    pub blocks: (usize, usize),
    pub bias: *const f32,
    /// Pixel (0, 0) of the map that is added, or null.
    pub residual: *const E,
    pub residual_layout: Layout,
    pub relu: bool,
    pub y: *mut E,
    pub to: Layout,
}

/// Values from one position to the next, for so many vectors: an odd number of cache lines, because a transform touches
/// all positions at once and they must not fall into one set of the cache.
fn position_len(vectors: usize) -> usize {
    (vectors | 1) * LANES
}

/// What a thread needs for its squares.
pub(super) struct Scratch {
    inputs: Buffer<f32>,
    products: Buffer<f32>,
}

impl Scratch {
    pub(super) fn new(inputs: usize, vectors: usize, count: usize) -> Self {
        Self {
            inputs: Buffer::new(POSITIONS * position_len(inputs * count)),
            products: Buffer::new(POSITIONS * position_len(vectors * count)),
        }
    }
}

impl<E: Stored> Squares<'_, E> {
    fn columns(&self) -> usize {
        self.size.1.div_ceil(OUT)
    }

    /// Vectors of input channels.
    fn inputs(&self) -> usize {
        self.from.shape.channels / LANES
    }

    /// Computes the squares.
    ///
    /// # Safety
    /// The pointers must be valid for the map; `scratch` must be made for as many vectors of channels and squares.
    pub(super) unsafe fn run(&self, isa: Isa, scratch: &mut Scratch) {
        let Some(first) = self.weights.first() else { return };
        let (vectors, count) = (first.vectors, self.count);
        let inputs = scratch.inputs.as_mut_slice().as_mut_ptr();
        let products = scratch.products.as_mut_slice().as_mut_ptr();
        let blocks = self.blocks.1 - self.blocks.0;
        let runs: Vec<Run> = (0..self.inputs()).map(|v| Run { offset: v * count * LANES, len: LANES }).collect();
        let runs = [runs];
        // SAFETY: as the caller promises.
        unsafe {
            launch(isa, Inputs { squares: self, out: inputs });
            for (position, weights) in self.weights.iter().enumerate() {
                let gather = Gather {
                    scratch: inputs.add(position * position_len(self.inputs() * count)),
                    images: 1,
                    x_step: 1,
                    x_image: 0,
                    x_row: 0,
                    x_group: 0,
                    blocks: &runs,
                    weights,
                    groups: 1,
                    outputs: self.blocks,
                    bias: std::ptr::null(),
                    // Blocks are counted from the first of all.
                    y: products
                        .add(position * position_len(blocks * vectors * count))
                        .wrapping_sub(self.blocks.0 * vectors * count * LANES),
                    y_pixel: LANES,
                    y_row: 0,
                    y_image: 0,
                    y_vector: count * LANES,
                    y_group: 0,
                    rows: 1,
                    cols: count,
                    residual: std::ptr::null(),
                    residual_row: 0,
                    residual_vector: 0,
                    relu: false,
                    narrow: false,
                };
                launch(isa, gather);
            }
            launch(isa, Outputs { squares: self, products, vectors });
        }
    }
}

/// Bᵀ d B of every square and vector of channels: (position, vector, square, 16).
struct Inputs<'a, E> {
    squares: &'a Squares<'a, E>,
    out: *mut f32,
}

impl<E: Stored> Kernel for Inputs<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let k = self.squares;
        let (height, width) = (k.size.0 as isize, k.size.1 as isize);
        let (inputs, row_len, pixel) = (k.inputs(), k.from.row() as isize, k.from.pixel());
        for square in 0..k.count {
            let at = k.first + square;
            let (row, col) = ((at / k.columns() * OUT) as isize - 1, (at % k.columns() * OUT) as isize - 1);
            for vector in 0..inputs {
                // SAFETY: rows and columns -1 to the size are in the map; further ones are not read.
                unsafe {
                    let x = k.x.add(k.from.vector(vector));
                    let mut d = [[S::splat(0.); IN]; IN];
                    for (i, d) in d.iter_mut().enumerate() {
                        let r = row + i as isize;
                        if r > height {
                            continue;
                        }
                        let x = x.wrapping_offset(r * row_len + col * pixel as isize);
                        for (j, d) in d.iter_mut().enumerate() {
                            if col + (j as isize) <= width {
                                *d = E::load::<S>(x.wrapping_add(j * pixel), LANES);
                            }
                        }
                    }
                    for j in 0..IN {
                        let column = input_transform::<S>(std::array::from_fn(|i| d[i][j]));
                        d.iter_mut().zip(column).for_each(|(row, value)| row[j] = value);
                    }
                    for (i, d) in d.iter().enumerate() {
                        for (j, &value) in input_transform::<S>(*d).iter().enumerate() {
                            let position = (i * IN + j) * position_len(inputs * k.count);
                            S::store(self.out.add(position + (vector * k.count + square) * LANES), value);
                        }
                    }
                }
            }
        }
    }
}

/// Bᵀ d of one column.
#[inline(always)]
unsafe fn input_transform<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    unsafe {
        let c = |x: f32| S::splat(x);
        // 4 d₀ − 5 d₂ + d₄ and so on, with what two rows share taken once.
        let even = S::fma(c(-4.), d[2], d[4]);
        let odd = S::fma(c(-4.), d[1], d[3]);
        let (low, high) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
        [
            S::fma(c(4.), d[0], S::fma(c(-5.), d[2], d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::fma(c(2.), high, low),
            S::fma(c(-2.), high, low),
            S::fma(c(4.), d[1], S::fma(c(-5.), d[3], d[5])),
        ]
    }
}

/// Aᵀ m A of every square, with bias, addition and ReLU.
struct Outputs<'a, E> {
    squares: &'a Squares<'a, E>,
    products: *const f32,
    vectors: usize,
}

impl<E: Stored> Kernel for Outputs<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let k = self.squares;
        let vectors = (k.blocks.1 - k.blocks.0) * self.vectors;
        let first = k.blocks.0 * self.vectors;
        let last = k.weights.first().map_or(0, |packed| packed.outputs.div_ceil(LANES));
        for square in 0..k.count {
            let at = k.first + square;
            let (row, col) = (at / k.columns() * OUT, at % k.columns() * OUT);
            let (rows, cols) = (OUT.min(k.size.0 - row), OUT.min(k.size.1 - col));
            for vector in 0..vectors.min(last - first) {
                // SAFETY: the map holds these rows and columns of every panel.
                unsafe {
                    let mut m = [[S::splat(0.); IN]; IN];
                    for (i, m) in m.iter_mut().enumerate() {
                        for (j, m) in m.iter_mut().enumerate() {
                            let position = (i * IN + j) * position_len(vectors * k.count);
                            *m = S::load(self.products.add(position + (vector * k.count + square) * LANES));
                        }
                    }
                    let mut half = [[S::splat(0.); IN]; OUT];
                    for j in 0..IN {
                        let column = output_transform::<S>(std::array::from_fn(|i| m[i][j]));
                        half.iter_mut().zip(column).for_each(|(row, value)| row[j] = value);
                    }
                    let bias = S::load(k.bias.add((first + vector) * LANES));
                    let start = |map: &Layout| map.vector(first + vector) + row * map.row() + col * map.pixel();
                    let (y, at) = (k.y.add(start(&k.to)), start(&k.residual_layout));
                    for (i, half) in half.iter().enumerate().take(rows) {
                        for (j, &value) in output_transform::<S>(*half).iter().enumerate().take(cols) {
                            let mut sum = S::add(value, bias);
                            if !k.residual.is_null() {
                                let at = at + i * k.residual_layout.row() + j * k.to.pixel();
                                sum = S::add(sum, E::load::<S>(k.residual.add(at), LANES));
                            }
                            if k.relu {
                                sum = S::max(S::splat(0.), sum);
                            }
                            E::store::<S>(y.add(i * k.to.row() + j * k.to.pixel()), sum, LANES);
                        }
                    }
                }
            }
        }
    }
}

/// Aᵀ m of one column.
#[inline(always)]
unsafe fn output_transform<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
    unsafe {
        let c = |x: f32| S::splat(x);
        let (sum, difference) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (far, far_difference) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], sum), far),
            S::fma(c(2.), far_difference, difference),
            S::fma(c(4.), far, sum),
            S::add(S::fma(c(8.), far_difference, difference), m[5]),
        ]
    }
}
