//! The folder of public keys that the operator trusts: one file `<key id>.json` for each.
//!
//! A file is what a site's `runsync keys show` prints. Revoking a key adds `"revoked": true`; the
//! file stays, so that a key once revoked cannot be taken for one that was never known.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::key_file::PublicKeyFile;
use crate::peer::Peer;
use crate::problem::{KeyPath, Reason};
use crate::raw::Document;

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
    /// It is not called after its key.
    #[error("{} should be called `{expected}`", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name that its key has.
        expected: String,
    },
}

/// Reads one public key file, wherever it lies.
pub fn read_key(path: &Path) -> Result<PublicKeyFile, TrustError> {
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
pub fn read_folder(folder: &Path) -> Vec<Result<PublicKeyFile, TrustError>> {
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

fn read_named(path: &Path) -> Result<PublicKeyFile, TrustError> {
    let key = read_key(path)?;
    let expected = PublicKeyFile::name(key.key_id());
    if path.file_name() == Some(OsStr::new(&expected)) {
        Ok(key)
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
        let key = match trusted {
            Ok(key) => key,
            Err(error) => {
                report(Reason::new(format!("is refused: {}", chain(&error))).hint(hint(&error)));
                continue;
            }
        };
        let mut peers = peers.iter_mut().flatten();
        let Some(peer) = peers.find(|peer| peer.origin == key.repository) else {
            continue;
        };
        if key.revoked {
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

#[cfg(test)]
mod tests {
    use runsync_manifest::signature::SigningKey;

    use super::*;
    use crate::load::parse;

    const ORIGIN: &str = "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11";
    const SITE: &str = "site = { name = 'A', trusted_keys_directory = '.' }
        root = [{ name = 'main', url = 'file:///data' }]
        [[peer]]
        site = 'B'
        origin = '7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11'
        run_prefixes = ['u/b']";

    fn key(seed: u8, origin: &str, revoked: bool) -> PublicKeyFile {
        PublicKeyFile {
            site: "B".parse().unwrap(),
            repository: origin.parse().unwrap(),
            public_key: SigningKey::from_seed(&[seed; 32]).public(),
            revoked,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test file needs no durability")]
    fn put(folder: &Path, name: &str, key: &PublicKeyFile) {
        fs::write(folder.join(name), serde_json::to_vec(key).unwrap()).unwrap();
    }

    #[test]
    fn keys_go_to_the_peer_whose_origin_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let (trusted, revoked) = (key(1, ORIGIN, false), key(2, ORIGIN, true));
        let stranger = key(3, "0e6ad1a6-54a4-4d55-b0a6-b8a2e3a2f0c4", false);
        for key in [&trusted, &revoked, &stranger] {
            put(folder.path(), &PublicKeyFile::name(key.key_id()), key);
        }
        put(folder.path(), "README.txt", &trusted);
        let site = parse(&folder.path().join("site.toml"), SITE).unwrap();
        let peer = site.peers.first().unwrap();
        assert_eq!(peer.keys, [trusted.public_key]);
        assert_eq!(peer.revoked_keys, [revoked.public_key]);
    }

    #[test]
    fn a_misnamed_file_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "b.json", &key(1, ORIGIN, false));
        let problems = parse(&folder.path().join("site.toml"), SITE).unwrap_err();
        let problem = problems.first().unwrap();
        assert_eq!(problem.key.to_string(), "site.trusted_keys_directory");
        assert!(problem.reason.contains("should be called"), "{problem}");
    }

    #[test]
    fn a_missing_folder_holds_no_keys() {
        assert!(read_folder(Path::new("/nonexistent")).is_empty());
    }
}
