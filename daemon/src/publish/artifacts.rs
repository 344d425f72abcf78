//! The artifacts that a manifest names, each once, by path: what is registered in Rucio.
//!
//! Several datasets may share an artifact, far apart in the file; it is one replica. They are sorted in
//! bounded memory, so chunks come in the same order each time, and one that is done can be skipped.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use runsync_manifest::checksum::{Adler32, Md5, Sha256};
use runsync_manifest::header::Header;
use runsync_manifest::limits::Limits;
use runsync_manifest::reader::{Line, Reader};

use super::error::PublishError;
use super::sum::{self, Sum};
use crate::datastore::Datastore;
use crate::rucio::dids::Content;
use crate::sorting::{Cursor, Sorted, Sorter};

/// Memory for sorting.
const BUDGET_BYTES: usize = 16 << 20;
/// Lines between two questions whether to go on.
const PROGRESS_LINES: u64 = 4096;

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) adler32: Adler32,
    pub(super) md5: Option<Md5>,
}

/// All artifacts of a manifest.
#[derive(Debug)]
pub(super) struct Artifacts {
    sorted: Sorted,
    /// All of them added up.
    pub(super) sum: Sum,
}

impl Artifacts {
    /// Reads a manifest to its trailer. `check` sees every path.
    pub(super) fn read(
        datastore: &dyn Datastore,
        path: &str,
        (limits, scratch): (Limits, &Path),
        check: &mut dyn FnMut(&str) -> Result<(), PublishError>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(Header, Option<Sha256>, Self), PublishError> {
        let (file, _) = datastore.open_manifest(path)?;
        let unreadable = |source| PublishError::Manifest {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let mut reader = Reader::new(file, limits).map_err(unreadable)?;
        let mut sorter = Sorter::new(scratch, BUDGET_BYTES);
        let (mut record, mut lines) = (Vec::new(), 0_u64);
        while let Some(line) = reader.next().map_err(unreadable)? {
            lines += 1;
            if lines.is_multiple_of(PROGRESS_LINES) && progress(lines).is_break() {
                return Err(PublishError::Interrupted);
            }
            if let Line::Dataset { entry, .. } = line {
                check(&entry.path)?;
                let checksums = entry.checksums;
                encode(
                    &entry.path,
                    entry.size,
                    checksums.adler32,
                    checksums.md5,
                    &mut record,
                );
                sorter.push(&record).map_err(PublishError::Scratch)?;
            }
        }
        let header = reader.header().clone();
        let digest = reader.trailer().map(|trailer| trailer.sha256);
        let mut artifacts = Self {
            sorted: sorter.sort().map_err(PublishError::Scratch)?,
            sum: Sum::default(),
        };
        let mut sum = Sum::default();
        let mut cursor = artifacts.cursor().map_err(PublishError::Scratch)?;
        while let Some(artifact) = cursor.next().map_err(PublishError::Scratch)? {
            sum.add(artifact.hash(), artifact.bytes);
        }
        drop(cursor);
        artifacts.sum = sum;
        Ok((header, digest, artifacts))
    }

    /// Those that are not among `known`, which are [keys](key_of).
    pub(super) fn without(&self, known: &Sorted, scratch: &Path) -> io::Result<Self> {
        let (mut ours, mut theirs) = (self.cursor()?, known.cursor()?);
        let mut left = Sorter::new(scratch, BUDGET_BYTES);
        let mut sum = Sum::default();
        let mut next = theirs.next()?.map(<[u8]>::to_vec);
        let (mut record, mut key) = (Vec::new(), Vec::new());
        while let Some(artifact) = ours.next()? {
            let Artifact {
                path,
                bytes,
                adler32,
                md5,
            } = &artifact;
            encode(path, *bytes, *adler32, None, &mut key);
            while next.as_ref().is_some_and(|known| *known < key) {
                next = theirs.next()?.map(<[u8]>::to_vec);
            }
            if next.as_ref() != Some(&key) {
                encode(path, *bytes, *adler32, *md5, &mut record);
                left.push(&record)?;
                sum.add(artifact.hash(), *bytes);
            }
        }
        Ok(Self {
            sorted: left.sort()?,
            sum,
        })
    }

    /// Goes through them from the first.
    pub(super) fn cursor(&self) -> io::Result<ArtifactCursor<'_>> {
        Ok(ArtifactCursor {
            records: self.sorted.cursor()?,
            last: None,
        })
    }
}

impl Artifact {
    /// Its hash among those of a Rucio dataset.
    pub(super) fn hash(&self) -> u128 {
        sum::hash(&self.path, self.bytes, &self.adler32.to_string())
    }
}

/// Goes through artifacts.
pub(super) struct ArtifactCursor<'a> {
    records: Cursor<'a>,
    last: Option<String>,
}

