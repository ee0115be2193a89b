//! The steps of an engine in order, and how long the values that they give are needed.

use std::collections::HashSet;

/// Position of a stored value among those of an engine.
pub(crate) type ValueId = usize;

/// One step of an engine.
pub(crate) trait Step {
    /// The values that it reads.
    fn inputs(&self) -> Vec<ValueId>;
    /// The value that it gives.
    fn out(&self) -> ValueId;
}

/// The steps that a result depends on.
#[derive(Debug)]
pub(crate) struct Schedule<S> {
    pub steps: Vec<S>,
    /// For each step, the values that no later one reads.
    pub last_reads: Vec<Vec<ValueId>>,
    pub output: ValueId,
}

impl<S: Step> Schedule<S> {
    /// Drops the steps that the output does not depend on: in the backward pass no gradient would come from them, and what
    /// they read would wait for it. A norm among them would still have updated its statistics in the reference; no network
    /// has one.
    pub(crate) fn new(steps: Vec<S>, output: ValueId) -> Self {
        let mut read = HashSet::from([output]);
        let mut live = Vec::with_capacity(steps.len());
        let mut last_reads = Vec::with_capacity(steps.len());
        for step in steps.into_iter().rev() {
            if read.contains(&step.out()) {
                last_reads.push(step.inputs().into_iter().filter(|&value| read.insert(value)).collect());
                live.push(step);
            }
        }
        live.reverse();
        last_reads.reverse();
        Self { steps: live, last_reads, output }
    }

    /// The steps with the values that no later one reads.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&S, &[ValueId])> {
        self.steps.iter().zip(self.last_reads.iter().map(Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Step for (&[ValueId], ValueId) {
        fn inputs(&self) -> Vec<ValueId> {
            self.0.to_vec()
        }
        fn out(&self) -> ValueId {
            self.1
        }
    }

    #[test]
    fn a_value_dies_with_its_last_reader_and_a_step_without_readers_is_not_taken() {
        let steps: Vec<(&[ValueId], ValueId)> =
            vec![(&[0], 1), (&[1, 1], 2), (&[1], 3), (&[3], 4), (&[2, 0], 5), (&[5], 6)];
        let schedule = Schedule::new(steps, 5);
        assert_eq!(schedule.steps.iter().map(Step::out).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(schedule.last_reads, [vec![], vec![1], vec![2, 0]]);
    }
}
