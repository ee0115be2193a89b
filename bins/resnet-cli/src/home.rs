//! `~` in arguments, where a shell left it: `--data=~/photos`, `folder:~/photos`, or in quotes.

use std::ffi::OsString;
use std::path::Path;

use resnet_data::expand_home;

/// Arguments with the home folder in place of `~`.
///
/// # Errors
/// For the home of another user, and where there is none: names the argument.
pub fn expanded(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<Vec<OsString>> {
    arguments.map(one).collect()
}

fn one(argument: OsString) -> anyhow::Result<OsString> {
    let Some(text) = argument.to_str() else { return Ok(argument) };
    // Behind a flag's name (whose characters are no path's), and behind a kind of data set.
    let flag = match text.strip_prefix("--").and_then(|flag| flag.find('=')) {
        Some(end) => end + 3,
        None => 0,
    };
    let kind = ["folder:", "shards:", "parquet:"].into_iter().find(|kind| text[flag..].starts_with(kind));
    let (before, path) = text.split_at(flag + kind.map_or(0, str::len));
    if !path.starts_with('~') {
        return Ok(argument);
    }
    let mut whole = OsString::from(before);
    whole.push(expand_home(Path::new(path))?);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_stands_for_a_tilde() {
        let home = std::env::home_dir().unwrap().display().to_string();
        let expand = |text: &str| one(text.into()).map(|text| text.into_string().unwrap());
        for (text, wanted) in [
            ("~/x.jpg", format!("{home}/x.jpg")),
            ("--data=~/photos", format!("--data={home}/photos")),
            ("--dataset=folder:~/photos", format!("--dataset=folder:{home}/photos")),
            ("shards:~/a-{0..3}.tar", format!("shards:{home}/a-{{0..3}}.tar")),
            ("a~/b", "a~/b".into()),
            ("./~/b", "./~/b".into()),
        ] {
            assert_eq!(expand(text).unwrap(), wanted);
        }
        assert!(expand("folder:~nobody/x").unwrap_err().to_string().contains("~nobody/x"));
    }
}
