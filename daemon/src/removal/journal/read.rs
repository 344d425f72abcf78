//! Reads a journal: first whole, to see that it is, then artifact by artifact.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use jiff::Timestamp;
use runsync_manifest::checksum::Sha256 as Sha256Sum;
use sha2::{Digest, Sha256};

use super::JournalError;
use super::format::{Artifact, FORMAT, Header, Line};
use crate::datastore::Journals;

/// Read at once, in bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// Longest line that is read, in bytes: an artifact of some 100,000 datasets.
pub(super) const LINE_BYTES_MAX: usize = 8 << 20;

/// A whole journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Its name.
    pub name: String,
    /// What it begins with.
    pub header: Header,
    /// SHA-256 of it to its last line.
    pub digest: Sha256Sum,
    /// How many artifacts it names.
    pub artifacts: u64,
    /// How many of them had not been seen here when it was written.
    pub awaited: u64,
    /// Whether it says itself that it was committed.
    pub committed: bool,
}

impl Journal {
    /// Reads all of a journal.
    ///
    /// # Errors
    ///
    /// [`JournalError::Torn`] where it is not whole.
    pub fn open(journals: &dyn Journals, name: &str) -> Result<Self, JournalError> {
        let mut lines = Lines::open(journals, name)?;
        let header = lines.header()?;
        let (mut artifacts, mut awaited) = (0, 0);
        loop {
            match lines.next()? {
                Some(Line::Artifact(artifact)) => {
                    artifacts += 1;
                    awaited += u64::from(artifact.awaited);
                }
                Some(Line::End {
                    artifacts: count,
                    sha256,
                }) if count == artifacts && sha256 == lines.before => break,
                Some(_) | None => return Err(lines.torn()),
            }
        }
        let digest = lines.digest();
        let committed = lines.says_committed()?;
        Ok(Self {
            name: name.to_owned(),
            header,
            digest,
            artifacts,
            awaited,
            committed,
        })
    }

    /// Reads what a journal begins with, and nothing else: whether it is whole is not known.
    pub fn header_of(journals: &dyn Journals, name: &str) -> Result<Header, JournalError> {
        Lines::open(journals, name)?.header()
    }

    /// Writes into it that it was committed, which is known: from then on the registry is not needed.
    pub fn mark_committed(
        &self,
        journals: &dyn Journals,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let line = serde_json::to_string(&Line::Committed { at });
        let line = line.map_err(|error| JournalError::Read {
            name: self.name.clone(),
            source: error.into(),
        })?;
        let appended = journals.append(&self.name, &line);
        appended.map_err(|source| JournalError::Root {
            name: self.name.clone(),
            source,
        })
    }

    /// Its artifacts, by path.
    pub fn read(&self, journals: &dyn Journals) -> Result<Artifacts, JournalError> {
        let mut lines = Lines::open(journals, &self.name)?;
        lines.header()?;
        Ok(Artifacts {
            lines,
            left: self.artifacts,
        })
    }
}

/// The artifacts of a journal.
#[derive(Debug)]
pub struct Artifacts {
    lines: Lines,
    left: u64,
}

impl Iterator for Artifacts {
    type Item = Result<Artifact, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let artifact = match self.lines.next() {
            Ok(Some(Line::Artifact(artifact))) => Ok(artifact),
            Ok(_) => Err(self.lines.torn()),
            Err(error) => Err(error),
        };
        if artifact.is_err() {
            self.left = 0;
        }
        Some(artifact)
    }
}

#[derive(Debug)]
struct Lines {
    name: String,
    from: BufReader<File>,
    hash: Sha256,
    /// Digest of all before the last `end`.
    before: Sha256Sum,
    line: Vec<u8>,
}

impl Lines {
    fn open(journals: &dyn Journals, name: &str) -> Result<Self, JournalError> {
        let file = journals
            .open_journal(name)
            .map_err(|source| JournalError::Root {
                name: name.to_owned(),
                source,
            })?;
        Ok(Self {
            name: name.to_owned(),
            from: BufReader::with_capacity(BLOCK_BYTES, file),
            hash: Sha256::new(),
            before: Sha256Sum([0; 32]),
            line: Vec::new(),
        })
    }

    fn header(&mut self) -> Result<Header, JournalError> {
        #[derive(serde::Deserialize)]
        struct Version {
            format: u64,
        }
        if !self.read_line()? {
            return Err(self.torn());
        }
        let found = serde_json::from_slice::<Version>(&self.line).map(|version| version.format);
        let found = found.map_err(|_| self.torn())?;
        if found > FORMAT {
            let name = self.name.clone();
            return Err(JournalError::Format { name, found });
        }
        match serde_json::from_slice(&self.line) {
            Ok(Line::Journal { header, .. }) => {
                self.hash.update(&self.line);
                Ok(*header)
            }
            Ok(Line::Artifact(_) | Line::End { .. } | Line::Committed { .. }) | Err(_) => {
                Err(self.torn())
            }
        }
    }

    /// The next line; `None` at the end.
    fn next(&mut self) -> Result<Option<Line>, JournalError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let line = serde_json::from_slice(&self.line).map_err(|_| self.torn())?;
        if matches!(line, Line::End { .. }) {
            self.before = self.digest();
        }
        self.hash.update(&self.line);
        Ok(Some(line))
    }

    /// Whether any line from here on says that it was committed: one that was not written whole, for
    /// want of space, does not count, and others follow it.
    fn says_committed(&mut self) -> Result<bool, JournalError> {
        loop {
            match self.next() {
                Ok(Some(Line::Committed { .. })) => return Ok(true),
                Ok(None) => return Ok(false),
                Ok(Some(_)) | Err(JournalError::Torn { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// False at the end. A line without its end was not written whole.
    fn read_line(&mut self) -> Result<bool, JournalError> {
        self.line.clear();
        let mut limited = self.from.by_ref().take(LINE_BYTES_MAX as u64);
        let read = limited.read_until(b'\n', &mut self.line);
        let count = read.map_err(|source| self.unreadable(source))?;
        if count > 0 && self.line.last() != Some(&b'\n') {
            return Err(self.torn());
        }
        Ok(count > 0)
    }

    fn digest(&self) -> Sha256Sum {
        Sha256Sum(self.hash.clone().finalize().into())
    }

    fn torn(&self) -> JournalError {
        JournalError::Torn {
            name: self.name.clone(),
        }
    }

    fn unreadable(&self, source: io::Error) -> JournalError {
        JournalError::Read {
            name: self.name.clone(),
            source,
        }
    }
}
