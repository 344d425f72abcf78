//! `config check`: does what the configuration names exist, and does it fit together?
//!
//! Loading finds what is wrong within the file; this looks at the world around it. Nothing is
//! changed. Problems end in exit code 78, which keeps a service manager from starting the daemon;
//! notes are things that an operator may want to know and that keep nothing from working.

use std::fmt;
use std::path::{Path, PathBuf};

use runsync_config::LoadError;
use runsync_config::problem::{KeyPath, Problem};
use runsync_config::registry::RegistryBackend;
use runsync_config::root::Root;
use runsync_config::secret;
use runsync_config::site::Site;
use runsync_config::trust;
use serde::Serialize;
use uuid::Uuid;

use super::online;
use crate::assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::identity;
use crate::datastore::RepositoryFile;
use crate::events;
use crate::http;
use crate::ledger::{LedgerError, SqliteLedger};
use crate::registry::{Registry, SqliteRegistry};
use crate::sqlite::SqliteError;
use crate::telemetry;

#[derive(Serialize)]
struct Checked<'c> {
    config_file: &'c Path,
    ok: bool,
    notes: Vec<String>,
}

impl fmt::Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ok", self.config_file.display())?;
        let mut notes = self.notes.iter();
        notes.try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

/// Tell every problem of the configuration and of the files it names
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ask Rucio, too: whether login, account, permissions, RSEs, scope, rules and quota are as the
    /// configuration says; and whether brokers can be listened to. Nothing is changed there
    #[arg(long)]
    online: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let mut problems = problems(site);
    let mut notes = notes(site);
    if args.online {
        let found = online::check(site);
        problems.extend(found.problems);
        notes.extend(found.notes);
    }
    if !problems.is_empty() {
        return Err(LoadError::around(&site.config_file, problems).into());
    }
    let (config_file, ok) = (site.config_file.as_path(), true);
    context.output().value(&Checked {
        config_file,
        ok,
        notes,
    })?;
    Ok(Outcome::Done)
}

fn problems(site: &Site) -> Vec<Problem> {
    let own = KeyPath::of("site");
    let filter = telemetry::filter(&site.log.filter).map_err(Failure::from);
    let mut problems: Vec<_> = [
        (KeyPath::of("log").key("filter"), filter.map(drop)),
        (
            own.key("signing_key_file"),
            identity::signing_key(&site.signing_key_file).map(drop),
        ),
        (own.key("state_directory"), folder(&site.state_directory)),
        (
            own.key("state_directory"),
            ledger(&site.state_directory, site),
        ),
        (
            KeyPath::of("http").key("token"),
            http::check_tokens(&site.http).map_err(Failure::from),
        ),
        (
            KeyPath::of("http").key("certificate_file"),
            http::check_tls(&site.http).map_err(Failure::from),
        ),
    ]
    .into_iter()
    .filter_map(|(key, checked)| Some(problem(key, &checked.err()?)))
    .collect();
    if let Some(rucio) = &site.rucio {
        let (table, key, file) = rucio.login.secret();
        let key = KeyPath::of("rucio").key(table).key(key);
        problems.extend(unreadable(file).map(|failure| problem(key, &failure)));
    }
    for (index, source) in site.event_sources.iter().enumerate() {
        let login = source.login.as_ref();
        let failure = login.and_then(|login| unreadable(&login.password_file));
        let key = KeyPath::of("event_source")
            .index(index)
            .key("password_file");
        problems.extend(failure.map(|failure| problem(key, &failure)));
        let kind = KeyPath::of("event_source").index(index).key("kind");
        let built = events::check_built(source).map_err(Failure::from);
        problems.extend(built.err().map(|failure| problem(kind, &failure)));
    }
    let registry = registry(site);
    problems.extend(
        (registry.as_ref().err())
            .map(|failure| problem(KeyPath::of("registry").key("file"), failure)),
    );
    problems.extend(root_problems(site, registry.ok().flatten()));
    problems
}

fn problem(key: KeyPath, failure: &Failure) -> Problem {
    Problem {
        key,
        line: None,
        reason: format!("cannot be used: {}", failure.message()),
        hint: failure.hint_text().map(str::to_owned),
    }
}

/// Why a secret cannot be read.
fn unreadable(file: &Path) -> Option<Failure> {
    let error = secret::read(file).err()?;
    let hint = error.hint();
    Some(Failure::from(error).hint(hint))
}

fn folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::new(format!("{path} is no folder")).hint(format!(
        "run `mkdir -p -m 0700 {path}` as the user that runs the daemon"
    )))
}

