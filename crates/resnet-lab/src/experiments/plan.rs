//! An experiment at a scale: the recipes that are run.

use resnet_train::recipe::{Compute, Overrides, Recipe};

use super::data::{Experiment, Scale, ScaleConfig, Variant};
use crate::{Error, Result};

/// A variant with its recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedVariant {
    /// The row of the table.
    pub variant: Variant,
    /// Everything that decides a run but the seed.
    pub recipe: Recipe,
}

/// What is run at a scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// The scale.
    pub scale: Scale,
    /// What the experiment's file says of the scale.
    pub config: ScaleConfig,
    /// The variants that are run, in the order of the table.
    pub variants: Vec<PlannedVariant>,
    /// Those that are not run, and shown where their runs are done.
    pub others: Vec<PlannedVariant>,
}

impl Experiment {
    /// The recipes of a scale.
    ///
    /// # Errors
    /// When the experiment has no such scale, or its data name what is not there.
    pub fn plan(&self, scale: Scale) -> Result<Plan> {
        let wrong = |message: String| Error::Invalid(format!("experiment {}: {message}", self.name));
        let Some(config) = self.scale.get(&scale) else { return Err(wrong(format!("it has no scale {scale}"))) };
        let wanted = |variant: &&Variant| config.variants.is_empty() || config.variants.contains(&variant.name);
        let base = Recipe::load(&config.recipe)?;
        let mut variants = Vec::new();
        for variant in self.variants.iter().filter(wanted) {
            let arch = config.replace.get(&variant.arch).unwrap_or(&variant.arch).clone();
            resnet_models::config(&arch)?.with_changes(&variant.network)?;
            let dataset = config.dataset.as_ref().or(variant.dataset.as_ref()).unwrap_or(&self.dataset).clone();
            let overrides = Overrides {
                arch: Some(arch),
                dataset: Some(dataset),
                epochs: config.epochs,
                dtype: config.dtype,
                ..Overrides::default()
            };
            let mut recipe = base.clone().with(&overrides)?;
            recipe.network = variant.network.clone();
            variants.push(PlannedVariant { variant: variant.clone(), recipe });
        }
        if variants.is_empty() {
            return Err(wrong(format!("scale {scale} names no variant that there is")));
        }
        Ok(Plan { experiment: self.clone(), scale, config: config.clone(), variants, others: Vec::new() })
    }
}

impl Plan {
    /// Runs only the variants of these names; all where none is given.
    ///
    /// # Errors
    /// When a name is no variant of the plan.
    pub fn only(mut self, names: &[String]) -> Result<Self> {
        let known = |name: &&String| self.variants.iter().any(|v| v.variant.name == **name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let names: Vec<&str> = self.variants.iter().map(|v| v.variant.name.as_str()).collect();
            return Err(Error::Invalid(format!(
                "experiment {} has no variant {unknown:?} at scale {} (there are: {})",
                self.experiment.name,
                self.scale,
                names.join("; ")
            )));
        }
        if !names.is_empty() {
            let all = std::mem::take(&mut self.variants);
            let (chosen, others) = all.into_iter().partition(|v| names.contains(&v.variant.name));
            self.variants = chosen;
            self.others.extend::<Vec<_>>(others);
        }
        Ok(self)
    }

    /// All variants in the order of the table, and whether they are run.
    pub(super) fn rows(&self) -> Vec<(&PlannedVariant, bool)> {
        let chosen = self.variants.iter().map(|v| (v, true));
        let mut rows: Vec<_> = chosen.chain(self.others.iter().map(|v| (v, false))).collect();
        rows.sort_by_key(|(v, _)| self.experiment.variants.iter().position(|other| other.name == v.variant.name));
        rows
    }

    /// All variants computed in this dtype.
    ///
    /// # Errors
    /// When a recipe does not allow it.
    pub fn with_dtype(mut self, dtype: Compute) -> Result<Self> {
        let overrides = Overrides { dtype: Some(dtype), ..Overrides::default() };
        for planned in self.variants.iter_mut().chain(&mut self.others) {
            planned.recipe = planned.recipe.clone().with(&overrides)?;
        }
        Ok(self)
    }
}

/// A name as that of a file or folder.
pub(super) fn slug(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}
