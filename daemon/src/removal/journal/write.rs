//! Writes a journal: every artifact that runs name in a root, with the file that lies there.

use std::io::{self, Write};
use std::ops::ControlFlow;

use runsync_manifest::checksum::Sha256 as Sha256Sum;
use runsync_manifest::name::ArtifactPath;
use sha2::{Digest, Sha256};

use super::format::{Artifact, Header, Line};
use super::read::LINE_BYTES_MAX;
use super::{JournalError, name_of};
use crate::datastore::journals::JOURNAL_FOLDER;
use crate::datastore::{Datastore, DatastoreError, Look, StorageFault};
use crate::registry::removal::{NamedArtifact, RunPart};
use crate::registry::{Registry, RegistryError};
use crate::removal::RemovalError;

/// Artifacts that are looked at before their lines are written.
const LOOKED_TOGETHER: usize = 1_024;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// SHA-256 of the journal to its last line.
    pub digest: Sha256Sum,
    /// Artifacts in it.
    pub artifacts: u64,
    /// Bytes of those that are there.
    pub bytes: u64,
    /// Artifacts that datasets which stay name too: they are not in it.
    pub shared: u64,
}

/// Writes the journal of `header` into its root, durably. `progress` hears how many artifacts
/// are written and may break off.
///
/// # Errors
///
/// Where the registry, the root or the journal folder fail: nothing is left.
pub fn write(
    header: &Header,
    parts: &[RunPart],
    registry: &dyn Registry,
    datastore: &dyn Datastore,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Written, RemovalError> {
    let name = name_of(header.removal, header.created_at);
    let mut outcome = None;
    let created = datastore.journals().create(&name, &mut |to| {
        let mut lines = Lines::new(to, datastore, progress);
        let written = lines.write(header, parts, registry);
        let failed = written.is_err();
        outcome = Some(written);
        // The error itself is in `outcome`.
        if failed {
            Err(io::ErrorKind::Other.into())
        } else {
            Ok(())
        }
    });
    match (outcome, created) {
        (Some(Err(error)), _) => Err(error),
        (Some(Ok(written)), Ok(())) => Ok(written),
        (_, Err(source)) => Err(JournalError::Root { name, source }.into()),
        (None, Ok(())) => Err(JournalError::Torn { name }.into()),
    }
}

struct Lines<'a> {
    to: &'a mut dyn Write,
    datastore: &'a dyn Datastore,
    progress: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    hash: Sha256,
    line: Vec<u8>,
    batch: Vec<NamedArtifact>,
    artifacts: u64,
    bytes: u64,
    shared: u64,
}

impl<'a> Lines<'a> {
    fn new(
        to: &'a mut dyn Write,
        datastore: &'a dyn Datastore,
        progress: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Self {
        Self {
            to,
            datastore,
            progress,
            hash: Sha256::new(),
            line: Vec::new(),
            batch: Vec::with_capacity(LOOKED_TOGETHER),
            artifacts: 0,
            bytes: 0,
            shared: 0,
        }
    }

    fn write(
        &mut self,
        header: &Header,
        parts: &[RunPart],
        registry: &dyn Registry,
    ) -> Result<Written, RemovalError> {
        let failed = |source| RemovalError::Root {
            root: header.root.clone(),
            source,
        };
        let first = Line::Journal {
            format: header.format(),
            header: Box::new(header.clone()),
        };
        self.line(&first)
            .map_err(|source| write_error(header, source))?;
        let mut stopped = None;
        let listed = registry.artifacts_of(parts, &header.root, &mut |artifact| match self
            .take(artifact, header)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        });
        match (stopped, listed) {
            (Some(error), _) => return Err(error),
            (None, Err(RegistryError::Interrupted)) => return Err(RemovalError::Interrupted),
            (None, listed) => listed?,
        }
        self.look(header)?;
        let sha256 = Sha256Sum(self.hash.clone().finalize().into());
        let end = Line::End {
            artifacts: self.artifacts,
            sha256,
        };
        self.line(&end)
            .map_err(|source| write_error(header, source))?;
        self.datastore.check_identity().map_err(failed)?;
        Ok(Written {
            digest: Sha256Sum(self.hash.clone().finalize().into()),
            artifacts: self.artifacts,
            bytes: self.bytes,
            shared: self.shared,
        })
    }

    fn take(&mut self, artifact: NamedArtifact, header: &Header) -> Result<(), RemovalError> {
        if artifact.shared {
            self.shared += 1;
            return Ok(());
        }
        self.batch.push(artifact);
        if self.batch.len() == LOOKED_TOGETHER {
            self.look(header)?;
            if (self.progress)(self.artifacts).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        Ok(())
    }

    /// Looks at the batch, and writes its lines.
    fn look(&mut self, header: &Header) -> Result<(), RemovalError> {
        let batch = std::mem::take(&mut self.batch);
        let paths: Vec<&ArtifactPath> = batch.iter().map(|artifact| &artifact.path).collect();
        let looks = self.datastore.look(&paths);
        let looks = looks.map_err(|source| RemovalError::Root {
            root: header.root.clone(),
            source,
        })?;
        for (artifact, look) in batch.into_iter().zip(looks) {
            let identity = match look {
                Look::File(identity) => Some(identity),
                Look::Absent => None,
                // No dataset is a link or a folder: nothing of it is ours to delete.
                Look::Irregular => continue,
                Look::Unreadable(StorageFault(errno)) => {
                    return Err(unreadable(header, &artifact.path, errno));
                }
            };
            self.artifacts += 1;
            self.bytes += identity.map_or(0, |identity| identity.size);
            let line = Line::Artifact(Artifact {
                path: artifact.path,
                size: artifact.size,
                adler32: artifact.adler32,
                identity,
                awaited: identity.is_none() && !artifact.confirmed,
                datasets: artifact.datasets,
            });
            self.line(&line)
                .map_err(|source| write_error(header, source))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        if self.line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other(
                "an artifact holds more datasets than a line of a journal can name",
            ));
        }
        self.hash.update(&self.line);
        self.to.write_all(&self.line)
    }
}

fn write_error(header: &Header, source: io::Error) -> RemovalError {
    let name = name_of(header.removal, header.created_at);
    let source = DatastoreError::Io {
        attempt: "write",
        path: format!("{JOURNAL_FOLDER}/{name}"),
        source,
    };
    JournalError::Root { name, source }.into()
}

fn unreadable(header: &Header, path: &ArtifactPath, errno: i32) -> RemovalError {
    RemovalError::Root {
        root: header.root.clone(),
        source: DatastoreError::Io {
            attempt: "look at",
            path: path.to_string(),
            source: io::Error::from_raw_os_error(errno),
        },
    }
}