/// The ledger can be read. Where the whole folder is missing, that is told instead.
fn ledger(state_directory: &Path, site: &Site) -> Result<(), Failure> {
    if !state_directory.is_dir() {
        return Ok(());
    }
    match SqliteLedger::open_read_only(&assembly::ledger_file(site)) {
        // The daemon migrates it when it starts.
        Ok(_) | Err(LedgerError::Sqlite(SqliteError::OlderSchema { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Which registry the file holds. `None` where a problem of its folder is told already.
fn registry(site: &Site) -> Result<Option<Uuid>, Failure> {
    let RegistryBackend::Sqlite { file } = &site.registry;
    if file.starts_with(&site.state_directory) && !site.state_directory.is_dir() {
        return Ok(None);
    }
    Ok(Some(SqliteRegistry::open_read_only(file)?.id()))
}

/// A root that can be read, with whom it belongs to.
struct Opened<'s> {
    key: KeyPath,
    root: &'s Root,
    directory: PathBuf,
    repository: RepositoryFile,
}

fn root_problems(site: &Site, registry: Option<Uuid>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut opened: Vec<Opened<'_>> = Vec::new();
    for (index, root) in site.roots.iter().enumerate() {
        let key = KeyPath::of("root").index(index).key("url");
        match open(key.clone(), root) {
            Ok(root) => {
                let mut disagreements = disagreements(site, &root, &opened);
                disagreements.extend(registry.and_then(|registry| other_registry(&root, registry)));
                problems.extend(
                    disagreements
                        .iter()
                        .map(|failure| problem(key.clone(), failure)),
                );
                opened.push(root);
            }
            Err(failure) => problems.push(problem(key, &failure)),
        }
    }
    problems.extend(peer_problems(site, &opened));
    problems
}

fn open(key: KeyPath, root: &Root) -> Result<Opened<'_>, Failure> {
    let directory = root.directory.canonicalize().map_err(|error| {
        let what = format!("cannot open {}", root.directory.display());
        Failure::from(error)
            .while_doing(what)
            .hint("check that its file system is mounted, and its permissions")
    })?;
    let repository = identity::repository(&root.directory)?;
    Ok(Opened {
        key,
        root,
        directory,
        repository,
    })
}

fn disagreements(site: &Site, root: &Opened<'_>, earlier: &[Opened<'_>]) -> Vec<Failure> {
    let mut failures = Vec::new();
    let (name, theirs) = (&site.name, &root.repository.site);
    if theirs != name {
        let message = format!("the root belongs to the site `{theirs}`, not to `{name}`");
        failures.push(Failure::new(message).hint("name the root of this site, or rename the site"));
    }
    for other in earlier {
        let (here, there) = (&root.directory, &other.directory);
        let name = &other.root.name;
        if here.starts_with(there) || there.starts_with(here) {
            let message = format!("the folder is, holds or lies in that of root `{name}`");
            failures.push(Failure::new(message).hint("follow the symbolic links in both URLs"));
        }
        let (this, that) = (&root.repository, &other.repository);
        if (this.repository, this.registry) != (that.repository, that.registry) {
            let key = &other.key;
            let message =
                format!("the root belongs to another repository or registry than `{key}`");
            failures.push(Failure::new(message).hint("all roots of a site belong to one registry"));
        }
    }
    failures
}

fn other_registry(root: &Opened<'_>, registry: Uuid) -> Option<Failure> {
    let bound = root.repository.registry;
    (bound != registry).then(|| {
        let message =
            format!("the root is bound to registry {bound}, and `registry.file` is {registry}");
        Failure::new(message)
            .hint("name the registry that the root was made with; a root keeps it for ever")
    })
}

fn peer_problems(site: &Site, roots: &[Opened<'_>]) -> Vec<Problem> {
    let ours = |origin| {
        roots
            .iter()
            .any(|root| root.repository.repository == origin)
    };
    let peers = site.peers.iter().enumerate();
    let own = peers.filter(|(_, peer)| ours(peer.origin));
    own.map(|(index, _)| {
        let message = "it is this site's own repository";
        let failure = Failure::new(message).hint("ask the peer for its `runsync keys show`");
        problem(KeyPath::of("peer").index(index).key("origin"), &failure)
    })
    .collect()
}

fn notes(site: &Site) -> Vec<String> {
    let keyless = site.peers.iter().filter(|peer| peer.keys.is_empty());
    let keyless = keyless.map(|peer| {
        let name = &peer.site;
        format!("no key of {name} is trusted: its manifests stay `untrusted` until `runsync keys trust FILE`")
    });
    let keys = trust::read_folder(&site.trusted_keys_directory);
    let strangers = keys.into_iter().flatten().filter_map(|key| {
        let (id, of, repository) = (key.key_id(), &key.site, key.repository);
        site.peer(repository)
            .is_none()
            .then(|| format!("key {id} of {of} is ignored: no peer has the origin {repository}"))
    });
    keyless.chain(strangers).collect()
}
