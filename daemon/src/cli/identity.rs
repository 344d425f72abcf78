//! Who this site is: the repository that its roots belong to, and the key that it signs with.

use std::path::{Path, PathBuf};

use runsync_config::key_file::PublicKeyFile;
use runsync_config::secret;
use runsync_config::site::Site;
use runsync_manifest::signature::SigningKey;

use crate::cli::failure::{Failure, Hint};
use crate::datastore::repository_file::REPOSITORY_FILE;
use crate::datastore::{Datastore, DatastoreError, LocalRoot, RepositoryFile};

/// Where a root says whom it belongs to.
pub(crate) fn repository_path(root: &Path) -> PathBuf {
    root.join(REPOSITORY_FILE)
}

/// Reads whom a root belongs to.
pub(crate) fn repository(root: &Path) -> Result<RepositoryFile, DatastoreError> {
    Ok(LocalRoot::open(root)?.repository().clone())
}

/// Reads a signing key.
pub(crate) fn signing_key(file: &Path) -> Result<SigningKey, Failure> {
    let secret = secret::read(file).map_err(|error| {
        let hint = error.hint();
        Failure::from(error).hint(hint)
    })?;
    let key = SigningKey::from_pem(secret.expose());
    key.while_doing(format!("cannot use {}", file.display()))
        .hint("it must hold one Ed25519 key in PKCS#8 PEM, as `runsync init` makes it")
}

/// What other sites need to trust this one.
pub(crate) fn public_key_file(site: &Site) -> Result<PublicKeyFile, Failure> {
    let root = site.roots.first();
    let root = root.ok_or_else(|| Failure::new("cannot tell the repository: there is no root"))?;
    let repository = repository(&root.directory)?.repository;
    let public_key = signing_key(&site.signing_key_file)?.public();
    Ok(PublicKeyFile {
        site: site.name.clone(),
        repository,
        public_key,
        revoked: false,
    })
}
