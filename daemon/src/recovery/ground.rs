//! What a scan of a root knows from its beginning, and opens before its first path.

use std::thread::Scope;

use runsync_config::root::PathMapping;

use super::ScanError;
use super::ages::Ages;
use super::ahead::Ahead;
use super::batch::Batch;
use super::behind::Behind;
use super::earlier::Earlier;
use super::judge::{Suspect, Suspicion};
use super::merge::Merge;
use super::order::{Checks, Order};
use super::sample::Sample;
use super::streams::{Records, Sights};
use super::stretches::Stretches;
use super::untouchable::{Beside, Untouchable};
use crate::datastore::DatastoreError;
use crate::ingest::Flow;
use crate::ledger::scans::Span;
use crate::ledger::spans::without;

/// What a scan of a root knows from its beginning.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) flow: &'a Flow,
    pub(super) order: &'a Order,
    pub(super) ages: Ages,
    pub(super) behind: Behind,
    pub(super) untouchable: Untouchable,
    pub(super) sample: Sample,
    /// What is scanned, where that is a part that belongs to runs.
    pub(super) stretches: Option<Stretches>,
}

impl Ground<'_> {
    pub(super) fn whole(&self) -> Span {
        Span::below(self.order.below.as_ref())
    }

    /// Whether no file can be called dark by this scan.
    pub(super) fn doubts_dark(&self) -> bool {
        self.ages.doubt().is_some() || self.untouchable.doubt().is_some()
    }

    /// Whether files lie here under names that Rucio gives, of which the ledger does not know all.
    pub(super) fn has_rucio_names(&self) -> bool {
        self.flow.root().path_mapping != PathMapping::Identity
    }

    pub(super) fn failed(&self, source: DatastoreError) -> ScanError {
        ScanError::Datastore {
            root: self.flow.root().name.clone(),
            source,
        }
    }
}

/// All that is read beside each other, by path.
pub(super) struct Streams<'s> {
    pub(super) merge: Merge<Sights<'s>, Ahead>,
    pub(super) untouchable: Beside<'s>,
    pub(super) earlier: Earlier<'s>,
}

impl Ground<'_> {
    /// Where a batch that went through a stretch of paths has drawn conclusions.
    pub(super) fn concluded(&self, batch: &Batch, span: &Span) -> Vec<Span> {
        match &self.stretches {
            None => without(span, &batch.holes),
            Some(stretches) => {
                let within = stretches.within(span, &batch.singles);
                let parts = within.iter().flat_map(|part| without(part, &batch.holes));
                parts.collect()
            }
        }
    }

    /// Opens everything at a position.
    pub(super) fn streams<'s>(
        &'s self,
        position: &str,
        scope: &'s Scope<'s, '_>,
    ) -> Result<Streams<'s>, ScanError> {
        let (root, site) = (&self.flow.root().name, self.flow.site());
        let left = Span {
            from: position.to_owned(),
            ..self.whole()
        };
        let registry = &*site.registry;
        let (sights, records) = if let Some(stretches) = &self.stretches {
            let place = (root, &**self.flow.datastore());
            let sights = Sights::pieces(place, stretches.course(position)?, position);
            let course = stretches.course(position)?;
            (sights, Records::pieces(registry, root, course, position))
        } else {
            let below = self.order.below.as_ref();
            let walk = self.flow.datastore().walk(below, position);
            let walk = walk.map_err(|error| self.failed(error))?;
            let records = Records::new(registry, root, left.clone());
            (Sights::walk(walk), records)
        };
        let records = if self.order.checks == Checks::None {
            records
        } else {
            records.little_by_little()
        };
        Ok(Streams {
            merge: Merge::new(sights, Ahead::begin(scope, records)?),
            untouchable: self.untouchable.beside()?,
            earlier: Earlier::new(&*site.ledger, root, left),
        })
    }

    /// Which of the suspects are files that runsync gave a second name.
    pub(super) fn second_names(&self, suspects: &[Suspect]) -> Result<Vec<bool>, ScanError> {
        let root = self.flow.root();
        if !self.has_rucio_names() {
            return Ok(vec![false; suspects.len()]);
        }
        let inode = |suspect: &Suspect| match &suspect.what {
            Suspicion::Dark(file) => file.identity.inode,
            Suspicion::Lost | Suspicion::Size(_) | Suspicion::Sum(..) | Suspicion::Irregular => 0,
        };
        let inodes: Vec<u64> = suspects.iter().map(inode).collect();
        let ledger = &self.flow.site().ledger;
        Ok(ledger.have_second_names(&root.name, &inodes)?)
    }
}
