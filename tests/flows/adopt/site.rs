//! A site that adopts what messages tell of, and works off the messages as its loop does.

use std::ops::ControlFlow;
use std::time::Duration;

use runsync::adopted;
use runsync::clock::{Clock, later};
use runsync::ledger::record::{Finding, HintKind, Taken};
use runsync::registry::record::{Presence, RunRow};
use runsync_manifest::name::{DatasetId, RunKey};

use crate::pair::files_below;
use crate::sender::{RSE, uuid};
use crate::support::{OpenSite, TestSite};

/// The oldest that a batch gets.
pub(crate) const BATCH_AGE: Duration = Duration::from_secs(30);

/// What makes a root an RSE, and has messages about it adopted.
pub(crate) fn configured(more: &str) -> String {
    format!("rse = \"{RSE}\"\n[adopt]\nrses = [\"{RSE}\"]\n{more}")
}

/// A site that adopts; `more` is TOML of its `[adopt]`, and what follows.
pub(crate) fn adopting(more: &str) -> TestSite {
    let site = TestSite::in_memory_as("SITE_B", 0xC, "checksum");
    site.configure("checksum", &configured(more));
    site
}

/// The adopted run of that name.
pub(crate) fn adopted_run(name: &str) -> RunKey {
    RunKey {
        origin: adopted::origin_of(&RSE.parse().unwrap()),
        name: name.parse().unwrap(),
    }
}

/// Works off the messages that are due now, once.
pub(crate) fn take_due(site: &TestSite, open: &OpenSite) -> usize {
    let now = site.clock.now();
    let due = open
        .ledger()
        .hints_due(HintKind::PerFile, now, 1000)
        .unwrap();
    let go_on = &mut || ControlFlow::Continue(());
    let taken = open.assembly.adopting.look_into(&due, go_on).unwrap();
    assert_eq!(taken.len(), due.len());
    for (hint, taken) in due.iter().zip(taken) {
        match taken {
            Taken::Done => open.ledger().hints_done(&[hint.id]).unwrap(),
            Taken::Later(pause) => {
                let due = later(now, pause.max(Duration::from_millis(1)));
                open.ledger().hints_later(&[hint.id], due).unwrap();
            }
        }
    }
    due.len()
}

/// Works off all messages until none is due within the age of a batch.
pub(crate) fn take_all(site: &TestSite, open: &mut OpenSite) {
    take_due(site, open);
    site.pass(BATCH_AGE);
    while take_due(site, open) > 0 {}
    open.work_off();
    open.confirm();
}

/// Messages that wait.
pub(crate) fn waiting(open: &OpenSite) -> u64 {
    let counts = open.ledger().hint_counts().unwrap();
    let mut of_kind = counts
        .into_iter()
        .filter(|(kind, _)| *kind == HintKind::PerFile);
    of_kind.next().map_or(0, |(_, count)| count)
}

/// What is known of datasets.
pub(crate) fn presence(open: &OpenSite, numbers: &[u128]) -> Vec<Presence> {
    let asked: Vec<_> = numbers
        .iter()
        .map(|&number| DatasetId(uuid(number)))
        .collect();
    let answers = open.registry().exists(&asked).unwrap();
    answers.into_iter().map(|answer| answer.presence).collect()
}

/// The row of a run.
pub(crate) fn row(open: &OpenSite, run: &RunKey) -> Option<RunRow> {
    open.registry().run(run).unwrap()
}

/// Findings of a kind.
pub(crate) fn findings(open: &OpenSite, kind: &str) -> Vec<Finding> {
    let mut findings = open.ledger().findings().unwrap();
    findings.retain(|finding| finding.kind == kind);
    findings
}

/// Paths of the manifests of a run.
pub(crate) fn manifests_of(site: &TestSite, run: &RunKey) -> Vec<String> {
    files_below(
        site,
        &format!("runsync/manifests/{}/{}", run.origin, run.name),
    )
}
