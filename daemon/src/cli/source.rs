//! Where a command's answers come from: the running daemon, or registry and ledger themselves.
//!
//! Commands ask the daemon, over its socket: it knows who asks and what that account may do.
//! `--direct` goes past it, for a site whose daemon does not run; it takes whoever may open the
//! site's files.

use std::io;

use runsync_config::site::Site;
use runsync_manifest::name::{CollectionName, DatasetId, DatasetTypeName, RunKey};
use serde::de::DeserializeOwned;

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::http::{Client, ClientError, Lines, SetAside, Status, exists, path, status};
use crate::ingest::quarantine;
use crate::jobs::{self, JobStatus};
use crate::ledger::record::{Hint, HintKind, ManifestRow, Publication, RequestRow};
use crate::registry::RegistryError;
use crate::registry::collection::{Collection, CollectionError, CollectionRow};
use crate::registry::record::{DatasetRow, RecordRow, RunRow};

/// Rows read at once.
const PAGE: usize = 10_000;

/// Bytes of a UUID in a request, on a line or in JSON, with its share of what is around all of them.
const UUID_BYTES: u64 = 48;
/// UUIDs that are asked for at once, at most.
pub(crate) const BATCH: usize = 10_000;

/// Is given page after page.
type EachPage<'e, T> = dyn FnMut(Vec<T>) -> Result<(), Failure> + 'e;

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
    Daemon {
        /// The way to it.
        client: Client,
        /// The site.
        site: &'c Site,
    },
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
            let readers = Readers::for_a_command(site)?;
            return Ok(Source::Direct { readers, site });
        }
        let client = Client::connect(&site.http.socket)?;
        Ok(Source::Daemon { client, site })
    }
}

