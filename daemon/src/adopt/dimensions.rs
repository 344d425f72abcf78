//! Files of dimension records: Butler exports that a `dim_file` message names.
//!
//! Such a file becomes a manifest of a run of its own that holds no datasets. The manifest's UUID is made of the
//! file's size and checksums, so that the same file, told of again, is known. The first definition of a record
//! wins, as with every manifest.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::ops::ControlFlow;

use runsync_manifest::checksum::{Checksums, Wanted, checksum};
use runsync_manifest::content::Content;
use runsync_manifest::name::{ArtifactPath, ManifestId, RunKey};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::error::AdoptError;
use super::flow::{Adopting, Place};
use super::gather::Stated;
use crate::adopted;
use crate::create::export;
use crate::datastore::{DatastoreError, Look};
use crate::error_chain::error_chain;
use crate::ledger::record::ManifestState;
use crate::registry::record::RowSource;

/// Records of a whole survey come to some tens of megabytes; all of them are held to be sorted.
const EXPORT_BYTES_MAX: u64 = 256 << 20;

/// What became of a file of dimension records.
pub(super) enum Taking {
    /// Its records are in a manifest that lies at this path; none: they were before.
    Taken(Option<String>),
    /// It is not there, or not whole.
    NotYet(String),
    /// It is no such file.
    Wrong(String),
}

impl Adopting {
    /// Takes the dimension records of the file at `path`.
    pub(super) fn take_dimensions(
        &self,
        place: &Place,
        path: &ArtifactPath,
        stated: Stated,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Taking, AdoptError> {
        let Some(run) = place.dimensions_run() else {
            return Ok(Taking::Wrong("no run of dimension records".to_owned()));
        };
        let manifest = manifest_of(&run, path, stated);
        let ledger = &place.flow.site().ledger;
        if ledger.names_manifest(&run, ManifestId(manifest))? {
            return Ok(Taking::Taken(None));
        }
        if stated.size > EXPORT_BYTES_MAX {
            let most = EXPORT_BYTES_MAX;
            return Ok(Taking::Wrong(format!(
                "{} bytes, and at most {most} are read",
                stated.size
            )));
        }
        let mut file = match place.open_whole(path, stated)? {
            Ok(file) => file,
            Err(why) => return Ok(Taking::NotYet(why)),
        };
        file.rewind().map_err(AdoptError::Scratch)?;
        let input = BufReader::new(file.take(EXPORT_BYTES_MAX));
        let draft = match export::read_dimensions(path.as_str(), input) {
            Ok(draft) => draft,
            Err(error) => return Ok(Taking::Wrong(error_chain(&error))),
        };
        if draft.dimension_records() == 0 {
            return Ok(Taking::Wrong("it holds no dimension records".to_owned()));
        }
        let written = self.write_dimensions(place, &run, draft, manifest, progress)?;
        Ok(Taking::Taken(written.map(|written| written.path)))
    }
}

impl Place {
    /// Opens the file, where it is the one that the message is about; else why not.
    fn open_whole(
        &self,
        path: &ArtifactPath,
        stated: Stated,
    ) -> Result<Result<File, String>, AdoptError> {
        let datastore = self.flow.datastore();
        match datastore.look(&[path])?.first() {
            Some(Look::File(found)) if found.size == stated.size => {}
            Some(Look::File(found)) => {
                let (is, said) = (found.size, stated.size);
                return Ok(Err(format!(
                    "`{path}` has {is} bytes, and the message says {said}"
                )));
            }
            Some(Look::Absent) | None => return Ok(Err(format!("`{path}` is not there"))),
            Some(Look::Irregular) => return Ok(Err(format!("`{path}` is no regular file"))),
            Some(Look::Unreadable(fault)) => return Ok(Err(format!("`{path}`: {fault}"))),
        }
        let mut file = match datastore.open(path) {
            Ok((file, _)) => file,
            Err(error @ DatastoreError::Missing { .. }) => return Ok(Err(error_chain(&error))),
            Err(error) => return Err(error.into()),
        };
        let wanted = Wanted {
            md5: stated.checksums.md5.is_some(),
            sha256: false,
        };
        let read = checksum(&mut file, wanted);
        let (size, checksums) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(format!("`{path}` cannot be read: {error}"))),
        };
        if (size, checksums) == (stated.size, stated.checksums) {
            return Ok(Ok(file));
        }
        Ok(Err(format!(
            "`{path}` has other checksums than the message says"
        )))
    }

    /// Whether a snapshot of the run has all records of a manifest that was told of before the run was compacted:
    /// what was superseded is known no more.
    pub(super) fn has_compacted(
        &self,
        run: &RunKey,
        rows: &dyn RowSource,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<bool, AdoptError> {
        let site = self.flow.site();
        // Nearly all that comes brings something new: only what does not is compared with the snapshot.
        if !site.registry.has_dimensions(rows)? {
            return Ok(false);
        }
        let manifests = site.ledger.of_run(run)?;
        let snapshot = manifests.iter().rfind(|row| {
            let summary = row.summary.as_ref();
            row.state == ManifestState::Registered
                && summary.is_some_and(|summary| summary.content == Content::Snapshot)
        });
        let Some(snapshot) = snapshot else {
            return Ok(false);
        };
        match self.merge([snapshot], progress)? {
            Some(merged) => merged.holds(rows),
            None => Ok(false),
        }
    }

    pub(super) fn dimensions_run(&self) -> Option<RunKey> {
        Some(RunKey {
            origin: self.origin,
            name: adopted::DIMENSIONS_RUN.parse().ok()?,
        })
    }
}

/// The UUID of the manifest that a file becomes: version 7, with the beginning of a digest in the place of time and
/// chance, so that the same file makes the same one.
fn manifest_of(run: &RunKey, path: &ArtifactPath, Stated { size, checksums }: Stated) -> Uuid {
    let Checksums { adler32, md5, .. } = checksums;
    let mut digest = Sha256::new();
    digest.update(run.origin.0.as_bytes());
    digest.update(format!("{path}\n{size}\n{adler32}\n"));
    if let Some(md5) = md5 {
        digest.update(md5.0);
    }
    let mut random = [0; 10];
    for (byte, digit) in random.iter_mut().zip(digest.finalize()) {
        *byte = digit;
    }
    Builder::from_unix_timestamp_millis(0, &random).into_uuid()
}
