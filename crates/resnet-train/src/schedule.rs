//! Learning-rate schedules, by optimizer step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate moves, as a recipe writes it. Points in time are in the unit of the recipe's
/// length, epochs or iterations.
///
/// ```
/// use resnet_train::schedule::Schedule;
/// let s: Schedule = toml::from_str("kind = 'multi-step'\nlr = 0.1\nmilestones = [2]\n").unwrap();
/// let lr = s.resolve(10.0, 40).unwrap(); // ten steps an epoch, four epochs
/// assert_eq!(lr.at(19), 0.1);
/// assert!((lr.at(20) - 0.01).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The same rate throughout.
    Constant {
        /// The rate.
        lr: f64,
        /// Length of a linear warm-up.
        #[serde(default)]
        warmup: f64,
        /// The rate that the warm-up begins at, as a share of `lr`.
        #[serde(default = "warmup_start")]
        warmup_start: f64,
    },
    /// Multiplied by `gamma` at each milestone (He et al. 2015), PyTorch's `MultiStepLR`.
    MultiStep {
        /// The first rate.
        lr: f64,
        /// When the rate falls.
        milestones: Vec<f64>,
        /// What it is multiplied by.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Length of a linear warm-up; milestones count from the beginning of training.
        #[serde(default)]
        warmup: f64,
        /// The rate that the warm-up begins at, as a share of `lr`.
        #[serde(default = "warmup_start")]
        warmup_start: f64,
    },
    /// Multiplied by `gamma` when the test error has not fallen for some evaluations ("when the error plateaus", He et
    /// al. 2015, section 3.4), PyTorch's `ReduceLROnPlateau` with an absolute threshold.
    Plateau {
        /// The first rate.
        lr: f64,
        /// What the rate is multiplied by.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Evaluations without a fall that are waited for. A part of one, as comes of another length of the training,
        /// counts for nothing.
        #[serde(default = "patience")]
        patience: f64,
        /// A fall is more than this, in percentage points.
        #[serde(default = "tenth")]
        threshold: f64,
        /// Length of a linear warm-up.
        #[serde(default)]
        warmup: f64,
        /// The rate that the warm-up begins at, as a share of `lr`.
        #[serde(default = "warmup_start")]
        warmup_start: f64,
    },
    /// Half a cosine from `lr` to `final_lr` (Loshchilov and Hutter 2017, without restarts), PyTorch's
    /// `CosineAnnealingLR` after the warm-up; with `warmup_prefix = false` and `per_epoch = true` timm's
    /// `CosineLRScheduler`.
    Cosine {
        /// The greatest rate.
        lr: f64,
        /// The rate reached at the end.
        #[serde(default)]
        final_lr: f64,
        /// Length of a linear warm-up.
        #[serde(default)]
        warmup: f64,
        /// The rate that the warm-up begins at, as a share of `lr`.
        #[serde(default = "warmup_start")]
        warmup_start: f64,
        /// Whether the way down begins after the warm-up, at `lr`, as PyTorch's `SequentialLR` has it. Otherwise it is counted
        /// from the beginning of training, and the warm-up takes the place of its first part, as in timm's schedulers
        /// (`warmup_prefix`).
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        warmup_prefix: bool,
        /// Whether the rate stays as it is within an epoch, as where a scheduler is asked between epochs alone. For a length
        /// in epochs; iterations are asked one by one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        per_epoch: bool,
    },
    /// `final_lr + (lr - final_lr) * (1 - t / T)^power` after the warm-up, PyTorch's `PolynomialLR`; linear with
    /// a power of 1.
    Polynomial {
        /// The greatest rate.
        lr: f64,
        /// The exponent.
        #[serde(default = "one")]
        power: f64,
        /// The rate reached at the end.
        #[serde(default)]
        final_lr: f64,
        /// Length of a linear warm-up.
        #[serde(default)]
        warmup: f64,
        /// The rate that the warm-up begins at, as a share of `lr`.
        #[serde(default = "warmup_start")]
        warmup_start: f64,
        /// Whether the way down begins after the warm-up, as in [`Schedule::Cosine`].
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        warmup_prefix: bool,
        /// Whether the rate stays as it is within an epoch, as in [`Schedule::Cosine`].
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        per_epoch: bool,
    },
    /// Up to `lr`, then down to nearly nothing (Smith and Topin 2018), PyTorch's `OneCycleLR` without its
    /// cycle of the momentum. With `anneal = "linear"` a triangle.
    OneCycle {
        /// The greatest rate.
        lr: f64,
        /// Share of the steps that lead up to it.
        #[serde(default = "pct_start", alias = "rise")]
        pct_start: f64,
        /// The first rate is `lr / div_factor`.
        #[serde(default = "div_factor")]
        div_factor: f64,
        /// The last rate is `lr / div_factor / final_div_factor`.
        #[serde(default = "final_div_factor")]
        final_div_factor: f64,
        /// The form of both ways.
        #[serde(default)]
        anneal: Anneal,
    },
}

