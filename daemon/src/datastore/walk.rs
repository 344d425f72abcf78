//! Lists all that lies in a root, in the order in which records are read: for scans.
//!
//! A walk yields one sight after the other in the bytewise order of whole paths, as object stores list
//! their keys, and begins at any path: so it can be joined with records in one pass, and goes on where an
//! earlier one stopped. It never follows a link, and leaves out `runsync/` and other roots that lie in
//! this one, which it tells.
//!
//! What could not be listed whole is told as such, and nothing below it: whoever sees a part of a folder
//! must not conclude anything from what is missing in it.

use runsync_manifest::name::ArtifactPath;

use super::StorageFault;
use crate::file_identity::FileIdentity;

/// A regular file that a walk came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFile {
    /// Where it lies.
    pub path: ArtifactPath,
    /// Its state.
    pub identity: FileIdentity,
    /// When name, owner or content of it last changed, in nanoseconds since 1970 (UTC) by the clock of the
    /// store. Unlike the modification time it cannot be set: what was carried here just now is new,
    /// however old it says that it is.
    pub changed_ns: i64,
}

/// What a walk comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A regular file.
    File(SeenFile),
    /// Something else of that name: a link, a pipe, a device.
    Irregular(ArtifactPath),
    /// Something of that name that cannot be looked at.
    Unreadable(ArtifactPath, StorageFault),
    /// A name that no artifact can have, as far as it can be written.
    Unnameable(String),
    /// A folder that could not be listed whole: nothing below it is known. None: the root itself.
    Unlisted(Option<ArtifactPath>, StorageFault),
    /// A folder that is a root itself, another's: nothing below it is this one's.
    OtherRoot(ArtifactPath),
}

impl Sight {
    /// Where it stands among paths. None for a name that stands nowhere among them.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::File(file) => Some(file.path.to_string()),
            Self::Irregular(path) | Self::Unreadable(path, _) => Some(path.to_string()),
            Self::Unlisted(Some(folder), _) | Self::OtherRoot(folder) => Some(format!("{folder}/")),
            Self::Unlisted(None, _) => Some(String::new()),
            Self::Unnameable(_) => None,
        }
    }
}

/// A walk through a root.
pub trait Walk: Send {
    /// The next sight; none at the end.
    fn next(&mut self) -> Option<Sight>;

    /// Calls to storage so far.
    fn calls(&self) -> u64;
}
