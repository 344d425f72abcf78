//! Who this site is: the repository that its roots belong to, and the key that it signs with.

use std::fs;
use std::path::{Path, PathBuf};

use runsync_config::key_file::PublicKeyFile;
use runsync_config::secret;
use runsync_config::site::Site;
use runsync_manifest::signature::SigningKey;

use crate::cli::failure::{Failure, Hint};
use crate::datastore::RepositoryFile;

/// The format of `repository.json` that this version knows.
pub(crate) const FORMAT: u32 = 1;

/// Where a root says whom it belongs to.
pub(crate) fn repository_path(root: &Path) -> PathBuf {
    root.join("runsync/repository.json")
}

/// Reads whom a root belongs to.
pub(crate) fn repository(root: &Path) -> Result<RepositoryFile, Failure> {
    let path = repository_path(root);
    let reading = || format!("cannot read {}", path.display());
    let text = fs::read(&path)
        .while_doing(reading())
        .hint("a root is prepared by `runsync init`; check also that its file system is mounted")?;
    let file: RepositoryFile = serde_json::from_slice(&text).while_doing(reading())?;
    if file.format == FORMAT {
        Ok(file)
    } else {
        let (path, format) = (path.display(), file.format);
        let message = format!("cannot use {path}: its format is {format}, not {FORMAT}");
        Err(Failure::new(message).hint("a newer runsync made it: use that one"))
    }
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
