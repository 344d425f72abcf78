//! Compares artifacts that are there with what their manifest says of them.
//!
//! An artifact is judged by the file that was opened, and only where that file is still the one at
//! its path and has not changed when it has been read: what was read while somebody wrote is neither
//! right nor wrong.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use runsync_manifest::checksum::{self, Checksums, Wanted};
use runsync_manifest::name::{ArtifactPath, RunKey};
use serde::Serialize;
use tracing::{debug, warn};

use super::brake::Brake;
use super::throttle::Throttle;
use crate::beside::beside;
use crate::datastore::{Datastore, DatastoreError, Look};
use crate::file_identity::FileIdentity;
use crate::ingest::flow::Flow;
use crate::ingest::{IngestError, error_chain};
use crate::registry::record::WaitingArtifact;

/// Artifacts that one thread compares before it takes others.
const COMPARED_TOGETHER: usize = 64;

/// An artifact and the state of the file at its path.
pub(super) type There = (WaitingArtifact, FileIdentity);

/// Artifacts of one run that are there.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) run: Arc<RunKey>,
    pub(super) there: Vec<There>,
}

/// What is wrong with an artifact that is there.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: ArtifactPath,
    pub(super) identity: FileIdentity,
    pub(super) detail: String,
}

/// What comparing a chunk came to. An artifact that could not be read, or changed meanwhile, is in
/// neither list: it is looked at again.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) run: Arc<RunKey>,
    pub(super) confirmed: Vec<WaitingArtifact>,
    pub(super) faults: Vec<Fault>,
}

impl Judged {
    fn new(run: Arc<RunKey>) -> Self {
        Self {
            run,
            confirmed: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// How many artifacts were judged.
    pub(super) fn len(&self) -> usize {
        self.confirmed.len() + self.faults.len()
    }

    fn take(&mut self, artifact: WaitingArtifact, (identity, difference): Opinion) {
        match difference {
            None => self.confirmed.push(artifact),
            Some(detail) => self.faults.push(Fault {
                path: artifact.path,
                identity,
                detail,
            }),
        }
    }
}

/// The file that was judged, and what differs: `None` where it is what its manifest says.
type Opinion = (FileIdentity, Option<String>);

/// Why an artifact cannot be compared now.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Open(#[from] DatastoreError),
    #[error("cannot read the artifact")]
    Read(#[from] io::Error),
}

/// Compares sizes alone.
pub(super) fn sizes(chunk: Chunk) -> Judged {
    let mut judged = Judged::new(chunk.run);
    judged.confirmed.reserve(chunk.there.len());
    for (artifact, identity) in chunk.there {
        let difference = size_differs(&artifact, identity);
        judged.take(artifact, (identity, difference));
    }
    judged
}

/// Reads artifacts and compares their checksums: what one thread needs for that.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    datastore: &'a dyn Datastore,
    throttle: &'a Throttle,
    brake: &'a Brake,
    buffer: checksum::Buffer,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        datastore: &'a dyn Datastore,
        throttle: &'a Throttle,
        brake: &'a Brake,
    ) -> Self {
        Self {
            datastore,
            throttle,
            brake,
            buffer: checksum::Buffer::new(),
        }
    }

    /// Judges a chunk; where the brake is pulled, as far as it has come.
    pub(super) fn read(&mut self, chunk: Chunk) -> Judged {
        let mut opinions = Vec::with_capacity(chunk.there.len());
        for there in chunk.there {
            if self.brake.is_pulled() {
                break;
            }
            let (artifact, looked) = there;
            match self.opinion(&artifact, looked) {
                Ok(opinion) => opinions.push((artifact, opinion)),
                Err(_) if self.brake.is_pulled() => break,
                Err(error) => {
                    let path = &artifact.path;
                    warn!(%path, error = %error_chain(&error), "artifact cannot be read");
                }
            }
        }
        let mut judged = Judged::new(chunk.run);
        let paths: Vec<&ArtifactPath> = opinions.iter().map(|(one, _)| &one.path).collect();
        let again = self.datastore.look(&paths).unwrap_or_else(|error| {
            warn!(error = %error_chain(&error), "artifacts that were read cannot be looked at again");
            Vec::new()
        });
        for ((artifact, opinion), look) in opinions.into_iter().zip(again) {
            if look == Look::File(opinion.0) {
                judged.take(artifact, opinion);
            } else {
                debug!(path = %artifact.path, "artifact changed while it was read");
            }
        }
        judged
    }

