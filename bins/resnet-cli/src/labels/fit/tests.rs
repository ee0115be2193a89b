use super::*;
use resnet_data::InMemory;

fn set(classes: &[&str]) -> Arc<dyn Dataset> {
    let classes: Vec<String> = classes.iter().map(|&name| name.to_owned()).collect();
    let labels: Vec<u32> = (0..classes.len() as u32).collect();
    Arc::new(InMemory::new("set", (1, 1), vec![0; 3 * labels.len()], labels, classes).unwrap())
}

/// The labels of one image of each class, and what was said; or the error.
fn labels(own: &[&str], known: &[&str], maps: &[&str], by: Option<Match>) -> Result<(Vec<u32>, String), String> {
    let names: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
    let maps: Vec<Mapping> = maps.iter().map(|text| text.parse().unwrap()).collect();
    let fit = Fit { dataset: "folder:x", maps: &maps, by, count: names.len(), names: Some(&names) };
    let (set, said) = fit.apply(&set(own)).map_err(|error| error.to_string())?;
    Ok(((0..set.len()).map(|index| set.label(index)).collect(), said.unwrap_or_default()))
}

fn unnamed(own: &[&str], count: usize, by: Option<Match>) -> Result<(Vec<u32>, String), String> {
    let fit = Fit { dataset: "folder:x", maps: &[], by, count, names: None };
    let (set, said) = fit.apply(&set(own)).map_err(|error| error.to_string())?;
    Ok(((0..set.len()).map(|index| set.label(index)).collect(), said.unwrap_or_default()))
}

#[test]
fn classes_are_matched_by_name_in_any_order() {
    assert_eq!(labels(&["cat", "dog"], &["cat", "dog"], &[], None).unwrap(), (vec![0, 1], String::new()));
    assert_eq!(labels(&["cat", "dog"], &["dog", "cat"], &[], None).unwrap(), (vec![1, 0], String::new()));
    let (found, said) = labels(&["dog"], &["cat", "dog", "wolf"], &[], None).unwrap();
    assert!(found == [1] && said.contains("1 of the network's 3 classes"), "{said}");
    assert_eq!(labels(&["cafe\u{301}", "x"], &["x", "caf\u{e9}"], &[], None).unwrap().0, [1, 0], "one Unicode form");
    // Numbers that are names: a network trained on folders in the order of text.
    assert_eq!(labels(&["1", "10", "2"], &["0", "1", "10", "2"], &[], None).unwrap().0, [1, 2, 3]);
    let (found, said) =
        labels(&["Aquarium_Fish", "tench"], &["aquarium fish", "tench, Tinca tinca"], &[], None).unwrap();
    assert!(found == [0, 1] && said.contains("Aquarium_Fish = aquarium fish"), "{said}");
}

#[test]
fn unknown_classes_are_refused_by_name() {
    let error = labels(&["pizza", "steak"], &["dog", "cat"], &[], None).unwrap_err();
    for part in ["folder:x", "pizza, steak are no classes", "the weights know dog, cat", "--map pizza=CLASS"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    let error = labels(&["ant", "cat", "dogs"], &["cat", "dog", "wolf"], &[], None).unwrap_err();
    assert!(error.contains("ant, dogs") && error.contains("dogs may be dog"), "{error}");
    assert!(!error.contains("cat are no") && !error.contains("ant, cat"), "{error}");
}

#[test]
fn classes_are_mapped_or_left_out() {
    let (found, said) = labels(&["cat", "mutt", "other"], &["dog", "cat"], &["mutt=dog", "other="], None).unwrap();
    assert!(found == [1, 0] && said.contains("left out: other"), "{found:?} {said}");
    assert_eq!(labels(&["a=b", "c"], &["x", "c"], &["a=b=x"], None).unwrap().0, [0, 1]);
    assert_eq!(labels(&["a", "b"], &["x", "y"], &["a=1", "b=0"], None).unwrap().0, [1, 0], "by number");
    let error = labels(&["cat"], &["dog", "cat"], &["cot=dog"], None).unwrap_err();
    assert!(error.contains("did you mean cat?"), "{error}");
    let error = labels(&["cat"], &["dog", "cat"], &["cat=dug"], None).unwrap_err();
    assert!(error.contains("did you mean dog?"), "{error}");
    assert!(labels(&["cat"], &["dog"], &["cat="], None).unwrap_err().contains("all of its classes"));
    assert_eq!(labels(&["a", "b"], &["x", "y"], &[], Some(Match::Position)).unwrap().0, [0, 1]);
}

#[test]
fn numbers_are_numbers_where_a_side_has_no_names() {
    let numbers: Vec<String> = (0..11).map(|number: u32| number.to_string()).collect();
    let mut own: Vec<&str> = numbers.iter().map(String::as_str).collect();
    own.sort_unstable();
    let (found, said) = unnamed(&own, 11, None).unwrap();
    assert_eq!(found, [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(said.contains("by number"), "{said}");
    assert_eq!(unnamed(&["3", "7"], 10, None).unwrap().0, [3, 7]);
    let labelled = ["LABEL_0", "LABEL_1", "LABEL_2"];
    assert_eq!(labels(&["0", "1", "2"], &labelled, &[], None).unwrap().0, [0, 1, 2], "as transformers names them");
    let (found, said) = labels(&["0", "1"], &["cat", "dog"], &[], None).unwrap();
    assert!(found == [0, 1] && said.contains("by number"), "{said}");
    assert!(labels(&["0", "1"], &["cat", "dog", "owl"], &[], None).is_err());
    // From 1 on nobody knows what is meant.
    let error = unnamed(&["1", "2", "3"], 3, None).unwrap_err();
    assert!(error.contains('3') && error.contains("--map"), "{error}");
    assert_eq!(unnamed(&["1", "2", "3"], 3, Some(Match::Position)).unwrap().0, [0, 1, 2]);
    let (found, said) = unnamed(&["ant", "bee"], 2, None).unwrap();
    assert!(found == [0, 1] && said.contains("no names") && said.contains("ant is class 0"), "{said}");
    let error = unnamed(&["ant", "bee"], 5, None).unwrap_err();
    assert!(error.contains("has 2 classes, the weights 5"), "{error}");
}

#[test]
fn folders_of_wnids_get_imagenet_numbers() {
    assert_eq!(unnamed(&["n01440764", "n02123045"], 1000, None).unwrap().0, [0, 281]);
    let names = crate::labels::imagenet();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(labels(&["n01440764", "n02123045"], &names, &[], None).unwrap().0, [0, 281]);
    assert!(unnamed(&["n01440764", "cats"], 1000, None).is_err());
}

#[test]
fn a_name_of_two_classes_is_paired_or_refused() {
    let known = ["crane", "bee", "crane"];
    assert_eq!(labels(&["crane", "crane", "bee"], &known, &[], None).unwrap().0, [0, 2, 1], "the first is the first");
    let error = labels(&["crane", "bee"], &known, &[], None).unwrap_err();
    assert!(
        error.contains("crane is the name of 2 classes of the weights: 0 and 2")
            && error.contains("--map crane=NUMBER"),
        "{error}"
    );
    assert_eq!(labels(&["crane", "bee"], &known, &["crane=2"], None).unwrap().0, [2, 1]);
    let error = labels(&["bee", "ant", "bee"], &["ant", "bee", "cat"], &[], None).unwrap_err();
    assert!(error.contains("bee is class 1 of the weights, and of more than one class here"), "{error}");
}
