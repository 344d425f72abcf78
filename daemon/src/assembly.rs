//! Puts the parts together: the one module that knows every concrete type.
//!
//! [`Readers`] is what answers questions: registry and ledger, opened for reading, and no root.
//! [`Assembly`] is what works: it also opens the roots and checks that they are bound to this
//! registry.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use runsync_config::registry::RegistryBackend;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use runsync_config::trust;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::{PublicKey, SigningKey};
use uuid::Uuid;

use crate::clock::Clock;
use crate::datastore::{Datastore, DatastoreError, LocalRoot};
use crate::ingest::flow::{Flow, SiteParts};
use crate::ingest::trust::Trust;
use crate::ledger::{Ledger, LedgerError, SqliteLedger};
use crate::registration_lock::{RegistrationLock, RegistrationLockError};
use crate::registry::{Registry, RegistryError, SqliteRegistry};
use crate::sqlite::SqliteError;

/// Name of the ledger's file in the state directory.
pub const LEDGER_FILE: &str = "ledger.sqlite3";
/// Name of the lock file that registrations take turns by.
const REGISTRATION_LOCK_FILE: &str = "registration.lock";
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
            Self::Lock(_) => None,
        }
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
        Err(LedgerError::Sqlite(SqliteError::Exists { .. })) => SqliteLedger::open(&ledger)?,
        created => created?,
    };
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
    let created = match SqliteRegistry::create(file, id) {
        Err(RegistryError::Sqlite(SqliteError::Exists { .. })) => SqliteRegistry::open(file)?,
        created => created?,
    };
    if created.id() == id {
        return Ok(());
    }
    let (file, found, expected) = (file.clone(), created.id(), id);
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

/// Opens the ledger for the few changes that operators make by hand.
pub fn open_ledger(site: &Site) -> Result<Arc<dyn Ledger>, AssemblyError> {
    Ok(Arc::new(SqliteLedger::open(&ledger_file(site))?))
}

/// Where the ledger lies.
pub fn ledger_file(site: &Site) -> PathBuf {
    site.state_directory.join(LEDGER_FILE)
}

/// All parts of a working site.
#[derive(Debug)]
pub struct Assembly {
    /// What all roots share.
    pub parts: Arc<SiteParts>,
    /// The ingest flow of each root.
    pub flows: Vec<Flow>,
    /// The site's repository.
    pub repository: RepositoryId,
}

impl Assembly {
    /// Opens everything.
    pub fn open(site: &Site, clock: Arc<dyn Clock>) -> Result<Self, AssemblyError> {
        let scratch = create_scratch(site)?;
        let RegistryBackend::Sqlite { file } = &site.registry;
        let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(file)?);
        let ledger = open_ledger(site)?;
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
        let flows = site
            .roots
            .iter()
            .zip(roots)
            .map(|(root, datastore)| Flow::new(Arc::clone(&parts), root.clone(), datastore))
            .collect();
        Ok(Self {
            parts,
            flows,
            repository,
        })
    }

    /// Takes keys, peers and prefixes from a configuration that was read again.
    pub fn reload(&self, site: &Site) -> Result<(), AssemblyError> {
        self.parts.set_trust(trust_of(site, self.repository)?);
        Ok(())
    }
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