    /// Adds what differs of artifacts that are sorted by path.
    fn differences(
        &mut self,
        artifacts: &[WaitingArtifact],
        found: &mut Vec<Difference>,
    ) -> Result<(), DatastoreError> {
        let paths: Vec<&ArtifactPath> = artifacts.iter().map(|artifact| &artifact.path).collect();
        for (artifact, look) in artifacts.iter().zip(self.datastore.look(&paths)?) {
            if self.brake.is_pulled() {
                break;
            }
            let (is_certain, detail) = match look {
                Look::File(identity) => match self.opinion(artifact, identity) {
                    Ok((_, None)) => (true, None),
                    Ok((opened, difference)) => (self.stands(artifact, opened)?, difference),
                    Err(error) => (false, Some(error_chain(&error))),
                },
                Look::Absent => (true, Some("it is not there".to_owned())),
                // A symbolic link on the way is one, too, and others may follow it.
                Look::Irregular => (false, Some("it is not a regular file".to_owned())),
                Look::Unreadable(fault) => {
                    (false, Some(format!("it cannot be looked at: {fault}")))
                }
            };
            found.extend(detail.map(|detail| Difference {
                path: artifact.path.clone(),
                detail,
                is_certain,
            }));
        }
        Ok(())
    }

    /// Whether the file that was looked at is there still, and has not changed.
    fn stands(
        &self,
        artifact: &WaitingArtifact,
        opened: FileIdentity,
    ) -> Result<bool, DatastoreError> {
        let looks = self.datastore.look(&[&artifact.path])?;
        Ok(matches!(looks.as_slice(), [Look::File(now)] if *now == opened))
    }

    fn opinion(
        &mut self,
        artifact: &WaitingArtifact,
        looked: FileIdentity,
    ) -> Result<Opinion, CompareError> {
        if let Some(difference) = size_differs(artifact, looked) {
            return Ok((looked, Some(difference)));
        }
        let (file, opened) = self.datastore.open(&artifact.path)?;
        if let Some(difference) = size_differs(artifact, opened) {
            return Ok((opened, Some(difference)));
        }
        let expected = &artifact.checksums;
        let wanted = Wanted {
            md5: expected.md5.is_some(),
            sha256: expected.sha256.is_some(),
        };
        let paced = Paced {
            file,
            throttle: self.throttle,
            brake: self.brake,
        };
        let (size, found) = checksum::checksum_with(&mut self.buffer, paced, wanted)?;
        if size != artifact.size {
            let expected = artifact.size;
            let detail = format!("it ends after {size} bytes, expected {expected}");
            return Ok((opened, Some(detail)));
        }
        Ok((opened, checksums_differ(expected, &found)))
    }
}

fn size_differs(artifact: &WaitingArtifact, identity: FileIdentity) -> Option<String> {
    let (expected, found) = (artifact.size, identity.size);
    (found != expected).then(|| format!("its size is {found} bytes, expected {expected}"))
}

fn checksums_differ(expected: &Checksums, found: &Checksums) -> Option<String> {
    let others = if found.adler32 == expected.adler32 {
        " (md5 or sha256 differ)"
    } else {
        ""
    };
    let (adler32, wanted) = (found.adler32, expected.adler32);
    (found != expected).then(|| format!("its adler32 is {adler32}, expected {wanted}{others}"))
}

/// A file that is read no faster than allowed, and to its end only where nobody breaks off.
struct Paced<'a> {
    file: File,
    throttle: &'a Throttle,
    brake: &'a Brake,
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.brake.wait(self.throttle.bytes(count));
        if self.brake.is_pulled() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(count)
    }
}

/// An artifact that is not in the root as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path in the root.
    pub path: ArtifactPath,
    /// What is different.
    pub detail: String,
    /// Whether that was seen; else the artifact could not be looked at, or not be read.
    #[serde(skip)]
    pub is_certain: bool,
}

/// Compares artifacts (sorted by path) with what lies in the flow's root, checksums and all, with
/// as many threads as the root is confirmed with. Nothing is recorded. `go_on` is asked meanwhile.
///
/// # Errors
///
/// Where the root as a whole does not answer; [`IngestError::Interrupted`] where `go_on` broke off.
pub fn differences(
    artifacts: &[WaitingArtifact],
    flow: &Flow,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Vec<Difference>, IngestError> {
    let datastore = &**flow.datastore();
    let (throttle, brake) = (Throttle::new(flow.root()), Brake::default());
    let chunks: Vec<_> = artifacts.chunks(COMPARED_TOGETHER).collect();
    let next = AtomicUsize::new(0);
    let compare = || {
        let mut reader = Reader::new(datastore, &throttle, &brake);
        let mut found = Vec::new();
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            reader.differences(chunk, &mut found)?;
        }
        Ok::<_, IngestError>(found)
    };
    let mut asked = || {
        let flow = go_on();
        if flow.is_break() {
            brake.pull();
        }
        flow
    };
    let found = beside(&mut asked, |_| {
        thread::scope(|scope| {
            let others = 1..flow.root().confirm_threads.min(chunks.len());
            let others: Vec<_> = others.map(|_| scope.spawn(compare)).collect();
            let mut found = compare()?;
            for other in others {
                found.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok::<_, IngestError>(found)
        })
    });
    let mut found = found.unwrap_or_else(|panic| resume_unwind(panic))?;
    if brake.is_pulled() {
        return Err(IngestError::Interrupted);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
