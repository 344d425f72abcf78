//! Makes the datasets of verified manifests known: many small ones share a commit, a large
//! one commits in batches and continues after a crash.

use std::ops::ControlFlow;

use runsync_config::root::RootName;
use runsync_manifest::name::RunKey;

use super::parse::Parsed;
use super::refuse::Refusal;
use super::verify::Verified;
use crate::registry::record::Registered;
use crate::registry::{Registry, RegistryError};

/// What became of one verified manifest.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Its datasets are known.
    Registered(Verified, Registered),
    /// Another manifest of the same commit stood against it.
    Refused(Parsed, Refusal),
}

/// Registers manifests of different runs; the artifacts of those that it `trusts` get their records at
/// once.
pub(super) fn register(
    verified: Vec<Verified>,
    root: &RootName,
    trusts: &dyn Fn(&RunKey) -> bool,
    registry: &dyn Registry,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Vec<Outcome>, RegistryError> {
    let registrations: Vec<_> = verified
        .iter()
        .map(|verified| verified.registration(root, trusts(verified.run())))
        .collect();
    let results = match registry.register(&registrations, progress) {
        // Only a manifest that was interrupted, and is brought alone, can be contradicted after
        // some of its rows are there: it goes on when what holds it up is gone.
        Err(RegistryError::Contradicted(conflict)) if verified.len() == 1 => vec![Err(*conflict)],
        other => other?,
    };
    Ok(verified
        .into_iter()
        .zip(results)
        .map(|(verified, result)| match result {
            Ok(registered) => Outcome::Registered(verified, registered),
            Err(conflict) => Outcome::Refused(verified.into_parsed(), conflict.into()),
        })
        .collect())
}
