//! Reads a manifest to its trailer and stages its rows.
//!
//! Nothing is believed yet: whose manifest it is [`verify`](super::verify) decides, after the
//! header (before more is read) and after the trailer.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use runsync_manifest::error::ReadError;
use runsync_manifest::header::Header;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::RunKey;
use runsync_manifest::reader::{Line, Reader};
use runsync_manifest::trailer::Trailer;

use super::settle::Settled;
use super::stage::{StageError, StagedRows, Staging};
use crate::datastore::{Datastore, DatastoreError};
use crate::file_identity::FileIdentity;

/// Lines between two reports of progress: some milliseconds.
const PROGRESS_LINES: u64 = 4_096;

/// Size of a manifest from which a thread reads ahead: its start costs as much as some kilobytes.
const AHEAD_BYTES: u64 = 1 << 20;

/// A manifest whose header was read.
#[derive(Debug)]
pub struct Opened {
    settled: Settled,
    file: FileIdentity,
    reader: Reader<File>,
}

/// A manifest that was read whole and does not contradict itself.
#[derive(Debug)]
pub struct Parsed {
    settled: Settled,
    file: FileIdentity,
    header: Header,
    trailer: Trailer,
    rows: StagedRows,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] DatastoreError),
    /// It is cut or wrong.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its rows cannot be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The caller broke off.
    #[error("reading was interrupted")]
    Interrupted,
}

/// Opens a manifest and reads its header.
pub fn open(
    settled: Settled,
    datastore: &dyn Datastore,
    limits: Limits,
) -> Result<Opened, (FileIdentity, ParseError)> {
    let unknown = FileIdentity {
        size: 0,
        modified_ns: 0,
        inode: 0,
    };
    let (file, identity) = datastore
        .open_manifest(settled.path())
        .map_err(|error| (unknown, error.into()))?;
    let reader = if identity.size < AHEAD_BYTES {
        Reader::new(file, limits)
    } else {
        Reader::ahead(file, limits)
    };
    let reader = reader.map_err(|error| (identity, error.into()))?;
    Ok(Opened {
        settled,
        file: identity,
        reader,
    })
}

impl Opened {
    /// The header.
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// The file's identity when it was opened.
    pub fn file(&self) -> FileIdentity {
        self.file
    }

    /// Reads the rest.
    /// `progress` hears of lines read, and may break off.
    pub fn read(
        self,
        scratch: &Path,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Parsed, ParseError> {
        let Checked {
            header,
            trailer,
            rows,
        } = read_rest(self.reader, scratch, progress)?;
        Ok(Parsed {
            settled: self.settled,
            file: self.file,
            header,
            trailer,
            rows,
        })
    }
}

/// A manifest file that was read whole, wherever it lies, and does not contradict itself.
#[derive(Debug)]
pub struct Checked {
    /// Its header.
    pub header: Header,
    /// Its trailer.
    pub trailer: Trailer,
    /// Its rows.
    pub rows: StagedRows,
}

/// Reads a manifest file from front to back, for a look into it. `progress` hears of lines read,
/// and may break off.
pub fn check(
    file: File,
    limits: Limits,
    scratch: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Checked, ParseError> {
    read_rest(Reader::new(file, limits)?, scratch, progress)
}

fn read_rest(
    mut reader: Reader<File>,
    scratch: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Checked, ParseError> {
    let header = reader.header().clone();
    let mut staging = Staging::new(scratch, &header.dataset_types).map_err(StageError::from)?;
    let mut lines = 0_u64;
    while let Some(line) = reader.next()? {
        lines += 1;
        if lines.is_multiple_of(PROGRESS_LINES) && progress(lines).is_break() {
            return Err(ParseError::Interrupted);
        }
        match line {
            Line::Dimension(records) => staging.dimension(&records),
            Line::Dataset {
                entry,
                dataset_type,
            } => staging.dataset(&entry, dataset_type),
        }
        .map_err(StageError::from)?;
    }
    let rows = staging.finish()?;
    let line = reader.line_number();
    let trailer = reader
        .trailer()
        .cloned()
        .ok_or(ReadError::Incomplete { line })?;
    Ok(Checked {
        header,
        trailer,
        rows,
    })
}

impl Parsed {
    /// The file.
    pub fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Its identity when it was opened.
    pub fn file(&self) -> FileIdentity {
        self.file
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The run that it speaks of.
    pub(super) fn run(&self) -> RunKey {
        RunKey {
            origin: self.header.origin.repository,
            name: self.header.run.clone(),
        }
    }

    /// The trailer.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The rows.
    pub fn rows(&self) -> &StagedRows {
        &self.rows
    }
}
