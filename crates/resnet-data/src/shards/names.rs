//! Lists of files in braces: `train-{000000..000099}.tar`, `{train,val}-0.tar`.

use crate::{Error, Result};

/// A pattern stands for no more names.
const MOST: usize = 1_000_000;

/// Every name that a pattern stands for, in order; a name without braces for itself.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>> {
    let wrong = |message: &str| Error::Setting { setting: "pattern", message: format!("{pattern}: {message}") };
    let Some(open) = pattern.find('{') else { return Ok(vec![pattern.to_string()]) };
    let close = pattern[open..].find('}').ok_or_else(|| wrong("a { without its }"))? + open;
    let inner = &pattern[open + 1..close];
    let choices = match inner.split_once("..") {
        Some((first, last)) => range(first, last)
            .ok_or_else(|| wrong("between { and } two rising numbers are needed, as in {000000..000099}"))?,
        None => inner.split(',').map(str::to_string).collect(),
    };
    let rest = expand(&pattern[close + 1..])?;
    if choices.len().saturating_mul(rest.len()) > MOST {
        return Err(wrong("it stands for more than a million files"));
    }
    let before = &pattern[..open];
    Ok(choices.iter().flat_map(|choice| rest.iter().map(move |rest| format!("{before}{choice}{rest}"))).collect())
}

/// Numbers with as many digits as the first.
fn range(first: &str, last: &str) -> Option<Vec<String>> {
    let digits = first.len();
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last - first < MOST as u32).then(|| (first..=last).map(|n| format!("{n:0digits$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_ranges_and_choices() {
        assert_eq!(expand("a-{08..10}.tar").unwrap(), ["a-08.tar", "a-09.tar", "a-10.tar"]);
        assert_eq!(expand("{train,val}-{0..1}").unwrap(), ["train-0", "train-1", "val-0", "val-1"]);
        assert_eq!(expand("plain.tar").unwrap(), ["plain.tar"]);
        for bad in ["a-{0..x}", "a-{9..1}", "a-{0..1", "{0..9999}{0..9999}", "a-{0..4294967295}"] {
            assert!(expand(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }
}
