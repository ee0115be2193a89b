//! Names of classes that several files, or both parts of a set, have in orders of their own.

use std::collections::HashMap;
use std::path::PathBuf;

use super::labels::{Label, list_beside};
use super::parquet_index::Indexed;
use super::summary::many;
use crate::names::shown;
use crate::{Error, Result};

/// A name that stands twice in a list, so that nobody knows which number is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice(pub(super) String);

/// The place of each of these names among `all`, which gets those that it lacks at its end.
pub(super) fn join(all: &mut Vec<String>, names: &[String]) -> Result<Vec<u32>, Twice> {
    if all.starts_with(names) || names.starts_with(all) {
        all.extend_from_slice(&names[all.len().min(names.len())..]);
        return Ok((0..names.len() as u32).collect());
    }
    let mut places = HashMap::new();
    for name in all.iter() {
        if places.insert(name.clone(), places.len() as u32).is_some() {
            return Err(Twice(name.clone()));
        }
    }
    let mut own = Vec::with_capacity(names.len());
    for name in names {
        let next = places.len() as u32;
        let place = *places.entry(name.clone()).or_insert(next);
        if place == next {
            all.push(name.clone());
        }
        own.push(place);
    }
    let mut sorted = own.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Twice(all[pair[0] as usize].clone())),
        None => Ok(own),
    }
}

/// One list of names for the numbers in all files: each file's are changed from its own list to that one.
pub(super) fn one_list(
    files: &[PathBuf],
    indexed: &mut [Indexed],
    notes: &mut Vec<String>,
) -> Result<Option<Vec<String>>> {
    let greatest: Vec<Option<i64>> = indexed.iter().map(greatest).collect();
    for (file, found) in indexed.iter().enumerate() {
        let (Some(names), Some(greatest)) = (&found.names, greatest[file]) else { continue };
        if usize::try_from(greatest).is_ok_and(|greatest| greatest >= names.len()) {
            let few = format!("its metadata names {}, but a label is {greatest}", many(names.len(), "class"));
            if list_beside(&files[0])?.is_none() {
                let mend =
                    "write it again with a name for each class, or list them in classes.txt beside it, a line each";
                return Err(Error::format(&files[file], format!("{few}: {mend}")));
            }
            notes.push(format!("{}: {few}: the names are those of classes.txt", shown(&files[file])));
            return Ok(None);
        }
    }
    let Some(first) = indexed.iter().position(|found| found.names.is_some()) else { return Ok(None) };
    let mut all = Vec::new();
    let mut changed = Vec::new();
    for (file, found) in indexed.iter_mut().enumerate() {
        let Some(names) = &found.names else { continue };
        let places = join(&mut all, names).map_err(|Twice(name)| {
            let message = format!(
                "its metadata names other classes than that of {}, or in another order, and {} stands twice in one of \
                 them: write both again with the same names",
                shown(&files[first]),
                shown(name)
            );
            Error::format(&files[file], message)
        })?;
        if places.iter().enumerate().all(|(number, &place)| number as u32 == place) {
            continue;
        }
        changed.push(file);
        for label in found.groups.iter_mut().flatten() {
            if let Ok(Label::Number(number)) = label
                && let Some(&place) = usize::try_from(*number).ok().and_then(|number| places.get(number))
            {
                *number = i64::from(place);
            }
        }
    }
    let unnamed: Vec<usize> =
        (0..files.len()).filter(|&file| indexed[file].names.is_none() && greatest[file].is_some()).collect();
    let few = |files: &[usize]| many(files.len(), "file");
    if let (Some(&other), Some(&file)) = (changed.first(), unnamed.first()) {
        let message = format!(
            "its metadata names no classes, and those of {} and {} have them in different orders: write it again with \
             names",
            shown(&files[first]),
            shown(&files[other])
        );
        return Err(Error::format(&files[file], message));
    }
    if let Some(&file) = changed.first() {
        let what = format!("the labels of {} (the first: {})", few(&changed), shown(&files[file]));
        notes.push(format!("{what}, whose classes are others or in another order, are matched by the classes' names"));
    }
    if let Some(&file) = unnamed.first() {
        let what =
            format!("the labels of {} without names of classes (the first: {})", few(&unnamed), shown(&files[file]));
        notes.push(format!("{what} are numbered as in {}", shown(&files[first])));
    }
    Ok(Some(all))
}

/// The greatest number among a file's labels.
fn greatest(found: &Indexed) -> Option<i64> {
    let number = |label: &Result<Label, Option<&'static str>>| match label {
        Ok(Label::Number(number)) => Some(*number),
        _ => None,
    };
    found.groups.iter().flatten().filter_map(number).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined_by_name() {
        let list = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_string).collect() };
        let joined = |a: &str, b: &str| {
            let mut all = list(a);
            join(&mut all, &list(b)).map(|places| (all.join(" "), places))
        };
        assert_eq!(joined("ant bee", "bee ant"), Ok(("ant bee".into(), vec![1, 0])));
        assert_eq!(joined("ant bee", "cat ant"), Ok(("ant bee cat".into(), vec![2, 0])));
        assert_eq!(joined("ant bee", "ant"), Ok(("ant bee".into(), vec![0])));
        assert_eq!(joined("ant", "ant bee bee"), Ok(("ant bee bee".into(), vec![0, 1, 2])), "the same list, as it is");
        assert_eq!(joined("ant bee ant", "bee ant"), Err(Twice("ant".into())));
        assert_eq!(joined("bee ant", "cat ant cat"), Err(Twice("cat".into())));
    }
}
