//! Pretrained weights that the hub is known to have, with what was published of them.

/// A row a set of weights: timm's name, top-1 in percent, and the size and crop that it was measured at; parameters in
/// millions. From timm's `results/results-imagenet.csv`.
const TABLE: &str = include_str!("pretrained.tsv");

/// A set of weights on the hub, under `timm/NAME`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// `ARCH.TAG`, as timm calls them.
    pub name: &'static str,
    /// ImageNet validation images classified right, in percent, as timm measured it.
    pub top1: f64,
    /// Rows and columns of the network's input in that measurement.
    pub size: usize,
    /// The input's share of the shorter side.
    pub crop: f64,
    /// Parameters in 10⁶.
    pub parameters: f64,
}

impl Published {
    /// The repository on the hub.
    pub fn repository(&self) -> String {
        format!("timm/{}", self.name)
    }

    /// The network's name.
    pub fn arch(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}

/// The weights whose networks are in the registry, the best first.
pub fn published() -> Vec<Published> {
    TABLE.lines().filter_map(row).filter(|row| crate::config(row.arch()).is_ok()).collect()
}

fn row(line: &'static str) -> Option<Published> {
    let mut columns = line.split('\t');
    Some(Published {
        name: columns.next()?,
        top1: columns.next()?.parse().ok()?,
        size: columns.next()?.parse().ok()?,
        crop: columns.next()?.parse().ok()?,
        parameters: columns.next()?.parse().ok()?,
    })
}
