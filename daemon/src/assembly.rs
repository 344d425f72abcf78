//! Puts the parts together: the one module that knows every concrete type.
//!
//! [`Readers`] is what answers questions: registry and ledger, opened for reading, and no root.
//! [`Assembly`] is what works: it also opens the roots and checks that they are bound to this
//! registry. It is opened under a tenure of the site's lease, which [`take`] and [`claim`] come by.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use runsync_config::jobs::{JobKind, JobName, Missed, Scheduled};
use runsync_config::registry::RegistryBackend;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use runsync_config::trust;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::{PublicKey, SigningKey};
use rustix::system::uname;
use tracing::warn;
use uuid::Uuid;

use crate::adopt::{self, Adopting};
use crate::clock::{Clock, SystemUptime};
use crate::datastore::{Datastore, DatastoreError, LocalRoot};
use crate::events::{Hearing, Takers};
use crate::ingest::flow::{Flow, SiteParts};
use crate::ingest::following::Following;
use crate::ingest::trust::Trust;
use crate::jobs::{Job, Work};
use crate::lease::{
    Fence, Held, Holder, HolderKind, Keeper, LeaseError, Standing, Tenure, Vacancy,
};
use crate::ledger::hints::HintTaker;
use crate::ledger::{Ledger, LedgerError, SqliteLease, SqliteLedger};
use crate::publish::{self, PublishRoot, Publishing};
use crate::recovery::repair::{RepairWork, Repairing};
use crate::recovery::{ScanWork, Scanning};
use crate::registration_lock::{RegistrationLock, RegistrationLockError};
use crate::registry::{Registry, RegistryError, SqliteRegistry};
use crate::removal::{Ground, NamedRoot, PeerScopes, Removing};
use crate::rucio::{Rucio, RucioError};
use crate::sqlite::{SqliteError, Unfenced};
use crate::sync::{self, SyncPart, SyncWork, Syncing, ViewWork};

/// Name of the ledger's file in the state directory.
pub const LEDGER_FILE: &str = "ledger.sqlite3";
/// Name of the lock file that registrations take turns by.
const REGISTRATION_LOCK_FILE: &str = "registration.lock";
/// The part of the lease's duration that a write of another process is waited for by whoever
/// renews or takes over: a takeover that is held up twice still comes in time.
const PATIENCE_PARTS: u32 = 8;
/// The longest such wait, however long the lease: whoever waits shows no sign of life meanwhile,
/// and cannot stop.
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// How often a command looks whether another has given the lease back.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Folder for scratch files in the state directory.
const SCRATCH_FOLDER: &str = "scratch";

/// Why the parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The registry cannot be made or opened.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry's file holds another registry than the one to be made.
    #[error("`{}` is the registry {found}, not {expected}", file.display())]
    RegistryInTheWay {
        /// The file.
        file: PathBuf,
        /// The registry that it holds.
        found: Uuid,
        /// The registry to be made.
        expected: Uuid,
    },
    /// The ledger cannot be made or opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A root cannot be opened.
    #[error("cannot open root `{root}`")]
    Root {
        /// The root.
        root: RootName,
        /// Why.
        source: DatastoreError,
    },
    /// A root is bound to another registry.
    #[error("root `{root}` is bound to registry {bound}, not to this one, {registry}")]
    OtherRegistry {
        /// The root.
        root: RootName,
        /// The registry that the root names.
        bound: Uuid,
        /// This registry.
        registry: Uuid,
    },
    /// Two roots belong to different repositories.
    #[error("root `{root}` belongs to repository {found}, the first root to {expected}")]
    OtherRepository {
        /// The root.
        root: RootName,
        /// Its repository.
        found: RepositoryId,
        /// The first root's.
        expected: RepositoryId,
    },
    /// Configuration names no root.
    #[error("the configuration names no root")]
    NoRoot,
    /// The signing key cannot be read.
    #[error("cannot read the signing key")]
    Key(#[from] runsync_config::secret::SecretError),
    /// The signing key is none.
    #[error("cannot use the signing key file")]
    KeyText(#[from] runsync_manifest::error::KeyError),
    /// The registration lock cannot be opened.
    #[error(transparent)]
    Lock(#[from] RegistrationLockError),
    /// The way to Rucio cannot be made.
    #[error(transparent)]
    Rucio(#[from] RucioError),
    /// The lease cannot be had.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A daemon holds the lease for as long as it runs.
    #[error("{0} holds the lease of this site")]
    Held(Box<Holder>),
    /// The caller broke off while another process held the lease.
    #[error("interrupted while another process held the lease of this site")]
    Interrupted,
}

impl AssemblyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State { .. } => Some("run as the user that owns the state directory".to_owned()),
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::RegistryInTheWay { .. } => {
                Some("move the file away, or choose another state directory".to_owned())
            }
            Self::Root { source, .. } => source.hint(),
            Self::OtherRegistry { .. } => Some(
                "a root belongs to one registry for ever: configure the registry that it names"
                    .to_owned(),
            ),
            Self::OtherRepository { .. } => {
                Some("give each repository a configuration of its own".to_owned())
            }
            Self::NoRoot => Some("add a [[root]]".to_owned()),
            Self::Key(_) | Self::KeyText(_) => Some(
                "restore the file that `signing_key_file` names, from a backup of the keys"
                    .to_owned(),
            ),
            Self::Held(_) => Some(
                "leave `--direct` away, so that the daemon does it, or stop that daemon first"
                    .to_owned(),
            ),
            Self::Rucio(error) => error.hint(),
            Self::Lock(_) | Self::Lease(_) | Self::Interrupted => None,
        }
    }

    /// Whether another process keeps a database locked.
    pub fn is_busy(&self) -> bool {
        if let Self::Registry(RegistryError::Sqlite(error))
        | Self::Ledger(LedgerError::Sqlite(error)) = self
        {
            return error.is_busy();
        }
        matches!(self, Self::Lease(error) if error.is_busy())
    }
}

