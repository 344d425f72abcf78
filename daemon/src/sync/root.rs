//! One root, and how Rucio is asked about it.

use std::collections::{BTreeMap, HashMap};

use runsync_config::root::Root;
use runsync_manifest::name::{RepositoryId, RseName, RunKey, Scope};

use super::SyncError;
use super::budget::Budget;
use super::flow::Syncing;
use super::report::SyncReport;
use crate::datastore::Datastore;
use crate::ingest::Flow;
use crate::ledger::Ledger;
use crate::ledger::record::Finding;
use crate::registry::Registry;
use crate::rucio::replicas::AVAILABLE;
use crate::rucio::{Did, Rucio};

/// Finding: Rucio has another file under a name than the manifest says, or none where it says.
pub(super) const WRONG: &str = "rucio_differs";
/// Finding: a name that a file of Rucio's needs is another file's.
pub(super) const TAKEN: &str = "name_taken";

/// A replica at the root's RSE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Here {
    /// Its state, such as `AVAILABLE`.
    pub(super) state: String,
    /// Where it is.
    pub(super) pfns: Vec<String>,
    /// Its size in bytes.
    pub(super) bytes: Option<u64>,
    /// Its Adler-32 checksum in hexadecimal.
    pub(super) adler32: Option<String>,
}

impl Here {
    pub(super) fn is_available(&self) -> bool {
        self.state == AVAILABLE
    }
}

/// Where files are that were asked for.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Those with a replica at the root's RSE, in any state.
    pub(super) here: HashMap<Did, Here>,
    /// Of the others, the RSEs that have them.
    pub(super) elsewhere: HashMap<Did, Vec<String>>,
}

/// One root on its way through the flow.
pub(super) struct RootSync<'a, 'p> {
    pub(super) syncing: &'a Syncing,
    pub(super) flow: &'a Flow,
    pub(super) rse: &'a RseName,
    pub(super) rucio: &'a Rucio,
    pub(super) budget: &'a mut Budget<'p>,
    pub(super) report: &'a mut SyncReport,
}

impl RootSync<'_, '_> {
    pub(super) fn root(&self) -> &Root {
        self.flow.root()
    }

    pub(super) fn datastore(&self) -> &dyn Datastore {
        &**self.flow.datastore()
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        &*self.flow.site().registry
    }

    pub(super) fn ledger(&self) -> &dyn Ledger {
        &*self.flow.site().ledger
    }

    /// Whether a run is one that Rucio brings here: a peer's.
    pub(super) fn is_carried(&self, run: &RunKey) -> bool {
        self.is_peer(run.origin)
    }

    /// Whether manifests of an origin are awaited here.
    pub(super) fn is_peer(&self, origin: RepositoryId) -> bool {
        let trust = self.flow.site().trust();
        trust.peers().iter().any(|peer| peer.origin == origin)
    }

    /// The scopes in which a peer's files are.
    pub(super) fn scopes(&self, origin: RepositoryId) -> Vec<Scope> {
        let trust = self.flow.site().trust();
        let peer = trust.peers().iter().find(|peer| peer.origin == origin);
        match peer {
            Some(peer) if !peer.scopes.is_empty() => peer.scopes.clone(),
            _ => vec![self.rucio.config().scope.clone()],
        }
    }

    /// Asks where files are, in as few requests as there can be. A name that no server takes is nowhere.
    pub(super) fn list(&mut self, dids: &[Did], all: bool) -> Result<Listed, SyncError> {
        let schema = self.rucio.schema();
        let dids: Vec<&Did> = dids
            .iter()
            .filter(|did| schema.check(did).is_ok())
            .collect();
        let mut listed = Listed::default();
        for chunk in dids.chunks(self.rucio.config().bulk) {
            self.budget.ask()?;
            let rse = (!all).then_some(self.rse);
            for replica in self.rucio.replicas(chunk, rse)? {
                let mut replica = replica?;
                let did = Did::new(&replica.scope, replica.name.clone());
                if let Some(state) = replica.states.remove(self.rse.as_str()) {
                    let here = Here {
                        state,
                        pfns: replica.rses.remove(self.rse.as_str()).unwrap_or_default(),
                        bytes: replica.bytes,
                        adler32: replica.adler32,
                    };
                    listed.here.insert(did, here);
                } else {
                    let rses = available(replica.states);
                    listed.elsewhere.insert(did, rses);
                }
            }
        }
        Ok(listed)
    }

    /// Keeps findings about paths of this root, each with what is wrong there.
    pub(super) fn tell<P: AsRef<str>>(
        &mut self,
        kind: &str,
        wrong: &[(P, String)],
    ) -> Result<(), SyncError> {
        if wrong.is_empty() {
            return Ok(());
        }
        let now = self.flow.site().clock.now();
        let findings: Vec<Finding> = wrong
            .iter()
            .map(|(path, detail)| Finding {
                kind: kind.to_owned(),
                subject: self.subject(path.as_ref()),
                detail: detail.clone(),
                first_seen: now,
                last_seen: now,
                times: 1,
            })
            .collect();
        self.ledger().find_all(&findings)?;
        self.report.wrong += findings.len() as u64;
        Ok(())
    }

    /// Drops findings about paths that are right by now, where there are any of that kind.
    pub(super) fn heal<P: AsRef<str>>(&self, kind: &str, right: &[P]) -> Result<(), SyncError> {
        let ours = self.subject("");
        if right.is_empty() || self.ledger().findings_of(kind, &ours, None, 1)?.is_empty() {
            return Ok(());
        }
        let right = right.iter().map(|path| self.subject(path.as_ref()));
        Ok(self.ledger().healed_all(kind, &right.collect::<Vec<_>>())?)
    }

    /// What a finding about a path, or a run, of this root is about.
    pub(super) fn subject(&self, of: &str) -> String {
        format!("{}:{of}", self.root().name)
    }
}

/// The RSEs with a replica that can be read.
fn available(states: BTreeMap<String, String>) -> Vec<String> {
    let available = states.into_iter().filter(|(_, state)| state == AVAILABLE);
    available.map(|(rse, _)| rse).collect()
}
