//! The state of a site.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use runsync::file_identity::FileIdentity;
use runsync::ledger::repairs::RepairAct;
use runsync::registry::removal::Operation;

use super::clock::Watch;
use super::plan::Item;
use super::policy::Policy;
use super::scan::{Finding, Pass};
use crate::scene::bytes;

/// A file as it lies there. Its time of change is the machine's, and not the site's: what is young or old
/// follows from how far the site's clock has been set ahead of the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lying {
    pub(crate) bytes: Vec<u8>,
    pub(crate) identity: FileIdentity,
    pub(crate) changed_ns: i64,
}

impl Lying {
    /// The file that lies there; none where there is none.
    pub(crate) fn at(file: &Path) -> Option<Self> {
        let status = fs::symlink_metadata(file).ok()?;
        let nanoseconds = |seconds: i64, more: i64| seconds * 1_000_000_000 + more;
        status.is_file().then(|| Self {
            bytes: fs::read(file).unwrap(),
            identity: FileIdentity {
                size: status.len(),
                modified_ns: nanoseconds(status.mtime(), status.mtime_nsec()),
                inode: status.ino(),
            },
            changed_ns: nanoseconds(status.ctime(), status.ctime_nsec()),
        })
    }
}

/// How a dataset stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a record.
    Recorded,
    /// Its artifact is waited for.
    Awaited,
    /// It was forgotten or unstored.
    Absent,
}

/// What a dataset says of its path.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) number: u128,
    pub(crate) run: String,
    pub(crate) standing: Standing,
}

/// A run that is registered.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Whether it is wanted here: it was not unstored.
    pub(crate) wanted: bool,
}

/// A manifest in the root that is not registered.
#[derive(Debug, Clone)]
pub(crate) struct Coming {
    pub(crate) run: String,
    pub(crate) first: u32,
    pub(crate) paths: Vec<String>,
    /// Whether it is half written: all below the name of its run is untouchable then.
    pub(crate) torn: bool,
}

/// A removal under way.
#[derive(Debug, Clone)]
pub(crate) struct Removal {
    pub(crate) run: String,
    pub(crate) operation: Operation,
    /// What its journal names, with the files that lay there.
    pub(crate) journal: BTreeMap<String, Option<FileIdentity>>,
    pub(crate) committed: bool,
}

/// A file in quarantine, or one that was brought back from there.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    pub(crate) path: String,
    /// By which repair.
    pub(crate) act: RepairAct,
    pub(crate) lying: Lying,
    /// Whether it is known as moved.
    pub(crate) noted: bool,
    pub(crate) back: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) files: BTreeMap<String, Lying>,
    /// Where a link lies in the place of a file.
    pub(crate) links: BTreeSet<String>,
    /// By path: each has one dataset.
    pub(crate) claims: BTreeMap<String, Claim>,
    pub(crate) runs: BTreeMap<String, Run>,
    pub(crate) coming: Vec<Coming>,
    pub(crate) removal: Option<Removal>,
    pub(crate) findings: BTreeMap<String, Finding>,
    /// In the order in which they were set aside.
    pub(crate) aside: Vec<Aside>,
    /// Repairs that were noted and are not known to be done.
    pub(crate) begun: Vec<Item>,
    /// Repairs that were noted, without approval: when, and where.
    pub(crate) unasked: Vec<(Timestamp, String)>,
    pub(crate) policy: Policy,
    pub(crate) watch: Watch,
    /// By scope.
    pub(crate) passes: BTreeMap<String, Pass>,
    /// Passes so far.
    pub(crate) number: u64,
    pub(crate) swept: Timestamp,
}

impl Model {
    pub(crate) fn new(policy: Policy, now: Timestamp) -> Self {
        Self {
            files: BTreeMap::new(),
            links: BTreeSet::new(),
            claims: BTreeMap::new(),
            runs: BTreeMap::new(),
            coming: Vec::new(),
            removal: None,
            findings: BTreeMap::new(),
            aside: Vec::new(),
            begun: Vec::new(),
            unasked: Vec::new(),
            policy,
            watch: Watch::new(now),
            passes: BTreeMap::new(),
            number: 0,
            swept: now,
        }
    }

