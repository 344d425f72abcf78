//! One scan of a root at a time: what one finds, another would take for healed.

use std::collections::BTreeSet;
use std::sync::Mutex;

use runsync_config::root::RootName;

use crate::poison::lock;

/// Roots that are being scanned.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeSet<RootName>>);

/// A root that is being scanned, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    root: RootName,
}

impl Turns {
    /// Takes the turn to scan a root; none where another has it.
    pub(super) fn take(&self, root: &RootName) -> Option<Turn<'_>> {
        let is_free = lock(&self.0).insert(root.clone());
        is_free.then(|| Turn {
            turns: self,
            root: root.clone(),
        })
    }

    /// The roots that are being scanned.
    pub(super) fn taken(&self) -> Vec<RootName> {
        lock(&self.0).iter().cloned().collect()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.turns.0).remove(&self.root);
    }
}
