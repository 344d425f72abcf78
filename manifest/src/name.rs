//! Names of the field: runs, dataset types, sites, repositories, paths.
//!
//! Each is a newtype whose only constructor parses, so that a name that exists
//! is a name that is allowed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::error::NameError;

/// Longest run, dataset type, site or scope name, in bytes. Rucio's generic
/// schema ends a DID name at 250 characters; a run's name is part of one.
pub const NAME_BYTES_MAX: usize = 250;
/// Longest artifact path, in bytes: POSIX `PATH_MAX` less its terminating NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest part of a path between two `/`, in bytes: POSIX `NAME_MAX`.
pub const PATH_PART_BYTES_MAX: usize = 255;
/// The folder in a datastore root that runsync keeps to itself.
pub const RESERVED_FOLDER: &str = "runsync";

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_name! {
    /// The name of a run (a RUN collection), such as `HSC/runs/ci_hsc/20240806T180642Z`.
    ///
    /// Its parts are separated by `/`, as in the Butler. A run's identity is
    /// (origin, name). No run may be called `runsync` or lie below it, because its
    /// name becomes a folder in the datastore root.
    RunName, "run", check_run
}
text_name! {
    /// The name of a collection of any kind; the rules are those of [`RunName`].
    CollectionName, "collection", check_run
}
text_name! {
    /// The start of run names that an origin owns; it matches whole parts only:
    /// `u/dm-1` owns `u/dm-1` and `u/dm-1/x`, never `u/dm-10`.
    RunPrefix, "run-name prefix", check_run
}
text_name! {
    /// The name of a dataset type, such as `calexp`.
    DatasetTypeName, "dataset type", check_word
}
text_name! {
    /// The name of a storage class, such as `ExposureF`.
    StorageClassName, "storage class", check_word
}
text_name! {
    /// The name of a site, such as `SITE_A`.
    SiteName, "site", check_word
}
text_name! {
    /// A Rucio scope, such as `hsc`.
    Scope, "scope", check_word
}
text_name! {
    /// The name of a Rucio storage element (RSE), such as `SITE_A_DISK`.
    RseName, "RSE", check_word
}
text_name! {
    /// The path of an artifact, relative to its datastore root.
    ///
    /// Normalised: parts separated by one `/`, none empty, `.` or `..`, no control
    /// characters, no backslash, not below `runsync/`. Compared byte by byte.
    ArtifactPath, "artifact path", check_artifact_path
}

impl From<RunName> for CollectionName {
    fn from(RunName(name): RunName) -> Self {
        Self(name)
    }
}

impl RunPrefix {
    /// Whether `run` is this prefix or lies below it.
    pub fn owns(&self, run: &RunName) -> bool {
        self.covers(run.as_str())
    }

    /// Whether a name or a path is this prefix or lies below it.
    pub fn covers(&self, name: &str) -> bool {
        covers(&self.0, name)
    }

    /// Whether some run name could fall under both prefixes.
    pub fn overlaps(&self, other: &Self) -> bool {
        covers(&self.0, &other.0) || covers(&other.0, &self.0)
    }
}

fn covers(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A repository's UUID. A repository that owns runs is called their origin.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RepositoryId(pub Uuid);

/// A dataset's UUID.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct DatasetId(pub Uuid);

/// A manifest's own UUID, version 7.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ManifestId(pub Uuid);

/// A run's identity: a name is only unique within its origin.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct RunKey {
    /// The repository that owns the run.
    pub origin: RepositoryId,
    /// The run's name.
    pub name: RunName,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.origin)
    }
}

macro_rules! uuid_name {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Uuid::parse_str(text).map(Self).map_err(|_| NameError {
                    what: $what,
                    name: text.chars().take(80).collect(),
                    reason: "is not a UUID",
                })
            }
        }
    };
}
uuid_name!(RepositoryId, "repository");
uuid_name!(DatasetId, "dataset");
uuid_name!(ManifestId, "manifest");

/// Checks an artifact path without owning it; the rules are those of [`ArtifactPath`].
pub fn check_path(path: &str) -> Result<(), NameError> {
    check_artifact_path("artifact path", path)
}

