//! How `status` reads for people.

use std::fmt;
use std::time::Duration;

use indicatif::HumanBytes;
use jiff::Timestamp;

use serde::Serialize;

use crate::events::SourceStatus;
use crate::http::{DaemonStatus, DriftCount, RootStatus, Status};
use crate::jobs::JobStatus;
use crate::ledger::jobs::JobOutcome;
use crate::ledger::record::SyncPass;
use crate::loops::Role;
use crate::recovery::RootScans;

/// Entries of each list shown.
const SHOWN: usize = 20;
/// Title of the chains that have lost members.
const BROKEN: &str = "chains that show [deleted] (their owners take it away by `runsync collections chain NAME --drop-deleted`)";

/// The answer; as JSON the same as a daemon gives.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Report(pub(super) Status);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        writeln!(
            f,
            "site       {}, registry {}",
            status.site, status.registry
        )?;
        for root in &status.roots {
            writeln!(f, "root       {}", self.root(root))?;
        }
        for sync in &status.syncs {
            writeln!(f, "rucio      {}", self.sync(sync))?;
        }
        for scan in &status.scans {
            writeln!(f, "scans      {}", self.scan(scan))?;
        }
        for of_root in status.drift.chunk_by(|one, other| one.root == other.root) {
            writeln!(f, "drift      {}", drift(of_root))?;
        }
        for job in &status.jobs {
            writeln!(f, "job        {}", self.job(job))?;
        }
        if let Some(daemon) = &status.daemon {
            show_daemon(f, daemon)?;
            for source in &daemon.sources {
                writeln!(f, "messages   {}", self.source(source))?;
            }
        }
        self.events(f)?;
        self.totals(f)?;
        self.lists(f)
    }
}

impl Report {
    fn root(&self, root: &RootStatus) -> String {
        let name = &root.root;
        let swept = match root.last_sweep {
            Some(at) => format!("{name}, swept {}", self.ago(at)),
            None => format!("{name}, never swept"),
        };
        if root.overdue {
            format!("{swept}: see that the daemon runs and the root is mounted")
        } else {
            swept
        }
    }

    fn source(&self, source: &SourceStatus) -> String {
        let name = &source.name;
        let connected = match (&source.connected_to, source.since) {
            (Some(broker), Some(since)) => format!("connected to {broker} since {since:.0}"),
            (Some(broker), None) => format!("connected to {broker}"),
            (None, _) => match &source.last_error {
                Some(error) => format!("not connected: {error}"),
                None => "not connected yet".to_owned(),
            },
        };
        let last = match source.last_message {
            Some(at) => format!("the last came {}", self.ago(at)),
            None => "none came yet".to_owned(),
        };
        format!("{name}, {connected}; {} heard, {last}", source.heard)
    }

