//! What a scan has come upon since it last wrote down where it is.

use std::time::{Duration, Instant};

use runsync_manifest::name::ArtifactPath;

use super::judge::{Suspect, Suspicion};
use super::merge::Met;
use crate::ledger::scans::Span;

/// Objects between two writings: some tenths of a second at full speed. Each writing waits for the disk.
const OBJECTS: usize = 32_768;
/// What is suspect, or is left out, between two writings: it is held in memory, looked at, and written in one
/// transaction, for which other writers wait.
const NOTEWORTHY: usize = 4_096;
/// Bytes read between two writings.
const BYTES: u64 = 1 << 30;
/// Time between two writings: what a scan that is slow, or is held to so many calls, loses when it is killed.
const TIME: Duration = Duration::from_secs(10);

/// A stretch of paths that was gone through.
#[derive(Debug)]
pub(super) struct Batch {
    /// Where it begins.
    from: String,
    /// Where it ends.
    until: String,
    objects: usize,
    /// Bytes the pass had read when it began.
    read: u64,
    begun: Instant,
    pub(super) suspects: Vec<Suspect>,
    /// Where nothing is concluded.
    pub(super) holes: Vec<Span>,
    /// Single paths that were gone through beside the folders of runs.
    pub(super) singles: Vec<Span>,
}

impl Batch {
    pub(super) fn begin(from: &str, read: u64) -> Self {
        Self {
            from: from.to_owned(),
            until: from.to_owned(),
            objects: 0,
            read,
            begun: Instant::now(),
            suspects: Vec::new(),
            holes: Vec::new(),
            singles: Vec::new(),
        }
    }

    /// Whether it is time to write it down; `read` is what the pass has read by now.
    pub(super) fn is_full(&self, read: u64) -> bool {
        let noteworthy = [self.suspects.len(), self.holes.len(), self.singles.len()];
        self.objects >= OBJECTS
            || noteworthy.into_iter().any(|count| count >= NOTEWORTHY)
            || read.saturating_sub(self.read) >= BYTES
            || self.begun.elapsed() >= TIME
    }

    /// Whether the next one begins further on.
    pub(super) fn has_moved(&self) -> bool {
        self.until > self.from
    }

    pub(super) fn suspect(&mut self, path: ArtifactPath, what: Suspicion) {
        self.suspects.push(Suspect { path, what });
    }

    pub(super) fn hole_at(&mut self, path: &ArtifactPath) {
        self.holes.push(Span::at(path.as_str()));
    }

    /// Counts an object, and all up to its end as gone through.
    pub(super) fn pass(&mut self, met: &Met) {
        self.objects += 1;
        if let Some(path) = met.path() {
            self.go_after(path.as_str());
        } else if let Some(until) = met.span().and_then(|span| span.until)
            && until > self.until
        {
            self.until = until;
        }
    }

    /// The first text after a path is no earlier than what comes at or before that path; most are passed here,
    /// and none needs memory of its own.
    fn go_after(&mut self, path: &str) {
        if path >= self.until.as_str() {
            self.until.clear();
            self.until.push_str(path);
            self.until.push('\0');
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::StorageFault;

    #[test]
    fn a_batch_is_full_of_paths_or_of_bytes_or_after_a_time() {
        let mut batch = Batch::begin("a", 7);
        assert!(!batch.is_full(7) && !batch.is_full(6 + BYTES));
        assert!(batch.is_full(7 + BYTES));
        batch.begun = Instant::now().checked_sub(TIME).unwrap();
        assert!(batch.is_full(7));
        let mut batch = Batch::begin("a", 0);
        for _ in 0..OBJECTS {
            batch.pass(&Met::Unnameable("\u{1}".to_owned()));
        }
        assert!(batch.is_full(0) && !batch.has_moved());
        batch.pass(&Met::Unreadable("a".parse().unwrap()));
        assert!(batch.has_moved());
        let mut batch = Batch::begin("a", 0);
        for _ in 0..NOTEWORTHY {
            batch.suspect("b".parse().unwrap(), Suspicion::Lost);
        }
        assert!(batch.is_full(0));
    }

    #[test]
    fn a_batch_ends_after_the_last_path_or_folder_that_it_met() {
        let mut batch = Batch::begin("", 0);
        let path = |text: &str| text.parse::<ArtifactPath>().unwrap();
        for (met, until) in [
            (Met::Unreadable(path("a")), "a\0"),
            (Met::Unreadable(path("a-1")), "a-1\0"),
            (Met::Unlisted(Some(path("b")), StorageFault(5)), "b0"),
            (Met::Unreadable(path("b/1")), "b0"),
            (Met::Unnameable("c".to_owned()), "b0"),
            (Met::Unreadable(path("b0")), "b0\0"),
        ] {
            batch.pass(&met);
            assert_eq!(batch.until(), until);
        }
    }
}
