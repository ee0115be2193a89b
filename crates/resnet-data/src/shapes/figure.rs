//! The ten figures, as signed distances: negative inside, positive outside, in units of the figure's radius.

/// A figure; the number is its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// A disc.
    Circle,
    /// A disc with a hole.
    Ring,
    /// A filled square.
    Square,
    /// A triangle of equal sides.
    Triangle,
    /// A star of five points.
    Star,
    /// Two crossed bars of equal length.
    Cross,
    /// One long bar.
    Bar,
    /// A disc from which a shifted disc is taken.
    Crescent,
    /// A heart.
    Heart,
    /// A shaft with a triangular head.
    Arrow,
}

impl Figure {
    /// All figures in the order of their labels.
    pub const ALL: [Self; 10] = [
        Self::Circle,
        Self::Ring,
        Self::Square,
        Self::Triangle,
        Self::Star,
        Self::Cross,
        Self::Bar,
        Self::Crescent,
        Self::Heart,
        Self::Arrow,
    ];

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Bar => "bar",
            Self::Crescent => "crescent",
            Self::Heart => "heart",
            Self::Arrow => "arrow",
        }
    }

    /// Distance of the point (x, y) from the outline, in units of the figure's radius; negative inside.
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        match self {
            Self::Circle => length(x, y) - 0.85,
            Self::Ring => (length(x, y) - 0.72).abs() - 0.22,
            Self::Square => rectangle(x, y, 0.74, 0.74),
            Self::Triangle => polygon(x, y, 3, 0.5),
            Self::Star => star(x, y),
            Self::Cross => rectangle(x, y, 0.98, 0.27).min(rectangle(x, y, 0.27, 0.98)),
            Self::Bar => rectangle(x, y, 1.0, 0.27),
            Self::Crescent => (length(x, y) - 0.95).max(0.75 - length(x - 0.5, y)),
            Self::Heart => heart(x, y),
            Self::Arrow => {
                let head = polygon(x - 0.35, y, 3, 0.34);
                head.min(rectangle(x + 0.4, y, 0.6, 0.2))
            }
        }
    }
}

/// Length of a vector; `f32::hypot` guards against overflow and is ten times slower.
pub(super) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// A rectangle around the origin with half sides (a, b).
fn rectangle(x: f32, y: f32, a: f32, b: f32) -> f32 {
    let (dx, dy) = (x.abs() - a, y.abs() - b);
    length(dx.max(0.0), dy.max(0.0)) + dx.max(dy).min(0.0)
}

/// A regular polygon whose sides lie `inner` from the origin and of which one corner points along +x.
///
/// The greatest distance from a side: exact but outside the corners, where it is too small.
fn polygon(x: f32, y: f32, sides: u32, inner: f32) -> f32 {
    let step = std::f32::consts::TAU / sides as f32;
    (0..sides)
        .map(|side| {
            let (sin, cos) = (step * (side as f32 + 0.5)).sin_cos();
            x * cos + y * sin - inner
        })
        .fold(f32::MIN, f32::max)
}

/// A five-pointed star of radius 1: the distance from the edge of the nearest point.
fn star(x: f32, y: f32) -> f32 {
    let sector = std::f32::consts::TAU / 5.0;
    let angle = y.atan2(x);
    let folded = (angle - sector * (angle / sector).round()).abs();
    let (py, px) = folded.sin_cos();
    let radius = length(x, y);
    let (px, py) = (px * radius, py * radius);
    // The edge runs from the tip (1, 0) to the notch at half a sector.
    let (sin, cos) = (sector / 2.0).sin_cos();
    let (edge_x, edge_y) = (0.42 * cos - 1.0, 0.42 * sin);
    ((1.0 - px) * -edge_y - py * edge_x) / length(edge_x, edge_y)
}

/// A heart whose point looks along -y.
fn heart(x: f32, y: f32) -> f32 {
    // Two discs on the upper sides of a square that stands on its corner.
    let (u, v) = ((x.abs() + y) * std::f32::consts::FRAC_1_SQRT_2, (y - x.abs()) * std::f32::consts::FRAC_1_SQRT_2);
    let (half, shift) = (0.5, 0.15);
    let body = rectangle(u + shift * 1.4, v + shift * 1.4, half, half);
    let lobe = length(u + shift * 1.4 - half, v + shift * 1.4) - half;
    body.min(lobe)
}
