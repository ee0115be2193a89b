//! What of a file is left alone, by group.

use std::collections::BTreeMap;

use crate::escape::show;

/// Tensors of a file that are no part of the network that was found in it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// What their names begin with, `*` standing for the rest where they are several.
    pub group: String,
    /// How many they are.
    pub tensors: usize,
}

/// Groups of names: each up to the first part that does not lead to the network.
pub(super) fn group<'a>(names: impl Iterator<Item = &'a str>, network: &str) -> Vec<Left> {
    let path: Vec<&str> = network.split('.').filter(|part| !part.is_empty()).collect();
    let mut groups: BTreeMap<String, (usize, bool, &str)> = BTreeMap::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let common = parts.iter().zip(&path).take_while(|(a, b)| a == b).count();
        let mut group = parts[..parts.len().min(common + 1)].join(".");
        // A copy whose names have lost their dots.
        if parts.len() == 1 && name.starts_with("ema_") {
            group = "ema_".into();
        }
        let entry = groups.entry(group).or_insert((0, false, name));
        entry.0 += 1;
        entry.1 |= parts.len() > common + 1;
    }
    let shown = |(group, (tensors, deeper, first)): (String, (usize, bool, &str))| {
        let ending = match (deeper, group.ends_with('_')) {
            _ if tensors == 1 => return Left { group: first.to_owned(), tensors },
            (true, _) => ".*",
            (false, true) => "*",
            _ => "",
        };
        Left { group: format!("{group}{ending}"), tensors }
    };
    groups.into_iter().map(shown).collect()
}

/// `left alone: 12 tensors of projector.*, 1 of criterion.weight`; nothing where there are none.
pub(super) fn line(left: &[Left]) -> Option<String> {
    const LISTED: usize = 6;
    let mut sorted: Vec<&Left> = left.iter().collect();
    sorted.sort_by(|a, b| b.tensors.cmp(&a.tensors).then(a.group.cmp(&b.group)));
    let mut parts: Vec<String> = Vec::new();
    for (i, left) in sorted.iter().take(LISTED).enumerate() {
        let noun = match (i, left.tensors) {
            (0, 1) => " tensor",
            (0, _) => " tensors",
            _ => "",
        };
        parts.push(format!("{}{noun} of {}", left.tensors, show(&left.group)));
    }
    if sorted.len() > LISTED {
        let rest: usize = sorted[LISTED..].iter().map(|left| left.tensors).sum();
        parts.push(format!("{rest} of {} others", sorted.len() - LISTED));
    }
    (!parts.is_empty()).then(|| format!("left alone: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_where_the_way_to_the_network_does() {
        let names = [
            "module.queue",
            "module.queue_ptr",
            "module.encoder_k.a",
            "module.encoder_k.b.c",
            "ema_backbone_x",
            "ema_y",
        ];
        let left = group(names.into_iter(), "module.encoder_q");
        assert_eq!(
            line(&left).unwrap(),
            "left alone: 2 tensors of ema_*, 2 of module.encoder_k.*, 1 of module.queue, 1 of module.queue_ptr"
        );
        assert_eq!(line(&[]), None);
    }
}
