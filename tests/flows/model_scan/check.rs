//! Sees that a site is as the model says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use runsync::file_identity::FileIdentity;
use runsync::ledger::repairs::WhichRepairs;
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;
use runsync_manifest::name::DatasetId;
use uuid::Uuid;

use crate::model::{Aside, Lying, Model, Standing};
use crate::scene::drift;
use crate::world::World;

/// Where repairs put files.
const QUARANTINE: &str = "runsync/quarantine";

type Files = BTreeMap<String, (FileIdentity, Vec<u8>)>;

/// A finding as far as somebody can see it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    kind: DriftKind,
    identity: Option<FileIdentity>,
    size: Option<u64>,
    claimed: bool,
    last_seen: String,
    times: u64,
    ignored: bool,
    has_twin: bool,
    since: Option<String>,
}

impl World {
    /// After every step.
    pub(crate) fn check(&self) {
        self.check_files();
        self.check_aside();
        self.check_records();
        self.check_findings();
        self.check_begun();
    }

    fn check_files(&self) {
        let root = self.site.root();
        let (mut files, mut expected) = (Files::new(), Files::new());
        let mut links = BTreeSet::new();
        gather(&root, &root, &mut files, &mut links);
        assert_eq!(links, self.model.links, "links");
        for (path, lying) in &self.model.files {
            expected.insert(path.clone(), (lying.identity, lying.bytes.clone()));
        }
        same("files", &files, &expected);
    }

    fn check_aside(&self) {
        let (root, mut files) = (self.site.root().join(QUARANTINE), Files::new());
        if root.is_dir() {
            let mut links = BTreeSet::new();
            gather(&root, &root, &mut files, &mut links);
            assert_eq!(links, BTreeSet::new(), "links in quarantine");
        }
        let mut found: Vec<_> = files
            .into_iter()
            .map(|(path, file)| (path.split_once('/').unwrap().1.to_owned(), file))
            .collect();
        let lies = self.model.aside.iter().filter(|aside| !aside.back);
        let file = |aside: &Aside| {
            let Lying {
                identity, bytes, ..
            } = &aside.lying;
            (aside.path.clone(), (*identity, bytes.clone()))
        };
        let mut expected: Vec<_> = lies.map(file).collect();
        found.sort_by_key(|(path, (identity, _))| (path.clone(), identity.inode));
        expected.sort_by_key(|(path, (identity, _))| (path.clone(), identity.inode));
        assert_eq!(found, expected, "files in quarantine");
    }

    fn check_records(&self) {
        let uuid = |number: u128| DatasetId(Uuid::from_u128(number));
        let claims: Vec<_> = self.model.claims.iter().collect();
        let uuids: Vec<_> = claims.iter().map(|(_, claim)| uuid(claim.number)).collect();
        let answers = self.opened().registry().exists(&uuids).unwrap();
        let mut found = BTreeMap::new();
        let mut expected = BTreeMap::new();
        for ((path, claim), answer) in claims.into_iter().zip(answers) {
            found.insert(path.clone(), answer.presence);
            let presence = match claim.standing {
                _ if self.model.is_busy(path) => Presence::No,
                Standing::Recorded => Presence::Yes,
                Standing::Awaited => Presence::Pending,
                Standing::Absent => Presence::No,
            };
            expected.insert(path.clone(), presence);
        }
        same("records", &found, &expected);
    }

    fn check_findings(&self) {
        let found = drift(self.opened().ledger()).into_iter().map(|one| {
            let shown = Shown {
                kind: one.kind,
                identity: one.identity,
                size: one.size,
                claimed: one.claimed,
                last_seen: one.last_seen.to_string(),
                times: one.times,
                ignored: one.ignored.is_some(),
                has_twin: one.twin.is_some(),
                since: one.unchanged_since.map(|since| since.to_string()),
            };
            (one.path.to_string(), shown)
        });
        let model = &self.model;
        let expected = model.findings.iter().map(|(path, one)| {
            let shown = Shown {
                kind: one.kind,
                identity: one.identity,
                size: one.size,
                claimed: one.claimed,
                last_seen: one.last_seen.to_string(),
                times: one.times,
                ignored: one.ignored,
                has_twin: model.has_twin(path),
                since: model.unchanged_since(one).map(|since| since.to_string()),
            };
            (path.clone(), shown)
        });
        same("findings", &found.collect(), &expected.collect());
    }

    fn check_begun(&self) {
        let begun: BTreeSet<String> = self.begun().into_iter().collect();
        let expected = self.model.begun.iter().map(|item| item.path.clone());
        assert_eq!(begun, expected.collect(), "repairs that were begun");
        let aside = self
            .opened()
            .ledger()
            .repairs(WhichRepairs::Aside, None, usize::MAX);
        let mut aside: Vec<String> = aside
            .unwrap()
            .iter()
            .map(|row| row.path.to_string())
            .collect();
        let lies = self
            .model
            .aside
            .iter()
            .filter(|aside| aside.noted && !aside.back);
        let mut expected: Vec<String> = lies.map(|aside| aside.path.clone()).collect();
        aside.sort();
        expected.sort();
        assert_eq!(aside, expected, "what is known to lie in quarantine");
    }

    /// Where repairs were begun and not ended, as the ledger has it.
    pub(crate) fn begun(&self) -> Vec<String> {
        let root = self.root();
        let rows = (self.opened().ledger()).repairs(WhichRepairs::Begun(&root), None, usize::MAX);
        rows.unwrap()
            .iter()
            .map(|row| row.path.to_string())
            .collect()
    }
}

/// Compares by path, and names only what differs.
fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &BTreeMap<String, T>,
    expected: &BTreeMap<String, T>,
) {
    let paths: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differs = paths
        .into_iter()
        .filter(|path| found.get(*path) != expected.get(*path));
    let differences: Vec<String> = differs
        .map(|path| {
            let (found, expected) = (found.get(path), expected.get(path));
            format!("{path}:\n  is        {found:?}\n  should be {expected:?}")
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{what}:\n{}",
        differences.join("\n")
    );
}

fn gather(root: &Path, folder: &Path, files: &mut Files, links: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name == "runsync" {
            continue;
        }
        match Lying::at(&path) {
            Some(file) => {
                files.insert(name, (file.identity, file.bytes));
            }
            None if path.is_symlink() => {
                links.insert(name);
            }
            None => gather(root, &path, files, links),
        }
    }
}

impl Model {
    /// What is amiss in a root in which everything can be told, said without the way there.
    pub(crate) fn amiss(&self) -> BTreeMap<String, DriftKind> {
        let mut amiss = BTreeMap::new();
        for path in self.paths() {
            let recorded = self.standing(&path) == Some(Standing::Recorded);
            let kind = match (self.files.contains_key(&path), recorded) {
                (false, true) if self.links.contains(&path) => DriftKind::Irregular,
                (false, true) => DriftKind::Lost,
                (true, true) if !self.is_right(&path) => DriftKind::Corrupt,
                (true, false) if self.standing(&path) != Some(Standing::Awaited) => DriftKind::Dark,
                _ => continue,
            };
            amiss.insert(path, kind);
        }
        amiss
    }
}
