//! Compares artifacts that are there with what their manifest says of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use runsync_config::root::{ConfirmLevel, Root};
use runsync_manifest::checksum::{self, Wanted};
use runsync_manifest::name::ArtifactPath;
use serde::Serialize;
use tracing::warn;

use super::{Going, proceed};
use crate::datastore::{Datastore, DatastoreError, Look};
use crate::file_identity::FileIdentity;
use crate::ingest::flow::Flow;
use crate::ingest::{IngestError, error_chain};
use crate::registry::record::WaitingArtifact;

/// How often the caller hears that large files are being read.
const BEAT: Duration = Duration::from_secs(1);

/// An artifact and the state of the file at its path.
pub(super) type There<'a> = (&'a WaitingArtifact, FileIdentity);

/// What is wrong with an artifact that is there.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: ArtifactPath,
    pub(super) identity: FileIdentity,
    pub(super) detail: String,
}

/// What comparing came to. An artifact that could not be read is in neither list.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) confirmed: Vec<WaitingArtifact>,
    pub(super) faults: Vec<Fault>,
}

impl Compared {
    fn take(&mut self, (artifact, identity): There<'_>, verdict: Verdict) {
        match verdict {
            Ok(None) => self.confirmed.push(artifact.clone()),
            Ok(Some(detail)) => self.faults.push(Fault {
                path: artifact.path.clone(),
                identity,
                detail,
            }),
            Err(error) => {
                warn!(path = %artifact.path, error = %error_chain(&error), "artifact cannot be read");
            }
        }
    }
}

/// `None` where the artifact is what its manifest says, else what differs.
type Verdict = Result<Option<String>, CompareError>;

/// Why an artifact cannot be compared now.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Open(#[from] DatastoreError),
    #[error("cannot read the artifact")]
    Read(#[from] std::io::Error),
}

/// Compares at the root's level.
pub(super) fn compare_all(
    there: &[There<'_>],
    root: &Root,
    datastore: &dyn Datastore,
    progress: &mut Going<'_>,
) -> Result<Compared, IngestError> {
    if root.confirm == ConfirmLevel::Checksum {
        return read_all(there, root.confirm_threads.max(1), datastore, progress);
    }
    let mut compared = Compared::default();
    for one in there {
        compared.take(*one, compare(*one, root.confirm, datastore));
    }
    Ok(compared)
}

/// Reads in `threads`, each of which takes the next file when it is done with one.
fn read_all(
    there: &[There<'_>],
    threads: usize,
    datastore: &dyn Datastore,
    progress: &mut Going<'_>,
) -> Result<Compared, IngestError> {
    let next = &AtomicUsize::new(0);
    let (tell, told) = mpsc::sync_channel(threads);
    thread::scope(move |scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                let tell = tell.clone();
                scope.spawn(move || {
                    while let Some(one) = there.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let verdict = compare(*one, ConfirmLevel::Checksum, datastore);
                        if tell.send((*one, verdict)).is_err() {
                            // The caller broke off.
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(tell);
        let mut compared = Compared::default();
        loop {
            match told.recv_timeout(BEAT) {
                Ok((one, verdict)) => compared.take(one, verdict),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            proceed(progress)?;
        }
        for reader in readers {
            // What a reader that panicked had taken is looked at again, as if it were absent.
            reader.join().ok();
        }
        Ok(compared)
    })
}

/// An artifact that is not in the root as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path in the root.
    pub path: ArtifactPath,
    /// What is different.
    pub detail: String,
}

/// Compares artifacts (sorted by path) with what lies in the flow's root, checksums and all.
pub fn differences(
    artifacts: &[WaitingArtifact],
    flow: &Flow,
) -> Result<Vec<Difference>, IngestError> {
    let datastore = &**flow.datastore();
    let paths: Vec<&ArtifactPath> = artifacts.iter().map(|artifact| &artifact.path).collect();
    let mut found = Vec::new();
    for (artifact, look) in artifacts.iter().zip(datastore.look(&paths)?) {
        let detail = match look {
            Look::File(identity) => {
                compare((artifact, identity), ConfirmLevel::Checksum, datastore)
                    .unwrap_or_else(|error| Some(error_chain(&error)))
            }
            Look::Absent => Some("it is not there".to_owned()),
            Look::Irregular => Some("it is not a regular file".to_owned()),
            Look::Unreadable(fault) => Some(format!("it cannot be looked at: {fault}")),
        };
        let path = artifact.path.clone();
        found.extend(detail.map(|detail| Difference { path, detail }));
    }
    Ok(found)
}

fn compare(
    (artifact, identity): There<'_>,
    level: ConfirmLevel,
    datastore: &dyn Datastore,
) -> Verdict {
    if identity.size != artifact.size {
        let (expected, found) = (artifact.size, identity.size);
        return Ok(Some(format!(
            "its size is {found} bytes, expected {expected}"
        )));
    }
    if level != ConfirmLevel::Checksum {
        return Ok(None);
    }
    let (file, _) = datastore.open(&artifact.path)?;
    let expected = &artifact.checksums;
    let wanted = Wanted {
        md5: expected.md5.is_some(),
        sha256: expected.sha256.is_some(),
    };
    let (size, found) = checksum::checksum(file, wanted)?;
    if size != artifact.size {
        return Ok(Some(format!(
            "it ends after {size} bytes, expected {}",
            artifact.size
        )));
    }
    Ok((found != *expected).then(|| {
        format!(
            "its adler32 is {}, expected {}{}",
            found.adler32,
            expected.adler32,
            if found.adler32 == expected.adler32 {
                " (md5 or sha256 differ)"
            } else {
                ""
            }
        )
    }))
}
