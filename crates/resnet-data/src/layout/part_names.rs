//! What the parts of divided data sets are called.

use crate::Split;

const TRAIN: [&str; 6] = ["train", "training", "trn", "tr", "learn", TRAINVAL];
/// `train` and `val` together, beside a `test`.
const TRAINVAL: &str = "trainval";
const VAL: [&str; 10] =
    ["val", "valid", "validation", "validate", "validating", "dev", "eval", "evaluation", "holdout", "heldout"];
const TEST: [&str; 7] = ["test", "testing", "tst", "te", "pred", "prediction", "predict"];

/// Words that stand beside a part's in one word: `trainset`, `testdata`.
const BESIDE: [&str; 10] = ["set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "folder"];

/// The part that a folder's name speaks of: one of its words does, in any case (`train`, `Training`, `seg_test`,
/// `imagenet-val`, `TestSet`, `train2017`). `None` where no word does, or words speak of different parts.
pub(super) fn part(name: &str) -> Option<Split> {
    let mut found = None;
    for word in words(name) {
        let Some(split) = of_word(&word) else { continue };
        if found.is_some_and(|other| other != split) {
            return None;
        }
        found = Some(split);
    }
    found
}

/// Whether the name is a part's and nothing else: `Training`, not `seg_train`, nor `trainval` beside a `train`.
pub(super) fn is_plain(name: &str) -> bool {
    let name = name.to_lowercase();
    name != TRAINVAL && [&TRAIN[..], &VAL, &TEST].iter().any(|words| words.contains(&name.as_str()))
}

fn of_word(word: &str) -> Option<Split> {
    let is = |list: &[&str]| {
        list.iter().any(|part| word.strip_prefix(part).is_some_and(|rest| rest.is_empty() || BESIDE.contains(&rest)))
    };
    match () {
        () if is(&TRAIN) => Some(Split::Train),
        () if is(&VAL) => Some(Split::Val),
        () if is(&TEST) => Some(Split::Test),
        () => None,
    }
}

/// The words of a name, in small letters: runs of letters, and of them what a capital begins.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small_before = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && small_before) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphabetic(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        small_before = c.is_lowercase();
    }
    // `hold-out` and `held_out` are one word.
    let mut joined: Vec<String> = Vec::new();
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        match joined.last_mut() {
            Some(before) if word == "out" && (before == "hold" || before == "held") => before.push_str("out"),
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_many_names() {
        for name in [
            "train",
            "training",
            "Train",
            "TRAIN",
            "train_set",
            "trainset",
            "seg_train",
            "imagenet-train",
            "TrainData",
            "train2017",
            "tr",
            "Training Images",
            "trainval",
            "VOC-trainval2012",
        ] {
            assert_eq!(part(name), Some(Split::Train), "{name}");
        }
        for name in ["val", "Valid", "validation", "dev", "eval", "hold-out", "holdout", "imagenet_val", "ValSet"] {
            assert_eq!(part(name), Some(Split::Val), "{name}");
        }
        for name in ["test", "Testing", "TEST", "seg_test", "seg_pred", "testSet", "test1"] {
            assert_eq!(part(name), Some(Split::Test), "{name}");
        }
        for name in
            ["cat", "trains", "contest", "invalid", "devices", "latest", "train_test", "trainer", "value", "pretrain"]
        {
            assert_eq!(part(name), None, "{name}");
        }
        assert!(is_plain("Training") && !is_plain("seg_train"));
    }
}
