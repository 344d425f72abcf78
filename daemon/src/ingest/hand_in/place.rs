//! Where a manifest file lies in the root; one from elsewhere is checked and copied there.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use runsync_manifest::checksum::{self, Wanted};
use rustix::fs::OFlags;
use thiserror::Error;

use crate::datastore::{self, DatastoreError};
use crate::ingest::error_chain;
use crate::ingest::flow::Flow;
use crate::ingest::parse::ParseError;
use crate::ingest::refuse::Refusal;
use crate::ingest::stage::StageError;
use crate::ledger::record::ManifestState;

/// A file of which nothing was written anywhere.
#[derive(Debug)]
pub struct Refused {
    /// In one word.
    pub(super) state: &'static str,
    /// Why.
    pub(super) reason: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

#[derive(Debug, Error)]
enum PlaceError {
    #[error("cannot open the file")]
    Open(#[source] io::Error),
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    #[error("it is not a regular file")]
    Irregular,
    #[error("cannot copy it into the root")]
    Copy(#[source] DatastoreError),
    #[error("another file lies at `{0}` in the root")]
    Taken(String),
}

impl PlaceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Open(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("let the user that you are read it, and search the folders above".to_owned())
            }
            Self::Open(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("check the name".to_owned())
            }
            Self::Irregular => Some("name a manifest file".to_owned()),
            Self::Copy(error) => error.hint().or_else(|| {
                Some("the manifest folder must be writable for the user that you are".to_owned())
            }),
            Self::Taken(_) => Some(
                "a manifest is never replaced: ask the origin for a correction in the next generation"
                    .to_owned(),
            ),
            Self::Open(_) | Self::Read(_) => None,
        }
    }
}

impl From<PlaceError> for Refused {
    fn from(error: PlaceError) -> Self {
        let state = match error {
            PlaceError::Open(_) | PlaceError::Read(_) | PlaceError::Irregular => "unreadable",
            PlaceError::Copy(_) | PlaceError::Taken(_) => "refused",
        };
        Self {
            state,
            reason: error_chain(&error),
            hint: error.hint(),
        }
    }
}

impl From<Box<Refusal>> for Refused {
    fn from(refusal: Box<Refusal>) -> Self {
        let state = match refusal.state {
            ManifestState::Untrusted => "untrusted",
            ManifestState::Registered
            | ManifestState::Blocked
            | ManifestState::Quarantined
            | ManifestState::Superseded => "refused",
        };
        Self {
            state,
            reason: refusal.reason,
            hint: refusal.hint,
        }
    }
}

impl Refused {
    /// What reading a file of the root came to.
    pub(super) fn reading(state: &'static str, error: &ParseError) -> Self {
        let hint = match error {
            ParseError::Read(error) => Some(error.hint().to_owned()),
            ParseError::Open(error) => error
                .hint()
                .or_else(|| Some("see that the user that you are may read it".to_owned())),
            ParseError::Stage(StageError::Scratch(_)) => {
                Some("see that the state directory has room and can be written to".to_owned())
            }
            ParseError::Stage(StageError::Contradiction(_)) | ParseError::Interrupted => None,
        };
        Self {
            state,
            reason: error_chain(error),
            hint,
        }
    }

    /// Somebody removed the file meanwhile.
    pub(super) fn gone() -> Self {
        Self {
            state: "unreadable",
            reason: "the file has gone".to_owned(),
            hint: None,
        }
    }
}

/// The file's path relative to the root, where it lies in the manifest folder.
pub fn path_in(file: &Path, root: &Path) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let root = root.canonicalize().ok()?;
    let path = file.strip_prefix(root).ok()?.to_str()?.to_owned();
    datastore::manifest_path::check_manifest_path(&path)
        .is_ok()
        .then_some(path)
}

/// The path in the root of a manifest that lies anywhere, once it is in the root.
///
/// # Errors
///
/// Where it may not be there, or cannot be put there; then nothing was written.
pub fn place(file: &Path, flow: &Flow, unsigned: bool) -> Result<String, Refused> {
    match path_in(file, &flow.root().directory) {
        Some(path) => Ok(path),
        None => copy(&mut open(file)?, flow, unsigned),
    }
}

/// Opens a regular file. Not one that blocks, such as a FIFO whose writer never comes.
///
/// # Errors
///
/// Where it cannot be opened, or is something else.
pub fn open(file: &Path) -> Result<File, Refused> {
    Ok(open_regular(file)?)
}

fn open_regular(file: &Path) -> Result<File, PlaceError> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(file)
        .map_err(PlaceError::Open)?;
    let is_file = opened.metadata().map_err(PlaceError::Open)?.is_file();
    is_file.then_some(opened).ok_or(PlaceError::Irregular)
}

/// Copies a manifest into the root, once it is known that it may be there. Returns its path.
///
/// # Errors
///
/// As [`place`].
pub fn copy(from: &mut File, flow: &Flow, unsigned: bool) -> Result<String, Refused> {
    let header = flow.vet(&mut *from, unsigned)?;
    from.rewind().map_err(PlaceError::Read)?;
    let packed = is_packed(from).map_err(PlaceError::Read)?;
    let path = datastore::manifest_path(
        header.origin.repository,
        &header.run,
        header.generation,
        packed,
    );
    let installed = flow.datastore().install_manifest(&path, from);
    if !installed.map_err(PlaceError::Copy)? && !is_same(from, flow, &path)? {
        return Err(PlaceError::Taken(path).into());
    }
    Ok(path)
}

/// Whether a manifest is packed, which its first bytes tell: text begins with `{`.
fn is_packed(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    Read::by_ref(file).take(1).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start != b"{")
}

/// Whether the file that lies at `path` holds the same bytes.
fn is_same(file: &mut File, flow: &Flow, path: &str) -> Result<bool, PlaceError> {
    let (there, _) = flow
        .datastore()
        .open_manifest(path)
        .map_err(PlaceError::Copy)?;
    let wanted = Wanted {
        md5: false,
        sha256: true,
    };
    let digest = |file: &mut File| checksum::checksum(file, wanted).map_err(PlaceError::Read);
    file.rewind().map_err(PlaceError::Read)?;
    let mut there = there;
    Ok(digest(&mut there)? == digest(file)?)
}
