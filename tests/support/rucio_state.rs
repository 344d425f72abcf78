//! What Rucio's tables and a root say of a run, in a form in which runs of the same shape are equal.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test support, of which each target uses a part"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::{Daemon, Naming, Rucio};

use crate::rucio::RucioSite;
use crate::support::TestSite;

/// Rows that belong to a run: by its name, or by a scope of its own, which then holds all of the site's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    Run(&'a str),
    Scope(&'a str, &'a str),
}

impl<'a> Of<'a> {
    fn scope(self, site: &'a RucioSite) -> &'a str {
        match self {
            Self::Run(_) => &site.scope,
            Self::Scope(scope, _) => scope,
        }
    }

    fn is(self, scope: &str, name: &str) -> String {
        match self {
            Self::Run(run) => format!("position('{run}' in {name}) > 0"),
            Self::Scope(own, _) => format!("{scope} = '{own}'"),
        }
    }

    fn normal(self, row: &str) -> String {
        match self {
            Self::Run(run) => row.replace(run, "RUN"),
            Self::Scope(scope, run) => row.replace(run, "RUN").replace(scope, "SCOPE"),
        }
    }
}

/// What Rucio's tables hold of a run, without numbers and times. Manifests differ in their checksums.
pub(crate) fn rucio(server: &Rucio, of: Of<'_>) -> Vec<String> {
    let own = of.is("scope", "name");
    let child = of.is("child_scope", "child_name");
    let sum = |table: &str, name: &str| {
        format!(
            "case when {table}{name} like 'runsync/manifests/%' then 'M' else concat({table}adler32, '/', {table}md5) end"
        )
    };
    // Manifests differ in what their numbers and times take.
    let size =
        |name: &str| format!("case when {name} like 'runsync/%' then 'M' else bytes::text end");
    let (bytes, child_bytes, lock_bytes) = (size("name"), size("child_name"), size("l.name"));
    let lock_bytes = lock_bytes.replace("bytes::", "l.bytes::");
    let sql = format!(
        "select concat_ws(' ', 'did', scope, name, did_type, is_open, account, {bytes}, length, {}, \
           monotonic, hidden, availability, expired_at is null) from dids where {own} \
         union all select concat_ws(' ', 'content', scope, name, child_scope, child_name, did_type, \
           child_type, {child_bytes}, {}) from contents where {child} \
         union all select concat_ws(' ', 'replica', rse, scope, name, {bytes}, {}, path, state, \
           lock_cnt, tombstone is null) from replicas join rses on rses.id = rse_id where {own} \
         union all select concat_ws(' ', 'rule', scope, name, did_type, rse_expression, copies, state, \
           account, grouping, notification, locks_ok_cnt, locks_replicating_cnt, locks_stuck_cnt, \
           comments, expires_at is null, purge_replicas, activity) from rules where {own} \
         union all select concat_ws(' ', 'lock', rse, l.scope, l.name, l.state, {lock_bytes}, l.account, \
           r.name) from locks l join rses on rses.id = l.rse_id join rules r on r.id = l.rule_id where {} \
         union all select concat_ws(' ', 'dataset lock', rse, l.scope, l.name, l.state, l.account, \
           r.name) from dataset_locks l join rses on rses.id = l.rse_id \
           join rules r on r.id = l.rule_id where {}",
        sum("", "name"),
        sum("", "child_name"),
        sum("", "name"),
        of.is("l.scope", "l.name"),
        of.is("l.scope", "l.name"),
    );
    let rows = server.sql(&sql).unwrap();
    let mut rows: Vec<String> = rows.iter().map(|row| of.normal(&row.join(" "))).collect();
    rows.sort_unstable();
    rows
}

/// The names that a run's files have in the root, each with the other names of the same file.
pub(crate) fn names(site: &RucioSite, of: Of<'_>) -> Vec<String> {
    let (Of::Run(run) | Of::Scope(_, run)) = of;
    let mut by_file: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for path in files(&site.site, "") {
        if path.contains(run) {
            // It may be deleted meanwhile.
            let Ok(file) = fs::metadata(site.site.root().join(&path)) else {
                continue;
            };
            let mut shown = of.normal(&path);
            // What lies where a hash puts it has the hash of the run's own name in its path.
            if site.rse.naming == Naming::Hash && path.starts_with(&format!("{}/", of.scope(site)))
            {
                shown = second_name(site, of, &path);
            }
            by_file.entry(file.ino()).or_default().push(shown);
        }
    }
    let mut names: Vec<String> = by_file
        .into_values()
        .map(|mut names| {
            names.sort_unstable();
            names.join(" = ")
        })
        .collect();
    names.sort_unstable();
    names
}

/// Checks that a second name is where the RSE's algorithm has it.
fn second_name(site: &RucioSite, of: Of<'_>, path: &str) -> String {
    let scope = of.scope(site);
    let name = path.splitn(4, '/').nth(3).unwrap();
    let expected = site.rse.path(scope, name);
    assert_eq!(site.site.root().join(path), expected, "a second name");
    format!("HASH {}", of.normal(name))
}

/// Has Rucio's judge look at all that was attached: a cycle takes so many, and a proof leaves more.
pub(crate) fn judge(server: &Rucio) {
    let left = || {
        server
            .sql("select count(*) from updated_dids")
            .unwrap()
            .concat()
            .concat()
    };
    let mut before = String::new();
    let mut now = left();
    while now != "0" && now != before {
        server.step(&[Daemon::Evaluate]).unwrap();
        before = std::mem::replace(&mut now, left());
    }
    assert_eq!(now, "0", "the judge leaves some");
}

/// All files below a folder of the root, by path.
pub(crate) fn files(site: &TestSite, folder: &str) -> Vec<String> {
    let root = site.root();
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(&root).unwrap();
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort_unstable();
    files
}

/// Fails with what two dumps differ in.
pub(crate) fn same(what: &str, found: &[String], expected: &[String]) {
    let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
    let more: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
    assert!(
        found == expected,
        "{what}: missing {missing:#?}, too much {more:#?}"
    );
}
