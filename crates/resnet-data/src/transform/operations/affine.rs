//! Turning, shearing and moving: Pillow's `Image.transform(size, AFFINE, …)`.

use super::super::resize::Filter;
use crate::Image;

/// From a place in the result to one in the source: `x = m0 x' + m1 y' + m2`, `y = m3 x' + m4 y' + m5`.
type Matrix = [f64; 6];

/// Around the middle, counter-clockwise, as `Image.rotate` makes it.
pub(super) fn rotation(degrees: f64, width: usize, height: usize) -> Matrix {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let rounded = |value: f64| (value * 1e15).round() / 1e15;
    let (sin, cos) = (rounded(angle.sin()), rounded(angle.cos()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y]
}

/// The picture, `fill` where the source has nothing.
pub(super) fn transform(image: &Image, m: Matrix, filter: Filter, fill: [u8; 3]) -> Image {
    let (height, width) = (image.height, image.width);
    let mut out = Image::filled(height, width, fill);
    for (place, pixel) in out.pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((place % width) as f64 + 0.5, (place / width) as f64 + 0.5);
        let (x, y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
        if x < 0.0 || x >= width as f64 || y < 0.0 || y >= height as f64 {
            continue;
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (column, row) = (x.floor(), y.floor());
        let (dx, dy) = (x - column, y - row);
        let (column, row) = (column as isize, row as isize);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let at = |down: isize, right: isize| {
                let clip = |place: isize, limit: usize| place.clamp(0, limit as isize - 1) as usize;
                let (row, column) = (clip(row + down, height), clip(column + right, width));
                f64::from(image.pixels[(row * width + column) * 3 + channel])
            };
            let found = match filter {
                Filter::Bicubic => {
                    let line = |down: isize| cubic([-1, 0, 1, 2].map(|right| at(down, right)), dx);
                    // A row outside the picture is the one inside beside it, interpolation included.
                    cubic([-1, 0, 1, 2].map(line), dy)
                }
                Filter::Bilinear | Filter::Random => {
                    let line = |down: isize| at(down, 0) + (at(down, 1) - at(down, 0)) * dx;
                    line(0) + (line(1) - line(0)) * dy
                }
            };
            // Fractions are dropped, as Pillow drops them; what lies beyond 0 and 255 is cut.
            *value = found as u8;
        }
    }
    out
}

/// The cubic through four values one apart (a = -1), `d` of the way from the second to the third.
fn cubic([a, b, c, e]: [f64; 4], d: f64) -> f64 {
    b + d * (c - a + d * (2.0 * (a - b) + c - e + d * (b - a - c + e)))
}
