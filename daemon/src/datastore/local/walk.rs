//! Walks all of a root by handles: one for each folder on the way down, and the names of these folders.

use std::fmt;
use std::os::fd::OwnedFd;

use runsync_manifest::name::{ArtifactPath, RESERVED_FOLDER};
use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::handle::{FOLDER, LISTABLE, Seen, open_below, see_in};
use crate::datastore::StorageFault;
use crate::datastore::repository_file::REPOSITORY_FILE;
use crate::datastore::walk::{SeenFile, Sight, Walk};

/// The name of a root's own folder, as names of folders are kept.
const RESERVED: &str = "runsync/";
/// Deepest folder that is walked. It bounds the handles that are open at once; what lies deeper is told
/// as not listed.
const DEPTH_MAX: usize = 256;
/// Names that one call to the kernel returns, about.
const NAMES_PER_CALL: usize = 1024;

/// Where a name begins in a text, and how long it is.
type Place = (u32, u32);

/// The names in one folder, in order. A folder's own name ends in `/`, so that comparing names byte by
/// byte puts whole paths in order.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    /// Where each is in `text`.
    places: Vec<Place>,
    next: usize,
}

impl Names {
    /// Reads a folder to its end, or not at all.
    fn read(folder: &OwnedFd, calls: &mut u64) -> Result<Self, Errno> {
        let mut names = Self::default();
        for entry in Dir::read_from(folder)? {
            let entry = match entry {
                Ok(entry) => entry,
                // The folder was removed while it was read.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                // Some file systems do not say what an entry is.
                FileType::Unknown => {
                    *calls += 1;
                    matches!(see_in(folder, entry.file_name()), Seen::Folder)
                }
                FileType::RegularFile
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => false,
            };
            names.push(name, is_folder)?;
        }
        *calls += 1 + u64::try_from(names.places.len() / NAMES_PER_CALL).unwrap_or_default();
        names.sort();
        Ok(names)
    }

    fn push(&mut self, name: &[u8], is_folder: bool) -> Result<(), Errno> {
        let start = u32::try_from(self.text.len()).map_err(|_| Errno::OVERFLOW)?;
        self.text.extend_from_slice(name);
        if is_folder {
            self.text.push(b'/');
        }
        let length = name.len() + usize::from(is_folder);
        let length = u32::try_from(length).map_err(|_| Errno::OVERFLOW)?;
        self.places.push((start, length));
        Ok(())
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.places
            .sort_unstable_by(|a, b| at(text, *a).cmp(at(text, *b)));
    }

    /// Whether there is a folder of that name, which ends in `/`.
    fn hold(&self, folder: &[u8]) -> bool {
        let found = (self.places).binary_search_by(|place| self.at(*place).cmp(folder));
        found.is_ok()
    }

    /// Where the next name is kept.
    fn pop(&mut self) -> Option<Place> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(place)
    }

    fn at(&self, place: Place) -> &[u8] {
        at(&self.text, place)
    }
}

fn at(text: &[u8], (start, length): Place) -> &[u8] {
    let start = start as usize;
    text.get(start..start + length as usize).unwrap_or_default()
}

/// A folder on the way down.
struct Level {
    handle: OwnedFd,
    /// Empty, or ending in `/`.
    path: String,
    names: Names,
}

/// A walk through a directory.
pub(super) struct LocalWalk {
    levels: Vec<Level>,
    from: String,
    calls: u64,
    /// What is told before all else.
    first: Option<Sight>,
}

impl fmt::Debug for LocalWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.levels.last().map(|level| &level.path);
        f.debug_struct("LocalWalk")
            .field("at", &at)
            .finish_non_exhaustive()
    }
}

impl LocalWalk {
    /// Walks what lies below a folder of the root (all of it where none is named), from a path on.
    pub(super) fn begin(root: &OwnedFd, below: Option<&ArtifactPath>, from: &str) -> Self {
        let mut walk = Self {
            levels: Vec::new(),
            from: from.to_owned(),
            calls: 1,
            first: None,
        };
        let path = below.map_or_else(String::new, |below| format!("{below}/"));
        if let Some(other) = below.and_then(|below| another_about(root, below.as_str())) {
            walk.first = Some(other);
            return walk;
        }
        match open_below(root, below.map_or(".", ArtifactPath::as_str), LISTABLE) {
            Ok(handle) => walk.enter(handle, path),
            // Nothing lies there; whatever is recorded there is looked at by its name.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => walk.first = Some(unlisted(&path, errno)),
        }
        walk
    }

    fn enter(&mut self, handle: OwnedFd, path: String) {
        match Names::read(&handle, &mut self.calls) {
            Ok(names) => match self.another(&handle, &path, &names) {
                Some(other) => self.first = Some(other),
                None => self.levels.push(Level {
                    handle,
                    path,
                    names,
                }),
            },
            Err(errno) => self.first = Some(unlisted(&path, errno)),
        }
    }