fn check_word(what: &'static str, name: &str) -> Result<(), NameError> {
    check_length(what, name, NAME_BYTES_MAX)?;
    if name.contains('/') {
        return Err(refuse(what, name, "holds a `/`"));
    }
    check_characters(what, name)?;
    check_part(what, name, name)
}

fn check_run(what: &'static str, name: &str) -> Result<(), NameError> {
    check_length(what, name, NAME_BYTES_MAX)?;
    check_parts(what, name)
}

fn check_artifact_path(what: &'static str, path: &str) -> Result<(), NameError> {
    check_length(what, path, PATH_BYTES_MAX)?;
    check_parts(what, path)
}

fn check_length(what: &'static str, name: &str, most: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(refuse(what, name, "is empty"));
    }
    if name.len() > most {
        return Err(refuse(what, name, "is too long"));
    }
    Ok(())
}

fn check_parts(what: &'static str, name: &str) -> Result<(), NameError> {
    if covers(RESERVED_FOLDER, name) {
        return Err(refuse(what, name, "lies in runsync's own folder `runsync`"));
    }
    check_characters(what, name)?;
    name.split('/')
        .try_for_each(|part| check_part(what, name, part))
}

fn check_part(what: &'static str, name: &str, part: &str) -> Result<(), NameError> {
    let reason = if part.is_empty() {
        "has an empty part"
    } else if part == "." || part == ".." {
        "has a part `.` or `..`"
    } else if part.len() > PATH_PART_BYTES_MAX {
        "has a part longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(refuse(what, name, reason))
}

fn check_characters(what: &'static str, name: &str) -> Result<(), NameError> {
    if holds_forbidden(name) {
        let reason = "holds a control character or a backslash";
        return Err(refuse(what, name, reason));
    }
    Ok(())
}

/// Control characters and backslashes. Nearly all names are ASCII, and this is
/// asked for each path: looks at bytes first, all of them, so that many are compared at once.
fn holds_forbidden(name: &str) -> bool {
    let forbidden = |byte: u8| byte < b' ' || byte == b'\\' || byte == 0x7f;
    let (found, ascii) = name.bytes().fold((false, true), |(found, ascii), byte| {
        (found | forbidden(byte), ascii & byte.is_ascii())
    });
    found || (!ascii && name.chars().any(char::is_control))
}

fn refuse(what: &'static str, name: &str, reason: &'static str) -> NameError {
    NameError {
        what,
        name: name.chars().take(80).collect(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            ".",
            "../x",
            "a/../b",
            "a/..",
            "a/./b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "é\u{9b}",
            "runsync",
            "runsync/x",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a".repeat(256)).is_err());
        assert!(check_path(&"a/".repeat(2048)).is_err());
    }

    #[test]
    fn unusual_but_honest_paths_are_kept_as_they_are() {
        for path in [
            "a",
            "runsync2/x",
            "x/runsync/y",
            "...",
            "a b",
            "é",
            "e\u{301}",
            "\u{202e}x",
            "-rf",
        ] {
            assert_eq!(path.parse::<ArtifactPath>().unwrap().as_str(), path);
        }
        assert!(check_path(&"a".repeat(255)).is_ok());
    }

    #[test]
    fn a_prefix_owns_whole_parts_only() {
        let prefix: RunPrefix = "u/dm-1".parse().unwrap();
        let owns = |run: &str| prefix.owns(&run.parse().unwrap());
        assert!(owns("u/dm-1") && owns("u/dm-1/x"));
        assert!(!owns("u/dm-10") && !owns("u"));
        let overlaps = |other: &str| prefix.overlaps(&other.parse().unwrap());
        assert!(overlaps("u") && overlaps("u/dm-1/x") && !overlaps("u/dm-10"));
    }

    #[test]
    fn no_run_takes_the_reserved_folder() {
        for run in ["runsync", "runsync/x", "a//b", "/a", "a/../b"] {
            assert!(run.parse::<RunName>().is_err(), "{run}");
        }
        assert!("runsync-tests/1".parse::<RunName>().is_ok());
    }
}