impl ArtifactCursor<'_> {
    /// The next one. Lines of one path differ in nothing that counts here, but for a checksum that not
    /// all of them have: the first stands for them.
    pub(super) fn next(&mut self) -> io::Result<Option<Artifact>> {
        while let Some(record) = self.records.next()? {
            let artifact = decode(record).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "a scratch record is cut")
            })?;
            if self.last.as_ref() != Some(&artifact.path) {
                self.last = Some(artifact.path.clone());
                return Ok(Some(artifact));
            }
        }
        Ok(None)
    }

    /// The next ones, at most `most`.
    pub(super) fn chunk(&mut self, most: usize) -> io::Result<Vec<Artifact>> {
        let mut chunk = Vec::with_capacity(most);
        while chunk.len() < most
            && let Some(artifact) = self.next()?
        {
            chunk.push(artifact);
        }
        Ok(chunk)
    }
}

/// What a file of a Rucio dataset is compared by with artifacts: name, size and checksum. False where the
/// server does not tell one of them.
pub(super) fn key_of(content: &Content, key: &mut Vec<u8>) -> bool {
    let adler32 = content
        .adler32
        .as_ref()
        .map(|text| text.to_ascii_lowercase());
    let adler32 = adler32.and_then(|text| text.parse().ok());
    let (Some(bytes), Some(adler32)) = (content.bytes, adler32) else {
        return false;
    };
    encode(&content.name, bytes, adler32, None, key);
    true
}

/// Path, NUL, size, Adler-32, and the MD5 where there is one: in the order of paths.
fn encode(path: &str, bytes: u64, adler32: Adler32, md5: Option<Md5>, record: &mut Vec<u8>) {
    record.clear();
    record.extend_from_slice(path.as_bytes());
    record.push(0);
    record.extend_from_slice(&bytes.to_be_bytes());
    record.extend_from_slice(&adler32.0);
    if let Some(md5) = md5 {
        record.extend_from_slice(&md5.0);
    }
}

fn decode(record: &[u8]) -> Option<Artifact> {
    let end = memchr::memchr(0, record)?;
    let path = std::str::from_utf8(record.get(..end)?).ok()?.to_owned();
    let rest = record.get(end + 1..)?;
    let bytes = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let adler32 = Adler32(rest.get(8..12)?.try_into().ok()?);
    let md5 = match rest.get(12..)? {
        [] => None,
        md5 => Some(Md5(md5.try_into().ok()?)),
    };
    Some(Artifact {
        path,
        bytes,
        adler32,
        md5,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        for md5 in [None, Some(Md5([7; 16]))] {
            let artifact = Artifact {
                path: "u/a/é.fits".to_owned(),
                bytes: u64::MAX,
                adler32: Adler32([1, 0, 0, 2]),
                md5,
            };
            let mut record = Vec::new();
            encode(
                &artifact.path,
                artifact.bytes,
                artifact.adler32,
                md5,
                &mut record,
            );
            assert_eq!(decode(&record), Some(artifact));
            assert_eq!(decode(record.get(..record.len() - 1).unwrap()), None);
        }
    }
}