/// Registry and ledger, for reading.
#[derive(Debug)]
pub struct Readers {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
}

impl Readers {
    /// Opens both. Touches no root.
    pub fn open(site: &Site) -> Result<Self, AssemblyError> {
        let RegistryBackend::Sqlite { file } = &site.registry;
        Ok(Self {
            registry: Arc::new(SqliteRegistry::open_read_only(file)?),
            ledger: Arc::new(SqliteLedger::open_read_only(&ledger_file(site))?),
        })
    }

    /// Opens both for a command that asks and ends: faster, and nothing for a service
    /// ([`Database::open_mapped`](crate::sqlite::Database::open_mapped)).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn for_a_command(site: &Site) -> Result<Self, AssemblyError> {
        let RegistryBackend::Sqlite { file } = &site.registry;
        Ok(Self {
            registry: Arc::new(SqliteRegistry::open_mapped(file)?),
            ledger: Arc::new(SqliteLedger::open_read_only(&ledger_file(site))?),
        })
    }
}

/// Makes what a new site's state directory holds: an empty registry, an empty ledger, and the files
/// that its processes share, so that all of it belongs to whoever the site is made for.
///
/// What is there already stays, also a file that a crash left without any table: an interrupted
/// `init` is finished by running it again.
///
/// # Errors
///
/// [`AssemblyError::RegistryInTheWay`] where the file is a registry with another identity.
pub fn create(site: &Site, registry: Uuid) -> Result<(), AssemblyError> {
    create_registry(site, registry)?;
    let ledger = ledger_file(site);
    match SqliteLedger::create(&ledger) {
        Err(LedgerError::Sqlite(SqliteError::Exists { .. })) => {
            SqliteLedger::open_read_only(&ledger)?;
        }
        created => created?,
    }
    create_scratch(site)?;
    registration_lock(site)?;
    Ok(())
}

/// Opens the lock that registrations take turns by.
pub fn registration_lock(site: &Site) -> Result<RegistrationLock, AssemblyError> {
    let path = site.state_directory.join(REGISTRATION_LOCK_FILE);
    Ok(RegistrationLock::open(&path)?)
}

fn create_registry(site: &Site, id: Uuid) -> Result<(), AssemblyError> {
    let RegistryBackend::Sqlite { file } = &site.registry;
    match SqliteRegistry::create(file, id) {
        Err(RegistryError::Sqlite(SqliteError::Exists { .. })) => {}
        created => return Ok(created?),
    }
    let found = SqliteRegistry::open_read_only(file)?.id();
    if found == id {
        return Ok(());
    }
    let (file, expected) = (file.clone(), id);
    Err(AssemblyError::RegistryInTheWay {
        file,
        found,
        expected,
    })
}

fn create_scratch(site: &Site) -> Result<PathBuf, AssemblyError> {
    let path = site.state_directory.join(SCRATCH_FOLDER);
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(AssemblyError::State { path, source }),
    }
}

