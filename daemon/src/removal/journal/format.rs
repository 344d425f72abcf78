//! The lines of a journal, formats 1 and 2.
//!
//! Format 2 says that Rucio deletes. It has a number of its own so that a version which does not know
//! that leaves the journal alone, instead of unlinking what Rucio has.

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Sha256};
use runsync_manifest::name::{
    ArtifactPath, DatasetId, RepositoryId, RseName, RunKey, Scope, SiteName,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::datastore::journals::JOURNAL_SUFFIX;
use crate::file_identity::FileIdentity;
use crate::registry::removal::Operation;
use crate::removal::request::Requester;

/// The newest format that this version writes and reads.
pub(super) const FORMAT: u64 = 2;
/// The format of a journal whose artifacts runsync unlinks.
const BY_RUNSYNC: u64 = 1;

/// What a journal begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The removal's UUID.
    pub removal: Uuid,
    /// What was asked for.
    pub operation: Operation,
    /// Who asked.
    #[serde(flatten)]
    pub requester: Requester,
    /// The machine on which it was begun.
    pub host: String,
    /// The site.
    pub site: SiteName,
    /// The site's repository.
    pub repository: RepositoryId,
    /// The registry that knows whether it was committed.
    pub registry: Uuid,
    /// The root, as configuration calls it.
    pub root: RootName,
    /// When it was begun.
    pub created_at: Timestamp,
    /// The runs that are removed.
    pub runs: Vec<RunKey>,
    /// Where Rucio has these artifacts, if it is Rucio that deletes them; none: runsync does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rucio: Option<InRucio>,
}

impl Header {
    /// The format of a journal that begins with it.
    pub(super) const fn format(&self) -> u64 {
        if self.rucio.is_some() {
            FORMAT
        } else {
            BY_RUNSYNC
        }
    }
}

/// Where Rucio has artifacts: each is a file named after its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InRucio {
    /// The RSE.
    pub rse: RseName,
    /// The scopes that they may be in.
    pub scopes: Vec<Scope>,
}

/// A file to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where it lies.
    pub path: ArtifactPath,
    /// Its size as its manifest says, in bytes.
    pub size: u64,
    /// Its Adler-32 as its manifest says.
    pub adler32: Adler32,
    /// The file that was there; none: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<FileIdentity>,
    /// Whether it has not been seen here yet: it may still arrive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaited: bool,
    /// The datasets that it holds, with component.
    pub datasets: Vec<(DatasetId, String)>,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Journal {
        /// The format.
        format: u64,
        /// The rest of it.
        #[serde(flatten)]
        header: Box<Header>,
    },
    /// One of many, by path.
    Artifact(Artifact),
    /// The last that is written before the commit.
    End {
        /// How many artifacts there are.
        artifacts: u64,
        /// SHA-256 of all bytes before this line.
        sha256: Sha256,
    },
    /// The removal was committed.
    Committed {
        /// When that was known.
        at: Timestamp,
    },
}

/// The name of a removal's journals: when it was begun, and its UUID.
pub fn name_of(removal: Uuid, created_at: Timestamp) -> String {
    let time = created_at.strftime("%Y%m%dT%H%M%SZ");
    format!("{time}-{}{JOURNAL_SUFFIX}", removal.simple())
}
