//! What `init` tells at its end.

use std::fmt;
use std::path::{Path, PathBuf};

use runsync_config::key_file::PublicKeyFile;
use runsync_config::site::Site;
use runsync_manifest::name::{RepositoryId, SiteName};
use runsync_manifest::signature::KeyId;
use serde::Serialize;

use super::public_key_path;

/// What the command found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Nothing was there; all was made.
    Made,
    /// An earlier `init` had been cut short; the rest was made.
    Finished,
    /// All was there; nothing was made.
    Whole,
}

/// The site as it stands now.
#[derive(Debug, Serialize)]
pub(super) struct Made<'s> {
    state: State,
    site: &'s SiteName,
    repository: RepositoryId,
    key_id: KeyId,
    roots: Vec<&'s Path>,
    config_file: &'s Path,
    signing_key_file: &'s Path,
    public_key_file: PathBuf,
    state_directory: &'s Path,
}

impl<'s> Made<'s> {
    pub(super) fn new(site: &'s Site, key: &PublicKeyFile, state: State) -> Self {
        Self {
            state,
            site: &site.name,
            repository: key.repository,
            key_id: key.key_id(),
            roots: site
                .roots
                .iter()
                .map(|root| root.directory.as_path())
                .collect(),
            config_file: &site.config_file,
            signing_key_file: &site.signing_key_file,
            public_key_file: public_key_path(site),
            state_directory: &site.state_directory,
        }
    }
}

impl fmt::Display for Made<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = self.site;
        match self.state {
            State::Made => writeln!(f, "made the site {site}")?,
            State::Finished => writeln!(f, "finished the site {site}, cut short earlier")?,
            State::Whole => writeln!(f, "the site {site} is whole already: nothing was made")?,
        }
        writeln!(f, "  repository     {}", self.repository)?;
        for root in &self.roots {
            writeln!(f, "  root           {}", root.display())?;
        }
        writeln!(f, "  configuration  {}", self.config_file.display())?;
        writeln!(f, "  signing key    {}", self.signing_key_file.display())?;
        writeln!(f, "  public key     {}", self.public_key_file.display())?;
        writeln!(f, "  state          {}", self.state_directory.display())?;
        let runsync = format!("runsync --config {}", self.config_file.display());
        writeln!(f, "\nnext:")?;
        writeln!(f, "  {runsync} config check")?;
        writeln!(
            f,
            "  send {} to the other sites, for `runsync keys trust`",
            self.public_key_file.display()
        )?;
        write!(f, "  {runsync} daemon")
    }
}
