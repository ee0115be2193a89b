//! Winograd's algorithm F(4×4, 3×3): a 4×4 square of outputs from 36 products instead of 144 (Lavin and Gray 2016,
//! "Fast Algorithms for Convolutional Neural Networks", section 4.3).

use std::ops::Range;

use super::implicit_gemm::ImplicitGemm;
use super::pack_weights::PackedWeights;
use super::problem::ConvProblem;
use super::taps::KSpan;
use super::window::LANES;
use crate::cpu::buffer::{Buffer, Growing, Shared};
use crate::cpu::isa::{Arithmetic, Isa, Kernel, Simd, launch};
use crate::cpu::threads;

/// Rows and columns of a square of outputs, and of the inputs that it depends on.
pub(crate) const OUT: usize = 4;
const IN: usize = 6;
/// Products of a square.
const POSITIONS: usize = IN * IN;

/// Whether a convolution can be computed so, and has enough channels and pixels for fewer products to outweigh more bytes:
/// the transformed weights are four times as many, and each square is brought into another form twice.
pub(crate) fn applies(problem: &ConvProblem, arithmetic: Arithmetic) -> bool {
    let config = &problem.config;
    arithmetic == Arithmetic::F32
        && (problem.kh, problem.kw) == (3, 3)
        && config.stride == (1, 1)
        && config.padding == (1, 1)
        && config.dilation == (1, 1)
        && config.groups == 1
        && problem.c.is_multiple_of(LANES)
        && problem.o.is_multiple_of(LANES)
        && problem.c.min(problem.o) >= 32
        && problem.oh.min(problem.ow) >= OUT
}

/// Squares of so many maps.
pub(crate) fn squares(images: usize, (rows, cols): (usize, usize)) -> usize {
    images * rows.div_ceil(OUT) * cols.div_ceil(OUT)
}

/// G g Gᵀ for each output and input channel: the matrix of each position.
pub(crate) struct Transformed([PackedWeights; POSITIONS]);

impl Transformed {
    /// From the packed weights of a 3×3 kernel without groups, whose inputs are whole panels.
    pub(crate) fn new(isa: Isa, direct: &PackedWeights) -> Self {
        let &PackedWeights { vectors, outputs, .. } = direct;
        let (rows, blocks, width) = (direct.rows / 9, direct.blocks(), direct.width());
        let mut positions: [PackedWeights; POSITIONS] = std::array::from_fn(|_| {
            let data = Buffer::new(blocks * rows * width);
            PackedWeights { data, vectors, rows, outputs }
        });
        let shared = positions.each_mut().map(|packed| packed.data.shared());
        threads::static_partition(blocks, |chunk| {
            for block in chunk {
                let from = direct.data.as_slice()[block * direct.rows * width..].as_ptr();
                let to = std::array::from_fn(|i| shared[i].get().wrapping_add(block * rows * width));
                // SAFETY: every block is its own part of every matrix.
                unsafe { launch(isa, TransformWeights { from, to, inputs: rows, width }) };
            }
        });
        Self(positions)
    }

    /// The matrix of one position, as large as all others.
    pub(crate) fn first(&self) -> &PackedWeights {
        &self.0[0]
    }
}

/// G g Gᵀ of one block of output channels.
struct TransformWeights {
    from: *const f32,
    to: [*mut f32; POSITIONS],
    inputs: usize,
    width: usize,
}

impl Kernel for TransformWeights {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for input in 0..self.inputs {
            // A panel has the rows of its first tap, of its second, ….
            let (panel, unit) = (input / LANES, input % LANES);
            for at in (0..self.width).step_by(LANES) {
                // SAFETY: the block holds nine rows, and every matrix one, for each input channel.
                unsafe {
                    let tap = |i: usize, j: usize| {
                        S::load(self.from.add(((panel * 9 + 3 * i + j) * LANES + unit) * self.width + at))
                    };
                    let mut half = [[S::splat(0.); 3]; IN];
                    for j in 0..3 {
                        let column = weight_transform::<S>(std::array::from_fn(|i| tap(i, j)));
                        half.iter_mut().zip(column).for_each(|(row, value)| row[j] = value);
                    }
                    for (i, row) in half.iter().enumerate() {
                        for (j, &value) in weight_transform::<S>(*row).iter().enumerate() {
                            S::store(self.to[i * IN + j].add(input * self.width + at), value);
                        }
                    }
                }
            }
        }
    }
}

