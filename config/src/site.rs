//! The validated configuration of one site.

use std::path::{Path, PathBuf};

use runsync_manifest::limits::Limits;
use runsync_manifest::name::{RepositoryId, RunName, RunPrefix, SiteName};
use serde::{Serialize, Serializer};

use crate::adopt::Adopt;
use crate::events::{EventSource, Events};
use crate::http::Http;
use crate::jobs::Scheduled;
use crate::lease::Lease;
use crate::log::Log;
use crate::peer::Peer;
use crate::raw::{Document, Section};
use crate::registry::RegistryBackend;
use crate::removal::Removal;
use crate::repair::Repair;
use crate::root::Root;
use crate::rucio::Rucio;
use crate::{consistency, limits, trust};

/// Everything that configuration says, checked.
///
/// Serialised, it has the form of the file, every default written out, and no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The file that says all this.
    pub config_file: PathBuf,
    /// The site's name.
    pub name: SiteName,
    /// Run names that this site's own repository owns; empty: all that no peer owns.
    pub run_prefixes: Vec<RunPrefix>,
    /// Where the service keeps its own state: ledger, embedded registry, scratch files.
    pub state_directory: PathBuf,
    /// PKCS#8 PEM file of the key that signs this site's manifests.
    pub signing_key_file: PathBuf,
    /// Folder of the public keys that `keys trust` accepted.
    pub trusted_keys_directory: PathBuf,
    /// Datastore roots, at least one; names and folders differ.
    pub roots: Vec<Root>,
    /// Other repositories.
    pub peers: Vec<Peer>,
    /// Which registry.
    pub registry: RegistryBackend,
    /// Limits for reading manifests.
    pub limits: Limits,
    /// How the service is reached.
    pub http: Http,
    /// How long the site's lease holds.
    pub lease: Lease,
    /// What a removal may take away without being approved.
    pub removal: Removal,
    /// What is done about drift that scans have found.
    pub repair: Repair,
    /// Rucio, where the site has one.
    pub rucio: Option<Rucio>,
    /// Which per-file messages become runs, where any do.
    pub adopt: Option<Adopt>,
    /// What is kept of messages.
    pub events: Events,
    /// Where messages are heard; names differ.
    pub event_sources: Vec<EventSource>,
    /// What is done at which times; names differ.
    pub schedules: Vec<Scheduled>,
    /// How the service logs.
    pub log: Log,
}

impl Site {
    /// Whether this site's own repository may own `run`.
    pub fn may_own(&self, run: &RunName) -> bool {
        let named = |prefixes: &[RunPrefix]| prefixes.iter().any(|prefix| prefix.owns(run));
        if self.run_prefixes.is_empty() {
            !self.peers.iter().any(|peer| named(&peer.run_prefixes))
        } else {
            named(&self.run_prefixes)
        }
    }

