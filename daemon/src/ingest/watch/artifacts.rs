//! Watches the folders in which waiting runs expect artifacts, up to a configured number.
//!
//! A folder that does not exist yet is stood for by its nearest parent that does; as soon as
//! something comes there, the watch moves down. A folder that cannot be watched is simply not
//! reported: its run is looked at again by and by anyway.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

use super::poll::Degraded;
use super::source::{self, Change};
use crate::poison::lock;
use crate::worker::Wake;

/// How often a folder is sought anew that comes and goes while it is being watched.
const ATTEMPTS_MAX: usize = 10;

/// Watches artifact folders of one root. Folders are named relative to the root, without a `/` at
/// the end; the root itself is the empty name.
#[derive(Debug)]
pub struct ArtifactWatch {
    root: PathBuf,
    most: usize,
    inbox: Arc<Mutex<Inbox>>,
    /// Never taken while the inbox is held: it waits for the thread that fills the inbox.
    watches: Mutex<Watches>,
}

/// What events have left.
#[derive(Debug, Default)]
struct Inbox {
    wanted: BTreeSet<String>,
    /// Wanted folders in which something changed.
    dirty: BTreeSet<String>,
    /// Wanted folders that came, went or moved, with any of their parents.
    unsettled: BTreeSet<String>,
}

#[derive(Debug)]
struct Watches {
    watching: Option<RecommendedWatcher>,
    /// Which directory stands for a wanted folder.
    stands_for: HashMap<String, PathBuf>,
    /// How many wanted folders a watched directory stands for.
    uses: HashMap<PathBuf, usize>,
    degraded: Option<Degraded>,
}

impl ArtifactWatch {
    /// Watches at most `most` folders of the root at `directory`; `wake` is woken when one of them
    /// is dirty. Never fails: see [`degraded`](Self::degraded).
    pub fn start(directory: &Path, most: usize, wake: Wake) -> Self {
        let root = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let handler = {
            let (root, inbox) = (root.clone(), Arc::clone(&inbox));
            move |event| {
                if receive(&root, &mut lock(&inbox), event) {
                    wake.wake();
                }
            }
        };
        let (watching, degraded) = match source::start(&root, handler) {
            Ok(watching) => (Some(watching), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            root,
            most,
            inbox,
            watches: Mutex::new(Watches {
                watching,
                stands_for: HashMap::new(),
                uses: HashMap::new(),
                degraded,
            }),
        }
    }

    /// Says which folders are wanted from now on, the most wanted first; those beyond the limit
    /// are left out. Folders that are newly watched are dirty at once, so that nothing is missed
    /// that came before. Returns how many are watched. It costs little where they are those that
    /// were wanted before.
    pub fn wanted(&self, folders: impl IntoIterator<Item = String>) -> usize {
        let mut watches = lock(&self.watches);
        if watches.watching.is_none() {
            return 0;
        }
        let wanted: BTreeSet<String> = folders.into_iter().take(self.most).collect();
        {
            let mut inbox = lock(&self.inbox);
            let all = watches.stands_for.len() == wanted.len() || watches.degraded.is_some();
            if all && inbox.wanted == wanted {
                return watches.stands_for.len();
            }
            inbox.dirty.retain(|folder| wanted.contains(folder));
            inbox.unsettled.retain(|folder| wanted.contains(folder));
            inbox.wanted.clone_from(&wanted);
        }
        let unwanted: Vec<String> = watches
            .stands_for
            .keys()
            .filter(|folder| !wanted.contains(*folder))
            .cloned()
            .collect();
        for folder in unwanted {
            watches.release(&folder);
        }
        for folder in wanted {
            if !watches.stands_for.contains_key(&folder) {
                watches.settle(&self.root, &folder);
                if watches.stands_for.contains_key(&folder) {
                    lock(&self.inbox).dirty.insert(folder);
                }
            }
        }
        watches.stands_for.len()
    }

    /// Takes the wanted folders in which something has changed since the last call. It may block
    /// on storage: watches are moved here.
    pub fn take_dirty(&self) -> Vec<String> {
        let mut watches = lock(&self.watches);
        let unsettled = std::mem::take(&mut lock(&self.inbox).unsettled);
        for folder in unsettled {
            watches.settle(&self.root, &folder);
            lock(&self.inbox).dirty.insert(folder);
        }
        let dirty = std::mem::take(&mut lock(&self.inbox).dirty);
        dirty.into_iter().collect()
    }

    /// Why not every change is seen.
    pub fn degraded(&self) -> Option<Degraded> {
        lock(&self.watches).degraded.clone()
    }
}

impl Watches {
    /// Watches `folder`, or its nearest parent that exists, such that what comes from now on is
    /// an event.
    fn settle(&mut self, root: &Path, folder: &str) {
        for _ in 0..ATTEMPTS_MAX {
            let nearest = nearest(root, folder);
            match self.watch(&nearest) {
                Ok(()) => self.hold(folder, nearest.clone()),
                Err(error) if source::is_gone(&error) => continue,
                Err(error) => return self.degrade(root, source::degraded(&error)),
            }
            // Only now is it certain that a folder that comes below is not missed.
            if self::nearest(root, folder) == nearest {
                return;
            }
        }
    }

    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        match &mut self.watching {
            Some(watching) => watching.watch(directory, RecursiveMode::NonRecursive),
            None => Ok(()),
        }
    }