    /// Told where there is anything to tell.
    fn events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = &self.0.events;
        let waiting = events.hints.iter().filter(|count| count.waiting > 0);
        let waiting: Vec<String> = waiting
            .map(|count| format!("{} {}", count.waiting, count.kind))
            .collect();
        if !waiting.is_empty() {
            writeln!(
                f,
                "hints      {} (see `runsync events list`)",
                waiting.join(", ")
            )?;
        }
        if events.lost > 0 {
            let lost = events.lost;
            writeln!(
                f,
                "           {lost} were lost: the next look at everything finds the same"
            )?;
        }
        if events.poison > 0 {
            let kept = events.poison;
            writeln!(
                f,
                "poison     {kept} messages (see `runsync events poison list`)"
            )?;
        }
        Ok(())
    }

    fn sync(&self, sync: &SyncPass) -> String {
        let name = &sync.root;
        let compared = match sync.finished_at {
            Some(at) => format!("{name}, compared {}", self.ago(at)),
            None => format!("{name}, never compared"),
        };
        match &sync.problem {
            Some(problem) => format!("{compared}; the last try: {problem}"),
            None => compared,
        }
    }

    fn scan(&self, scan: &RootScans) -> String {
        let name = &scan.root;
        let seen = match scan.seen_since {
            Some(since) => format!("{name}, all seen since {}", self.ago(since)),
            None => format!("{name}, not seen whole yet"),
        };
        let under_way = match (scan.pass_since, scan.whole) {
            (Some(since), Some(whole)) => format!(
                "; {} of some {whole} paths of the pass under way, which began {}",
                scan.met,
                self.ago(since)
            ),
            (Some(since), None) => format!(
                "; {} paths of the first pass, which began {}",
                scan.met,
                self.ago(since)
            ),
            (None, _) => String::new(),
        };
        let unseen = match scan.unseen {
            0 => String::new(),
            unseen => format!(
                "; {unseen} records or files of it could not be looked at: see `runsync findings report`"
            ),
        };
        let behind = if scan.behind {
            "; behind its `scan_period`: give its job more time, or the root more"
        } else {
            ""
        };
        format!("{seen}{under_way}{unseen}{behind}")
    }

    fn job(&self, job: &JobStatus) -> String {
        let (name, kind) = (&job.name, job.job);
        let last = match (job.under_way, job.begun_at, job.ended_at, job.outcome) {
            (true, Some(begun), ..) => format!("under way since {begun:.0}"),
            (_, _, Some(ended), Some(outcome)) => format!("{outcome} {}", self.ago(ended)),
            _ => "not done yet".to_owned(),
        };
        let next = match job.next {
            Some(next) => format!("next at {next:.0}"),
            None => "never done again".to_owned(),
        };
        let detail = match (&job.detail, job.outcome) {
            (Some(detail), Some(JobOutcome::Failed)) => format!(": {detail}"),
            _ => String::new(),
        };
        let overdue = if job.overdue {
            "; overdue: see that the daemon runs"
        } else {
            ""
        };
        format!("{name} ({kind}), {last}, {next}{overdue}{detail}")
    }

    fn ago(&self, at: Timestamp) -> String {
        let ago = Duration::try_from(self.0.at.duration_since(at)).unwrap_or_default();
        let seconds = Duration::from_secs(ago.as_secs());
        format!("{} ago ({at:.0})", humantime::format_duration(seconds))
    }

    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.0.runs;
        writeln!(
            f,
            "runs       {}: {} complete, {} waiting, {} removed",
            runs.total, runs.complete, runs.waiting, runs.removed
        )?;
        writeln!(
            f,
            "datasets   {}; {} of {} artifacts confirmed; {} in all",
            runs.datasets,
            runs.confirmed,
            runs.claims,
            HumanBytes(runs.bytes)
        )?;
        let manifests = &self.0.manifests;
        writeln!(
            f,
            "manifests  {} registered, {} held, {} blocked, {} untrusted, {} quarantined, {} superseded",
            manifests.registered,
            manifests.held,
            manifests.blocked,
            manifests.untrusted,
            manifests.quarantined,
            manifests.superseded
        )?;
        match self.0.last_registered {
            Some(at) => write!(f, "           the last was registered {}", self.ago(at)),
            None => write!(f, "           none was registered yet"),
        }
    }

    fn lists(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "registering", &self.0.registering, |f, one| {
            let (run, generation) = (&one.run.name, one.generation);
            write!(
                f,
                "{run}, generation {generation}: {} of {}",
                one.done, one.claims
            )
        })?;
        list(f, "waiting for artifacts", &self.0.waiting, |f, run| {
            let confirmed = run.confirmed();
            write!(
                f,
                "{}: {confirmed} of {} confirmed",
                run.key.name, run.claims
            )
        })?;
        list(f, "gaps", &self.0.gaps, |f, gap| {
            let missing: Vec<_> = gap.missing.iter().map(ToString::to_string).collect();
            write!(
                f,
                "{}: generation {} never came",
                gap.run.name,
                missing.join(", ")
            )
        })?;
        for (title, rows) in [
            ("held", &self.0.held),
            ("blocked", &self.0.blocked),
            ("untrusted", &self.0.untrusted),
            (
                "quarantined (see `runsync quarantine list`)",
                &self.0.quarantined,
            ),
        ] {
            list(f, title, rows, |f, row| {
                let reason = row.reason.as_deref().unwrap_or_default();
                write!(f, "{}: {reason}", row.location.path)?;
                match &row.hint {
                    Some(hint) => write!(f, "\n    hint: {hint}"),
                    None => Ok(()),
                }
            })?;
        }
        list(f, BROKEN, &self.0.broken_chains, |f, chain| {
            let deleted = chain.deleted.join(", ");
            write!(f, "{} of {}: {deleted}", chain.name, chain.owner)
        })?;
        list(f, "findings", &self.0.findings, |f, finding| {
            let (kind, subject, detail) = (&finding.kind, &finding.subject, &finding.detail);
            write!(
                f,
                "{kind} {subject}: {detail} (seen {} times)",
                finding.times
            )
        })
    }
}

/// What is found in one root.
fn drift(counts: &[DriftCount]) -> String {
    let root = counts.first().map_or("", |count| count.root.as_str());
    let counts = counts
        .iter()
        .map(|count| format!("{} {}", count.findings, count.kind));
    let counts: Vec<String> = counts.collect();
    format!(
        "{root}, {} (see `runsync findings list`)",
        counts.join(", ")
    )
}

/// What the daemon is about, and which of its workers fail.
fn show_daemon(f: &mut fmt::Formatter<'_>, daemon: &DaemonStatus) -> fmt::Result {
    let version = &daemon.version;
    match (daemon.duty.role, &daemon.duty.holder) {
        (Role::Owner, _) => writeln!(f, "daemon     {version}, owner: it runs the loops")?,
        (Role::Standby, Some(holder)) => {
            writeln!(f, "daemon     {version}, standby: {holder} holds the lease")?;
        }
        (Role::Standby, None) => writeln!(f, "daemon     {version}, standby")?,
    }
    for worker in &daemon.workers {
        if worker.failures_in_a_row > 0 {
            let (name, times) = (&worker.name, worker.failures_in_a_row);
            let error = worker.last_error.as_deref().unwrap_or_default();
            writeln!(
                f,
                "worker     {name} failed {times} times in a row: {error}"
            )?;
        }
    }
    Ok(())
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    write!(f, "\n\n{title}:")?;
    for row in rows.iter().take(SHOWN) {
        write!(f, "\n  ")?;
        line(f, row)?;
    }
    match rows.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more (all with --json)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Shown(DaemonStatus);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            show_daemon(f, &self.0)
        }
    }

    fn worker(name: &str, failures: u64) -> serde_json::Value {
        json!({
            "name": name, "activity": "idle", "steps": 9, "failures": 7,
            "failures_in_a_row": failures, "advanced_at": "2026-11-24T12:00:00Z",
            "last_run": null, "last_success": null, "last_failure": null,
            "last_error": "cannot list manifests: permission denied",
        })
    }

    #[test]
    fn a_worker_that_fails_is_told_beside_what_the_daemon_is_about() {
        let daemon = json!({
            "role": "owner", "fence": 3, "since": null, "holder": null, "version": "1.2.3",
            "started_at": "2026-11-24T12:00:00Z",
            "workers": [worker("lease", 0), worker("manifests of main", 4)],
        });
        let shown = Shown(serde_json::from_value(daemon).unwrap());
        insta::assert_snapshot!(shown, @r"
        daemon     1.2.3, owner: it runs the loops
        worker     manifests of main failed 4 times in a row: cannot list manifests: permission denied
        ");
    }
}