/// Where the ledger lies.
pub fn ledger_file(site: &Site) -> PathBuf {
    site.state_directory.join(LEDGER_FILE)
}

/// What this process needs to come by the lease.
pub fn keeper(site: &Site) -> Result<Keeper, AssemblyError> {
    let table = SqliteLease::open(&ledger_file(site), patience(site))?;
    Ok(Keeper::new(
        Arc::new(table),
        &site.state_directory,
        site.lease.duration,
        Arc::new(SystemUptime),
    ))
}

/// How long another process's write is waited for by whoever renews or takes over.
pub fn patience(site: &Site) -> Duration {
    patience_within(site.lease.duration)
}

fn patience_within(lease: Duration) -> Duration {
    (lease / PATIENCE_PARTS).min(PATIENCE_MAX)
}

/// A lease that may be taken, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Takeover<'a> {
    /// Has looked at the lease.
    pub keeper: &'a Keeper,
    /// What it has found.
    pub vacancy: &'a Vacancy,
    /// What is to hold it.
    pub kind: HolderKind,
    /// The time, for people.
    pub clock: &'a dyn Clock,
}

/// Claims a lease that may be claimed, and has `open` open things under it. A former holder that
/// keeps others from writing although its lease has run out is ended. `on_end` is called when the
/// tenure ends. `None` where another process was quicker.
///
/// # Errors
///
/// Those of `open`: the lease is given back.
pub fn take<T>(
    site: &Site,
    takeover: Takeover<'_>,
    on_end: impl Fn() + Clone + Send + Sync + 'static,
    open: impl Fn(&Tenure) -> Result<T, AssemblyError>,
) -> Result<Option<(Held, T)>, AssemblyError> {
    let Takeover {
        keeper,
        vacancy,
        kind,
        clock,
    } = takeover;
    let registry = registry_fence(site)?;
    // Before the claim: after it nobody knows any more whom it was taken from.
    make_way(site, takeover)?;
    let claimed = unless_busy(takeover, || {
        let claim = (kind, clock.now());
        Ok(keeper.claim(vacancy, registry, claim, on_end.clone())?)
    })?;
    let Some(held) = claimed else { return Ok(None) };
    let opened = unless_busy(takeover, || open(held.tenure()))?;
    // It may have gone on in between, and been stopped again.
    make_way_to_register(site, takeover)?;
    Ok(Some((held, opened)))
}

/// Ends a former holder whose lease has run out, where it was stopped while it kept the registry
/// locked, or had the turn to register. The ledger tells by itself: it refuses the claim.
fn make_way(site: &Site, takeover: Takeover<'_>) -> Result<(), AssemblyError> {
    if !takeover.vacancy.has_run_out() {
        return Ok(());
    }
    let RegistryBackend::Sqlite { file } = &site.registry;
    unless_busy(takeover, || {
        let free = Unfenced::wait_until_free("registry", file, patience(site));
        Ok(free.map_err(RegistryError::from)?)
    })?;
    make_way_to_register(site, takeover)
}

/// The part of [`make_way`] that is about the turn to register. Where it is not the former holder
/// that has it (an operator's command that writes a manifest has it too), registrations wait.
fn make_way_to_register(site: &Site, takeover: Takeover<'_>) -> Result<(), AssemblyError> {
    let Takeover {
        keeper, vacancy, ..
    } = takeover;
    if !vacancy.has_run_out() {
        return Ok(());
    }
    let lock = registration_lock(site)?;
    let is_free = || Ok::<_, AssemblyError>(lock.acquire_within(patience(site))?.is_some());
    if !is_free()? && keeper.end_suspended(vacancy)? && !is_free()? {
        warn!("another process registers, or chooses a generation: registrations wait for it");
    }
    Ok(())
}

/// Does something once more where a holder that kept a database locked could be ended.
fn unless_busy<T>(
    Takeover {
        keeper, vacancy, ..
    }: Takeover<'_>,
    act: impl Fn() -> Result<T, AssemblyError>,
) -> Result<T, AssemblyError> {
    match act() {
        Err(error) if error.is_busy() && keeper.end_suspended(vacancy)? => act(),
        other => other,
    }
}