/// G g of one column.
#[inline(always)]
unsafe fn weight_transform<S: Simd>(g: [S::V; 3]) -> [S::V; IN] {
    // SAFETY: no memory is touched.
    unsafe {
        let (zero, c) = (S::splat(0.), |x: f32| S::splat(x));
        // −(g₀ ± g₁ + g₂) / 6 and (g₀ ± 2 g₁ + 4 g₂) / 24.
        let outer = S::fma(c(-1. / 6.), S::add(g[0], g[2]), zero);
        let sixth = S::fma(c(1. / 6.), g[1], zero);
        let far = S::fma(c(1. / 24.), S::fma(c(4.), g[2], g[0]), zero);
        let twelfth = S::fma(c(1. / 12.), g[1], zero);
        [
            S::fma(c(0.25), g[0], zero),
            S::sub(outer, sixth),
            S::add(outer, sixth),
            S::add(far, twelfth),
            S::sub(far, twelfth),
            g[2],
        ]
    }
}

/// The transformed inputs of some squares and their products.
#[derive(Default)]
pub(crate) struct Scratch {
    inputs: Growing,
    products: Growing,
}

/// Computes some squares of a convolution without groups, counted row by row through its images. Of `conv` its maps
/// and what is done to the results are read, not its weights and which outputs it would compute: all are; its input has `x_vector` values from one panel
/// to the next.
///
/// # Safety
/// The pointers of the convolution must be valid for its maps, the input with one pixel around each.
pub(crate) unsafe fn convolve(
    isa: Isa,
    conv: &ImplicitGemm,
    x_vector: usize,
    weights: &Transformed,
    scratch: &mut Scratch,
    squares: Range<usize>,
) {
    for squares in pieces(isa, weights, squares, MOST) {
        let piece = Piece::new(*conv, x_vector, weights, squares);
        let places = piece.places(scratch);
        // SAFETY: as the caller promises.
        unsafe {
            piece.transform_inputs(isa, places, 0..piece.count);
            (0..POSITIONS).for_each(|position| piece.multiply(isa, places, weights, position));
            piece.transform_outputs(isa, places, 0..piece.count);
        }
    }
}

/// As [`convolve`], all squares by all threads.
///
/// # Safety
/// As [`convolve`]; threads call `conv`.
pub(crate) unsafe fn convolve_in_team<'a>(
    isa: Isa,
    conv: impl Fn() -> ImplicitGemm<'a> + Sync,
    x_vector: usize,
    weights: &Transformed,
    squares: usize,
) {
    let threads = threads::count();
    if squares >= FEW * threads {
        let most = squares.div_ceil(4 * threads).max(FEW);
        let pieces: Vec<Range<usize>> = pieces(isa, weights, 0..squares, most).collect();
        threads::balanced(pieces.len(), |i| {
            let mut scratch = Scratch::default();
            // SAFETY: as the caller promises; pieces are of different squares.
            unsafe { convolve(isa, &conv(), x_vector, weights, &mut scratch, pieces[i].clone()) };
        });
        return;
    }
    // So few squares that each thread would spend its time on reading weights: they share positions instead.
    let piece = || Piece::new(conv(), x_vector, weights, 0..squares);
    let mut scratch = Scratch::default();
    let places = piece().places(&mut scratch);
    // SAFETY: as the caller promises; threads write different squares, positions, squares again.
    unsafe {
        threads::static_partition(squares, |squares| piece().transform_inputs(isa, places, squares));
        threads::balanced(POSITIONS, |position| piece().multiply(isa, places, weights, position));
        threads::static_partition(squares, |squares| piece().transform_outputs(isa, places, squares));
    }
}

/// Squares of a thread below which the weights are read once for all threads.
const FEW: usize = 28;
/// Squares that are computed at once, at most.
const MOST: usize = 112;

