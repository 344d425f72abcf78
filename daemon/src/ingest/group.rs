//! Which manifests share a commit: small ones of different runs, in bounded memory.

use std::collections::HashSet;

use runsync_manifest::name::RunKey;

use super::parse::Parsed;
use super::verify::Authentic;
use crate::registry::record::RowSource;

/// Claims of small manifests that may share a commit.
const GROUP_CLAIMS: u64 = 20_000;
/// Manifests that may share a commit; each holds its rows in memory.
const GROUP_MANIFESTS: usize = 256;
/// Rows of one group held in memory; a manifest that needs more than this is registered alone.
const GROUP_MEMORY_BYTES: usize = 32 << 20;

/// Manifests that may share a commit.
#[derive(Debug, Default)]
pub(super) struct Group {
    manifests: Vec<Authentic>,
    runs: HashSet<RunKey>,
    claims: u64,
    memory_bytes: usize,
}

impl Group {
    /// Whether one more fits. Manifests of one run are judged one after the other: the second
    /// must see what became of the first.
    pub(super) fn takes(&self, next: &Parsed) -> bool {
        self.claims + next.rows().claims() <= GROUP_CLAIMS
            && self.manifests.len() < GROUP_MANIFESTS
            && self.memory_bytes + next.rows().memory_bytes() <= GROUP_MEMORY_BYTES
            && !self.runs.contains(&next.run())
    }

    /// Adds one that fits, or the first.
    pub(super) fn add(&mut self, manifest: Authentic) {
        let parsed = manifest.parsed();
        self.claims += parsed.rows().claims();
        self.memory_bytes += parsed.rows().memory_bytes();
        self.runs.insert(parsed.run());
        self.manifests.push(manifest);
    }

    /// The manifests, in the order they came.
    pub(super) fn into_manifests(self) -> Vec<Authentic> {
        self.manifests
    }
}
