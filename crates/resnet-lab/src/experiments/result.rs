//! What runs came to.

use std::path::Path;

use resnet_train::recipe::{Recipe, first_difference};
use serde::{Deserialize, Serialize};

use super::data::Variant;
use crate::{Error, Result, files};

/// The file in a run's folder that says that the run is done.
const FILE: &str = "result.json";

/// A run that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Decides initial weights, order and augmentation.
    pub seed: u64,
    /// Top-1 test error after the last step, in percent.
    pub test_error: f64,
    /// Top-5 test error after the last step, in percent.
    pub test_top5_error: f64,
    /// The least top-1 test error of all epochs, in percent.
    pub best_error: f64,
    /// Training error over the last epoch, in percent, of the images as they were augmented.
    pub train_error: f64,
    /// Training loss over the last epoch.
    pub train_loss: f64,
    /// Epochs.
    pub epochs: u64,
    /// Seconds of training, evaluations included.
    pub seconds: f64,
    /// Trainable values of the network.
    pub parameters: usize,
    /// What was no longer finite, of a run that diverged: its test errors are 100, for it answers nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
    /// Revision of the source.
    pub revision: String,
    /// The recipe as planned.
    pub recipe: Recipe,
}

impl RunResult {
    /// The result in a run's folder, if the run is done.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or was made by another recipe.
    pub(super) fn read(dir: &Path, recipe: &Recipe) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match crate::files::read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let result: Self = serde_json::from_str(&text)
            .map_err(|error| Error::Invalid(format!("{}: {error}; delete it to run again", path.display())))?;
        match first_difference(&result.recipe.decisive(), &recipe.decisive(), |_| false) {
            None => Ok(Some(result)),
            Some((key, before, now)) => Err(Error::Invalid(format!(
                "{} was made with {key} = {before}, and now it is {now}: choose another folder, or delete this one",
                dir.display()
            ))),
        }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Invalid(format!("result: {error}")))?;
        files::write(&dir.join(FILE), text.as_bytes())
    }
}

/// All runs of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantResult {
    /// The row of the table.
    pub variant: Variant,
    /// What was trained, but for the seed.
    pub recipe: Recipe,
    /// The runs that are done, by seed.
    pub runs: Vec<RunResult>,
    /// The curves of the first run: (step, training error, test error) by epoch, in percent.
    pub curve: Vec<(u64, f64, Option<f64>)>,
}

impl VariantResult {
    /// The median of a value over the runs.
    pub fn median(&self, value: fn(&RunResult) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// The name; with the network that was trained where it stands for the published one.
    pub fn label(&self) -> String {
        match self.recipe.arch == self.variant.arch {
            true => self.variant.name.clone(),
            false => format!("{} [{}]", self.variant.name, self.recipe.arch),
        }
    }

    /// The test error, as [`VariantResult::cell`], with the top-5 error where the paper has it too; `fail` before it
    /// where it [fails](VariantResult::fails).
    pub fn test_cell(&self, fail_above: Option<f64>) -> String {
        let mut cell = self.cell(|run| run.test_error);
        if self.variant.published.top5.is_some() && !self.runs.is_empty() {
            cell += &format!(" / {}", self.cell(|run| run.test_top5_error));
        }
        let cell = match self.runs.iter().filter(|run| run.diverged.is_some()).count() {
            0 => cell,
            diverged => format!("{cell}; {diverged} of {} diverged", self.runs.len()),
        };
        if self.fails(fail_above) { format!("fail ({cell})") } else { cell }
    }

    /// Whether the papers would say "fail": the median of the test errors is above the limit, or half of the runs
    /// diverged.
    pub fn fails(&self, fail_above: Option<f64>) -> bool {
        let limit = fail_above.unwrap_or(100.0).min(100.0);
        let diverged = self.median(|run| if run.diverged.is_some() { 1.0 } else { 0.0 });
        self.median(|run| run.test_error).is_some_and(|error| error > limit)
            || diverged.is_some_and(|share| share > 0.0)
    }

    /// `8.75` or, of several runs, `8.75 (8.61 to 8.90)`: median, least and greatest; a dash where there is none.
    pub fn cell(&self, value: fn(&RunResult) -> f64) -> String {
        match (self.median(value), self.spread(value)) {
            (Some(median), Some((least, greatest))) if self.runs.len() > 1 => {
                format!("{median:.2} ({least:.2} to {greatest:.2})")
            }
            (Some(median), _) => format!("{median:.2}"),
            _ => "-".into(),
        }
    }

    /// Least and greatest of a value over the runs.
    pub fn spread(&self, value: fn(&RunResult) -> f64) -> Option<(f64, f64)> {
        let values = || self.runs.iter().map(value);
        let least = values().min_by(f64::total_cmp)?;
        Some((least, values().max_by(f64::total_cmp)?))
    }
}