/// Claims the lease for an operator's command, and has `open` open things under it. Another command
/// is waited for; `progress` is asked meanwhile and may break off.
///
/// # Errors
///
/// [`AssemblyError::Held`] where a daemon holds the lease;
/// [`AssemblyError::Interrupted`] where `progress` broke off.
pub fn claim<T>(
    site: &Site,
    clock: &dyn Clock,
    open: impl Fn(&Tenure) -> Result<T, AssemblyError>,
    progress: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(Held, T), AssemblyError> {
    let mut keeper = keeper(site)?;
    loop {
        match keeper.look()? {
            Standing::Vacant(vacancy) => {
                let takeover = Takeover {
                    keeper: &keeper,
                    vacancy: &vacancy,
                    kind: HolderKind::Command,
                    clock,
                };
                if let Some(taken) = take(site, takeover, || (), &open)? {
                    return Ok(taken);
                }
            }
            Standing::Held(row, _) => match row.holder {
                Some(holder) if holder.what == HolderKind::Daemon => {
                    return Err(AssemblyError::Held(Box::new(holder)));
                }
                Some(_) | None => {}
            },
        }
        if progress().is_break() {
            return Err(AssemblyError::Interrupted);
        }
        thread::sleep(LOOK_PAUSE);
    }
}

fn registry_fence(site: &Site) -> Result<Fence, AssemblyError> {
    let RegistryBackend::Sqlite { file } = &site.registry;
    Ok(SqliteRegistry::fence(file)?)
}

/// Registry and ledger, for writing.
#[derive(Debug)]
pub struct Stores {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
}

impl Stores {
    /// Opens both under a tenure. Touches no root.
    pub fn open(site: &Site, tenure: &Tenure) -> Result<Self, AssemblyError> {
        let RegistryBackend::Sqlite { file } = &site.registry;
        let patience = patience(site);
        // The registry first: from its opening on the former holder can write to neither.
        let registry = SqliteRegistry::open(file, tenure, patience)?;
        let ledger = SqliteLedger::open(&ledger_file(site), tenure, patience)?;
        Ok(Self {
            registry: Arc::new(registry),
            ledger: Arc::new(ledger),
        })
    }
}

/// All parts of a working site.
#[derive(Debug)]
pub struct Assembly {
    /// What all roots share.
    pub parts: Arc<SiteParts>,
    /// The ingest flow of each root.
    pub flows: Vec<Flow>,
    /// The removal flow over all roots.
    pub removing: Arc<Removing>,
    /// Follows what origins remove.
    pub following: Arc<Following>,
    /// Publishes into Rucio.
    pub publishing: Arc<Publishing>,
    /// Makes runs of messages about single files.
    pub adopting: Arc<Adopting>,
    /// Hears messages of files.
    pub events: Hearing,
    /// Compares this site with Rucio.
    pub syncing: Arc<Syncing>,
    /// Compares roots with their records.
    pub scanning: Arc<Scanning>,
    /// What is done by schedule.
    pub jobs: Vec<ScheduledJob>,
    /// What passes by the schedule of `[rucio.sync]` are written down as, where there are any.
    pub rucio_sync: Option<Arc<Job>>,
    /// Repairs what scans have found.
    pub repairing: Arc<Repairing>,
    /// The site's repository.
    pub repository: RepositoryId,
}

/// A job, and what it does.
#[derive(Debug, Clone)]
pub struct ScheduledJob {
    /// The job.
    pub job: Arc<Job>,
    /// What it does.
    pub work: Arc<dyn Work>,
}

impl Assembly {
    /// Opens everything under a tenure.
    pub fn open(
        site: &Site,
        tenure: &Tenure,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssemblyError> {
        Self::over(site, Stores::open(site, tenure)?, clock)
    }

    /// Opens everything for reading: for those who ask what would become of a manifest.
    pub fn open_read_only(site: &Site, clock: Arc<dyn Clock>) -> Result<Self, AssemblyError> {
        let Readers { registry, ledger } = Readers::open(site)?;
        Self::over(site, Stores { registry, ledger }, clock)
    }

    fn over(site: &Site, stores: Stores, clock: Arc<dyn Clock>) -> Result<Self, AssemblyError> {
        let scratch = create_scratch(site)?;
        let Stores { registry, ledger } = stores;
        let (repository, roots) = open_roots(site, registry.id())?;
        let parts = Arc::new(SiteParts {
            registry,
            ledger,
            trust: RwLock::new(Arc::new(trust_of(site, repository)?)),
            limits: site.limits,
            scratch,
            registration: registration_lock(site)?,
            clock,
        });
        let rucio = site.rucio.as_ref().map(Rucio::new).transpose()?;
        let peers = Arc::new(PeerScopes::of(&site.peers));
        let removing = Arc::new(Removing::new(Ground {
            site: site.name.clone(),
            repository,
            host: uname().nodename().to_string_lossy().into_owned(),
            caps: site.removal,
            signing_key_file: site.signing_key_file.clone(),
            registry: Arc::clone(&parts.registry),
            ledger: Arc::clone(&parts.ledger),
            registration: registration_lock(site)?,
            roots: named_roots(site, &roots),
            rucio: rucio.clone(),
            peers: Arc::clone(&peers),
            clock: Arc::clone(&parts.clock),
        }));
        let publishing = Arc::new(publishing(
            site,
            &parts,
            (repository, rucio.clone(), Arc::clone(&peers)),
            &roots,
        )?);
        let flows: Vec<Flow> = site
            .roots
            .iter()
            .zip(roots)
            .map(|(root, datastore)| Flow::new(Arc::clone(&parts), root.clone(), datastore))
            .collect();
        let following = Arc::new(Following::new(flows.clone(), Arc::clone(&removing)));
        let syncing = Arc::new(Syncing::new(sync::Ground {
            repository,
            rucio,
            flows: flows.clone(),
            removing: Arc::clone(&removing),
            publishing: Arc::clone(&publishing),
        }));
        let adopting = Arc::new(Adopting::new(adopt::Ground {
            site: site.name.clone(),
            config: site.adopt.clone(),
            flows: flows.clone(),
            signing_key_file: site.signing_key_file.clone(),
        }));
        let scanning = Arc::new(Scanning::new(flows.clone(), Arc::clone(&removing)));
        let repairing = Arc::new(Repairing::new(
            flows.clone(),
            Arc::clone(&publishing),
            site.repair,
        ));
        let jobs = site
            .schedules
            .iter()
            .map(|scheduled| ScheduledJob {
                job: job(scheduled, &parts),
                work: work(site, scheduled, (&scanning, &syncing, &repairing)),
            })
            .collect();
        let rucio_sync = rucio_sync(site, &parts);
        let takers = Takers {
            // Without Rucio nobody can tell what is so: hints wait, and are given up in the end.
            sync: syncing
                .rucio()
                .is_ok()
                .then(|| Arc::clone(&syncing) as Arc<dyn HintTaker>),
            adopt: site
                .adopt
                .is_some()
                .then(|| Arc::clone(&adopting) as Arc<dyn HintTaker>),
        };
        let (ledger, clock) = (Arc::clone(&parts.ledger), Arc::clone(&parts.clock));
        let events = Hearing::new(site, takers, ledger, clock);
        Ok(Self {
            parts,
            flows,
            removing,
            following,
            publishing,
            adopting,
            events,
            syncing,
            scanning,
            jobs,
            rucio_sync,
            repairing,
            repository,
        })
    }

    /// Takes keys, peers and prefixes from a configuration that was read again.
    pub fn reload(&self, site: &Site) -> Result<(), AssemblyError> {
        self.parts.set_trust(trust_of(site, self.repository)?);
        // Publishing has the same.
        self.removing.ground().peers.set(&site.peers);
        Ok(())
    }
}

/// A job of the schedule, whatever it does.
fn job(scheduled: &Scheduled, parts: &SiteParts) -> Arc<Job> {
    Arc::new(Job::new(
        (scheduled.name.clone(), scheduled.job),
        (scheduled.at.clone(), scheduled.missed),
        Arc::clone(&parts.ledger),
        Arc::clone(&parts.clock),
    ))
}

/// What a job of the schedule does: the one place that knows every kind.
fn work(
    site: &Site,
    scheduled: &Scheduled,
    (scanning, syncing, repairing): (&Arc<Scanning>, &Arc<Syncing>, &Arc<Repairing>),
) -> Arc<dyn Work> {
    let roots = scheduled.roots.clone();
    match scheduled.job {
        JobKind::Scan => {
            let limits = scheduled.scan.unwrap_or_default();
            Arc::new(ScanWork::new(Arc::clone(scanning), roots, limits))
        }
        JobKind::Sync => {
            let named = site.roots.iter().filter(|root| roots.contains(&root.name));
            let part = SyncPart::Whole(named.filter_map(|root| root.rse.clone()).collect());
            Arc::new(SyncWork::new(Arc::clone(syncing), part))
        }
        JobKind::RucioScan => Arc::new(ViewWork::new(Arc::clone(syncing), roots)),
        JobKind::Repair => Arc::new(RepairWork::new(Arc::clone(repairing), roots)),
    }
}

/// The job that `[rucio.sync]` describes.
fn rucio_sync(site: &Site, parts: &SiteParts) -> Option<Arc<Job>> {
    let schedule = site.rucio.as_ref()?.sync.schedule.clone();
    Some(Arc::new(Job::new(
        (JobName::rucio_sync(), JobKind::Sync),
        (schedule, Missed::Run),
        Arc::clone(&parts.ledger),
        Arc::clone(&parts.clock),
    )))
}

fn publishing(
    site: &Site,
    parts: &SiteParts,
    (repository, rucio, peers): (RepositoryId, Option<Rucio>, Arc<PeerScopes>),
    roots: &[Arc<dyn Datastore>],
) -> Result<Publishing, AssemblyError> {
    let roots = site.roots.iter().zip(roots);
    let roots = roots.map(|(root, datastore)| PublishRoot {
        config: root.clone(),
        datastore: Arc::clone(datastore),
    });
    Ok(Publishing::new(publish::Ground {
        site: site.name.clone(),
        repository,
        rucio,
        peers,
        registry: Arc::clone(&parts.registry),
        ledger: Arc::clone(&parts.ledger),
        roots: roots.collect(),
        signing_key_file: site.signing_key_file.clone(),
        registration: registration_lock(site)?,
        limits: site.limits,
        scratch: parts.scratch.clone(),
        clock: Arc::clone(&parts.clock),
    }))
}

fn named_roots(site: &Site, roots: &[Arc<dyn Datastore>]) -> Vec<NamedRoot> {
    let named = site.roots.iter().zip(roots);
    let named = named.map(|(root, datastore)| NamedRoot {
        name: root.name.clone(),
        datastore: Arc::clone(datastore),
        rse: root.rse.clone(),
        deleter: root.deleter,
    });
    named.collect()
}

type Roots = (RepositoryId, Vec<Arc<dyn Datastore>>);

fn open_roots(site: &Site, registry: Uuid) -> Result<Roots, AssemblyError> {
    let mut repository = None;
    let mut roots: Vec<Arc<dyn Datastore>> = Vec::new();
    for root in &site.roots {
        let opened = LocalRoot::open(&root.directory).map_err(|source| AssemblyError::Root {
            root: root.name.clone(),
            source,
        })?;
        let bound = opened.repository();
        if bound.registry != registry {
            let (root, bound) = (root.name.clone(), bound.registry);
            return Err(AssemblyError::OtherRegistry {
                root,
                bound,
                registry,
            });
        }
        let expected = *repository.get_or_insert(bound.repository);
        if bound.repository != expected {
            let (root, found) = (root.name.clone(), bound.repository);
            return Err(AssemblyError::OtherRepository {
                root,
                found,
                expected,
            });
        }
        roots.push(Arc::new(opened));
    }
    Ok((repository.ok_or(AssemblyError::NoRoot)?, roots))
}

/// Trust in the site's own key, in its former keys (kept among the trusted ones under its own
/// repository), and in its peers.
fn trust_of(site: &Site, repository: RepositoryId) -> Result<Trust, AssemblyError> {
    let mut own: Vec<PublicKey> = vec![signing_key(site)?.public()];
    let former = trust::read_folder(&site.trusted_keys_directory)
        .into_iter()
        .flatten()
        .filter(|trusted| trusted.repository == repository && !trusted.revoked)
        .map(|trusted| trusted.public_key);
    own.extend(former);
    Ok(Trust::new(repository, own, site.clone()))
}

/// Reads the site's signing key.
pub fn signing_key(site: &Site) -> Result<SigningKey, AssemblyError> {
    let pem = runsync_config::secret::read(&site.signing_key_file)?;
    Ok(SigningKey::from_pem(pem.expose())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service;

    #[test]
    fn no_lease_is_so_long_that_waiting_for_a_database_starves_the_watchdog() {
        for (lease, expected) in [(8, 1), (3600, 5)] {
            let patience = patience_within(Duration::from_secs(lease));
            assert_eq!(patience, Duration::from_secs(expected));
        }
        // Registry, turn, claim, two openings, each tried twice.
        assert!(PATIENCE_MAX * 10 < service::PATIENCE);
        assert!(PATIENCE_MAX * 10 < service::STOP_DEADLINE);
    }
}
