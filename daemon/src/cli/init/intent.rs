//! What an `init` is about to make, written down before anything is made.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use runsync_config::example::NewSite;
use runsync_config::root::ConfirmLevel;
use runsync_config::site::Site;
use runsync_manifest::name::{RepositoryId, SiteName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::public_key_path;
use crate::cli::failure::{Failure, Hint};
use crate::cli::identity;
use crate::durable;

/// What was decided; the random parts are decided once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    site: SiteName,
    root: PathBuf,
    confirm: ConfirmLevel,
    pub(super) repository: RepositoryId,
    pub(super) registry: Uuid,
}

/// What is there of the site that is asked for.
pub(super) enum Found {
    /// Nothing: all is to be made.
    Nothing,
    /// An `init` was cut short; this is what it was to make.
    CutShort(Intent),
    /// All of it; this is how it is configured.
    Whole(Box<Site>),
}

impl Intent {
    /// Looks for what an earlier `init` of the same site made, and refuses to touch another's.
    pub(super) fn find(new: &NewSite, site: &Site) -> Result<Found, Failure> {
        let path = path(&site.config_file);
        if let Some(intent) = read(&path)? {
            return intent.resume(new, &path);
        }
        if let Some(site) = whole_site(new, site) {
            return Ok(Found::Whole(Box::new(site)));
        }
        match in_the_way(new, site)? {
            None => Ok(Found::Nothing),
            Some(path) => {
                let (name, path) = (&new.name, path.display());
                let message = format!("cannot make the site {name}: {path} is there already");
                Err(Failure::new(message).hint(
                    "choose another root or, with `--config FILE`, another folder; \
                     or move what is there away",
                ))
            }
        }
    }

    /// Decides the random parts and writes everything down.
    pub(super) fn decide(new: &NewSite, site: &Site) -> Result<Self, Failure> {
        let intent = Self::new(new, RepositoryId(Uuid::new_v4()), Uuid::new_v4());
        let path = path(&site.config_file);
        if let Some(folder) = path.parent() {
            durable::create_folder(folder, 0o755)?;
        }
        // Of two who start at once, one gets here.
        durable::create_new(&path, &serde_json::to_vec(&intent)?, 0o600)
            .while_doing("cannot begin: another `runsync init` is at work")?;
        Ok(intent)
    }

    /// Forgets it: all is made.
    pub(super) fn end(site: &Site) -> Result<(), Failure> {
        Ok(durable::remove(&path(&site.config_file))?)
    }

    fn new(new: &NewSite, repository: RepositoryId, registry: Uuid) -> Self {
        Self {
            site: new.name.clone(),
            root: new.root.clone(),
            confirm: new.confirm,
            repository,
            registry,
        }
    }

    fn resume(self, new: &NewSite, path: &Path) -> Result<Found, Failure> {
        if self == Self::new(new, self.repository, self.registry) {
            return Ok(Found::CutShort(self));
        }
        let (site, root) = (&self.site, self.root.display());
        let message = format!(
            "cannot make the site {}: an `init` of {site} at {root} was cut short here",
            new.name
        );
        let finish = format!(
            "finish that one with the arguments it had, or remove {}",
            path.display()
        );
        Err(Failure::new(message).hint(finish))
    }
}

/// The site as it stands, if it is whole and the one asked for.
fn whole_site(new: &NewSite, site: &Site) -> Option<Site> {
    let loaded = runsync_config::load(&site.config_file).ok()?;
    let has_root = loaded.roots.iter().any(|root| root.directory == new.root);
    let file = identity::repository(&new.root).ok()?;
    let whole = has_root && loaded.name == new.name && file.site == new.name;
    whole.then_some(loaded)
}

/// Beside the configuration file that is to be made, as that is what an operator names.
fn path(config_file: &Path) -> PathBuf {
    let mut name = OsString::from(config_file);
    name.push(".init");
    name.into()
}

fn read(path: &Path) -> Result<Option<Intent>, Failure> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .while_doing(format!("cannot read {}", path.display()))
            .map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).while_doing(format!("cannot read {}", path.display())),
    }
}

/// The first thing that belongs to somebody else already.
fn in_the_way(new: &NewSite, site: &Site) -> Result<Option<PathBuf>, Failure> {
    for path in [
        identity::repository_path(&new.root),
        site.config_file.clone(),
        site.signing_key_file.clone(),
        public_key_path(site),
    ] {
        let there = path.try_exists();
        if there.while_doing(format!("cannot look at {}", path.display()))? {
            return Ok(Some(path));
        }
    }
    let state = &site.state_directory;
    let first = match fs::read_dir(state) {
        Ok(mut entries) => entries.next().transpose(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let first = first.while_doing(format!("cannot look into {}", state.display()))?;
    Ok(first.map(|entry| entry.path()))
}
