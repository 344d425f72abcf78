//! Gives files that Rucio has brought the names that manifests know them by.
//!
//! At an RSE that places files by an algorithm of its own a file lies elsewhere in the root. Registry,
//! manifests and confirming know its name alone, so it gets that as a second one: a hard link, one copy.
//! A manifest, which is small and must never change, is copied instead: what Rucio does to its own file
//! later is no concern of it.
//! The same rule as that by which the origin gave its files Rucio's names
//! ([`lies`]), seen from the other side.
//!
//! # Invariants
//!
//! - Never over another file, never out of the root, never through a symbolic link.
//! - Never from a path that some dataset claims: Rucio's word alone gives no one another's file.
//! - A name that runsync has made is noted, so that it can be taken away when Rucio's is gone.

use std::fs::File;
use std::io::Seek;

use runsync_config::root::{ConfirmLevel, PathMapping};
use runsync_manifest::checksum::{Wanted, checksum};
use runsync_manifest::name::ArtifactPath;
use tracing::warn;

use super::SyncError;
use super::root::{Here, RootSync, TAKEN, WRONG};
use crate::datastore::{DatastoreError, Linked, Look};
use crate::ledger::record::MadeName;
use crate::publish::{Lies, lies};

/// A file that Rucio has here, under the name that manifests know.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) path: ArtifactPath,
    pub(super) here: Here,
    /// Size in bytes, by its manifest.
    pub(super) size: u64,
}

impl RootSync<'_, '_> {
    /// Sees to it that files have their names. Answers in the order asked whether each may be looked
    /// at under its name; why one may not is a finding, unless its bytes are still on their way.
    pub(super) fn name(&mut self, brought: &[Brought]) -> Result<Vec<bool>, SyncError> {
        let mut named = vec![true; brought.len()];
        let (mut wrong, mut links) = (Vec::new(), Vec::new());
        for (index, file) in brought.iter().enumerate() {
            match lies(self.root(), file.path.as_str(), &file.here.pfns) {
                Lies::AsNamed => {}
                Lies::At(from) => links.push((index, from)),
                Lies::Elsewhere => {
                    clear(&mut named, index);
                    let pfn = file.here.pfns.first().map_or("nowhere", String::as_str);
                    let detail =
                        format!("Rucio has it at {pfn}, which is no place of its own here");
                    wrong.push((file.path.clone(), detail));
                }
            }
        }
        if !links.is_empty() {
            self.link(brought, links, &mut named, &mut wrong)?;
        }
        self.tell(WRONG, &wrong)?;
        Ok(named)
    }

    fn link(
        &mut self,
        brought: &[Brought],
        mut links: Vec<(usize, ArtifactPath)>,
        named: &mut [bool],
        wrong: &mut Vec<(ArtifactPath, String)>,
    ) -> Result<(), SyncError> {
        links.sort_by(|a, b| a.1.cmp(&b.1));
        let from: Vec<&ArtifactPath> = links.iter().map(|(_, from)| from).collect();
        let claimed = self.registry().claimed(&self.root().name, &from)?;
        let looks = self.datastore().look(&from)?;
        self.note_names(brought, &links, &looks)?;
        let (mut taken, mut made) = (Vec::new(), Vec::new());
        for (((index, from), claimed), look) in links.iter().zip(claimed).zip(looks) {
            let Some(file) = brought.get(*index) else {
                continue;
            };
            if claimed {
                clear(named, *index);
                let detail = format!("Rucio has it at {from}, which is another dataset's");
                wrong.push((file.path.clone(), detail));
                continue;
            }
            match look {
                // Where it is still written, it is as it should be; it may yet become another file.
                Look::File(_) | Look::Absent if !file.here.is_available() => {
                    clear(named, *index);
                    continue;
                }
                Look::File(identity) if identity.size == file.size => {}
                Look::File(_) | Look::Absent | Look::Irregular | Look::Unreadable(_) => {
                    clear(named, *index);
                    wrong.push((file.path.clone(), difference(from, look, file.size)));
                    continue;
                }
            }
            match self.datastore().link(from.as_str(), &file.path) {
                Ok(Linked::Made) => made.push(file),
                Ok(Linked::There) => {}
                Ok(Linked::Other) => {
                    // It may be what it should be all the same, such as one that was carried by hand: a
                    // look tells, where there is one.
                    if self.root().confirm == ConfirmLevel::Trust {
                        clear(named, *index);
                    }
                    let detail = format!("another file has this name; Rucio's lies at {from}");
                    taken.push((file.path.clone(), detail));
                }
                Err(error) => {
                    clear(named, *index);
                    let error = crate::error_chain::error_chain(&error);
                    warn!(path = %file.path, error, "file of Rucio's cannot be given its name");
                }
            }
        }
        if !made.is_empty() {
            self.datastore().sync()?;
        }
        let right: Vec<&ArtifactPath> = made.iter().map(|file| &file.path).collect();
        self.report.linked += made.len() as u64;
        self.tell(TAKEN, &taken)?;
        self.heal(TAKEN, &right)
    }