/// The form of a way from one rate to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

fn warmup_start() -> f64 {
    0.1
}
fn yes() -> bool {
    true
}
fn is_yes(value: &bool) -> bool {
    *value
}
fn tenth() -> f64 {
    0.1
}
fn one() -> f64 {
    1.0
}
fn patience() -> f64 {
    5.0
}
fn pct_start() -> f64 {
    0.3
}
fn div_factor() -> f64 {
    25.0
}
fn final_div_factor() -> f64 {
    1e4
}

impl Schedule {
    /// The greatest rate.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Constant { lr, .. }
            | Self::MultiStep { lr, .. }
            | Self::Plateau { lr, .. }
            | Self::Cosine { lr, .. }
            | Self::Polynomial { lr, .. }
            | Self::OneCycle { lr, .. } => *lr,
        }
    }

    /// Sets the greatest rate; every other keeps its ratio to it, an absolute `final_lr` its value.
    pub fn set_lr(&mut self, new: f64) {
        match self {
            Self::Constant { lr, .. }
            | Self::MultiStep { lr, .. }
            | Self::Plateau { lr, .. }
            | Self::Cosine { lr, .. }
            | Self::Polynomial { lr, .. }
            | Self::OneCycle { lr, .. } => *lr = new,
        }
    }

    /// Stretches every point in time by a factor, as training gets longer or shorter by it.
    pub fn stretch(&mut self, factor: f64) {
        match self {
            Self::Constant { warmup, .. }
            | Self::Plateau { warmup, .. }
            | Self::Cosine { warmup, .. }
            | Self::Polynomial { warmup, .. } => {
                *warmup *= factor;
            }
            Self::MultiStep { warmup, milestones, .. } => {
                *warmup *= factor;
                milestones.iter_mut().for_each(|m| *m *= factor);
            }
            Self::OneCycle { .. } => {}
        }
    }

    /// Stretches what counts evaluations, a plateau's patience, as training gets longer or shorter by a factor in epochs.
    pub fn stretch_patience(&mut self, factor: f64) {
        if let Self::Plateau { patience, .. } = self {
            *patience *= factor;
        }
    }

    /// Makes points in time into steps: `unit` steps each (1 where they are iterations), `total` steps in all.
    ///
    /// # Errors
    /// When a rate, a length or a share is out of its range.
    pub fn resolve(&self, unit: f64, total: u64) -> Result<LrByStep> {
        self.check()?;
        Ok(LrByStep { schedule: self.clone(), unit, total: total as f64 })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        let positive = |key, value: f64| wants(value > 0.0 && value.is_finite(), key, value, "above 0");
        let not_negative = |key, value: f64| wants(value >= 0.0 && value.is_finite(), key, value, "0 or more");
        let share = |key, value: f64| wants((0.0..=1.0).contains(&value), key, value, "between 0 and 1");
        positive("lr", self.lr())?;
        match self {
            Self::Constant { warmup, warmup_start, .. } => {
                not_negative("warmup", *warmup)?;
                share("warmup_start", *warmup_start)
            }
            Self::MultiStep { milestones, gamma, warmup, warmup_start, .. } => {
                for m in milestones {
                    not_negative("milestones", *m)?;
                }
                positive("gamma", *gamma)?;
                not_negative("warmup", *warmup)?;
                share("warmup_start", *warmup_start)
            }
            Self::Plateau { gamma, patience, threshold, warmup, warmup_start, .. } => {
                positive("gamma", *gamma)?;
                not_negative("patience", *patience)?;
                not_negative("threshold", *threshold)?;
                not_negative("warmup", *warmup)?;
                share("warmup_start", *warmup_start)
            }
            Self::Cosine { final_lr, warmup, warmup_start, .. } => {
                not_negative("final_lr", *final_lr)?;
                not_negative("warmup", *warmup)?;
                share("warmup_start", *warmup_start)
            }
            Self::Polynomial { power, final_lr, warmup, warmup_start, .. } => {
                positive("power", *power)?;
                not_negative("final_lr", *final_lr)?;
                not_negative("warmup", *warmup)?;
                share("warmup_start", *warmup_start)
            }
            Self::OneCycle { pct_start, div_factor, final_div_factor, .. } => {
                share("pct_start", *pct_start)?;
                positive("div_factor", *div_factor)?;
                positive("final_div_factor", *final_div_factor)
            }
        }
    }
}

