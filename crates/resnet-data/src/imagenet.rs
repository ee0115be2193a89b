//! The thousand classes of ImageNet (ILSVRC 2012).

/// WordNet identifiers and short names, in the order of the labels; a line a class.
const TABLE: &str = include_str!("imagenet_classes.tsv");

/// Short names of the classes, in the order of the labels.
///
/// ```
/// assert_eq!(resnet_data::imagenet::names()[0], "tench");
/// ```
pub fn names() -> Vec<&'static str> {
    columns().map(|(_, name)| name).collect()
}

/// WordNet identifiers of the classes (`n01440764`), in the order of the labels: the names of ImageNet's folders.
pub fn wnids() -> Vec<&'static str> {
    columns().map(|(wnid, _)| wnid).collect()
}

fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_thousand_classes_sorted_by_identifier() {
        assert_eq!((names().len(), wnids().len()), (1000, 1000));
        assert!(wnids().is_sorted());
        assert_eq!((wnids()[999], names()[999]), ("n15075141", "toilet paper"));
    }
}
