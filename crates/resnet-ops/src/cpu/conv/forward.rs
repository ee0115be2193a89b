//! The forward convolution over a whole batch: chunks of items, each packed into a scratch, multiplied, and passed on
//! while hot.

use candle_core::Result;

use super::epilogue::{Epilogue, Placement, Target};
use super::implicit_gemm::ImplicitGemm;
use super::pack_weights::{Direction, PackedWeights};
use super::problem::ConvProblem;
use super::taps;
use super::tiling::{WorkItem, items};
use super::window::Panels;
use super::{AlgorithmWeights, BLOCK_ROWS, Blocks, InputWindows, SharedSource};
use super::{alike, compute, microkernel_vectors, pack_tiles, row_units, winograd};
use crate::cpu::buffer::Growing;
use crate::cpu::element::Element;
use crate::cpu::isa::{Arithmetic, Isa};
use crate::cpu::threads::{self, work_stealing::WorkStealing};

/// PackedWeights weights for a forward convolution.
pub(crate) fn pack_forward(
    isa: Isa,
    arithmetic: Arithmetic,
    weight: &[f32],
    problem: &ConvProblem,
) -> AlgorithmWeights {
    let vectors = microkernel_vectors(isa, problem.group_outputs(), problem.flattened().ow);
    let taps = taps::forward_taps(problem);
    let packed = PackedWeights::new((isa, arithmetic), weight, problem, &taps, vectors, Direction::Forward);
    AlgorithmWeights::new(isa, arithmetic, packed, problem)
}

/// The forward convolution; returns the epilogues of the items, in order.
#[allow(clippy::too_many_arguments)] // each is a different thing
pub(crate) fn forward<E: Element, P: Epilogue>(
    isa: Isa,
    arithmetic: Arithmetic,
    problem: &ConvProblem,
    source: SharedSource<E>,
    weights: &AlgorithmWeights,
    bias: Option<&[f32]>,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> Result<Vec<P>> {
    let problem = &problem.flattened();
    let reading = InputWindows::new(problem);
    let groups = problem.config.groups;
    let panels = Panels { groups, channels: problem.group_inputs(), values: arithmetic.values() };
    reading.check(problem, &panels)?;
    let units = row_units(problem, reading.cols(problem.ow), reading.steps.0, &panels);
    let items = items(problem, units, weights.squares(), false);
    let taps = taps::forward_taps(problem);
    let packed = &weights.packed;
    let bias = bias.map(|bias| padded(bias, packed));
    let image = (problem.h, problem.w, problem.c);
    let work = WorkStealing::new(items.len());
    threads::static_partition(items.len(), |chunk| {
        let source = source.source();
        let (mut scratch, mut own) = (Growing::default(), Growing::default());
        let mut squares = winograd::Scratch::default();
        let mut blocks = Blocks::new(&taps, panels, BLOCK_ROWS / packed.vectors);
        let mut run = |i: usize| {
            let (item, mut epilogue) = (&items[i], epilogue());
            let WorkItem(tiles) = item;
            let window = reading.window(problem, &tiles[0], item.size());
            let x_image = panels.count() * window.panel_len();
            let windows = tiles.iter().map(|tile| (tile.image, reading.window(problem, tile, item.size())));
            let x = pack_tiles((isa, arithmetic), source, image, windows, panels, &mut scratch);
            let ranges = tiles.iter().map(|tile| problem.pixels(tile.image, &tile.rows, &tile.cols)).collect();
            let place = Placement::new(target, &mut own, ranges, problem.o);
            for (first, images, rows, cols) in alike(tiles) {
                // Without overlap between rows, all pixels of a tile lie in one row of the scratch.
                let (rows, cols) = if problem.single() { (1, rows * cols) } else { (rows, cols) };
                // SAFETY: scratch and target were sized for this item; chunks write disjoint ranges.
                unsafe {
                    let y = place.y.add(first * place.step);
                    let gemm = ImplicitGemm {
                        images,
                        x_image,
                        x_row: reading.steps.0 * window.row_len(),
                        x_group: panels.of_group() * window.panel_len(),
                        groups,
                        bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                        y_pixel: problem.o,
                        y_row: problem.ow * problem.o,
                        y_image: place.step,
                        y_group: problem.group_outputs(),
                        rows,
                        cols,
                        ..ImplicitGemm::pixel(x.add(first * x_image), blocks.of(&window), packed, y)
                    };
                    compute(isa, arithmetic, gemm, weights, window.panel_len(), &mut squares);
                }
            }
            // SAFETY: the results are there.
            unsafe { place.pass_on(isa, &mut epilogue) };
            work.put(i, epilogue);
        };
        work.begin(&chunk);
        chunk.filter(|&i| work.take(i)).for_each(&mut run);
        std::iter::from_fn(|| work.steal()).for_each(run);
    });
    Ok(work.results())
}

/// A bias with zeros behind it, so that whole tiles can be read. Groups follow each other without padding.
fn padded(bias: &[f32], weights: &PackedWeights) -> Vec<f32> {
    let mut padded = bias.to_vec();
    padded.resize(bias.len() + weights.width(), 0.);
    padded
}