/// Squares in even pieces of whole tiles. Where there are few channels, a piece's inputs and products stay close to the core;
/// else it is as large as makes it worth while to pass over the weights.
fn pieces(isa: Isa, weights: &Transformed, squares: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let first = weights.first();
    let (tile, least) = if isa == Isa::Avx512 { (14, 28) } else { (6, 60) };
    let channels = first.rows + first.blocks() * first.width();
    let most = (PIECE_BYTES / (4 * POSITIONS * channels)).clamp(least, MOST).min(most).next_multiple_of(tile);
    let mut at = squares.start;
    std::iter::from_fn(move || {
        let left = squares.end - at;
        let count = left.div_ceil(left.div_ceil(most).max(1)).next_multiple_of(tile).min(left);
        at += count;
        (count > 0).then_some(at - count..at)
    })
}

/// Bytes of the inputs and products of the squares that are computed at once, where there are few channels.
const PIECE_BYTES: usize = 1 << 20;

/// Values from one position to the next, for so many vectors: an odd number of cache lines, because a transform touches
/// all positions at once and they must not fall into one set of the cache.
fn position_len(vectors: usize) -> usize {
    (vectors | 1) * LANES
}

/// Some squares.
#[derive(Clone, Copy)]
struct Piece<'a> {
    conv: ImplicitGemm<'a>,
    x_vector: usize,
    first: usize,
    count: usize,
    /// Vectors of input channels.
    inputs: usize,
    /// Vectors of output channels.
    outputs: usize,
    /// Values from one position to the next.
    position_inputs: usize,
    position_outputs: usize,
}

impl<'a> Piece<'a> {
    fn new(conv: ImplicitGemm<'a>, x_vector: usize, weights: &Transformed, squares: Range<usize>) -> Self {
        debug_assert!(conv.groups == 1 && conv.x_step == LANES && !conv.narrow);
        let (first, count) = (weights.first(), squares.len());
        // The last block may have vectors beyond the last channel.
        let outputs = first.blocks() * first.vectors;
        let inputs = first.rows / LANES;
        Piece {
            conv,
            x_vector,
            first: squares.start,
            count,
            inputs,
            outputs: first.outputs.div_ceil(LANES),
            position_inputs: position_len(inputs * count),
            position_outputs: position_len(outputs * count),
        }
    }

    /// Where the transformed inputs and the products lie.
    fn places(&self, scratch: &mut Scratch) -> (Shared<f32>, Shared<f32>) {
        let inputs = scratch.inputs.get(POSITIONS * self.position_inputs);
        (Shared(inputs), Shared(scratch.products.get(POSITIONS * self.position_outputs)))
    }

    /// Image, and first row and column, of a square.
    #[inline(always)]
    fn place(&self, square: usize) -> (usize, usize, usize) {
        let (rows, cols) = (self.conv.rows.div_ceil(OUT), self.conv.cols.div_ceil(OUT));
        let at = self.first + square;
        (at / (rows * cols), at / cols % rows * OUT, at % cols * OUT)
    }

    unsafe fn transform_inputs(self, isa: Isa, (inputs, _): (Shared<f32>, Shared<f32>), squares: Range<usize>) {
        // SAFETY: as the caller of `convolve` promises.
        unsafe { launch(isa, Inputs { piece: self, squares, to: inputs.get() }) }
    }

    /// The products of one position.
    unsafe fn multiply(
        &self,
        isa: Isa,
        (inputs, products): (Shared<f32>, Shared<f32>),
        weights: &Transformed,
        position: usize,
    ) {
        let count = self.count;
        let spans = [(0..self.inputs).map(|v| KSpan { offset: v * count * LANES, len: LANES }).collect::<Vec<_>>()];
        // SAFETY: as the caller of `convolve` promises.
        unsafe {
            let scratch = inputs.get().add(position * self.position_inputs);
            let y = products.get().add(position * self.position_outputs);
            let pixel = ImplicitGemm::pixel(scratch, &spans, &weights.0[position], y);
            launch(isa, ImplicitGemm { y_vector: count * LANES, cols: count, ..pixel });
        }
    }

