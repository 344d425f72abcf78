//! Where a command's answers come from: the running daemon, or registry and ledger themselves.
//!
//! Commands ask the daemon, over its socket: it knows who asks and what that account may do.
//! `--direct` goes past it, for a site whose daemon does not run; it takes whoever may open the
//! site's files.

use runsync_config::site::Site;
use runsync_manifest::name::DatasetId;

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::http::client::Client;
use crate::http::exists;
use crate::http::status::{self, Status};

/// Whether to go past the daemon.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Way {
    /// Open registry and ledger instead of asking the daemon, which need not run
    #[arg(long)]
    pub(crate) direct: bool,
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Source<'c> {
    /// The daemon.
    Daemon(Client),
    /// This process.
    Direct {
        /// Registry and ledger.
        readers: Readers,
        /// The site.
        site: &'c Site,
    },
}

impl Way {
    /// Finds whoever answers.
    pub(crate) fn open(self, context: &Context) -> Result<Source<'_>, Failure> {
        let site = context.site()?;
        if self.direct {
            let readers = Readers::open(site)?;
            return Ok(Source::Direct { readers, site });
        }
        Ok(Source::Daemon(Client::connect(&site.http.socket)?))
    }
}

impl Source<'_> {
    /// What `status` shows.
    pub(crate) fn status(&self) -> Result<Status, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get("/v1/status", &[])?),
            Self::Direct { readers, site } => {
                Ok(status::collect(site, readers, SystemClock.now())?)
            }
        }
    }

    /// Prints a line for each dataset, in the order asked.
    pub(crate) fn exists(
        &self,
        datasets: &[DatasetId],
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon(client) => {
                let asked: String = datasets.iter().map(|uuid| format!("{uuid}\n")).collect();
                let mut lines = client.post_text("/v1/exists", &asked)?;
                while let Some(line) = lines.next_bytes()? {
                    output.bytes(line)?;
                    output.bytes(b"\n")?;
                }
            }
            Self::Direct { readers, site } => {
                let mut lines = Vec::new();
                exists::answer(datasets, true, site, &*readers.registry, &mut lines)?;
                output.bytes(&lines)?;
            }
        }
        Ok(())
    }
}
