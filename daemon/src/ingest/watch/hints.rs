//! Collects hints about manifests until somebody takes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::poll::Degraded;

/// Most paths that are kept one by one; a sweep of everything costs no more than this many looks.
pub const PATHS_MAX: usize = 10_000;
/// Most new folders that are kept one by one.
const FOLDERS_MAX: usize = 1_000;

/// Where it may be worth looking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// Manifest files that came, went or changed; relative to the root.
    pub paths: BTreeSet<String>,
    /// Everywhere: something was missed. The paths are then left empty.
    pub rescan: bool,
}

impl Hints {
    /// Everywhere.
    pub fn everywhere() -> Self {
        Self {
            paths: BTreeSet::new(),
            rescan: true,
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        !self.rescan && self.paths.is_empty()
    }

    /// Adds a path; one too many means everywhere.
    pub(super) fn add(&mut self, path: String) {
        if self.rescan {
            return;
        }
        self.paths.insert(path);
        if self.paths.len() > PATHS_MAX {
            *self = Self::everywhere();
        }
    }
}

/// What events have left: hints, and folders that came and are not watched for sure yet.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) hints: Hints,
    pub(super) folders: BTreeSet<PathBuf>,
    /// Events were lost: any folder may have come.
    pub(super) watch_all: bool,
    pub(super) degraded: Option<Degraded>,
    /// Why events are missing, as the log has heard it.
    told: Option<Degraded>,
    /// For the log.
    root: PathBuf,
}

impl Inbox {
    /// Starts with "everywhere": nobody has looked yet.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            hints: Hints::everywhere(),
            folders: BTreeSet::new(),
            watch_all: false,
            degraded: None,
            told: None,
            root: root.to_owned(),
        }
    }

    /// Keeps the first reason and tells it once.
    pub(super) fn degrade(&mut self, reason: Degraded) {
        if self.degraded.is_some() {
            return;
        }
        if self.told.as_ref() != Some(&reason) {
            let root = self.root.display();
            warn!(%root, %reason, "not all changes of manifests are seen, sweeping more often");
            self.told = Some(reason.clone());
        }
        self.degraded = Some(reason);
    }

    /// Tells that events are complete again, where it was told that they are not.
    pub(super) fn mended(&mut self) {
        if self.degraded.is_none() && self.told.take().is_some() {
            info!(root = %self.root.display(), "all changes of manifests are seen again");
        }
    }

    pub(super) fn folder(&mut self, folder: &Path) {
        self.folders.insert(folder.to_owned());
        if self.folders.len() > FOLDERS_MAX {
            self.lost();
        }
    }

    pub(super) fn lost(&mut self) {
        self.folders.clear();
        self.watch_all = true;
        self.hints = Hints::everywhere();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.folders.is_empty() && !self.watch_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_paths_become_everywhere_in_bounded_memory() {
        let mut hints = Hints::default();
        for number in 0..=PATHS_MAX {
            assert!(!hints.rescan);
            hints.add(number.to_string());
        }
        assert_eq!(hints, Hints::everywhere());
        hints.add("another".to_owned());
        assert_eq!(hints, Hints::everywhere());
    }

    #[test]
    fn the_same_path_twice_is_one_hint() {
        let mut hints = Hints::default();
        assert!(hints.is_empty());
        hints.add("a".to_owned());
        hints.add("a".to_owned());
        assert_eq!(hints.paths.len(), 1);
    }

    #[test]
    fn too_many_new_folders_become_everywhere() {
        let mut inbox = Inbox::new(Path::new("/root"));
        for number in 0..=FOLDERS_MAX {
            inbox.folder(Path::new(&number.to_string()));
        }
        assert!(inbox.watch_all && inbox.hints.rescan && inbox.folders.is_empty());
    }
}