impl Way {
    /// The daemon, where one runs and is not to be gone past.
    pub(crate) fn daemon(self, context: &Context) -> Result<Option<Client>, Failure> {
        let socket = &context.site()?.http.socket;
        match Client::connect(socket) {
            _ if self.direct => Ok(None),
            Err(ClientError::Unreachable { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            connected => Ok(Some(connected?)),
        }
    }
}

impl Source<'_> {
    /// All jobs that are done by schedule.
    pub(crate) fn jobs(&self) -> Result<Vec<JobStatus>, Failure> {
        match self {
            Self::Daemon { client, .. } => all(client.lines("/v1/schedule", &[])?),
            Self::Direct { readers, site } => {
                let now = SystemClock.now();
                Ok(jobs::statuses(site, &*readers.ledger, now)?)
            }
        }
    }

    /// What `status` shows.
    pub(crate) fn status(&self) -> Result<Status, Failure> {
        match self {
            Self::Daemon { client, .. } => Ok(client.get("/v1/status", &[])?),
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
            Self::Daemon { client, site } => {
                for batch in datasets.chunks(batch(site)) {
                    let asked: Vec<String> = batch.iter().map(ToString::to_string).collect();
                    let mut lines = client.post_text("/v1/exists", &asked.join("\n"))?;
                    while let Some(line) = lines.next_bytes()? {
                        output.bytes(line)?;
                        output.bytes(b"\n")?;
                    }
                }
            }
            Self::Direct { readers, site } => {
                let registry = &*readers.registry;
                let lines = exists::answer(datasets, true, site, registry, exists::threads())?;
                output.bytes(&lines)?;
            }
        }
        Ok(())
    }

    /// Runs whose name is `prefix` or lies below it, by name.
    pub(crate) fn runs(&self, prefix: Option<&str>) -> Result<Vec<RunRow>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let query: Vec<_> = prefix
                    .map(|prefix| ("prefix", prefix))
                    .into_iter()
                    .collect();
                all(client.lines("/v1/runs", &query)?)
            }
            Self::Direct { readers, .. } => Ok(readers.registry.runs(prefix)?),
        }
    }

    /// Runs and collections whose name is `prefix` or lies below it, by name; hidden ones for `all`.
    pub(crate) fn collections(
        &self,
        prefix: Option<&str>,
        all: bool,
    ) -> Result<Vec<CollectionRow>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let mut query = vec![("all", if all { "true" } else { "false" })];
                query.extend(prefix.map(|prefix| ("prefix", prefix)));
                self::all(client.lines("/v1/collections", &query)?)
            }
            Self::Direct { readers, .. } => {
                let registry = &readers.registry;
                Ok(registry.collections_after(prefix, all, None, usize::MAX)?)
            }
        }
    }

    /// One of them.
    pub(crate) fn collection(&self, name: &CollectionName) -> Result<Collection, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let at = path(&["v1", "collections", name.as_str()]);
                Ok(client.get(&at, &[])?)
            }
            Self::Direct { readers, .. } => {
                let missing = || CollectionError::Missing { name: name.clone() };
                let found = readers.registry.collection(name)?;
                Ok(found.ok_or_else(|| RegistryError::from(missing()))?)
            }
        }
    }

    /// The datasets of a run, of one dataset type or all, by UUID.
    pub(crate) fn datasets(
        &self,
        run: &RunKey,
        dataset_type: Option<&DatasetTypeName>,
        each: &mut EachPage<'_, DatasetRow>,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let query = dataset_type.map(|name| ("dataset_type", name.as_str()));
                let query: Vec<_> = query.into_iter().collect();
                let origin = run.origin.to_string();
                let at = path(&["v1", "runs", &origin, run.name.as_str(), "datasets"]);
                pages(client.lines(&at, &query)?, each)
            }
            Self::Direct { readers, .. } => {
                let mut after = None;
                loop {
                    let page = readers.registry.datasets(run, dataset_type, after, PAGE)?;
                    let last = page.last().map(|row| row.uuid);
                    each(page)?;
                    if last.is_none() {
                        return Ok(());
                    }
                    after = last;
                }
            }
        }
    }

    /// The datastore records of a run and what it waits for (only that for `waiting`), by UUID.
    pub(crate) fn records(
        &self,
        run: &RunKey,
        waiting: bool,
        each: &mut EachPage<'_, RecordRow>,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let query: &[_] = if waiting { &[("waiting", "true")] } else { &[] };
                let origin = run.origin.to_string();
                let at = path(&["v1", "runs", &origin, run.name.as_str(), "records"]);
                pages(client.lines(&at, query)?, each)
            }
            Self::Direct { readers, .. } => {
                let mut after = None;
                loop {
                    let mut page = readers.registry.records(run, after, PAGE)?;
                    let last = page.last().map(|row| row.uuid);
                    page.retain(|record| !(waiting && record.confirmed));
                    each(page)?;
                    if last.is_none() {
                        return Ok(());
                    }
                    after = last;
                }
            }
        }
    }

    /// Manifests in quarantine.
    pub(crate) fn quarantined(&self) -> Result<Vec<ManifestRow>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                all(client.lines("/v1/manifests", &[("state", "quarantined")])?)
            }
            Self::Direct { readers, .. } => Ok(quarantine::list(&*readers.ledger)?),
        }
    }

    /// The newest requests of operators, newest first.
    pub(crate) fn requests(&self, limit: usize) -> Result<Vec<RequestRow>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                all(client.lines("/v1/requests", &[("limit", &limit.to_string())])?)
            }
            Self::Direct { readers, .. } => Ok(readers.ledger.requests(None, limit)?),
        }
    }

    /// The first `limit` hints, of one kind or all, in the order in which they were heard.
    pub(crate) fn hints(&self, kind: Option<HintKind>, limit: usize) -> Result<Vec<Hint>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let limit = limit.to_string();
                let mut query = vec![("limit", &*limit)];
                query.extend(kind.map(|kind| ("kind", kind.as_str())));
                all(client.lines("/v1/events/hints", &query)?)
            }
            Self::Direct { readers, .. } => Ok(readers.ledger.hints_after(kind, 0, limit)?),
        }
    }

    /// The newest messages that could not be read, newest first.
    pub(crate) fn poison(&self, limit: usize) -> Result<Vec<SetAside>, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                all(client.lines("/v1/events/poison", &[("limit", &limit.to_string())])?)
            }
            Self::Direct { readers, .. } => {
                let messages = readers.ledger.poison_before(None, limit)?;
                Ok(messages.into_iter().map(SetAside::from).collect())
            }
        }
    }

    /// One of them.
    pub(crate) fn one_poison(&self, id: u64) -> Result<SetAside, Failure> {
        match self {
            Self::Daemon { client, .. } => {
                let at = path(&["v1", "events", "poison", &id.to_string()]);
                Ok(client.get(&at, &[])?)
            }
            Self::Direct { readers, .. } => {
                let missing = || {
                    Failure::new(format!("there is no message {id}"))
                        .hint("take its number from `runsync events poison list`")
                };
                let found = readers.ledger.poison(id)?;
                Ok(found.ok_or_else(missing)?.into())
            }
        }
    }

    /// What is, and is to be, in Rucio.
    pub(crate) fn publications(&self) -> Result<Vec<Publication>, Failure> {
        match self {
            Self::Daemon { client, .. } => all(client.lines("/v1/publications", &[])?),
            Self::Direct { readers, .. } => {
                Ok(readers.ledger.publications_after(None, usize::MAX)?)
            }
        }
    }
}

/// UUIDs that the daemon takes in one request.
pub(crate) fn batch(site: &Site) -> usize {
    let fit = site.http.body_bytes_max / UUID_BYTES;
    usize::try_from(fit).map_or(BATCH, |fit| fit.clamp(1, BATCH))
}

pub(crate) fn all<T: DeserializeOwned>(mut lines: Lines) -> Result<Vec<T>, Failure> {
    let mut rows = Vec::new();
    while let Some(row) = lines.next()? {
        rows.push(row);
    }
    Ok(rows)
}

fn pages<T: DeserializeOwned>(mut lines: Lines, each: &mut EachPage<'_, T>) -> Result<(), Failure> {
    let mut page = Vec::new();
    while let Some(row) = lines.next()? {
        page.push(row);
        if page.len() == PAGE {
            each(std::mem::take(&mut page))?;
        }
    }
    each(page)
}