    /// The peer whose repository is `origin`.
    pub fn peer(&self, origin: RepositoryId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.origin == origin)
    }

    /// Reads the whole file. `None` only where a problem was reported.
    pub(crate) fn read(document: &Document<'_>, file: &Path) -> Option<Self> {
        let base = file.parent().unwrap_or(Path::new("/"));
        let mut top = document.top();
        let own = Own::read(top.section("site"), base);
        let registry = RegistryBackend::read(top.section("registry"), base, &own.state_directory);
        let roots: Vec<_> = top.sections("root").into_iter().map(Root::read).collect();
        let mut peers: Vec<_> = top.sections("peer").into_iter().map(Peer::read).collect();
        let limits = limits::read(top.section("limits"));
        let http = Http::read(top.section("http"), base, &own.state_directory);
        let lease = Lease::read(top.section("lease"));
        let removal = Removal::read(top.section("removal"));
        let repair = Repair::read(top.section("repair"));
        let rucio = top
            .has("rucio")
            .then(|| Rucio::read(top.section("rucio"), base));
        let adopt = top.has("adopt").then(|| Adopt::read(top.section("adopt")));
        let events = Events::read(top.section("events"));
        let event_sources: Vec<_> = top
            .sections("event_source")
            .into_iter()
            .map(|section| EventSource::read(section, base, own.name.as_ref()))
            .collect();
        let schedules: Vec<_> = top
            .sections("schedule")
            .into_iter()
            .map(Scheduled::read)
            .collect();
        let log = Log::read(top.section("log"));
        top.finish();
        trust::attach(document, &own.trusted_keys_directory, &mut peers);
        consistency::check(document, &own, &registry, &roots, &peers, &http);
        if let Some(Some(rucio)) = &rucio {
            consistency::check_rucio(document, rucio, &roots);
        }
        if let Some(Some(adopt)) = &adopt {
            consistency::check_adopt(document, adopt, &roots);
        }
        consistency::check_events(document, &event_sources, &roots);
        consistency::check_schedules(document, &schedules, &roots);
        Some(Self {
            config_file: file.to_owned(),
            name: own.name?,
            run_prefixes: own.run_prefixes,
            state_directory: own.state_directory,
            signing_key_file: own.signing_key_file,
            trusted_keys_directory: own.trusted_keys_directory,
            roots: roots.into_iter().collect::<Option<_>>()?,
            peers: peers.into_iter().collect::<Option<_>>()?,
            registry,
            limits,
            http,
            lease,
            removal,
            repair,
            rucio: match rucio {
                Some(read) => Some(read?),
                None => None,
            },
            adopt: match adopt {
                Some(read) => Some(read?),
                None => None,
            },
            events,
            event_sources: event_sources.into_iter().collect::<Option<_>>()?,
            schedules: schedules.into_iter().collect::<Option<_>>()?,
            log,
        })
    }
}

/// `[site]`.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) name: Option<SiteName>,
    pub(crate) state_directory: PathBuf,
    pub(crate) signing_key_file: PathBuf,
    pub(crate) trusted_keys_directory: PathBuf,
    pub(crate) run_prefixes: Vec<RunPrefix>,
}

impl Own {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Self {
        let name = section.required("name", "\"SITE_A\"");
        let mut path = |key, default: &str| base.join(section.or(key, PathBuf::from(default)));
        let own = Self {
            name,
            state_directory: path("state_directory", "state"),
            signing_key_file: path("signing_key_file", "keys/signing.pem"),
            trusted_keys_directory: path("trusted_keys_directory", "keys/trusted"),
            run_prefixes: section.list("run_prefixes"),
        };
        section.finish();
        own
    }
}

impl Serialize for Site {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'s> {
            site: WrittenOwn<'s>,
            registry: &'s RegistryBackend,
            root: &'s [Root],
            peer: &'s [Peer],
            limits: limits::Written,
            http: &'s Http,
            lease: Lease,
            removal: Removal,
            repair: Repair,
            #[serde(skip_serializing_if = "Option::is_none")]
            rucio: Option<&'s Rucio>,
            #[serde(skip_serializing_if = "Option::is_none")]
            adopt: Option<&'s Adopt>,
            events: Events,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            event_source: &'s [EventSource],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            schedule: &'s [Scheduled],
            log: &'s Log,
        }
        #[derive(Serialize)]
        struct WrittenOwn<'s> {
            name: &'s SiteName,
            state_directory: &'s Path,
            signing_key_file: &'s Path,
            trusted_keys_directory: &'s Path,
            run_prefixes: &'s [RunPrefix],
        }
        let written = Written {
            site: WrittenOwn {
                name: &self.name,
                state_directory: &self.state_directory,
                signing_key_file: &self.signing_key_file,
                trusted_keys_directory: &self.trusted_keys_directory,
                run_prefixes: &self.run_prefixes,
            },
            registry: &self.registry,
            root: &self.roots,
            peer: &self.peers,
            limits: self.limits.into(),
            http: &self.http,
            lease: self.lease,
            removal: self.removal,
            repair: self.repair,
            rucio: self.rucio.as_ref(),
            adopt: self.adopt.as_ref(),
            events: self.events,
            event_source: &self.event_sources,
            schedule: &self.schedules,
            log: &self.log,
        };
        written.serialize(to)
    }
}