    /// Takes up a run that is registered and confirmed.
    pub(crate) fn found_run(&mut self, root: &Path, run: &str, first: u128, paths: &[String]) {
        self.runs.insert(run.to_owned(), Run { wanted: true });
        for (number, path) in (first..).zip(paths) {
            let lying = Lying::at(&root.join(path)).unwrap();
            self.files.insert(path.clone(), lying);
            let claim = Claim {
                number,
                run: run.to_owned(),
                standing: Standing::Recorded,
            };
            self.claims.insert(path.clone(), claim);
        }
    }

    /// Takes up what lies at a path by now.
    pub(crate) fn see(&mut self, root: &Path, path: &str) {
        self.links.remove(path);
        if root.join(path).is_symlink() {
            self.links.insert(path.to_owned());
        }
        match Lying::at(&root.join(path)) {
            Some(lying) => self.files.insert(path.to_owned(), lying),
            None => self.files.remove(path),
        };
    }

    pub(crate) fn standing(&self, path: &str) -> Option<Standing> {
        self.claims.get(path).map(|claim| claim.standing)
    }

    /// Whether nothing lies there.
    pub(crate) fn is_free(&self, path: &str) -> bool {
        !self.files.contains_key(path) && !self.links.contains(path)
    }

    /// Whether what lies there is what its dataset says.
    pub(crate) fn is_right(&self, path: &str) -> bool {
        let file = self.files.get(path);
        file.is_some_and(|file| file.bytes == bytes(path))
    }

    /// Whether a removal of its run is committed and not done.
    pub(crate) fn is_busy(&self, path: &str) -> bool {
        let claim = self.claims.get(path);
        let removal = self.removal.as_ref().filter(|removal| removal.committed);
        claim.is_some_and(|claim| removal.is_some_and(|removal| removal.run == claim.run))
    }

    /// Whether a journal, or a manifest that is not registered, names it.
    pub(crate) fn is_spoken_for(&self, path: &str) -> bool {
        let journaled = |removal: &Removal| removal.journal.contains_key(path);
        self.removal.as_ref().is_some_and(journaled)
            || self.coming.iter().any(|coming| {
                if coming.torn {
                    path.starts_with(&format!("{}/", coming.run))
                } else {
                    coming.paths.iter().any(|named| named == path)
                }
            })
    }

    pub(crate) fn recorded(&self) -> impl Iterator<Item = &String> {
        let recorded = |(_, claim): &(&String, &Claim)| claim.standing == Standing::Recorded;
        self.claims.iter().filter(recorded).map(|(path, _)| path)
    }

    /// All paths of which anything is known.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let lying = self.files.keys().chain(&self.links);
        lying.chain(self.claims.keys()).cloned().collect()
    }

    pub(crate) fn confirm(&mut self) {
        let awaited = |claim: &Claim| claim.standing == Standing::Awaited;
        let paths: Vec<String> = self
            .claims
            .iter()
            .filter(|(path, claim)| awaited(claim) && !self.is_busy(path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in paths {
            let file = self.files.get(&path);
            let fits = file.is_some_and(|file| file.bytes.len() == bytes(&path).len());
            if fits && (self.policy.confirms_by_size || self.is_right(&path)) {
                self.stand(&path, Standing::Recorded);
            }
        }
    }

    pub(crate) fn stand(&mut self, path: &str, standing: Standing) {
        if let Some(claim) = self.claims.get_mut(path) {
            claim.standing = standing;
        }
    }
}

/// A path without what spellings of it differ in.
pub(crate) fn fold(path: &str) -> String {
    path.to_lowercase().replace('\u{e9}', "e\u{301}")
}

/// Whether transfers use such a name for what they are still writing.
pub(crate) fn is_temporary(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end == "part")
}
