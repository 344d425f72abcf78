//! Where files are set aside in a root: below `runsync/quarantine/`, each under the path that it had.

use std::fmt;

use runsync_manifest::name::ArtifactPath;
use uuid::Uuid;

use super::StorageFault;
use crate::file_identity::FileIdentity;

/// The folder of all that was set aside. It is runsync's own: walks and manifests do not lead there.
pub const QUARANTINE_FOLDER: &str = "runsync/quarantine";

/// A place in a root's quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside(String);

impl Aside {
    /// Where a repair puts what lay at a path: below a folder of its own, so that it meets no other file.
    pub fn of(repair: Uuid, path: &ArtifactPath) -> Self {
        Self(format!("{QUARANTINE_FOLDER}/{repair}/{path}"))
    }

    /// The place that a text names, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let below = text.strip_prefix(QUARANTINE_FOLDER)?.strip_prefix('/')?;
        let (repair, path) = below.split_once('/')?;
        Some(Self::of(repair.parse().ok()?, &path.parse().ok()?))
    }

    /// Relative to the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a file that was to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It lies there now.
    Moved,
    /// Nothing of that name was there.
    Absent,
    /// Another file lies there, and stays.
    Other(FileIdentity),
    /// Something that is no regular file lies there (or is on the way), and stays.
    Irregular,
    /// Something lies already where it was to be moved to: both stay.
    Taken,
    /// Storage refused.
    Failed(StorageFault),
    /// Another file that came to lie there in that moment was moved, and could not be put back: it lies where the
    /// one that was meant was to go.
    Astray,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_below_the_quarantine_and_nowhere_else() {
        let path = "u/a/1".parse().unwrap();
        let aside = Aside::of(Uuid::from_u128(7), &path);
        assert_eq!(Aside::parse(aside.as_str()), Some(aside));
        for other in [
            "u/a/1",
            "runsync/quarantine/u/a/1",
            "runsync/quarantine/00000000-0000-0000-0000-000000000007/../../manifests/a",
        ] {
            assert_eq!(Aside::parse(other), None, "{other}");
        }
    }
}
