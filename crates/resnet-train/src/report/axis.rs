//! Axes: round numbers for ticks, and values to pixels.

use super::Scale;

/// One axis: a range of values laid over a range of pixels, with its ticks.
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    scale: Scale,
    /// (value, label) of every tick, rising.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over `[low, high]` widened to round numbers, drawn from pixel `from` to pixel `to`, with about `wanted` ticks.
    pub fn new(low: f64, high: f64, from: f64, to: f64, wanted: usize, scale: Scale) -> Axis {
        match scale {
            Scale::Linear => Axis::linear(low, high, from, to, wanted),
            Scale::Log => Axis::log(low, high, from, to),
        }
    }

    fn linear(low: f64, high: f64, from: f64, to: f64, wanted: usize) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = round_step((high - low) / wanted.max(1) as f64);
        let first = (low / step + 1e-9).floor() as i64;
        let last = (high / step - 1e-9).ceil() as i64;
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        // One unit on the whole axis: 2k beside 10k, never 2000.
        let thousands = step >= 1000.0 && last as f64 * step >= 10_000.0;
        let ticks = (first..=last).map(|i| i as f64 * step).map(|v| (v, label(v, decimals, thousands))).collect();
        Axis { low: first as f64 * step, high: last as f64 * step, from, to, scale: Scale::Linear, ticks }
    }

    /// Ends and ticks at 1, 2 and 5 times powers of ten over up to two decades, at powers of ten over more.
    fn log(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let (least, most) = ((low.log10() + 1e-9).floor() as i32, (high.log10() - 1e-9).ceil() as i32);
        let most = most.max(least + 1);
        let near = high / low <= 100.0;
        let mantissas: &[f64] = if near { &[1.0, 2.0, 5.0] } else { &[1.0] };
        // Over many decades a label at each would touch the next.
        let every = ((most - least) / 8 + 1) as usize;
        let round = (least..=most).step_by(every).flat_map(|e| mantissas.iter().map(move |m| (m * 10f64.powi(e), e)));
        let mut ticks: Vec<(f64, String)> = round.map(|(value, e)| (value, power_label(value, e))).collect();
        if near {
            let first = ticks.iter().rposition(|(value, _)| *value <= low * (1.0 + 1e-9)).unwrap_or(0);
            let last = ticks.iter().position(|(value, _)| *value >= high * (1.0 - 1e-9)).unwrap_or(ticks.len() - 1);
            ticks = ticks.drain(first..=last.max(first + 1).min(ticks.len() - 1)).collect();
        }
        let ends = |i: Option<&(f64, String)>, or: f64| i.map_or(or, |(value, _)| *value);
        let high = ends(ticks.last(), high).max(high);
        Axis { low: ends(ticks.first(), low), high, from, to, scale: Scale::Log, ticks }
    }

    /// The same axis with ticks at whole numbers only.
    pub fn whole(mut self) -> Axis {
        self.ticks.retain(|(value, _)| (value - value.round()).abs() < 1e-9);
        for (_, label) in &mut self.ticks {
            if let Some((integer, _)) = label.split_once('.') {
                *label = integer.to_owned();
            }
        }
        self
    }

    /// The same axis whose range ends exactly at `low` and `high`; ticks outside are dropped.
    pub fn tight(mut self, low: f64, high: f64) -> Axis {
        if high > low {
            (self.low, self.high) = (low, high);
            self.ticks.retain(|(v, _)| *v >= low - 1e-9 && *v <= high + 1e-9);
        }
        self
    }

    /// The pixel of a value.
    pub fn pixel(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share * (self.to - self.from)
    }
}

/// The least of 1, 2, 5 x 10^k that is not under `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf((rough.log10() + 1e-9).floor());
    let mantissa = rough / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|m| mantissa <= m + 1e-6).unwrap_or(10.0);
    round * power
}

fn label(value: f64, decimals: usize, thousands: bool) -> String {
    if thousands && value != 0.0 {
        return format!("{}k", value / 1000.0);
    }
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) { "0".into() } else { text }
}

fn power_label(value: f64, exponent: i32) -> String {
    if (-4..=4).contains(&exponent) {
        let decimals = (-exponent).max(0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_cover_the_range() {
        let axis = Axis::new(0.13, 2.31, 0.0, 100.0, 5, Scale::Linear);
        assert_eq!(labels(&axis), ["0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(axis.pixel(0.0), 0.0);
        assert_eq!(axis.pixel(2.5), 100.0);
        assert_eq!(labels(&Axis::new(0.0, 64_000.0, 0.0, 1.0, 4, Scale::Linear)), ["0", "20k", "40k", "60k", "80k"]);
        assert_eq!(labels(&Axis::new(0.0, 11_000.0, 0.0, 1.0, 3, Scale::Linear)), ["0", "5k", "10k", "15k"]);
        assert_eq!(labels(&Axis::new(0.0, 7_000.0, 0.0, 1.0, 4, Scale::Linear)), ["0", "2000", "4000", "6000", "8000"]);
    }

    #[test]
    fn equal_ends_still_make_an_axis() {
        let axis = Axis::new(3.0, 3.0, 0.0, 10.0, 5, Scale::Linear);
        assert!(axis.pixel(3.0).is_finite() && axis.ticks.len() >= 2);
    }

    #[test]
    fn log_ticks_are_powers_of_ten() {
        let axis = Axis::new(0.0008, 0.1, 0.0, 30.0, 5, Scale::Log);
        assert_eq!(labels(&axis), ["0.0001", "0.001", "0.01", "0.1"]);
        assert!((axis.pixel(0.01) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_log_axis_has_more_ticks_and_ends_near_the_values() {
        let axis = Axis::new(0.3, 12.0, 0.0, 30.0, 5, Scale::Log);
        assert_eq!(labels(&axis), ["0.2", "0.5", "1", "2", "5", "10", "20"]);
        assert!((axis.pixel(0.2)).abs() < 1e-9 && (axis.pixel(20.0) - 30.0).abs() < 1e-9);
        for value in [1e-9, 0.02, 1.0, 1.5, 7.0, 1e6] {
            let axis = Axis::new(value, value, 0.0, 30.0, 5, Scale::Log);
            assert!(axis.pixel(value).is_finite() && axis.ticks.len() >= 2, "{value}");
            assert!((-1e-6..=30.0 + 1e-6).contains(&axis.pixel(value)), "{value}");
        }
    }

    #[test]
    fn whole_numbers_have_no_decimals() {
        let axis = Axis::new(1.0, 4.0, 0.0, 1.0, 7, Scale::Linear).whole();
        assert_eq!(labels(&axis), ["1", "2", "3", "4"]);
    }
}
