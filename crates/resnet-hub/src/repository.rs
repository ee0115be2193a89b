//! Which files: a repository and its revision.

use std::fmt;

use hf_hub::{Repo, RepoType};

use crate::{Error, Kind, Result};

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    /// What it holds.
    pub kind: Kind,
    /// `OWNER/NAME`, or `NAME` alone.
    pub name: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Repository {
    /// A model's repository at `main`, or at REVISION of `OWNER/NAME@REVISION`.
    ///
    /// # Errors
    /// [`Error::Name`] where this is no repository's name.
    pub fn model(name: &str) -> Result<Self> {
        Self::new(Kind::Model, name)
    }

    /// A data set's repository, likewise.
    ///
    /// # Errors
    /// As [`Repository::model`].
    pub fn dataset(name: &str) -> Result<Self> {
        Self::new(Kind::Dataset, name)
    }

    fn new(kind: Kind, name: &str) -> Result<Self> {
        let (path, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) || !revision.split('/').all(is_name) {
            return Err(Error::Name { name: name.to_string() });
        }
        Ok(Self { kind, name: path.to_string(), revision: revision.to_string() })
    }

    /// At another revision.
    ///
    /// # Errors
    /// [`Error::Name`] where this is no revision's name.
    pub fn at(self, revision: &str) -> Result<Self> {
        Self::new(self.kind, &format!("{}@{revision}", self.name))
    }

    /// Its place on the server.
    pub(crate) fn page(&self) -> String {
        match self.kind {
            Kind::Model => self.name.clone(),
            Kind::Dataset => format!("datasets/{}", self.name),
        }
    }

    /// Where a file of it is on the server.
    pub(crate) fn url(&self, file: &str) -> String {
        format!("{}/resolve/{}/{}", self.page(), escaped(&self.revision, ""), escaped(file, "/"))
    }

    pub(crate) fn to_hf(&self) -> Repo {
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.name.clone(), kind, self.revision.clone())
    }
}

/// Letters, digits and `-_.`, not beginning with a dot: these become names of folders.
fn is_name(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && part.len() <= 96 && !part.starts_with('.') && part.chars().all(allowed)
}

/// A name as a part of an address: what may not stand there as `%` and its number.
fn escaped(name: &str, more: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || more.as_bytes().contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_they_become_folders() {
        let plain = Repository::model("timm/resnet50.a1_in1k").unwrap();
        assert_eq!((plain.to_string().as_str(), plain.revision.as_str()), ("timm/resnet50.a1_in1k", "main"));
        let at = Repository::dataset("uoft-cs/cifar10@refs/pr/1").unwrap();
        assert_eq!((at.name.as_str(), at.revision.as_str()), ("uoft-cs/cifar10", "refs/pr/1"));
        assert_eq!(at.url("a b/c#1"), "datasets/uoft-cs/cifar10/resolve/refs%2Fpr%2F1/a%20b/c%231");
        assert_eq!(plain.at("v1").unwrap().to_string(), "timm/resnet50.a1_in1k@v1");
        for wrong in ["", "a/b/c", "../a", "a/..", "a b", "a/", "a@", "a@../b", "/a"] {
            assert!(Repository::model(wrong).unwrap_err().to_string().contains("OWNER/NAME"), "{wrong}");
        }
    }
}