    /// Notes which names are runsync's, and of which files, before the first is made: what a crash
    /// leaves is known.
    fn note_names(
        &self,
        brought: &[Brought],
        links: &[(usize, ArtifactPath)],
        looks: &[Look],
    ) -> Result<(), SyncError> {
        let mut names = Vec::with_capacity(links.len());
        let own: Vec<&ArtifactPath> = (links.iter())
            .filter_map(|(index, _)| Some(&brought.get(*index)?.path))
            .collect();
        let there = self.datastore().look(&own)?;
        for ((path, look), there) in own.into_iter().zip(looks).zip(there) {
            // What has the name already was not named by this.
            if let (Look::File(file), Look::Absent) = (look, there) {
                let inode = file.inode;
                names.push(MadeName { path, inode });
            }
        }
        Ok(self.ledger().note_names(&self.root().name, &names)?)
    }

    /// Sees to it that a manifest that Rucio has here has its name. True where it is there; why not is a
    /// finding, unless its bytes are still on their way.
    pub(super) fn name_manifest(&mut self, path: &str, here: &Here) -> Result<bool, SyncError> {
        if let Look::File(_) = self.datastore().look_at_manifest(path)? {
            return Ok(true);
        }
        let told = match lies(self.root(), path, &here.pfns) {
            Lies::At(from) => self.copy_manifest(&from, path, here)?,
            Lies::AsNamed => Err("no file is there".to_owned()),
            Lies::Elsewhere => {
                let pfn = here.pfns.first().map_or("nowhere", String::as_str);
                Err(format!(
                    "Rucio has it at {pfn}, which is no place of its own here"
                ))
            }
        };
        match told {
            Ok(()) => {
                self.heal(WRONG, &[path])?;
                Ok(true)
            }
            Err(_) if !here.is_available() => Ok(false),
            Err(detail) => {
                self.tell(WRONG, &[(path, detail)])?;
                Ok(false)
            }
        }
    }

    /// Copies a manifest to its path where it is what Rucio says; else says why it is not.
    fn copy_manifest(
        &mut self,
        from: &ArtifactPath,
        to: &str,
        here: &Here,
    ) -> Result<Result<(), String>, SyncError> {
        let claimed = self.registry().claimed(&self.root().name, &[from])?;
        if claimed.contains(&true) {
            return Ok(Err(format!(
                "Rucio has it at {from}, which is another dataset's"
            )));
        }
        let mut file = match self.datastore().open(from) {
            Ok((file, _)) => file,
            Err(error @ (DatastoreError::Missing { .. } | DatastoreError::Irregular { .. })) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        // What else it holds, its signature and trailer tell.
        if let Err(detail) = is_as_known(&file, from, here) {
            return Ok(Err(detail));
        }
        if let Err(error) = file.rewind() {
            return Ok(Err(format!("cannot read {from}: {error}")));
        }
        if self.datastore().install_manifest(to, &mut file)? {
            self.report.linked += 1;
        }
        Ok(Ok(()))
    }

    /// Whether files of Rucio's may have other names in this root than those that manifests know.
    pub(super) fn has_second_names(&self) -> bool {
        self.root().path_mapping == PathMapping::Rucio
    }
}

/// Compares a file with what Rucio knows of it; says what differs.
fn is_as_known(file: &File, at: &ArtifactPath, here: &Here) -> Result<(), String> {
    let (size, found) =
        checksum(file, Wanted::default()).map_err(|error| format!("cannot read {at}: {error}"))?;
    let adler32 = found.adler32.to_string();
    let other = here.adler32.as_deref();
    if here.bytes.is_some_and(|bytes| bytes != size)
        || other.is_some_and(|other| !other.trim().eq_ignore_ascii_case(&adler32))
    {
        return Err(format!("the file at {at} is not the one that Rucio knows"));
    }
    Ok(())
}

fn clear(named: &mut [bool], index: usize) {
    if let Some(named) = named.get_mut(index) {
        *named = false;
    }
}

fn difference(at: &ArtifactPath, look: Look, size: u64) -> String {
    match look {
        Look::File(identity) => {
            let found = identity.size;
            format!("Rucio has it at {at}, and its size there is {found} bytes, expected {size}")
        }
        Look::Absent => format!("Rucio has it at {at}, and no file is there"),
        Look::Irregular => format!("Rucio has it at {at}, and that is no regular file"),
        Look::Unreadable(fault) => {
            format!("Rucio has it at {at}, which cannot be looked at: {fault}")
        }
    }
}
