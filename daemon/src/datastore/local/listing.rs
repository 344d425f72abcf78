//! Walks the manifest folder by handles.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::handle::{LISTABLE, failure, look_in, open_below};
use crate::datastore::manifest_path::{MANIFEST_FOLDER, is_manifest_name};
use crate::datastore::{DatastoreError, Look, ManifestFile};

/// Deepest folder that is walked, counted from the manifest folder: the origin, and a run name
/// has at most 125 parts. It bounds the handles that are open at once.
const DEPTH_MAX: usize = 128;

/// Lists all manifests, sorted by path, and what went wrong on the way.
pub(super) fn list(
    root: &OwnedFd,
) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
    let mut listing = Listing::default();
    match open_below(root, MANIFEST_FOLDER, LISTABLE) {
        Ok(folder) => listing.folder(&folder, MANIFEST_FOLDER, 0)?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failure("open", MANIFEST_FOLDER, errno)),
    }
    listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok((listing.files, listing.errors))
}

/// Lists the manifests that lie in one folder below the root, and not those deeper down.
pub(super) fn list_folder(
    root: &OwnedFd,
    folder: &str,
) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
    let mut listing = Listing {
        flat: true,
        ..Listing::default()
    };
    match open_below(root, folder, LISTABLE) {
        Ok(handle) => listing.folder(&handle, folder, 0)?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failure("open", folder, errno)),
    }
    listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok((listing.files, listing.errors))
}

#[derive(Default)]
struct Listing {
    /// Whether folders are passed over.
    flat: bool,
    files: Vec<ManifestFile>,
    errors: Vec<DatastoreError>,
}

impl Listing {
    /// Takes up one folder; an error is about this folder itself.
    fn folder(&mut self, handle: &OwnedFd, path: &str, depth: usize) -> Result<(), DatastoreError> {
        if depth > DEPTH_MAX {
            return Err(DatastoreError::PathRefused {
                path: path.to_owned(),
                reason: "lies too deep",
            });
        }
        let entries = read_entries(handle).map_err(|e| failure("list", path, e))?;
        for (name, kind) in entries {
            self.entry(handle, path, &name, kind, depth);
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, path: &str, name: &CStr, kind: FileType, depth: usize) {
        // Also leaves out what other software keeps hidden, such as `.snapshot` and `.nfs…`.
        if name.to_bytes().starts_with(b".") {
            return;
        }
        let Ok(text) = name.to_str() else {
            return self.errors.push(DatastoreError::PathRefused {
                path: format!("{path}/{}", name.to_string_lossy()),
                reason: "is not UTF-8",
            });
        };
        match kind {
            FileType::Directory if self.flat => {}
            FileType::Directory => self.subfolder(folder, path, text, depth),
            // Some file systems do not say what an entry is; opening tells.
            FileType::Unknown if !is_manifest_name(text) => {
                if !self.flat {
                    self.subfolder(folder, path, text, depth);
                }
            }
            // A link may be a folder of manifests that somebody moved: say so.
            FileType::Symlink => self.errors.push(DatastoreError::Irregular {
                path: format!("{path}/{text}"),
            }),
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => self.file(folder, path, text),
        }
    }

    fn subfolder(&mut self, folder: &OwnedFd, path: &str, name: &str, depth: usize) {
        let path = format!("{path}/{name}");
        match open_below(folder, name, LISTABLE) {
            Ok(handle) => {
                if let Err(error) = self.folder(&handle, &path, depth + 1) {
                    self.errors.push(error);
                }
            }
            // Gone since it was listed, or a file after all.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => self.errors.push(failure("open", &path, errno)),
        }
    }

    fn file(&mut self, folder: &OwnedFd, path: &str, name: &str) {
        if !is_manifest_name(name) {
            return;
        }
        let path = format!("{path}/{name}");
        match look_in(folder, name) {
            Look::File(identity) => self.files.push(ManifestFile { path, identity }),
            Look::Absent => {}
            Look::Irregular => self.errors.push(DatastoreError::Irregular { path }),
            Look::Unreadable(fault) => self.errors.push(DatastoreError::Io {
                attempt: "look at",
                path,
                source: std::io::Error::from_raw_os_error(fault.0),
            }),
        }
    }
}

/// The names in a folder that are text.
pub(super) fn read_names(folder: impl AsFd) -> Result<Vec<String>, Errno> {
    let entries = read_entries(folder)?.into_iter();
    Ok(entries
        .filter_map(|(name, _)| name.into_string().ok())
        .collect())
}

fn read_entries(folder: impl AsFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        match entry {
            Ok(entry) => entries.push((entry.file_name().to_owned(), entry.file_type())),
            // The folder was removed while it was read.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(entries)
}
