//! The scopes in which Rucio may have a run's files.
//!
//! What this site has published stands in the ledger. What came from another site is in the scopes that
//! configuration names of this peer, or in one that the headers of its manifests name; a manifest that
//! names none was published in its site's default scope. Only where configuration names no scope of the
//! peer, that is taken for this site's own. What Rucio does not list in any of them is unlinked, so a
//! header that cannot be read is no reason to go on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use runsync_config::peer::Peer;
use runsync_config::root::RootName;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::{RepositoryId, RunKey, Scope};
use runsync_manifest::reader::Reader;

use super::RemovalError;
use super::flow::Removing;
use crate::datastore::{Datastore, DatastoreError};
use crate::ledger::Ledger;
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::poison::lock;

/// The scopes of peers' files, as configuration names them.
#[derive(Debug, Default)]
pub struct PeerScopes(Mutex<BTreeMap<RepositoryId, BTreeSet<Scope>>>);

impl PeerScopes {
    /// Those of these peers.
    pub fn of(peers: &[Peer]) -> Self {
        let this = Self::default();
        this.set(peers);
        this
    }

    /// Takes those of a configuration that was read again.
    pub fn set(&self, peers: &[Peer]) {
        let of = |peer: &Peer| (peer.origin, peer.scopes.iter().cloned().collect());
        *lock(&self.0) = peers.iter().map(of).collect();
    }

    /// Where files of an origin are whose manifests name no scope.
    fn default_of(&self, origin: RepositoryId, own: &Scope) -> BTreeSet<Scope> {
        match lock(&self.0).get(&origin) {
            Some(scopes) if !scopes.is_empty() => scopes.clone(),
            _ => BTreeSet::from([own.clone()]),
        }
    }

    /// What configuration names of an origin: none of this site.
    fn named(&self, origin: RepositoryId) -> BTreeSet<Scope> {
        lock(&self.0).get(&origin).cloned().unwrap_or_default()
    }
}

impl Removing {
    /// All scopes that files of runs may have, in order; none where the site has no Rucio.
    pub(super) fn scopes<'a>(
        &self,
        runs: impl IntoIterator<Item = &'a RunKey>,
    ) -> Result<Vec<Scope>, RemovalError> {
        let ground = &self.ground;
        let Some(rucio) = &ground.rucio else {
            return Ok(Vec::new());
        };
        let mut scopes = BTreeSet::new();
        for run in runs {
            let roots = ground.roots.iter();
            let roots = roots.map(|root| (&root.name, &*root.datastore));
            let defaults = (&*ground.peers, &rucio.config().scope);
            scopes.extend(scopes_of(run, &*ground.ledger, &roots, defaults)?);
        }
        Ok(scopes.into_iter().collect())
    }
}

/// The scopes that files of a run may have: at least one. What no manifest says, its peer's scopes do, or
/// this site's own.
///
/// # Errors
///
/// Where the ledger or a root fails, or a manifest is there and cannot be read.
pub fn scopes_of<'a>(
    run: &RunKey,
    ledger: &dyn Ledger,
    roots: &(impl Iterator<Item = (&'a RootName, &'a dyn Datastore)> + Clone),
    (peers, own): (&PeerScopes, &Scope),
) -> Result<BTreeSet<Scope>, RemovalError> {
    let published = ledger.publications_of(run)?;
    let mut scopes: BTreeSet<Scope> = published.into_iter().filter_map(|one| one.scope).collect();
    if scopes.is_empty() {
        scopes = peers.named(run.origin);
        let default = peers.default_of(run.origin, own);
        for row in ledger.of_run(run)? {
            let mut roots = roots.clone();
            let root = roots.find(|(name, _)| **name == row.location.root);
            if let Some((name, root)) = root {
                match named_in(&row, name, root)? {
                    Named::Scope(scope) => {
                        scopes.insert(scope);
                    }
                    Named::Default => scopes.extend(default.iter().cloned()),
                    Named::Nothing => {}
                }
            }
        }
        if scopes.is_empty() {
            scopes = default;
        }
    }
    Ok(scopes)
}

/// What a manifest says.
enum Named {
    Scope(Scope),
    Default,
    /// It was turned away, or is gone.
    Nothing,
}

fn named_in(
    row: &ManifestRow,
    name: &RootName,
    root: &dyn Datastore,
) -> Result<Named, RemovalError> {
    match row.state {
        ManifestState::Registered | ManifestState::Blocked | ManifestState::Superseded => {}
        ManifestState::Untrusted | ManifestState::Quarantined => return Ok(Named::Nothing),
    }
    let path = &row.location.path;
    let file = match root.open_manifest(path) {
        Ok((file, _)) => file,
        // It was withdrawn, and Rucio has deleted it.
        Err(DatastoreError::Missing { .. }) => return Ok(Named::Nothing),
        Err(source) => {
            let root = name.clone();
            return Err(RemovalError::Root { root, source });
        }
    };
    match Reader::new(file, Limits::default()) {
        Ok(reader) => Ok((reader.header().scope.clone()).map_or(Named::Default, Named::Scope)),
        Err(source) => Err(RemovalError::ScopeUnknown {
            path: path.clone(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_files_are_in_its_own_scopes_where_configuration_names_them() {
        let scope = |name: &str| -> Scope { name.parse().unwrap() };
        let origin = |number| RepositoryId(uuid::Uuid::from_u128(number));
        let (own, theirs) = (scope("own"), BTreeSet::from([scope("b"), scope("b2")]));
        let peers = PeerScopes::default();
        *lock(&peers.0) =
            BTreeMap::from([(origin(1), theirs.clone()), (origin(2), BTreeSet::new())]);
        let alone = BTreeSet::from([own.clone()]);
        for (number, named, default) in [
            (1, &theirs, &theirs),
            (2, &BTreeSet::new(), &alone),
            (3, &BTreeSet::new(), &alone),
        ] {
            assert_eq!(peers.named(origin(number)), *named);
            assert_eq!(peers.default_of(origin(number), &own), *default);
        }
    }
}
