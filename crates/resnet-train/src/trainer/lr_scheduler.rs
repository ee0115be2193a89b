//! The learning rate of each step: the schedule's, or the low one that training begins with.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::{Hold, Recipe};
use crate::schedule::{LrByStep, PlateauState};

/// Iterations over which the training error is taken.
const WINDOW: u64 = 100;

/// What a [`Hold`] remembers from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HoldState {
    /// Whether the low rate is behind.
    pub over: bool,
    /// Steps in the current window.
    steps: u64,
    correct: u64,
    images: u64,
}

/// The rate of the next step.
pub(super) struct LrScheduler {
    schedule: LrByStep,
    hold: Option<Hold>,
    steps_per_epoch: u64,
    pub state: HoldState,
    pub plateau: PlateauState,
}

impl LrScheduler {
    pub(super) fn new(recipe: &Recipe, steps_per_epoch: u64, state: HoldState, plateau: PlateauState) -> Result<Self> {
        let length = recipe.length();
        let schedule = recipe.schedule.resolve(length.unit(steps_per_epoch), length.steps(steps_per_epoch))?;
        Ok(Self { schedule, hold: recipe.active_hold().cloned(), steps_per_epoch, state, plateau })
    }

    /// The learning rate of a step, counted from 0.
    pub(super) fn at(&self, step: u64) -> f64 {
        match &self.hold {
            Some(hold) if !self.state.over => hold.lr,
            _ => self.schedule.at(step) * self.schedule.factor(&self.plateau),
        }
    }

    /// Takes note of an evaluation's test error in percent.
    pub(super) fn observe(&mut self, error: f64) {
        self.schedule.observe(&mut self.plateau, error);
    }

    /// Whether [`LrScheduler::record`] needs the number of right answers.
    pub(super) fn watches_error(&self) -> bool {
        !self.state.over && self.hold.as_ref().is_some_and(|hold| hold.until_train_error.is_some())
    }

    /// Takes note of a step that was done: `steps` in all by now, of this one's `images` so many `correct`.
    pub(super) fn record(&mut self, steps: u64, correct: u64, images: u64) {
        let Some(hold) = self.hold.as_ref().filter(|_| !self.state.over) else { return };
        let by_epochs = hold.epochs.map(|epochs| (epochs * self.steps_per_epoch as f64).round() as u64);
        if let Some(iterations) = hold.iterations.or(by_epochs) {
            self.state.over = steps >= iterations;
        }
        if let Some(error) = hold.until_train_error {
            let s = &mut self.state;
            (s.steps, s.correct, s.images) = (s.steps + 1, s.correct + correct, s.images + images);
            if s.steps == WINDOW {
                let over = 1.0 - s.correct as f64 / s.images.max(1) as f64 <= error;
                *s = HoldState { over, ..HoldState::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Overrides;

    fn rate(arch: &str) -> LrScheduler {
        let o = Overrides { arch: Some(arch.into()), ..Overrides::default() };
        let recipe = Recipe::load("he2015-cifar").unwrap().with(&o).unwrap();
        LrScheduler::new(&recipe, 391, HoldState::default(), PlateauState::default()).unwrap()
    }

    /// He et al. 2015: 0.01 until the training error is below 80 %, for ResNet-110 only.
    #[test]
    fn resnet110_begins_low_until_it_learns() {
        assert_eq!(rate("resnet20").at(0), 0.1);
        let mut r = rate("resnet110");
        for step in 0..400 {
            assert_eq!(r.at(step), 0.01, "step {step}");
            assert!(r.watches_error());
            // Ten in a hundred right, and from step 250 on thirty.
            r.record(step + 1, if step < 250 { 10 } else { 30 }, 100);
            if step == 299 {
                // A window half of each has an error of exactly 80 %.
                break;
            }
        }
        assert!(r.state.over);
        assert_eq!(r.at(300), 0.1);
        assert!(!r.watches_error());
    }

    /// Steps at the low rate.
    fn held(recipe: &Recipe, steps_per_epoch: u64) -> u64 {
        let mut r = LrScheduler::new(recipe, steps_per_epoch, HoldState::default(), PlateauState::default()).unwrap();
        (0..)
            .find(|&step| {
                let lr = r.at(step);
                r.record(step + 1, 0, 1);
                lr == 0.1
            })
            .unwrap()
    }

    #[test]
    fn a_hold_of_iterations_ends_with_them() {
        let hold = Hold { lr: 0.01, iterations: Some(3), epochs: None, until_train_error: None, only_for: Vec::new() };
        let recipe = Recipe { hold: Some(hold.clone()), ..Recipe::load("he2015-cifar").unwrap() };
        assert_eq!(held(&recipe, 391), 3);
        let recipe = Recipe { hold: Some(Hold { iterations: None, epochs: Some(0.5), ..hold }), ..recipe };
        assert_eq!(held(&recipe, 40), 20);
    }

    /// 400 of 64,000 iterations at the low rate stay a 160th of a shorter training.
    #[test]
    fn a_hold_keeps_its_share_of_a_shorter_training() {
        let recipe = Recipe::load("he2016-cifar").unwrap();
        assert_eq!(held(&recipe, 391), 400);
        let epochs = |n| Overrides { epochs: Some(n), ..Overrides::default() };
        let short = recipe.with(&epochs(10)).unwrap();
        assert_eq!(held(&short, 391), 24);
        assert_eq!(held(&short.with(&epochs(20)).unwrap(), 391), 49);
    }
}
