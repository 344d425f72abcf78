//! How `status` reads for people.

use std::fmt;
use std::time::Duration;

use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{RootStatus, Status};

/// Entries of each list shown.
const SHOWN: usize = 20;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "site       {}, registry {}", self.site, self.registry)?;
        for root in &self.roots {
            writeln!(f, "root       {}", self.root(root))?;
        }
        self.totals(f)?;
        self.lists(f)
    }
}

impl Status {
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

    fn ago(&self, at: Timestamp) -> String {
        let ago = Duration::try_from(self.at.duration_since(at)).unwrap_or_default();
        let seconds = Duration::from_secs(ago.as_secs());
        format!("{} ago ({at:.0})", humantime::format_duration(seconds))
    }

    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs;
        writeln!(
            f,
            "runs       {}: {} complete, {} waiting",
            runs.total, runs.complete, runs.waiting
        )?;
        writeln!(
            f,
            "datasets   {}; {} of {} artifacts confirmed; {} in all",
            runs.datasets,
            runs.confirmed,
            runs.claims,
            HumanBytes(runs.bytes)
        )?;
        let manifests = &self.manifests;
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
        match self.last_registered {
            Some(at) => write!(f, "           the last was registered {}", self.ago(at)),
            None => write!(f, "           none was registered yet"),
        }
    }

    fn lists(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "registering", &self.registering, |f, one| {
            let (run, generation) = (&one.run.name, one.generation);
            write!(
                f,
                "{run}, generation {generation}: {} of {}",
                one.done, one.claims
            )
        })?;
        list(f, "waiting for artifacts", &self.waiting, |f, run| {
            let confirmed = run.confirmed();
            write!(
                f,
                "{}: {confirmed} of {} confirmed",
                run.key.name, run.claims
            )
        })?;
        list(f, "gaps", &self.gaps, |f, gap| {
            let missing: Vec<_> = gap.missing.iter().map(ToString::to_string).collect();
            write!(
                f,
                "{}: generation {} never came",
                gap.run.name,
                missing.join(", ")
            )
        })?;
        for (title, rows) in [
            ("held", &self.held),
            ("blocked", &self.blocked),
            ("untrusted", &self.untrusted),
            (
                "quarantined (see `runsync quarantine list`)",
                &self.quarantined,
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
        list(f, "findings", &self.findings, |f, finding| {
            let (kind, subject, detail) = (&finding.kind, &finding.subject, &finding.detail);
            write!(
                f,
                "{kind} {subject}: {detail} (seen {} times)",
                finding.times
            )
        })
    }
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
