//! Peers: other sites' repositories, their keys and the runs they may own.

use runsync_manifest::name::{RepositoryId, RunPrefix, SiteName};
use runsync_manifest::signature::PublicKey;

/// A repository whose manifests are accepted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its site.
    pub site: SiteName,
    /// Its repository UUID: the origin of its runs.
    pub origin: RepositoryId,
    /// The run names it may own.
    pub run_prefixes: Vec<RunPrefix>,
    /// Its public keys that are trusted now.
    pub keys: Vec<PublicKey>,
    /// Its public keys that were revoked.
    pub revoked_keys: Vec<PublicKey>,
}
