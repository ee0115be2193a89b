//! Configurations that make no sense, and how large a network is before any of it is made.

use resnet_blocks::{Attention, Branch, Merge, NormKind, Projection};

use crate::{Config, Error, Stem};

/// Blocks of a network; the deepest that was published has 600.
const MOST_BLOCKS: usize = 10_000;
/// Channels of any one layer.
const MOST_CHANNELS: usize = 1 << 17;
/// Classes of a head.
const MOST_CLASSES: usize = 1 << 24;
/// Rows and columns of an image.
const MOST_PIXELS: usize = 1 << 16;

impl Config {
    /// Whether the fields make sense, each by itself and together. A configuration out of a file may say anything.
    ///
    /// ```
    /// use resnet_models::Config;
    /// let config = Config { widths: vec![64, 0, 256, 512], ..Config::default() };
    /// assert!(config.check().unwrap_err().to_string().contains("`widths`"));
    /// ```
    ///
    /// # Errors
    /// [`Error::Field`] with the first field that does not.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |field, message: String| Err(Error::Field { name: self.name.clone(), field, message });
        let channels = |field, what: &str, number: usize, most: usize| match number {
            0 => wrong(field, format!("{what} 0")),
            _ if number > most => wrong(field, format!("{what} {number}, more than {most}")),
            _ => Ok(()),
        };
        channels("in_chans", "is", self.in_chans, MOST_CHANNELS)?;
        channels("stem_channels", "is", self.stem_channels, MOST_CHANNELS)?;
        if let Stem::Deep { widths } = self.stem {
            widths.iter().try_for_each(|&width| channels("stem", "has a width of", width, MOST_CHANNELS))?;
        }
        if self.blocks.is_empty() {
            return wrong("blocks", "names no stage".into());
        }
        let total = self.blocks.iter().try_fold(0usize, |all, &blocks| all.checked_add(blocks));
        if self.blocks.contains(&0) || total.is_none_or(|total| total > MOST_BLOCKS) || self.blocks.len() > 64 {
            return wrong(
                "blocks",
                format!("{:?} is not 1 or more a stage and {MOST_BLOCKS} at most", head(&self.blocks)),
            );
        }
        if self.widths.len() != self.blocks.len() {
            let (widths, stages) = (self.widths.len(), self.blocks.len());
            return wrong("widths", format!("has {widths} numbers, `blocks` {stages}"));
        }
        self.widths.iter().try_for_each(|&width| channels("widths", "has a width of", width, MOST_CHANNELS))?;
        if !self.branches.is_empty() && self.branches.len() != self.blocks.len() {
            let (branches, stages) = (self.branches.len(), self.blocks.len());
            return wrong("branches", format!("has {branches} entries, `blocks` {stages}"));
        }
        if !self.pruned.is_empty() && Some(self.pruned.len()) != total {
            return wrong("pruned", format!("has {} entries, not one a block", self.pruned.len()));
        }
        let pruned = self.pruned.iter().flatten();
        pruned.into_iter().try_for_each(|&width| channels("pruned", "has a width of", width, MOST_CHANNELS))?;
        for (field, number) in [
            ("groups", self.groups),
            ("group_width", self.group_width),
            ("group_size", self.group_size.unwrap_or(1)),
            ("reduce_first", self.reduce_first),
            ("final_features", self.final_features.unwrap_or(1)),
        ] {
            channels(field, "is", number, MOST_CHANNELS)?;
        }
        if self.classes > MOST_CLASSES {
            return wrong("classes", format!("is {}, more than {MOST_CLASSES}", self.classes));
        }
        channels("image_size", "is", self.image_size, MOST_PIXELS)?;
        if !(0.0..1.0).contains(&self.drop_path) {
            return wrong("drop_path", format!("{} is not in [0, 1)", self.drop_path));
        }
        if !(0.0..1.0).contains(&self.drop_rate) {
            return wrong("drop_rate", format!("{} is not in [0, 1)", self.drop_rate));
        }
        self.check_output_stride()?;
        if self.block.standardize.is_some_and(|eps| !(eps.is_finite() && eps > 0.0)) {
            return wrong("standardize", "is no positive number".into());
        }
        match self.block.attention {
            Some(Attention::SqueezeExcitation { reduction: 0 }) => return wrong("attention", "reduces by 0".into()),
            Some(Attention::ChannelKernel { kernel }) if kernel % 2 == 0 || kernel > 1001 => {
                return wrong("attention", format!("has a kernel of {kernel}, which is not odd or too large"));
            }
            _ => {}
        }
        if let NormKind::Group { groups: 0 } | NormKind::EvoS0 { groups: 0 } = self.block.norm {
            return wrong("norm", "has 0 groups".into());
        }
        let finite = match self.block.merge {
            Merge::Identity => true,
            Merge::Scaled { shortcut, branch } => shortcut.is_finite() && branch.is_finite(),
            Merge::ExclusiveGate { bias } | Merge::ShortcutGate { bias } => bias.is_finite(),
            Merge::Dropout { rate } => (0.0..1.0).contains(&rate),
        };
        if !finite {
            return wrong("merge", "has a number that cannot be used".into());
        }
        self.check_blocks()
    }

    fn check_output_stride(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::Field { name: self.name.clone(), field: "output_stride", message });
        match self.output_stride {
            32 => Ok(()),
            8 | 16 if self.stem == Stem::Cifar => wrong("goes with a stem for ImageNet".into()),
            8 | 16 if self.block.anti_alias.is_some() || self.block.projection == Projection::Pooled => {
                wrong("does not go with anti_alias, nor with projections that pool".into())
            }
            8 | 16 => Ok(()),
            other => wrong(format!("is {other}, not 8, 16 or 32")),
        }
    }

    /// The channels that follow from the fields; none of the products overflows, as each factor was checked.
    fn check_blocks(&self) -> Result<(), Error> {
        let wrong = |field, message: String| Err(Error::Field { name: self.name.clone(), field, message });
        let bottleneck = |branch: &Branch| matches!(branch, Branch::Bottleneck(_));
        for (stage, &width) in self.widths.iter().enumerate() {
            let branch = self.branches.get(stage).unwrap_or(&self.branch);
            // As `block_configs` has them.
            let inner = if bottleneck(branch) {
                let one = (width as u128 * self.group_width as u128) / 64;
                one * self.groups as u128
            } else {
                width as u128 * branch.expansion() as u128
            };
            if inner == 0 || inner > MOST_CHANNELS as u128 {
                return wrong("group_width", format!("gives stage {} {inner} inner channels", stage + 1));
            }
            if inner / (self.reduce_first as u128) == 0 {
                return wrong("reduce_first", format!("leaves stage {} no channels", stage + 1));
            }
            let size = self.group_size.unwrap_or(1) as u128;
            if self.group_size.is_some() && inner % size != 0 {
                return wrong(
                    "group_size",
                    format!("{size} does not divide the {inner} channels of stage {}", stage + 1),
                );
            }
            if self.group_size.is_none() && inner % self.groups as u128 != 0 {
                return wrong(
                    "groups",
                    format!("{} do not divide the {inner} channels of stage {}", self.groups, stage + 1),
                );
            }
        }
        Ok(())
    }

    /// Values that the blocks' convolutions have at least: what decides how large a network is. For a configuration that
    /// [`Config::check`] passes; `None` where it is beyond counting.
    pub(crate) fn least_values(&self) -> Option<u128> {
        let mut all: u128 = 0;
        for (_, block) in self.block_configs() {
            let [inputs, entry, inner, outputs] =
                [block.inputs, block.first, block.inner, block.outputs].map(|channels| channels as u128);
            let groups = (block.groups as u128).max(1);
            let conv = |from: u128, to: u128, pixels: u128, groups: u128| {
                from.checked_mul(to)?.checked_mul(pixels)?.checked_div(groups)
            };
            let convs = match block.branch {
                Branch::Single => [conv(inputs, outputs, 9, groups), Some(0), Some(0)],
                Branch::Basic => [conv(inputs, inner, 9, groups), conv(inner, outputs, 9, groups), Some(0)],
                Branch::Bottleneck(_) => {
                    [conv(inputs, entry, 1, 1), conv(entry, inner, 9, groups), conv(inner, outputs, 1, 1)]
                }
            };
            for values in convs {
                all = all.checked_add(values?)?;
            }
        }
        Some(all)
    }
}