fn wants(ok: bool, key: &str, value: f64, range: &str) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::Invalid(format!("schedule: {key} = {value} must be {range}"))) }
}

/// What [`Schedule::Plateau`] remembers from evaluation to evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PlateauState {
    /// The least test error so far, in percent.
    least: Option<f64>,
    /// Evaluations since then.
    waited: u64,
    /// How often the rate has fallen.
    falls: u32,
}

/// A schedule whose times are steps: the learning rate of each.
#[derive(Debug, Clone)]
pub struct LrByStep {
    schedule: Schedule,
    unit: f64,
    total: f64,
}

impl LrByStep {
    /// The learning rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let t = step as f64;
        match &self.schedule {
            // What has been learned of the error is beside the schedule: see `PlateauState`.
            Schedule::Constant { lr, warmup, warmup_start } | Schedule::Plateau { lr, warmup, warmup_start, .. } => {
                lr * self.warmup_factor(t, *warmup, *warmup_start)
            }
            Schedule::MultiStep { lr, milestones, gamma, warmup, warmup_start } => {
                // Half a step of tolerance: a stretched milestone may lie a rounding error beyond its step.
                let passed = milestones.iter().filter(|&&m| t + 1e-6 >= m * self.unit).count();
                lr * gamma.powi(passed as i32) * self.warmup_factor(t, *warmup, *warmup_start)
            }
            Schedule::Cosine { lr, final_lr, warmup, warmup_start, warmup_prefix, per_epoch } => {
                let t = self.asked_at(t, *per_epoch);
                match self.way_down(t, *warmup, *warmup_prefix) {
                    Some(x) => final_lr + (lr - final_lr) * (1.0 + (PI * x).cos()) / 2.0,
                    None => lr * self.warmup_factor(t, *warmup, *warmup_start),
                }
            }
            Schedule::Polynomial { lr, power, final_lr, warmup, warmup_start, warmup_prefix, per_epoch } => {
                let t = self.asked_at(t, *per_epoch);
                match self.way_down(t, *warmup, *warmup_prefix) {
                    Some(x) => final_lr + (lr - final_lr) * (1.0 - x).powf(*power),
                    None => lr * self.warmup_factor(t, *warmup, *warmup_start),
                }
            }
            Schedule::OneCycle { lr, pct_start, div_factor, final_div_factor, anneal } => {
                let first = lr / div_factor;
                let last = first / final_div_factor;
                let (top, end) = (pct_start * self.total - 1.0, self.total - 1.0);
                let (from, to, x) = if t <= top && top > 0.0 {
                    (first, *lr, t / top)
                } else {
                    (*lr, last, ((t - top) / (end - top)).clamp(0.0, 1.0))
                };
                match anneal {
                    Anneal::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * x).cos()),
                    Anneal::Linear => from + (to - from) * x,
                }
            }
        }
    }

    /// What the rate is multiplied by after what the evaluations so far have shown; 1 but for [`Schedule::Plateau`].
    pub fn factor(&self, state: &PlateauState) -> f64 {
        match &self.schedule {
            Schedule::Plateau { gamma, .. } => gamma.powi(state.falls as i32),
            _ => 1.0,
        }
    }

    /// Takes note of an evaluation's test error in percent.
    pub fn observe(&self, state: &mut PlateauState, error: f64) {
        let Schedule::Plateau { patience, threshold, .. } = &self.schedule else { return };
        if state.least.is_none_or(|least| error < least - threshold) {
            (state.least, state.waited) = (Some(error), 0);
            return;
        }
        state.waited += 1;
        if state.waited as f64 > *patience {
            (state.falls, state.waited) = (state.falls + 1, 0);
        }
    }

    /// The warm-up's factor.
    fn warmup_factor(&self, t: f64, warmup: f64, start: f64) -> f64 {
        let steps = (warmup * self.unit).round();
        if t >= steps { 1.0 } else { start + (1.0 - start) * t / steps }
    }

    /// The step whose rate a step has: the first of its epoch, where the rate is asked for once an epoch.
    fn asked_at(&self, t: f64, per_epoch: bool) -> f64 {
        if per_epoch { (t / self.unit).floor() * self.unit } else { t }
    }

    /// Progress from 0, which is the end of the warm-up or else the beginning of training, to 1, the end of training;
    /// nothing while the warm-up lasts.
    fn way_down(&self, t: f64, warmup: f64, warmup_prefix: bool) -> Option<f64> {
        let steps = (warmup * self.unit).round();
        let begin = if warmup_prefix { steps } else { 0.0 };
        (t >= steps).then(|| ((t - begin) / (self.total - begin).max(1.0)).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(toml: &str, unit: f64, total: u64, n: u64) -> Vec<f64> {
        let schedule: Schedule = toml::from_str(toml).unwrap();
        let lr = schedule.resolve(unit, total).unwrap();
        (0..n).map(|step| lr.at(step)).collect()
    }

    /// PyTorch 2.15:
    ///
    /// ```python
    /// import torch
    /// from torch.optim.lr_scheduler import ReduceLROnPlateau
    /// o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    /// s = ReduceLROnPlateau(o, factor=0.1, patience=2, threshold=0.5, threshold_mode="abs")
    /// for e in [60, 50, 49.8, 49.9, 50.1, 49.7, 49.6, 49.55, 48, 48, 48, 48, 48]:
    ///     s.step(e); print("%.9g" % o.param_groups[0]["lr"])
    /// ```
    #[test]
    fn a_plateau_ends_as_in_pytorch() {
        let text = "kind = 'plateau'\nlr = 0.1\npatience = 2\nthreshold = 0.5";
        let lr = toml::from_str::<Schedule>(text).unwrap().resolve(1.0, 100).unwrap();
        let mut state = PlateauState::default();
        let errors = [60.0, 50.0, 49.8, 49.9, 50.1, 49.7, 49.6, 49.55, 48.0, 48.0, 48.0, 48.0, 48.0];
        let rates = errors.map(|error| {
            lr.observe(&mut state, error);
            lr.at(0) * lr.factor(&state)
        });
        close(&rates, &[0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001, 0.0001, 0.0001]);
    }

    fn close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-9 * (1.0 + w.abs()), "{got:?} for {want:?}");
        }
    }

    /// The numbers are PyTorch 2.15's:
    ///
    /// ```python
    /// import torch
    /// from torch.optim.lr_scheduler import *
    /// def run(f, n):
    ///     p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], lr=0.1); s = f(o); out = []
    ///     for _ in range(n):
    ///         out.append(o.param_groups[0]["lr"]); o.step(); s.step()
    ///     return ["%.9g" % v for v in out]
    /// print(run(lambda o: CosineAnnealingLR(o, 5, 0.01), 5))
    /// print(run(lambda o: MultiStepLR(o, [2, 4], 0.1), 6))
    /// print(run(lambda o: PolynomialLR(o, 5, 2.0), 5))
    /// print(run(lambda o: OneCycleLR(o, 0.4, total_steps=10, cycle_momentum=False), 9))
    /// print(run(lambda o: OneCycleLR(o, 0.4, total_steps=10, anneal_strategy="linear", div_factor=10,
    ///                                final_div_factor=100, cycle_momentum=False), 9))
    /// print(run(lambda o: SequentialLR(o, [LinearLR(o, 0.25, 1.0, 3), CosineAnnealingLR(o, 4, 0.0)], [3]), 7))
    /// ```
    #[test]
    fn rates_equal_pytorch() {
        close(
            &rates("kind='cosine'\nlr=0.1\nfinal_lr=0.01", 1.0, 5, 5),
            &[0.1, 0.0914057647, 0.0689057647, 0.0410942353, 0.0185942353],
        );
        close(&rates("kind='multi-step'\nlr=0.1\nmilestones=[2, 4]", 1.0, 6, 6), &[0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
        close(&rates("kind='polynomial'\nlr=0.1\npower=2.0", 1.0, 5, 5), &[0.1, 0.064, 0.036, 0.016, 0.004]);
        close(
            &rates("kind='one-cycle'\nlr=0.4", 1.0, 10, 9),
            &[0.016, 0.208, 0.4, 0.380193853, 0.324698262, 0.244504809, 0.155496791, 0.0753033384, 0.0198077472],
        );
        close(
            &rates("kind='one-cycle'\nlr=0.4\nanneal='linear'\ndiv_factor=10.0\nfinal_div_factor=100.0", 1.0, 10, 9),
            &[0.04, 0.22, 0.4, 0.342914286, 0.285828571, 0.228742857, 0.171657143, 0.114571429, 0.0574857143],
        );
        close(
            &rates("kind='cosine'\nlr=0.1\nwarmup=3.0\nwarmup_start=0.25", 1.0, 7, 7),
            &[0.025, 0.05, 0.075, 0.1, 0.0853553391, 0.05, 0.0146446609],
        );
    }

    /// A patience of two evaluations and a half is over with the third, as PyTorch's of two.
    #[test]
    fn a_part_of_an_evaluation_is_not_waited_for() {
        let falls = |patience: f64| {
            let text = format!("kind = 'plateau'\nlr = 0.1\npatience = {patience:?}");
            let lr = toml::from_str::<Schedule>(&text).unwrap().resolve(1.0, 100).unwrap();
            let mut state = PlateauState::default();
            (0..20).find(|_| {
                lr.observe(&mut state, 50.0);
                lr.factor(&state) < 1.0
            })
        };
        assert_eq!([0.0, 0.4, 2.0, 2.5, 3.0].map(falls), [Some(1), Some(1), Some(3), Some(3), Some(4)]);
    }

    #[test]
    fn the_last_step_of_a_cycle_has_the_last_rate() {
        let got = rates("kind='one-cycle'\nlr=0.4", 1.0, 10, 12);
        close(&got[9..], &[0.4 / 25.0 / 1e4; 3]);
        // Without a way up it starts at the top.
        assert!(rates("kind='one-cycle'\nlr=0.4\npct_start=0.0", 1.0, 10, 1)[0] > 0.38);
    }

    #[test]
    fn epochs_are_many_steps_and_stretch() {
        let mut s: Schedule = toml::from_str("kind='multi-step'\nlr=1.0\nmilestones=[32000, 48000]").unwrap();
        s.stretch(30.0 / 64000.0);
        let lr = s.resolve(391.0, 30 * 391).unwrap();
        close(
            &[lr.at(15 * 391 - 1), lr.at(15 * 391), lr.at(22 * 391 + 195), lr.at(22 * 391 + 196)],
            &[1.0, 0.1, 0.1, 0.01],
        );
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (toml, key) in [
            ("kind='constant'\nlr=-1.0", "lr"),
            ("kind='constant'\nlr=nan", "lr"),
            ("kind='one-cycle'\nlr=1.0\npct_start=2.0", "pct_start"),
            ("kind='cosine'\nlr=1.0\nwarmup=-1.0", "warmup"),
        ] {
            let s: Schedule = toml::from_str(toml).unwrap();
            let message = s.resolve(1.0, 10).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
