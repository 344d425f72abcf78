//! What earlier passes found amiss: it is read again whatever else is read, or what was corrupt, then lost, and is
//! back would have healed unread.

use std::vec;

use runsync_config::root::RootName;

use crate::ledger::scans::{DriftFilter, DriftFinding, DriftKind, DriftSide, Span};
use crate::ledger::{Ledger, LedgerError};

/// Findings read at once.
const PAGE: usize = 1_000;

/// Findings on their way, by path.
pub(super) struct Earlier<'l> {
    ledger: &'l dyn Ledger,
    root: RootName,
    filter: DriftFilter,
    page: vec::IntoIter<DriftFinding>,
    next: Option<DriftFinding>,
    /// The last of the page; none before the first page.
    last: Option<String>,
    more: bool,
}

impl<'l> Earlier<'l> {
    pub(super) fn new(ledger: &'l dyn Ledger, root: &RootName, span: Span) -> Self {
        Self {
            ledger,
            root: root.clone(),
            filter: DriftFilter {
                root: Some(root.clone()),
                kind: None,
                side: Some(DriftSide::Datastore),
                span,
                ignored: true,
            },
            page: Vec::new().into_iter(),
            next: None,
            last: None,
            more: true,
        }
    }

    /// Whether the artifact at a path was found lost, corrupt or irregular. Paths are asked for in ascending order.
    pub(super) fn holds(&mut self, path: &str) -> Result<bool, LedgerError> {
        loop {
            if self.next.is_none() {
                self.next = self.step()?;
            }
            match &self.next {
                Some(finding) if finding.path.as_str() < path => self.next = None,
                Some(finding) => {
                    let is_here = finding.path.as_str() == path;
                    return Ok(is_here && finding.kind != DriftKind::Dark);
                }
                None => return Ok(false),
            }
        }
    }

    fn step(&mut self) -> Result<Option<DriftFinding>, LedgerError> {
        if let Some(finding) = self.page.next() {
            return Ok(Some(finding));
        }
        if !self.more {
            return Ok(None);
        }
        let after = self.last.as_deref().map(|last| (&self.root, last));
        let page = self.ledger.drift(&self.filter, after, PAGE)?;
        self.more = page.len() == PAGE;
        self.last = page.last().map(|finding| finding.path.to_string());
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}
