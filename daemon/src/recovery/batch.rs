//! What a scan has come upon since it last wrote down where it is.

use runsync_manifest::name::ArtifactPath;

use super::judge::{Suspect, Suspicion};
use crate::ledger::scans::Span;

/// Objects between two writings: some tenths of a second at full speed.
pub(super) const OBJECTS: usize = 4_096;

/// A stretch of paths that was gone through.
#[derive(Debug)]
pub(super) struct Batch {
    /// Where it begins.
    from: String,
    /// Where it ends.
    until: String,
    objects: usize,
    pub(super) suspects: Vec<Suspect>,
    /// Where nothing is concluded.
    pub(super) holes: Vec<Span>,
}

impl Batch {
    pub(super) fn begin(from: &str) -> Self {
        Self {
            from: from.to_owned(),
            until: from.to_owned(),
            objects: 0,
            suspects: Vec::new(),
            holes: Vec::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.objects >= OBJECTS
    }

    pub(super) fn suspect(&mut self, path: ArtifactPath, what: Suspicion) {
        self.suspects.push(Suspect { path, what });
    }

    pub(super) fn hole_at(&mut self, path: &ArtifactPath) {
        self.holes.push(Span::at(path.as_str()));
    }

    /// Counts an object, and all up to the end of its span as gone through.
    pub(super) fn pass(&mut self, span: Option<Span>) {
        self.objects += 1;
        if let Some(until) = span.and_then(|span| span.until)
            && until > self.until
        {
            self.until = until;
        }
    }

    /// Where the next one begins.
    pub(super) fn until(&self) -> &str {
        &self.until
    }

    /// What was gone through; to `end` where nothing comes after it.
    pub(super) fn span(&self, end: Option<&Span>) -> Span {
        Span {
            from: self.from.clone(),
            until: end.map_or_else(|| Some(self.until.clone()), |whole| whole.until.clone()),
        }
    }
}
