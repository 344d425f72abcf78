//! Files that no record names and that are nobody's to judge: those that a removal under way has journaled, and
//! those that manifests in the root name which the registry does not know (yet).
//!
//! Their paths are sorted, on disk where they are many, and read beside the listing.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use runsync_manifest::reader::{Line, Reader};

use super::ScanError;
use super::behind::Behind;
use crate::datastore::{DatastoreError, ManifestFile};
use crate::error_chain::error_chain;
use crate::file_identity::FileIdentity;
use crate::ingest::Flow;
use crate::ledger::record::ManifestState;
use crate::ledger::scans::Span;
use crate::removal::Journal;
use crate::sorting::{self, Sorted, Sorter};

/// Paths held in memory, in bytes; the rest goes to disk.
const MEMORY_BYTES: usize = 8 << 20;
/// Where manifests lie: the folder of their origin follows, and then that of their run.
const MANIFESTS: &str = "runsync/manifests/";
/// Why nothing can be told where a caller broke off.
const BROKEN_OFF: &str =
    "the scan was broken off while it read journals and manifests: no file is called dark by it";

/// All of them.
#[derive(Debug)]
pub(super) struct Untouchable {
    paths: Sorted,
    /// Runs whose manifests cannot be read: all that lies below their names.
    folders: Vec<Span>,
    /// Why nothing can be told from what is untouchable, for people.
    doubt: Option<String>,
    /// Whether that is because the caller broke off.
    broken_off: bool,
    /// What was left out of account, for people.
    notes: Vec<String>,
}

/// Paths between two words to the caller: some milliseconds.
const WORD: u64 = 1_024;

/// Asked while what is untouchable is gathered; may break off.
pub(super) type GoOn<'g> = dyn FnMut() -> ControlFlow<()> + 'g;

/// Gathers them.
struct Gathering<'f, 'g> {
    flow: &'f Flow,
    span: &'f Span,
    go_on: &'f mut GoOn<'g>,
    /// Paths that were met.
    met: u64,
    broken_off: bool,
    paths: Sorter,
    folders: Vec<Span>,
    doubt: Option<String>,
    notes: Vec<String>,
}

impl Untouchable {
    /// Finds those that lie in a stretch of paths. Where `go_on` breaks off they are not all known, which is a doubt.
    pub(super) fn find(
        flow: &Flow,
        behind: &Behind,
        span: &Span,
        go_on: &mut GoOn<'_>,
    ) -> Result<Self, ScanError> {
        let mut gathering = Gathering {
            flow,
            span,
            go_on,
            met: 0,
            broken_off: false,
            paths: Sorter::new(&flow.site().scratch, MEMORY_BYTES),
            folders: Vec::new(),
            doubt: None,
            notes: Vec::new(),
        };
        gathering.journals()?;
        gathering.manifests(behind)?;
        if gathering.broken_off {
            gathering.doubt = Some(BROKEN_OFF.to_owned());
        }
        Ok(Self {
            paths: gathering.paths.sort()?,
            folders: gathering.folders,
            doubt: gathering.doubt,
            broken_off: gathering.broken_off,
            notes: gathering.notes,
        })
    }

    pub(super) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Whether the caller broke off.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads them beside a listing.
    pub(super) fn beside(&self) -> io::Result<Beside<'_>> {
        Ok(Beside {
            paths: self.paths.cursor()?,
            folders: &self.folders,
            next: None,
            over: false,
        })
    }
}

/// Untouchable files on their way, by path.
pub(super) struct Beside<'u> {
    paths: sorting::Cursor<'u>,
    folders: &'u [Span],
    next: Option<Vec<u8>>,
    over: bool,
}

impl Beside<'_> {
    /// Whether the file at a path is one of them. Paths are asked for in ascending order.
    pub(super) fn holds(&mut self, path: &str) -> io::Result<bool> {
        if self.folders.iter().any(|span| span.holds(path)) {
            return Ok(true);
        }
        while !self.over {
            if self.next.is_none() {
                self.next = self.paths.next()?.map(<[u8]>::to_vec);
                self.over = self.next.is_none();
            }
            match &self.next {
                Some(next) if next.as_slice() < path.as_bytes() => self.next = None,
                Some(next) => return Ok(next == path.as_bytes()),
                None => {}
            }
        }
        Ok(false)
    }
}

impl Gathering<'_, '_> {
    /// Asks whether to go on.
    fn is_over(&mut self) -> bool {
        self.broken_off = self.broken_off || (self.go_on)().is_break();
        self.broken_off
    }

    /// Counts a path that was met, and asks from time to time whether to go on.
    fn is_over_after_path(&mut self) -> bool {
        self.met += 1;
        self.met.is_multiple_of(WORD) && self.is_over()
    }

    fn add(&mut self, path: &str) -> io::Result<()> {
        if self.span.holds(path) {
            self.paths.push(path.as_bytes())?;
        }
        Ok(())
    }