    /// What is told of the folder, where it is another root's own.
    fn another(&mut self, handle: &OwnedFd, path: &str, names: &Names) -> Option<Sight> {
        if path.is_empty() || !names.hold(RESERVED.as_bytes()) {
            return None;
        }
        self.calls += 1;
        another_at(handle, path)
    }

    /// Whether all that lies below a folder (whose path ends in `/`) comes before where the walk begins.
    fn is_over(&self, folder: &str) -> bool {
        self.from.as_str() > folder && !self.from.starts_with(folder)
    }

    /// Takes up a folder in the innermost one.
    fn descend(&mut self, path: String) -> Option<Sight> {
        let named = path.strip_suffix('/').unwrap_or(&path);
        if named == RESERVED_FOLDER || self.is_over(&path) {
            return None;
        }
        if ArtifactPath::try_from(named.to_owned()).is_err() {
            return Some(Sight::Unnameable(path));
        }
        if self.levels.len() >= DEPTH_MAX {
            return Some(unlisted(&path, Errno::NAMETOOLONG));
        }
        let level = self.levels.last()?;
        let name = named.strip_prefix(level.path.as_str()).unwrap_or(named);
        self.calls += 1;
        match open_below(&level.handle, name, LISTABLE) {
            Ok(handle) => self.enter(handle, path),
            // Gone, or something else by now; whatever is recorded there is looked at by its name.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Some(unlisted(&path, errno)),
        }
        self.first.take()
    }

    /// Looks at a name in the innermost folder that is none of a folder.
    fn look(&mut self, path: String, name: Place) -> Option<Sight> {
        if path.as_str() < self.from.as_str() {
            return None;
        }
        let level = self.levels.last()?;
        let name = level.names.at(name);
        let Ok(path) = ArtifactPath::try_from(path) else {
            let name = String::from_utf8_lossy(name);
            return Some(Sight::Unnameable(format!("{}{name}", level.path)));
        };
        self.calls += 1;
        match see_in(&level.handle, name) {
            Seen::File {
                identity,
                changed_ns,
            } => Some(Sight::File(SeenFile {
                path,
                identity,
                changed_ns,
            })),
            Seen::Absent => None,
            // A folder has taken the file's place: what lies in it is seen the next time.
            Seen::Irregular | Seen::Folder => Some(Sight::Irregular(path)),
            Seen::Unreadable(fault) => Some(Sight::Unreadable(path, fault)),
        }
    }
}

impl Walk for LocalWalk {
    fn next(&mut self) -> Option<Sight> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(place) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let name = level.names.at(place);
            let Ok(text) = str::from_utf8(name) else {
                let name = name.escape_ascii();
                return Some(Sight::Unnameable(format!("{}{name}", level.path)));
            };
            let path = format!("{}{text}", level.path);
            let sight = if text.ends_with('/') {
                self.descend(path)
            } else {
                self.look(path, place)
            };
            if sight.is_some() {
                return sight;
            }
        }
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}

/// What is told of a folder that has what makes it a root, or that may have it.
fn another_at(folder: &OwnedFd, path: &str) -> Option<Sight> {
    let name = REPOSITORY_FILE.strip_prefix(RESERVED).unwrap_or_default();
    let seen = match open_below(folder, RESERVED_FOLDER, FOLDER) {
        Ok(own) => see_in(&own, name),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Seen::Absent,
        Err(errno) => return Some(unlisted(path, errno)),
    };
    match seen {
        Seen::File { .. } => {
            let named = path.strip_suffix('/').unwrap_or(path).to_owned();
            ArtifactPath::try_from(named).ok().map(Sight::OtherRoot)
        }
        Seen::Unreadable(StorageFault(errno)) => {
            Some(unlisted(path, Errno::from_raw_os_error(errno)))
        }
        Seen::Absent | Seen::Irregular | Seen::Folder => None,
    }
}

/// What is told of the outermost folder that a path is or lies in, and that is another root.
pub(super) fn another_about(root: &OwnedFd, path: &str) -> Option<Sight> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    let mut folders = ends.chain([path.len()]).filter_map(|end| path.get(..end));
    folders.find_map(|folder| match open_below(root, folder, FOLDER) {
        Ok(opened) => another_at(&opened, folder),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
        Err(errno) => Some(unlisted(folder, errno)),
    })
}

/// A folder, whose path ends in `/` or is empty, that is not known whole.
fn unlisted(path: &str, errno: Errno) -> Sight {
    let folder = path.strip_suffix('/').unwrap_or(path).to_owned();
    Sight::Unlisted(
        ArtifactPath::try_from(folder).ok(),
        StorageFault(errno.raw_os_error()),
    )
}
