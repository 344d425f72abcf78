//! Names that were found in more than one spelling, by whatever passes.
//!
//! A pass that finds both halves of a name that was spelled anew says so with each. Where one pass found what is
//! lost, and another what is dark, only all findings together tell.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::RepairError;
use super::scene::Scene;
use crate::ledger::scans::{DriftFilter, DriftSide, Span};
use crate::spelling::folded;

/// Findings read together.
const PAGE: usize = 4_096;

/// How many findings of a root are of each name, whatever its spelling. Sixteen bytes for each: two names that share
/// a hash are taken for one, and left.
#[derive(Debug)]
pub(super) struct Spellings {
    hasher: RandomState,
    found: HashMap<u64, u32>,
}

impl Spellings {
    /// Reads all findings of a root, also those that are to be left out.
    pub(super) fn of(scene: &Scene<'_>) -> Result<Self, RepairError> {
        let filter = DriftFilter {
            root: Some(scene.root().clone()),
            kind: None,
            side: Some(DriftSide::Datastore),
            span: Span::all(),
            ignored: true,
        };
        let (hasher, mut found) = (RandomState::new(), HashMap::new());
        let mut after: Option<String> = None;
        loop {
            let at = after.as_deref().map(|after| (scene.root(), after));
            let page = scene.ledger().drift(&filter, at, PAGE)?;
            for finding in &page {
                let path = folded(finding.path.as_str());
                *found.entry(hasher.hash_one(path)).or_default() += 1;
            }
            match page.last() {
                Some(last) if page.len() >= PAGE => after = Some(last.path.to_string()),
                Some(_) | None => return Ok(Self { hasher, found }),
            }
        }
    }

    /// Whether more than one finding is of that name.
    pub(super) fn are_many(&self, path: &str) -> bool {
        let found = self.found.get(&self.hasher.hash_one(folded(path)));
        found.is_some_and(|count| *count > 1)
    }
}
