//! The steps of `init`, each done without clobbering and found done when it is repeated.

use std::path::Path;

use runsync_config::example::NewSite;
use runsync_config::key_file::PublicKeyFile;
use runsync_config::site::Site;
use runsync_manifest::signature::SigningKey;

use super::intent::Intent;
use super::owner::Owner;
use super::public_key_path;
use crate::assembly;
use crate::cli::failure::{Failure, Hint};
use crate::cli::identity;
use crate::datastore::RepositoryFile;
use crate::datastore::journals::JOURNAL_FOLDER;
use crate::datastore::repository_file::FORMAT;
use crate::durable::{self, WriteError};

/// For the owner alone.
const SECRET_FILE: u32 = 0o600;
/// For the owner alone.
const SECRET_FOLDER: u32 = 0o700;
/// For everybody to read.
const OPEN_FILE: u32 = 0o644;
/// For everybody to read.
const OPEN_FOLDER: u32 = 0o755;

/// Makes what the intent says, whatever of it is there already: keys, state (registry and ledger),
/// the folders of manifests and journals, configuration, and last the binding of the root.
pub(super) fn make(
    intent: &Intent,
    new: &NewSite,
    site: &Site,
    owner: Option<Owner>,
) -> Result<(), Failure> {
    make_keys(intent, site)?;
    durable::create_folder(&site.trusted_keys_directory, OPEN_FOLDER)?;
    durable::create_folder(&site.state_directory, SECRET_FOLDER)?;
    assembly::create(site, intent.registry)?;
    let manifests = new.root.join("runsync/manifests");
    let journals = new.root.join(JOURNAL_FOLDER);
    for folder in [&manifests, &journals] {
        durable::create_folder(folder, OPEN_FOLDER)?;
    }
    create(&site.config_file, new.to_toml().as_bytes(), OPEN_FILE)?;
    if let Some(owner) = owner {
        owner.give_all(keys_folder(site))?;
        owner.give_all(&site.state_directory)?;
        owner.give(&new.root.join("runsync"))?;
        owner.give(&manifests)?;
        owner.give(&journals)?;
    }
    bind_root(intent, new, owner)?;
    Intent::end(site)
}

fn keys_folder(site: &Site) -> &Path {
    site.signing_key_file.parent().unwrap_or(Path::new("/"))
}

/// The key pair. A signing key that is there is this site's: the intent was written before it.
fn make_keys(intent: &Intent, site: &Site) -> Result<(), Failure> {
    let file = &site.signing_key_file;
    durable::create_folder(keys_folder(site), SECRET_FOLDER)?;
    create(file, new_key()?.as_bytes(), SECRET_FILE)?;
    let public = PublicKeyFile {
        site: site.name.clone(),
        repository: intent.repository,
        public_key: identity::signing_key(file)?.public(),
        revoked: false,
    };
    create(&public_key_path(site), &pretty(&public)?, OPEN_FILE)
}

fn new_key() -> Result<String, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).while_doing("cannot get random bytes for a signing key")?;
    SigningKey::from_seed(&seed).to_pem().map_err(Failure::from)
}

/// Binds the root to the repository: the last thing made.
fn bind_root(intent: &Intent, new: &NewSite, owner: Option<Owner>) -> Result<(), Failure> {
    let file = RepositoryFile {
        format: FORMAT,
        repository: intent.repository,
        site: new.name.clone(),
        registry: intent.registry,
        journal_directory: None,
    };
    let path = identity::repository_path(&new.root);
    create(&path, &pretty(&file)?, OPEN_FILE)?;
    if identity::repository(&new.root)? != file {
        let message = format!(
            "cannot bind the root: {} names another repository",
            path.display()
        );
        return Err(Failure::new(message).hint("choose another root"));
    }
    owner.map_or(Ok(()), |owner| owner.give(&path))
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    match durable::create_new(path, bytes, mode) {
        Ok(()) | Err(WriteError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}
