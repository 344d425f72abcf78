//! The two sides of a scan on their way: sights of the root, and records in pages.

use std::time::{Duration, Instant};
use std::vec;

use runsync_config::root::RootName;

use crate::datastore::{Sight, Walk};
use crate::ledger::scans::{Span, after};
use crate::registry::record::ArtifactAt;
use crate::registry::{Registry, RegistryError};

/// Records read at once.
const PAGE: usize = 2_000;

/// What a walk sees, and what that costs.
pub(super) struct Sights<'w> {
    walk: Box<dyn Walk + 'w>,
    paid: u64,
    took: Duration,
}

impl<'w> Sights<'w> {
    pub(super) fn new(walk: Box<dyn Walk + 'w>) -> Self {
        Self {
            walk,
            paid: 0,
            took: Duration::ZERO,
        }
    }

    /// Calls to storage since this was last asked, and how long they took.
    pub(super) fn cost(&mut self) -> (u64, Duration) {
        let calls = self.walk.calls();
        let new = calls - std::mem::replace(&mut self.paid, calls);
        (new, std::mem::take(&mut self.took))
    }
}

impl Iterator for Sights<'_> {
    type Item = Sight;

    fn next(&mut self) -> Option<Sight> {
        let begun = Instant::now();
        let sight = self.walk.next();
        self.took += begun.elapsed();
        sight
    }
}

/// All artifacts that runs name in a stretch of paths.
pub(super) struct Records<'r> {
    registry: &'r dyn Registry,
    root: &'r RootName,
    left: Span,
    page: vec::IntoIter<ArtifactAt>,
    more: bool,
}

impl<'r> Records<'r> {
    pub(super) fn new(registry: &'r dyn Registry, root: &'r RootName, span: Span) -> Self {
        Self {
            registry,
            root,
            left: span,
            page: Vec::new().into_iter(),
            more: true,
        }
    }

    fn read(&mut self) -> Result<(), RegistryError> {
        let (from, until) = (&self.left.from, self.left.until.as_deref());
        let registry = self.registry;
        let page = registry.artifacts_between(self.root, from, until, PAGE)?;
        self.more = page.len() == PAGE;
        if let Some(last) = page.last() {
            self.left.from = after(last.path.as_str());
        }
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<ArtifactAt, RegistryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.page.next();
        if record.is_some() || !self.more {
            return record.map(Ok);
        }
        match self.read() {
            Ok(()) => self.page.next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}
