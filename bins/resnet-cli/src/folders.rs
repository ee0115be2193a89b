//! How a folder of images was understood, told in three lines before work begins.

use std::path::Path;

use resnet_data::{Dataset, Files, Folder, FolderLayout, LeftOut, Split, SplitTable, shown};

use crate::output;

/// Classes that are told one by one, with their counts.
const FEW: usize = 12;
/// Folders and patterns that are told one by one.
const FEW_NAMES: usize = 2;

/// `1 image`, `2 images`.
pub fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}

/// Tells the training and validation images of a training.
pub fn tell_both(layout: &FolderLayout, train: &Folder, validation: &Folder) {
    let (learned, held) = (images(train.len()), images(validation.len()));
    let parts = if layout.is_unsplit() {
        let of = if layout.has(Split::Train) { "no val or test beside train" } else { "a folder for each class" };
        format!("{of}: train has {learned}, val {held} held out of them (listed in {})", SplitTable::FILE)
    } else {
        let part = |split: Split, what: &str| format!("{split} is {} ({what})", place(layout, split));
        let mut parts = vec![part(Split::Train, &learned), part(layout.test_split(), &held)];
        if layout.has(Split::Val) && layout.has(Split::Test) {
            parts.push(part(Split::Test, "left alone: for `resnet eval`"));
        }
        parts.join(", ")
    };
    tell(layout, &parts, &[train, validation]);
}

/// Tells what an evaluation sees; `what` says which images of the folder.
pub fn tell_one(layout: &FolderLayout, what: &str, set: &Folder) {
    tell(layout, what, &[set]);
}

/// What a part is called and where it lies.
pub fn part(layout: &FolderLayout, split: Split, set: &Folder) -> String {
    let split = if layout.has(split) { split } else { layout.test_split() };
    format!("{split} is {} ({})", place(layout, split), images(set.len()))
}

/// Tells what folders and patterns stand for.
pub fn tell_files(files: &Files) {
    let line = |name: &str, count: usize, left_out: &LeftOut| {
        let besides = if left_out.is_empty() { String::new() } else { format!("; left out: {left_out}") };
        output::inform(format!("data: {name}: {}{besides}", images(count)));
    };
    let searched = files.searched();
    if searched.len() <= FEW_NAMES {
        searched.iter().for_each(|one| line(&shown(&one.name), one.images, &one.left_out));
        return;
    }
    let mut left_out = LeftOut::default();
    searched.iter().for_each(|one| left_out.merge(&one.left_out));
    let count = searched.iter().map(|one| one.images).sum();
    line(&format!("{} folders and patterns", searched.len()), count, &left_out);
}

fn tell(layout: &FolderLayout, parts: &str, sets: &[&Folder]) {
    let notes: String = layout.notes().iter().map(|note| format!("; {note}")).collect();
    output::inform(format!("data: {}: {parts}{notes}", shown(layout.given())));
    output::inform(format!("data: {}", classes(sets)));
    let mut left_out = LeftOut::default();
    // Parts of one folder have left out the same.
    sets.iter().take(if layout.is_unsplit() { 1 } else { sets.len() }).for_each(|set| left_out.merge(set.left_out()));
    if !left_out.is_empty() {
        output::inform(format!("data: left out: {left_out}"));
    }
}

/// `3 classes: ant 8 + 2, bee 8 + 2`; of many the smallest and the largest.
fn classes(sets: &[&Folder]) -> String {
    let names = sets.first().map_or(&[][..], |set| set.classes());
    let counts: Vec<Vec<usize>> = sets.iter().map(|set| set.counts()).collect();
    let each = |class: usize| counts.iter().map(|set| set.get(class).copied().unwrap_or(0)).collect::<Vec<_>>();
    let all = |class: usize| each(class).iter().sum::<usize>();
    let what = if names.len() == 1 { "1 class".to_owned() } else { format!("{} classes", names.len()) };
    if names.len() <= FEW {
        let list = names.iter().enumerate().map(|(class, name)| {
            let counts: Vec<String> = each(class).iter().map(usize::to_string).collect();
            format!("{} {}", shown(name), counts.join(" + "))
        });
        return format!("{what}: {}", list.collect::<Vec<_>>().join(", "));
    }
    let (least, most) =
        ((0..names.len()).min_by_key(|&class| all(class)), (0..names.len()).rev().max_by_key(|&class| all(class)));
    let (Some(least), Some(most)) = (least, most) else { return what };
    format!("{what} of {} ({}) to {} ({})", all(least), shown(&names[least]), images(all(most)), shown(&names[most]))
}

/// The folder of a part, seen from the one that was given.
fn place(layout: &FolderLayout, split: Split) -> String {
    let parts = layout.parts();
    let folder = parts.iter().find(|(own, _)| *own == split).map_or(layout.given(), |(_, folder)| folder);
    match folder.strip_prefix(layout.given()) {
        Ok(inner) if inner == Path::new("") => format!("CLASS/{split}"),
        Ok(inner) => format!("{}/", shown(inner)),
        Err(_) => shown(folder),
    }
}
