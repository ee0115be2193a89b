//! Pretrained weights that the hub is known to have, with what was published of them.

/// A row a set of weights: timm's name, top-1 in percent, and the size and crop that it was measured at; parameters in
/// millions. From timm's `results/results-imagenet.csv`.
const TABLE: &str = include_str!("../../../../data/pretrained.tsv");

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
    let mut number = || columns.next();
    let name = number()?;
    Some(Published {
        name,
        top1: number()?.parse().ok()?,
        size: number()?.parse().ok()?,
        crop: number()?.parse().ok()?,
        parameters: number()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_the_known_networks_have_their_size() {
        assert_eq!(TABLE.lines().filter_map(row).count(), TABLE.lines().count());
        let known = published();
        assert!(known.is_sorted_by(|a, b| a.top1 >= b.top1));
        for (name, top1) in [("resnet50.tv_in1k", 76.130), ("resnet18.a1_in1k", 73.158)] {
            assert_eq!(known.iter().find(|row| row.name == name).unwrap().top1, top1);
        }
        // The largest would take gigabytes.
        for row in known.iter().filter(|row| row.parameters < 100.0) {
            let summary = crate::summary(row.arch(), None, (row.size, row.size)).unwrap();
            let millions = summary.parameters as f64 / 1e6;
            assert!((millions - row.parameters).abs() < 0.0051, "{}: {millions}", row.name);
        }
    }
}
