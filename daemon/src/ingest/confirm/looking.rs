//! What all who confirm artifacts of one root share.
//!
//! The root's loop looks by schedule and by folders; others are told of single artifacts
//! ([`arrived`](super::arrived)). Together they keep below the limits of the configuration, and know
//! the same of what was found wrong.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

use runsync_config::root::Root;
use runsync_manifest::name::ArtifactPath;

use super::findings::Faulty;
use super::taken_away::TakenAway;
use super::throttle::Throttle;
use crate::poison::lock;
use crate::worker::Wake;

/// Folders and manifests asked for that are kept: where more come, all is looked for.
const ASKED_MAX: usize = 10_000;

/// Shared by all that confirm in a root.
#[derive(Debug)]
pub struct Looking {
    pub(super) throttle: Throttle,
    pub(super) faulty: Mutex<Faulty>,
    pub(super) taken_away: TakenAway,
    /// Folders with artifacts that are said to be there, for the loop that confirms.
    folders: Asked,
    /// Manifests that are said to be there, for the loop that registers.
    manifests: Asked,
}

/// What one loop is asked to look at.
#[derive(Debug, Default)]
struct Asked {
    paths: Mutex<Paths>,
    /// The loop, once it runs in this process.
    wake: OnceLock<Wake>,
}

/// Paths to look at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Paths {
    /// These.
    pub paths: BTreeSet<String>,
    /// More were asked for than are kept: it may be any.
    pub all: bool,
}

impl Looking {
    pub(in crate::ingest) fn new(root: &Root) -> Self {
        Self {
            throttle: Throttle::new(root),
            faulty: Mutex::default(),
            taken_away: TakenAway::default(),
            folders: Asked::default(),
            manifests: Asked::default(),
        }
    }

    /// The loop that confirms runs in this process, and looks at what it is asked to when it is woken.
    pub(in crate::ingest) fn confirms(&self, wake: &Wake) {
        self.folders.wake.get_or_init(|| wake.clone());
    }

    /// The same of the loop that registers.
    pub(in crate::ingest) fn registers(&self, wake: &Wake) {
        self.manifests.wake.get_or_init(|| wake.clone());
    }

    /// Hears that the files of these artifacts were taken away. Once it returns, none of them is confirmed by what was
    /// seen before.
    pub fn forget_sight_of<'p>(&self, paths: impl IntoIterator<Item = &'p ArtifactPath>) {
        self.taken_away.tell(paths);
    }

    /// Has the loop that confirms look at folders. False where it does not run in this process.
    pub fn ask_for_folders(&self, folders: impl IntoIterator<Item = String>) -> bool {
        self.folders.ask(folders)
    }

    /// Has the loop that registers look at manifests. False where it does not run in this process.
    pub fn ask_for_manifests(&self, manifests: impl IntoIterator<Item = String>) -> bool {
        self.manifests.ask(manifests)
    }

    pub(in crate::ingest) fn take_folders(&self) -> Paths {
        self.folders.take()
    }

    pub(in crate::ingest) fn take_manifests(&self) -> Paths {
        self.manifests.take()
    }
}

impl Asked {
    fn ask(&self, paths: impl IntoIterator<Item = String>) -> bool {
        let Some(wake) = self.wake.get() else {
            return false;
        };
        let mut asked = lock(&self.paths);
        asked.paths.extend(paths);
        if asked.paths.len() > ASKED_MAX {
            asked.paths.clear();
            asked.all = true;
        }
        drop(asked);
        wake.wake();
        true
    }

    fn take(&self) -> Paths {
        std::mem::take(&mut *lock(&self.paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("u/{number}"))
    }

    #[test]
    fn nobody_is_asked_where_no_loop_runs() {
        let asked = Asked::default();
        assert!(!asked.ask(paths(1)));
        assert_eq!(asked.take(), Paths::default());
    }

    #[test]
    fn what_is_too_much_to_be_kept_is_everything() {
        let asked = Asked::default();
        asked.wake.get_or_init(Wake::new);
        assert!(asked.ask(paths(2)));
        assert_eq!(asked.take().paths.len(), 2);
        assert!(asked.ask(paths(ASKED_MAX + 1)));
        let taken = asked.take();
        assert!(taken.all && taken.paths.is_empty());
        assert_eq!(asked.take(), Paths::default());
    }
}
