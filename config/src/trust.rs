//! The folder of public keys that the operator trusts: one file `<key id>.json` for each.
//!
//! A file is what a site's `runsync keys show` prints. Revoking a key adds `"revoked": true`; the
//! file stays, so that a key once revoked cannot be taken for one that was never known.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use runsync_manifest::signature::{KeyId, PublicKeyFile};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::peer::Peer;
use crate::problem::{KeyPath, Reason};
use crate::raw::Document;

/// A public key of another site, and whether it still counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// The key, and whose it is.
    #[serde(flatten)]
    pub key: PublicKeyFile,
    /// Whether the operator revoked it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// A folder or file of public keys that cannot be used.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not hold a public key.
    #[error("cannot take {} for a public key file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Its name, its `key_id` and its key do not belong together.
    #[error("{} should be called `{expected}`", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name that its key has.
        expected: String,
    },
}

/// The name of a key's file in the folder.
pub fn file_name(key: KeyId) -> String {
    format!("{key}.json")
}

/// Reads one public key file, wherever it lies.
pub fn read_key(path: &Path) -> Result<TrustedKey, TrustError> {
    let text = fs::read(path).map_err(|source| TrustError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| TrustError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// Reads the folder: every file that ends in `.json`, by key id. A missing folder is an empty one.
pub fn read_folder(folder: &Path) -> Vec<Result<TrustedKey, TrustError>> {
    let unreadable = |source| TrustError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(unreadable(error))],
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let is_key = |path: &PathBuf| path.extension() == Some(OsStr::new("json"));
    let mut paths: Vec<_> = match paths.collect::<io::Result<Vec<_>>>() {
        Ok(paths) => paths.into_iter().filter(is_key).collect(),
        Err(error) => return vec![Err(unreadable(error))],
    };
    paths.sort();
    paths.iter().map(|path| read_named(path)).collect()
}

fn read_named(path: &Path) -> Result<TrustedKey, TrustError> {
    let trusted = read_key(path)?;
    let expected = file_name(trusted.key.key_id);
    if path.file_name() == Some(OsStr::new(&expected)) {
        Ok(trusted)
    } else {
        let path = path.to_owned();
        Err(TrustError::Misnamed { path, expected })
    }
}

/// Gives each peer the keys whose repository it is. Keys of nobody here are left alone: a peer that
/// was taken out of the file must not keep the service from starting.
pub(crate) fn attach(document: &Document<'_>, folder: &Path, peers: &mut [Option<Peer>]) {
    let report = |reason: Reason| {
        document.report(KeyPath::of("site").key("trusted_keys_directory"), reason);
    };
    for trusted in read_folder(folder) {
        let TrustedKey { key, revoked } = match trusted {
            Ok(trusted) => trusted,
            Err(error) => {
                report(Reason::new(format!("is refused: {}", chain(&error))).hint(hint(&error)));
                continue;
            }
        };
        let mut peers = peers.iter_mut().flatten();
        let Some(peer) = peers.find(|peer| peer.origin == key.repository) else {
            continue;
        };
        if revoked {
            peer.revoked_keys.push(key.public_key);
        } else {
            peer.keys.push(key.public_key);
        }
    }
}

fn hint(error: &TrustError) -> &'static str {
    match error {
        TrustError::Unreadable { .. } => "make it readable for the user that runs this",
        TrustError::Malformed { .. } | TrustError::Misnamed { .. } => {
            "move the file away and run `runsync keys trust FILE` with what the site sent"
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    let messages: Vec<_> = sources.map(ToString::to_string).collect();
    messages.join(": ")
}
