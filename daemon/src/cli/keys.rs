//! `keys`: the key that we sign with, and those that we trust.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use runsync_config::key_file::PublicKeyFile;
use runsync_config::site::Site;
use runsync_config::trust;
use runsync_manifest::name::{RepositoryId, SiteName};
use runsync_manifest::signature::KeyId;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::identity;
use crate::cli::output::Row;
use crate::durable::{self, WriteError};

/// Public keys are for everybody to read.
const KEY_FILE_MODE: u32 = 0o644;

/// Show our public key; trust and revoke those of other sites
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print our public key file, ready to be sent to other sites
    Show,
    /// List the keys of other sites
    List,
    /// Trust the key in a file that another site sent
    Trust {
        /// What `runsync keys show` printed there
        file: PathBuf,
    },
    /// Trust a key no more, for good: manifests that it signed are `untrusted` from the next reload
    /// on, and it cannot be trusted again
    Revoke {
        /// The key's id, as `runsync keys list` shows it
        key_id: KeyId,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    match &args.command {
        Command::Show => show(site, context)?,
        Command::List => context.output().rows(list(site)?)?,
        Command::Trust { file } => context.output().value(&trust(site, file)?)?,
        Command::Revoke { key_id } => context.output().value(&revoke(site, *key_id)?)?,
    }
    Ok(Outcome::Done)
}

fn show(site: &Site, context: &Context) -> Result<(), Failure> {
    let file = identity::public_key_file(site)?;
    let mut text = serde_json::to_vec_pretty(&file)?;
    text.push(b'\n');
    // The file is JSON whether or not `--json` was given.
    Ok(context.output().raw(&text)?)
}

/// A key in a list.
#[derive(Debug, Serialize)]
struct Listed {
    key_id: KeyId,
    site: SiteName,
    origin: RepositoryId,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Trusted,
    Revoked,
    /// No peer has its repository: it counts for nothing.
    Ignored,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Revoked => "revoked",
            Self::Ignored => "ignored",
        }
    }
}

impl Row for Listed {
    const HEADER: &'static [&'static str] = &["key id", "site", "origin", "state"];

    fn cells(&self) -> Vec<String> {
        let (key_id, site, origin) = (&self.key_id, &self.site, &self.origin);
        let state = self.state.as_str().to_owned();
        vec![
            key_id.to_string(),
            site.to_string(),
            origin.to_string(),
            state,
        ]
    }
}

fn list(site: &Site) -> Result<Vec<Listed>, Failure> {
    let keys = trust::read_folder(&site.trusted_keys_directory).into_iter();
    let listed = keys.map(|trusted| {
        let key = trusted?;
        let state = match (key.revoked, site.peer(key.repository)) {
            (true, _) => State::Revoked,
            (false, Some(_)) => State::Trusted,
            (false, None) => State::Ignored,
        };
        let (key_id, site, origin) = (key.key_id(), key.site, key.repository);
        Ok(Listed {
            key_id,
            site,
            origin,
            state,
        })
    });
    listed.collect()
}

/// A key as it stands now, and whether it stood so already.
#[derive(Debug, Serialize)]
struct Changed {
    key_id: KeyId,
    site: SiteName,
    origin: RepositoryId,
    state: State,
    already: bool,
}

impl Changed {
    fn new(key: &PublicKeyFile, state: State, already: bool) -> Self {
        let (key_id, site, origin) = (key.key_id(), key.site.clone(), key.repository);
        Self {
            key_id,
            site,
            origin,
            state,
            already,
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, site, state) = (&self.key_id, &self.site, self.state.as_str());
        if self.already {
            return write!(f, "key {key} of {site} is {state} already");
        }
        write!(
            f,
            "key {key} of {site} is {state} now\n\
            next: `systemctl reload runsync`, or SIGHUP to the daemon"
        )
    }
}

fn trust(site: &Site, file: &Path) -> Result<Changed, Failure> {
    let trusted = trust::read_key(file)
        .hint("the file must be what `runsync keys show` prints at the other site")?;
    check_peer(site, &trusted)?;
    if trusted.revoked {
        let message = format!(
            "cannot trust {}: it says that the key is revoked",
            file.display()
        );
        return Err(Failure::new(message).hint("ask its site for its current `runsync keys show`"));
    }
    let path = site
        .trusted_keys_directory
        .join(PublicKeyFile::name(trusted.key_id()));
    durable::create_folder(&site.trusted_keys_directory, 0o755)?;
    match durable::create_new(&path, &text(&trusted)?, KEY_FILE_MODE) {
        Ok(()) => Ok(Changed::new(&trusted, State::Trusted, false)),
        Err(WriteError::Exists { .. }) => unchanged(&trusted, &path),
        Err(error) => Err(error.into()),
    }
}

/// The key is there already: trusted, or else it stays revoked.
fn unchanged(trusted: &PublicKeyFile, path: &Path) -> Result<Changed, Failure> {
    if trust::read_key(path)?.revoked {
        let message = format!("cannot trust key {}: it was revoked here", trusted.key_id());
        let hint = "let its site make another key; a revoked one is not taken back";
        return Err(Failure::new(message).hint(hint));
    }
    Ok(Changed::new(trusted, State::Trusted, true))
}

fn check_peer(site: &Site, trusted: &PublicKeyFile) -> Result<(), Failure> {
    let (name, origin) = (&trusted.site, trusted.repository);
    if is_ours(site, origin) {
        return Err(Failure::new(
            "cannot trust our own key: it is the other sites that must",
        ));
    }
    let Some(peer) = site.peer(origin) else {
        let message = format!("cannot trust a key of {name}: no peer has the origin {origin}");
        let block = format!(
            "[[peer]]\nsite = \"{name}\"\norigin = \"{origin}\"\n\
             run_prefixes = []  # how the names of its runs begin"
        );
        let file = site.config_file.display();
        return Err(Failure::new(message).hint(format!("add to {file}:\n\n{block}\n")));
    };
    if peer.site == *name {
        Ok(())
    } else {
        let configured = &peer.site;
        let message =
            format!("cannot trust a key of {name}: its origin {origin} is the peer {configured}");
        Err(Failure::new(message)
            .hint("make sure whose key it is, then correct `site` of the peer"))
    }
}

/// Whether a repository is the one of this site's roots. Where that cannot be read, `config check`
/// tells.
fn is_ours(site: &Site, repository: RepositoryId) -> bool {
    let mut own = site
        .roots
        .iter()
        .filter_map(|root| identity::repository(&root.directory).ok());
    own.any(|own| own.repository == repository)
}

fn revoke(site: &Site, key_id: KeyId) -> Result<Changed, Failure> {
    let path = site
        .trusted_keys_directory
        .join(PublicKeyFile::name(key_id));
    let trusted = trust::read_key(&path)
        .while_doing(format!("cannot revoke key {key_id}"))
        .hint("`runsync keys list` shows the keys that are known")?;
    if trusted.revoked {
        return Ok(Changed::new(&trusted, State::Revoked, true));
    }
    let trusted = PublicKeyFile {
        revoked: true,
        ..trusted
    };
    durable::replace(&path, &text(&trusted)?, KEY_FILE_MODE)?;
    Ok(Changed::new(&trusted, State::Revoked, false))
}

fn text(trusted: &PublicKeyFile) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(trusted)?;
    text.push(b'\n');
    Ok(text)
}
