//! The scopes in which Rucio may have a run's files.
//!
//! What this site has published stands in the ledger; what came from another says it in the headers of
//! its manifests. A manifest that names none was published in its site's default scope, which is taken
//! for this site's own.

use std::collections::BTreeSet;

use runsync_config::root::RootName;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::{RunKey, Scope};
use runsync_manifest::reader::Reader;
use tracing::debug;

use super::RemovalError;
use super::flow::Removing;
use crate::datastore::{Datastore, DatastoreError};
use crate::error_chain::error_chain;
use crate::ledger::Ledger;
use crate::ledger::record::{ManifestRow, ManifestState};

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
            let default = &rucio.config().scope;
            scopes.extend(scopes_of(run, &*ground.ledger, &roots, default)?);
        }
        Ok(scopes.into_iter().collect())
    }
}

/// The scopes that files of a run may have: at least one.
///
/// # Errors
///
/// Where the ledger or a root fails.
pub fn scopes_of<'a>(
    run: &RunKey,
    ledger: &dyn Ledger,
    roots: &(impl Iterator<Item = (&'a RootName, &'a dyn Datastore)> + Clone),
    default: &Scope,
) -> Result<BTreeSet<Scope>, RemovalError> {
    let published = ledger.publications_of(run)?;
    let mut scopes: BTreeSet<Scope> = published.into_iter().filter_map(|one| one.scope).collect();
    if scopes.is_empty() {
        for row in ledger.of_run(run)? {
            let mut roots = roots.clone();
            let root = roots.find(|(name, _)| **name == row.location.root);
            if let Some((name, root)) = root {
                let named = scope_named(&row, root, default);
                let named = named.map_err(|source| RemovalError::Root {
                    root: name.clone(),
                    source,
                })?;
                scopes.extend(named);
            }
        }
    }
    if scopes.is_empty() {
        scopes.insert(default.clone());
    }
    Ok(scopes)
}

/// The scope of a manifest. One that was turned away, or is gone, says nothing.
fn scope_named(
    row: &ManifestRow,
    root: &dyn Datastore,
    default: &Scope,
) -> Result<Option<Scope>, DatastoreError> {
    match row.state {
        ManifestState::Registered | ManifestState::Blocked | ManifestState::Superseded => {}
        ManifestState::Untrusted | ManifestState::Quarantined => return Ok(None),
    }
    let file = match root.open_manifest(&row.location.path) {
        Ok((file, _)) => file,
        // It was withdrawn, and Rucio has deleted it.
        Err(DatastoreError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match Reader::new(file, Limits::default()) {
        Ok(reader) => {
            let named = reader.header().scope.clone();
            Ok(Some(named.unwrap_or_else(|| default.clone())))
        }
        Err(error) => {
            debug!(path = row.location.path, error = %error_chain(&error),
                "a manifest does not tell its scope");
            Ok(None)
        }
    }
}
