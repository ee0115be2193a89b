//! Draws one image: background, distractors, figure, noise.

use rand::Rng;

use super::figure::length;
use super::{Figure, SIZE};

type Colour = [f32; 3];

/// Smallest distance between the figure's colour and both of the background's, in a cube of side 1.
const CONTRAST: f32 = 0.5;
/// Radius of the figure in pixels.
const RADIUS: (f32, f32) = (6.5, 12.0);
/// Largest noise on a channel, in 1/255; its distribution is a triangle.
const NOISE: f32 = 26.0;

/// Fills `pixels` (row, column, RGB) with a picture of `figure`.
pub(super) fn draw(figure: Figure, rng: &mut impl Rng, pixels: &mut [u8]) {
    let background = Background::random(rng);
    let ink = background.contrasting(rng);
    let distractors: Vec<_> = (0..rng.random_range(2..=4)).map(|_| Distractor::random(rng)).collect();

    let radius = rng.random_range(RADIUS.0..RADIUS.1);
    let room = SIZE as f32 / 2.0 - 0.8 * radius;
    let centre = SIZE as f32 / 2.0;
    let (x, y) = (centre + rng.random_range(-room..room), centre + rng.random_range(-room..room));
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();

    for (position, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (px, py) = ((position % SIZE) as f32 + 0.5, (position / SIZE) as f32 + 0.5);
        let mut colour = background.at(px, py);
        for distractor in &distractors {
            colour = mix(colour, distractor.colour, distractor.cover(px, py));
        }
        let (dx, dy) = ((px - x) / radius, (py - y) / radius);
        // No figure reaches further than this; the outlines are not cheap.
        if dx * dx + dy * dy < 1.4 {
            let distance = figure.distance(dx * cos + dy * sin, dy * cos - dx * sin);
            colour = mix(colour, ink, (0.5 - distance * radius).clamp(0.0, 1.0));
        }
        let noise = rng.next_u64().to_le_bytes();
        for channel in 0..3 {
            let noise = (f32::from(noise[channel]) - f32::from(noise[channel + 3])) / 255.0 * NOISE;
            pixel[channel] = (colour[channel] * 255.0 + noise).round().clamp(0.0, 255.0) as u8;
        }
    }
}

fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

fn colour(rng: &mut impl Rng) -> Colour {
    std::array::from_fn(|_| rng.random::<f32>())
}

fn difference(a: Colour, b: Colour) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

/// Two colours that change into each other in waves.
struct Background {
    colours: [Colour; 2],
    frequency: [f32; 2],
    phase: f32,
}

impl Background {
    fn random(rng: &mut impl Rng) -> Self {
        let first = colour(rng);
        let second = mix(first, colour(rng), 0.35);
        let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
        let frequency = rng.random_range(0.05..0.9);
        let phase = rng.random_range(0.0..std::f32::consts::TAU);
        Self { colours: [first, second], frequency: [frequency * cos, frequency * sin], phase }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let wave = (self.frequency[0] * x + self.frequency[1] * y + self.phase).sin();
        mix(self.colours[0], self.colours[1], 0.5 + 0.5 * wave)
    }

    /// A colour that stands out against the background; the best of some tries.
    fn contrasting(&self, rng: &mut impl Rng) -> Colour {
        let contrast = |ink: Colour| difference(ink, self.colours[0]).min(difference(ink, self.colours[1]));
        let mut best = colour(rng);
        for _ in 0..16 {
            if contrast(best) >= CONTRAST {
                break;
            }
            let other = colour(rng);
            if contrast(other) > contrast(best) {
                best = other;
            }
        }
        best
    }
}

/// A short stroke or a dot (a stroke of no length) behind the figure.
struct Distractor {
    from: [f32; 2],
    to: [f32; 2],
    width: f32,
    colour: Colour,
}

impl Distractor {
    fn random(rng: &mut impl Rng) -> Self {
        let from = [rng.random_range(0.0..SIZE as f32), rng.random_range(0.0..SIZE as f32)];
        let length = if rng.random_bool(0.5) { 0.0 } else { rng.random_range(3.0..9.0) };
        let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
        let to = [from[0] + length * cos, from[1] + length * sin];
        Self { from, to, width: rng.random_range(0.6..1.8), colour: colour(rng) }
    }

    /// How much of the pixel around (x, y) the stroke covers, 0 to 1.
    fn cover(&self, x: f32, y: f32) -> f32 {
        let (px, py) = (x - self.from[0], y - self.from[1]);
        let (dx, dy) = (self.to[0] - self.from[0], self.to[1] - self.from[1]);
        let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-6)).clamp(0.0, 1.0);
        let distance = length(px - along * dx, py - along * dy) - self.width;
        (0.5 - distance).clamp(0.0, 1.0)
    }
}