/// The first few numbers, for messages.
fn head(numbers: &[usize]) -> &[usize] {
    &numbers[..numbers.len().min(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_registry_makes_sense() {
        for entry in crate::NETWORKS {
            let config = entry.config();
            config.check().unwrap_or_else(|error| panic!("{error}"));
            assert!(config.least_values().unwrap() > 0, "{}", entry.name);
        }
    }

    #[test]
    fn a_field_that_makes_no_sense_is_named() {
        let usual = Config::default;
        for (config, field) in [
            (Config { widths: vec![1 << 40, 1, 1, 1], ..usual() }, "widths"),
            (Config { widths: vec![64, 128], ..usual() }, "widths"),
            (Config { blocks: vec![usize::MAX, 2, 2, 2], ..usual() }, "blocks"),
            (Config { blocks: vec![2, 0, 2, 2], ..usual() }, "blocks"),
            (Config { blocks: Vec::new(), widths: Vec::new(), ..usual() }, "blocks"),
            (Config { stem_channels: 0, ..usual() }, "stem_channels"),
            (Config { in_chans: 0, ..usual() }, "in_chans"),
            (Config { groups: 0, ..usual() }, "groups"),
            (Config { groups: 7, ..usual() }, "groups"),
            (
                Config {
                    branch: Branch::Bottleneck(resnet_blocks::StrideIn::Middle),
                    group_width: 1,
                    widths: vec![8; 4],
                    ..usual()
                },
                "group_width",
            ),
            (Config { classes: usize::MAX, ..usual() }, "classes"),
            (Config { drop_path: f64::NAN, ..usual() }, "drop_path"),
            (Config { image_size: 0, ..usual() }, "image_size"),
            (Config { pruned: vec![[1, 1, 1]], ..usual() }, "pruned"),
            (Config { branches: vec![Branch::Basic], ..usual() }, "branches"),
        ] {
            match config.check() {
                Err(Error::Field { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
