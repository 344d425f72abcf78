//! Runs of which the registry knows less than the ledger: it was restored from a backup, and until their
//! manifests are registered again nothing can be said of what they name.

use std::collections::{BTreeMap, BTreeSet};

use runsync_config::root::RootName;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::RunKey;

use super::ScanError;
use crate::ledger::Ledger;
use crate::ledger::record::ManifestState;
use crate::registry::Registry;

/// Rows read at once.
const PAGE: usize = 1_000;

/// These runs.
#[derive(Debug, Default)]
pub(super) struct Behind(BTreeSet<RunKey>);

impl Behind {
    /// Finds them. The ledger is asked first: what is registered meanwhile is known to both.
    pub(super) fn find(
        ledger: &dyn Ledger,
        registry: &dyn Registry,
        root: &RootName,
    ) -> Result<Self, ScanError> {
        let mut newest = registered(ledger, root)?;
        let mut after = None;
        loop {
            let page = registry.runs_after(
                None,
                false,
                after
                    .as_ref()
                    .map(|key: &RunKey| (key.name.as_str(), key.origin)),
                PAGE,
            )?;
            for row in &page {
                let known = row.generation.max(row.floor);
                if newest
                    .get(&row.key)
                    .is_some_and(|newest| known >= Some(*newest))
                {
                    newest.remove(&row.key);
                }
            }
            let last = page.last().map(|row| row.key.clone());
            if page.len() < PAGE {
                break;
            }
            after = last;
        }
        Ok(Self(newest.into_keys().collect()))
    }

    pub(super) fn holds(&self, run: &RunKey) -> bool {
        self.0.contains(run)
    }

    pub(super) fn runs(&self) -> impl ExactSizeIterator<Item = &RunKey> {
        self.0.iter()
    }
}

/// The newest generation of each run that the ledger has as registered, of those that a root brought.
fn registered(
    ledger: &dyn Ledger,
    root: &RootName,
) -> Result<BTreeMap<RunKey, Generation>, ScanError> {
    let mut newest = BTreeMap::new();
    let mut after = None;
    loop {
        let page = ledger.manifests_after(
            Some(ManifestState::Registered),
            Some(root),
            after.as_ref().map(|(at, location)| (*at, location)),
            PAGE,
        )?;
        let is_last = page.len() < PAGE;
        after = page
            .last()
            .map(|row| (row.decided_at, row.location.clone()));
        for summary in page.into_iter().filter_map(|row| row.summary) {
            if summary.content == Content::Inventory {
                continue;
            }
            let known = newest.entry(summary.run).or_insert(summary.generation);
            *known = summary.generation.max(*known);
        }
        if is_last {
            return Ok(newest);
        }
    }
}