    fn journals(&mut self) -> Result<(), ScanError> {
        let journals = self.flow.datastore().journals();
        let names = journals.list().map_err(|error| self.failed(error))?;
        for name in names {
            if self.is_over() {
                return Ok(());
            }
            let Err(error) = self.journal(&name) else {
                continue;
            };
            // One that is done by now says nothing any more.
            let left = journals.list().map_err(|error| self.failed(error))?;
            if left.contains(&name) {
                self.doubt = Some(format!(
                    "journal `{name}` cannot be read ({error}): no file is called dark until it is gone; see `runsync journal list`"
                ));
            }
        }
        Ok(())
    }

    fn journal(&mut self, name: &str) -> Result<(), String> {
        let journals = self.flow.datastore().journals();
        let journal = Journal::open(journals, name).map_err(|error| error_chain(&error))?;
        let artifacts = journal
            .read(journals)
            .map_err(|error| error_chain(&error))?;
        for artifact in artifacts {
            let artifact = artifact.map_err(|error| error_chain(&error))?;
            let added = self.add(artifact.path.as_str());
            added.map_err(|error| error.to_string())?;
            if self.is_over_after_path() {
                break;
            }
        }
        Ok(())
    }

    /// Reads the manifests whose datasets the registry does not have.
    fn manifests(&mut self, behind: &Behind) -> Result<(), ScanError> {
        let (root, ledger) = (&self.flow.root().name, &self.flow.site().ledger);
        let listed = self.flow.datastore().list_manifests();
        let (files, errors) = listed.map_err(|error| self.failed(error))?;
        if let Some(error) = errors.first() {
            self.doubt = Some(format!(
                "manifests cannot be listed whole ({}): no file is called dark until they can",
                error_chain(error)
            ));
        }
        let known = ledger.known_files(root)?.into_iter();
        let known: HashMap<String, (FileIdentity, ManifestState)> = known
            .map(|(path, identity, state)| (path, (identity, state)))
            .collect();
        let mut unregistered = Vec::new();
        for run in behind.runs() {
            let rows = ledger.of_run(run)?.into_iter();
            let here = rows.filter(|row| row.location.root == *root);
            unregistered.extend(here.map(|row| row.location.path));
            self.notes.push(format!(
                "the registry knows less of run {run} than the ledger does: was it restored from a backup? Nothing is concluded about it; `runsync ingest` its manifests again"
            ));
        }
        unregistered.extend(
            files
                .into_iter()
                .filter(|file| !is_decided(file, known.get(&file.path)))
                .map(|file| file.path),
        );
        unregistered.sort_unstable();
        unregistered.dedup();
        for path in unregistered {
            if self.is_over() {
                return Ok(());
            }
            if let Err(error) = self.manifest(&path)? {
                self.unread(&path, &error);
            }
        }
        Ok(())
    }

    /// Takes up what one manifest names, or says why it cannot be read.
    fn manifest(&mut self, path: &str) -> Result<Result<(), String>, ScanError> {
        let (file, _) = match self.flow.datastore().open_manifest(path) {
            Ok(opened) => opened,
            Err(DatastoreError::Missing { .. }) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error_chain(&error))),
        };
        let mut reader = match Reader::new(file, self.flow.site().limits) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error_chain(&error))),
        };
        loop {
            match reader.next() {
                Ok(Some(_)) if self.is_over_after_path() => return Ok(Ok(())),
                Ok(Some(Line::Dataset { entry, .. })) => self.add(&entry.path)?,
                Ok(Some(Line::Dimension(_))) => {}
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error_chain(&error))),
            }
        }
    }

    /// What a manifest names that cannot be read whole lies, as a rule, below the name of its run.
    fn unread(&mut self, path: &str, error: &str) {
        let below = path.strip_prefix(MANIFESTS).unwrap_or_default();
        let run = below
            .split_once('/')
            .and_then(|(_, rest)| rest.rsplit_once('/'));
        let folder = run.and_then(|(run, _)| run.parse().ok());
        self.notes.push(format!(
            "manifest `{path}` cannot be read ({error}): nothing below the name of its run is called dark"
        ));
        match folder {
            Some(folder) => self.folders.push(Span::below(Some(&folder))),
            None => self.doubt = Some(format!("the run of manifest `{path}` is not known")),
        }
    }

    fn failed(&self, source: DatastoreError) -> ScanError {
        ScanError::Datastore {
            root: self.flow.root().name.clone(),
            source,
        }
    }
}

/// Whether the registry has what a manifest says, or is never to have it.
fn is_decided(file: &ManifestFile, known: Option<&(FileIdentity, ManifestState)>) -> bool {
    known.is_some_and(|(identity, state)| {
        *identity == file.identity
            && match state {
                ManifestState::Registered | ManifestState::Superseded => true,
                ManifestState::Blocked | ManifestState::Untrusted | ManifestState::Quarantined => {
                    false
                }
            }
    })
}