    unsafe fn transform_outputs(self, isa: Isa, (_, products): (Shared<f32>, Shared<f32>), squares: Range<usize>) {
        // SAFETY: as the caller of `convolve` promises.
        unsafe { launch(isa, Outputs { piece: self, squares, products: products.get() }) }
    }
}

/// Bᵀ d B of some squares, for each and every vector of channels: (position, vector, square, 16).
struct Inputs<'a> {
    piece: Piece<'a>,
    squares: Range<usize>,
    to: *mut f32,
}

impl Kernel for Inputs<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Piece { conv, x_vector, count, inputs, position_inputs, .. } = self.piece;
        for square in self.squares.clone() {
            let (image, row, col) = self.piece.place(square);
            // One pixel around the map is there; what lies further out meets no output.
            let (rows, cols) = (IN.min(conv.rows + 2 - row), IN.min(conv.cols + 2 - col));
            for vector in 0..inputs {
                // SAFETY: these rows and columns are in the map.
                unsafe {
                    let x = conv.scratch.add(image * conv.x_image + row * conv.x_row + col * LANES + vector * x_vector);
                    let mut d = [[S::splat(0.); IN]; IN];
                    for (i, d) in d.iter_mut().enumerate() {
                        for (j, d) in d.iter_mut().enumerate() {
                            if i < rows && j < cols {
                                *d = S::load(x.add(i * conv.x_row + j * LANES));
                            }
                        }
                    }
                    for j in 0..IN {
                        let column = input_transform::<S>(std::array::from_fn(|i| d[i][j]));
                        d.iter_mut().zip(column).for_each(|(row, value)| row[j] = value);
                    }
                    let to = self.to.add((vector * count + square) * LANES);
                    for (i, d) in d.iter().enumerate() {
                        for (j, &value) in input_transform::<S>(*d).iter().enumerate() {
                            S::store(to.add((i * IN + j) * position_inputs), value);
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
    // SAFETY: no memory is touched.
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

/// Aᵀ m A of some squares, with bias, addition and ReLU.
struct Outputs<'a> {
    piece: Piece<'a>,
    squares: Range<usize>,
    products: *const f32,
}

impl Kernel for Outputs<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Piece { conv, count, outputs, position_outputs, .. } = self.piece;
        for square in self.squares.clone() {
            let (image, row, col) = self.piece.place(square);
            let (rows, cols) = (OUT.min(conv.rows - row), OUT.min(conv.cols - col));
            for vector in 0..outputs {
                // SAFETY: the maps hold these rows and columns of every vector of channels.
                unsafe {
                    let from = self.products.add((vector * count + square) * LANES);
                    let mut m = [[S::splat(0.); IN]; IN];
                    for (i, m) in m.iter_mut().enumerate() {
                        for (j, m) in m.iter_mut().enumerate() {
                            *m = S::load(from.add((i * IN + j) * position_outputs));
                        }
                    }
                    let mut half = [[S::splat(0.); IN]; OUT];
                    for j in 0..IN {
                        let column = output_transform::<S>(std::array::from_fn(|i| m[i][j]));
                        half.iter_mut().zip(column).for_each(|(row, value)| row[j] = value);
                    }
                    let bias = if conv.bias.is_null() { S::splat(0.) } else { S::load(conv.bias.add(vector * LANES)) };
                    let pixel = col * conv.y_pixel;
                    let y = conv.y.add(image * conv.y_image + row * conv.y_row + pixel + vector * conv.y_vector);
                    let at = image * conv.residual_image + row * conv.residual_row + vector * conv.residual_vector;
                    for (i, half) in half.iter().enumerate().take(rows) {
                        for (j, &value) in output_transform::<S>(*half).iter().enumerate().take(cols) {
                            let mut sum = S::add(value, bias);
                            if !conv.residual.is_null() {
                                let at = at + pixel + i * conv.residual_row + j * conv.y_pixel;
                                sum = S::add(sum, S::load(conv.residual.add(at)));
                            }
                            if conv.relu {
                                sum = S::max(S::splat(0.), sum);
                            }
                            S::store(y.add(i * conv.y_row + j * conv.y_pixel), sum);
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
    // SAFETY: no memory is touched.
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