    fn hold(&mut self, folder: &str, directory: PathBuf) {
        if self.stands_for.get(folder) == Some(&directory) {
            return;
        }
        self.release(folder);
        *self.uses.entry(directory.clone()).or_default() += 1;
        self.stands_for.insert(folder.to_owned(), directory);
    }

    fn release(&mut self, folder: &str) {
        let Some(directory) = self.stands_for.remove(folder) else {
            return;
        };
        let Some(uses) = self.uses.get_mut(&directory) else {
            return;
        };
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        self.uses.remove(&directory);
        if let Some(watching) = &mut self.watching {
            // It fails where the directory is gone, and its watch with it.
            watching.unwatch(&directory).ok();
        }
    }

    fn degrade(&mut self, root: &Path, reason: Degraded) {
        if self.degraded.is_none() {
            warn!(root = %root.display(), %reason, "not all folders of artifacts are watched");
            self.degraded = Some(reason);
        }
    }
}

/// The folder's directory, or its nearest parent that exists; at least the root.
fn nearest(root: &Path, folder: &str) -> PathBuf {
    let mut directory = root.to_owned();
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        directory.push(part);
        if !source::is_folder(&directory) {
            directory.pop();
            break;
        }
    }
    directory
}

/// Notes what an event says; true where there is something to take.
fn receive(root: &Path, inbox: &mut Inbox, event: notify::Result<notify::Event>) -> bool {
    match event.map(source::change) {
        Ok(Change::Nothing) => return false,
        Ok(Change::Lost) | Err(_) => inbox.unsettled.clone_from(&inbox.wanted),
        Ok(Change::At { paths, folder }) => {
            for path in paths {
                let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) else {
                    continue;
                };
                inbox.changed(path);
                if folder {
                    inbox.moved(path);
                }
            }
        }
    }
    !inbox.dirty.is_empty() || !inbox.unsettled.is_empty()
}

impl Inbox {
    fn changed(&mut self, path: &str) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if self.wanted.contains(folder) {
            self.dirty.insert(folder.to_owned());
        }
    }

    /// The folder at `path`, if it is one, has come or gone, with all that lies below it.
    fn moved(&mut self, path: &str) {
        if self.wanted.contains(path) {
            self.unsettled.insert(path.to_owned());
        }
        let below = format!("{path}/");
        let start = (Bound::Included(below.as_str()), Bound::Unbounded);
        let affected = self
            .wanted
            .range::<str, _>(start)
            .take_while(|folder| folder.starts_with(&below))
            .cloned();
        self.unsettled.extend(affected);
    }
}
