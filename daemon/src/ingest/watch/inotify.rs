//! Hints about the manifest folder of a POSIX root, from inotify.
//!
//! A folder that comes may be filled before it is watched. So an event about a folder is only
//! noted; whoever takes the hints first has it watched, with all that lies in it, and then lists
//! it. What came before is listed, what comes later is an event.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::info;

use super::hints::{Hints, Inbox};
use super::poll::Degraded;
use super::source::{self, Change};
use crate::datastore::manifest_path::{MANIFEST_FOLDER, check_manifest_path};
use crate::poison::lock;
use crate::worker::Wake;

/// The folder that is always there; watched itself, so that the manifest folder may come later.
const OUTER_FOLDER: &str = "runsync";
/// How often a folder is watched anew whose subfolders go while they are being watched.
const ATTEMPTS_MAX: usize = 10;

/// Watches the manifest folder of one root.
#[derive(Debug)]
pub struct Watcher {
    root: PathBuf,
    inbox: Arc<Mutex<Inbox>>,
    /// Never taken while the inbox is held: it waits for the thread that fills the inbox.
    watching: Mutex<Option<RecommendedWatcher>>,
}

impl Watcher {
    /// Starts watching the root at `directory`; `wake` is woken when there are hints. Never fails:
    /// where events cannot be had, [`degraded`](Self::degraded) says why, and the log once.
    ///
    /// The first hints are "everywhere", for what came before.
    pub fn start(directory: &Path, wake: Wake) -> Self {
        let root = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let inbox = Arc::new(Mutex::new(Inbox::new(&root)));
        let handler = {
            let (root, inbox) = (root.clone(), Arc::clone(&inbox));
            move |event| {
                let mut inbox = lock(&inbox);
                receive(&root, &mut inbox, event);
                if !inbox.is_empty() {
                    wake.wake();
                }
            }
        };
        let watching = match source::start(&root, handler) {
            Ok(watching) => Some(watching),
            Err(reason) => {
                lock(&inbox).degrade(reason);
                None
            }
        };
        let watcher = Self {
            root,
            inbox,
            watching: Mutex::new(watching),
        };
        watcher.watch_all();
        watcher
    }

    /// A watcher without events, as configuration may ask for.
    pub fn switched_off(directory: &Path) -> Self {
        let mut inbox = Inbox::new(directory);
        inbox.degraded = Some(Degraded::SwitchedOff);
        Self {
            root: directory.to_owned(),
            inbox: Arc::new(Mutex::new(inbox)),
            watching: Mutex::new(None),
        }
    }

    /// Takes all hints. It may block on storage: new folders are watched and listed here.
    pub fn take(&self) -> Hints {
        let (folders, watch_all) = {
            let mut inbox = lock(&self.inbox);
            let folders = std::mem::take(&mut inbox.folders);
            (folders, std::mem::take(&mut inbox.watch_all))
        };
        if watch_all {
            self.watch_all();
        }
        for folder in folders {
            if self.watch(&folder, RecursiveMode::Recursive) {
                self.list(&folder);
            }
        }
        std::mem::take(&mut lock(&self.inbox).hints)
    }

    /// Watches once more what could not be watched: permissions and limits may have changed. To be
    /// called before a sweep, which finds what came in between.
    pub fn mend(&self) {
        if lock(&self.watching).is_none() {
            return;
        }
        if lock(&self.inbox).degraded.take().is_none() {
            return;
        }
        self.watch_all();
        lock(&self.inbox).mended();
    }

    /// Why not every change is seen; the sweep must then come more often
    /// ([`sweep_interval`](super::poll::sweep_interval)).
    pub fn degraded(&self) -> Option<Degraded> {
        lock(&self.inbox).degraded.clone()
    }

    /// Holds up the thread that reads events, so that a test can fill the kernel's queue.
    #[cfg(test)]
    pub(super) fn hold_inbox(&self) -> impl Sized + '_ {
        lock(&self.inbox)
    }

    fn watch_all(&self) {
        self.watch(&self.root.join(OUTER_FOLDER), RecursiveMode::NonRecursive);
        self.watch(&self.root.join(MANIFEST_FOLDER), RecursiveMode::Recursive);
    }

    /// Returns once events of the folder are certain to come; false where it is no folder (any
    /// more).
    fn watch(&self, folder: &Path, mode: RecursiveMode) -> bool {
        for _ in 0..ATTEMPTS_MAX {
            if !source::is_folder(folder) {
                return false;
            }
            let outcome = match &mut *lock(&self.watching) {
                Some(watching) => watching.watch(folder, mode),
                None => return true,
            };
            match outcome {
                Ok(()) => return true,
                // A subfolder went meanwhile, and its neighbours may not be watched yet.
                Err(error) if source::is_gone(&error) => {}
                Err(error) => {
                    lock(&self.inbox).degrade(source::degraded(&error));
                    return true;
                }
            }
        }
        let reason = format!("`{}` keeps changing", folder.display());
        lock(&self.inbox).degrade(Degraded::Failed(reason));
        true
    }

    /// Adds what a new folder holds; only a hint, so errors are left to the sweep.
    fn list(&self, folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let path = entry.path();
                if let Some(manifest) = manifest_below(&self.root, &path) {
                    lock(&self.inbox).hints.add(manifest);
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                }
            }
        }
    }
}

/// Notes what an event says.
fn receive(root: &Path, inbox: &mut Inbox, event: notify::Result<notify::Event>) {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            inbox.degrade(source::degraded(&error));
            return inbox.lost();
        }
    };
    match source::change(event) {
        Change::Nothing => {}
        Change::Lost => {
            info!(root = %root.display(), "events were lost, looking everywhere");
            inbox.lost();
        }
        Change::At { paths, folder } => {
            for path in paths {
                if let Some(manifest) = manifest_below(root, &path) {
                    inbox.hints.add(manifest);
                } else if folder && may_be_manifest_folder(root, &path) {
                    inbox.folder(&path);
                }
            }
        }
    }
}

/// The path relative to the root, where it is one of a manifest.
fn manifest_below(root: &Path, path: &Path) -> Option<String> {
    let path = path.strip_prefix(root).ok()?.to_str()?;
    check_manifest_path(path).is_ok().then(|| path.to_owned())
}

fn may_be_manifest_folder(root: &Path, path: &Path) -> bool {
    let name = path
        .file_name()
        .map_or(&b""[..], |name| name.as_encoded_bytes());
    path.starts_with(root.join(MANIFEST_FOLDER)) && !name.starts_with(b".")
}
