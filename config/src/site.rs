//! The validated configuration of one site.

use std::path::PathBuf;

use runsync_manifest::limits::Limits;
use runsync_manifest::name::{RunPrefix, SiteName};

use crate::log::Log;
use crate::peer::Peer;
use crate::registry::RegistryBackend;
use crate::root::Root;

/// Everything that configuration says, checked.
#[derive(Debug, Clone)]
pub struct Site {
    /// The site's name.
    pub name: SiteName,
    /// Run names that this site's own repository owns; empty: all that no peer owns.
    pub run_prefixes: Vec<RunPrefix>,
    /// Where the service keeps its own state: ledger, embedded registry, scratch files.
    pub state_directory: PathBuf,
    /// PKCS#8 PEM file of the key that signs this site's manifests.
    pub signing_key_file: PathBuf,
    /// Folder of the public keys that `keys trust` accepted.
    pub trusted_keys_directory: PathBuf,
    /// Datastore roots, at least one; names and folders differ.
    pub roots: Vec<Root>,
    /// Other repositories.
    pub peers: Vec<Peer>,
    /// Which registry.
    pub registry: RegistryBackend,
    /// Limits for reading manifests.
    pub limits: Limits,
    /// How the service logs.
    pub log: Log,
}
