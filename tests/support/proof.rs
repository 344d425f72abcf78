//! What the proofs about removals have in common: the line that `cargo xtask` reads of each case, and
//! the comparison of what the registry says with what lies in the root.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test support, of which each target uses a part"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use runsync::registry::Registry;

/// Rows asked for at once.
const PAGE: usize = 1_000;

/// Says that a case was gone through, and what came of it: the tasks of these proofs count such
/// lines.
pub fn shown(case: &str, outcome: &str) {
    println!("case: {case} | {outcome}");
}

/// Says something that is no case.
pub fn aside(words: &str) {
    eprintln!("{words}");
}

/// The files of a root, by who names them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Confirmed in the registry.
    pub recorded: BTreeSet<String>,
    /// In an open journal, and in the root.
    pub journaled: BTreeSet<String>,
}

/// Compares records, journals and files: there is no record without its file, and no file that
/// neither a record nor a journal names.
pub fn compare(root: &Path, registry: &dyn Registry) -> Files {
    let artifacts = artifacts(root);
    let files = compare_records(root, registry);
    let named = |path: &&String| files.recorded.contains(*path) || files.journaled.contains(*path);
    let dark: Vec<_> = artifacts.iter().filter(|path| !named(path)).collect();
    assert!(
        dark.is_empty(),
        "artifacts without record or journal: {dark:?}"
    );
    files
}

/// Compares records and files: there is no record without its file. A file may be without a record.
pub fn compare_records(root: &Path, registry: &dyn Registry) -> Files {
    let artifacts = artifacts(root);
    let recorded = records(registry);
    let lost: Vec<_> = recorded.difference(&artifacts).collect();
    assert!(lost.is_empty(), "records without artifacts: {lost:?}");
    let journaled = journaled(root);
    Files {
        recorded,
        journaled: journaled.intersection(&artifacts).cloned().collect(),
    }
}

fn artifacts(root: &Path) -> BTreeSet<String> {
    let mut artifacts = BTreeSet::new();
    below(root, root, &mut artifacts);
    artifacts
}

/// Paths of all artifacts that are confirmed.
fn records(registry: &dyn Registry) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for run in registry.runs(None).unwrap() {
        let mut after = None;
        loop {
            let page = registry.records(&run.key, after, PAGE).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.uuid);
            let confirmed = page.iter().filter(|record| record.confirmed);
            paths.extend(confirmed.map(|record| record.path.to_string()));
        }
    }
    paths
}

/// Paths that open journals name, whole ones or not.
fn journaled(root: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for journal in fs::read_dir(root.join("runsync/journal"))
        .into_iter()
        .flatten()
    {
        let text = fs::read_to_string(journal.unwrap().path()).unwrap();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let path = line.get("path").and_then(serde_json::Value::as_str);
            paths.extend(path.map(str::to_owned));
        }
    }
    paths
}

/// Paths of all files below `folder` but for our own, relative to `root`.
fn below(root: &Path, folder: &Path, paths: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root).unwrap().to_str().unwrap();
        if path.is_dir() && relative != "runsync" {
            below(root, &path, paths);
        } else if path.is_file() {
            paths.insert(relative.to_owned());
        }
    }
}
