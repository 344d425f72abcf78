//! Counts drift, in the database: a report of a million findings takes no memory.

use std::fmt::Write as _;

use jiff::Timestamp;
use runsync_config::root::RootName;
use rusqlite::{Connection, Row, params};

use super::rows::{self, Failure};
use crate::ledger::drift_summary::{AGES, DriftSummary, DriftTally, SIZES, Tally};
use crate::ledger::scans::DriftKind;

/// Sizes are summed up as floating-point numbers: that cannot overflow.
const TALLY: &str = "kind, count(*), total(size)";
/// Findings that count; parameter 1.
const COUNTED: &str = "FROM scan_finding WHERE (?1 IS NULL OR root = ?1) AND ignored_by IS NULL";

pub(super) fn summary(
    connection: &Connection,
    root: Option<&RootName>,
    (now, runs_max): (Timestamp, usize),
) -> Result<DriftSummary, Failure> {
    let root = root.map(RootName::as_str);
    let age = bins(
        "?2 - first_seen",
        AGES.map(|seconds| seconds * 1_000_000_000),
    );
    let size = bins("size", SIZES);
    let (runs, rest) = by_run(connection, root, runs_max)?;
    let now = rows::time_column(now);
    Ok(DriftSummary {
        roots: grouped(connection, "root", params![root], |row| {
            rows::parse(row, 0, "root name")
        })?,
        runs,
        rest,
        ages: grouped(connection, &age, params![root, now], |row| {
            Ok(row.get::<_, i64>(0)?.cast_unsigned())
        })?,
        sizes: grouped(connection, &size, params![root], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned))
        })?,
        ignored: connection
            .prepare_cached(
                "SELECT count(*) FROM scan_finding
                 WHERE (?1 IS NULL OR root = ?1) AND ignored_by IS NOT NULL",
            )?
            .query_row([root], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?,
    })
}

/// The number of the first bound that a value is below.
fn bins(value: &str, bounds: [i64; 6]) -> String {
    let mut case = format!("CASE WHEN {value} IS NULL THEN NULL");
    for (number, bound) in bounds.iter().enumerate() {
        // A string takes whatever is written to it.
        write!(case, " WHEN {value} < {bound} THEN {number}").ok();
    }
    format!("{case} ELSE {} END", bounds.len())
}

fn grouped<K>(
    connection: &Connection,
    by: &str,
    params: impl rusqlite::Params,
    key: impl Fn(&Row<'_>) -> Result<K, Failure>,
) -> Result<Vec<DriftTally<K>>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT {by} AS bin, {TALLY} {COUNTED} GROUP BY bin, kind ORDER BY bin, kind"
        ))?
        .query_and_then(params, |row| tally(key(row)?, row))?
        .collect()
}

type Runs = Vec<DriftTally<Option<String>>>;
type Rest = (u64, Vec<DriftTally<()>>);

/// The runs with most findings, and all others together.
fn by_run(
    connection: &Connection,
    root: Option<&str>,
    most: usize,
) -> Result<(Runs, Rest), Failure> {
    let ranked = format!(
        "WITH ranked AS MATERIALIZED (
             SELECT run, count(*) AS findings {COUNTED} GROUP BY run
             ORDER BY findings DESC, run LIMIT ?2
         )"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let runs = connection
        .prepare_cached(&format!(
            "{ranked} SELECT scan_finding.run, kind, count(*), total(size)
             FROM ranked JOIN scan_finding ON scan_finding.run IS ranked.run
             WHERE (?1 IS NULL OR root = ?1) AND ignored_by IS NULL
             GROUP BY scan_finding.run, kind
             ORDER BY max(ranked.findings) DESC, scan_finding.run, kind"
        ))?
        .query_and_then(params![root, most], |row| tally(row.get(0)?, row))?
        .collect::<Result<_, Failure>>()?;
    let others = format!(
        "{COUNTED} AND NOT EXISTS (SELECT 1 FROM ranked WHERE ranked.run IS scan_finding.run)"
    );
    let count: i64 = connection
        .prepare_cached(&format!(
            "{ranked} SELECT count(DISTINCT ifnull(run, '')) {others}"
        ))?
        .query_row(params![root, most], |row| row.get(0))?;
    let rest = connection
        .prepare_cached(&format!(
            "{ranked} SELECT 0, {TALLY} {others} GROUP BY kind"
        ))?
        .query_and_then(params![root, most], |row| tally((), row))?
        .collect::<Result<_, Failure>>()?;
    Ok((runs, (count.cast_unsigned(), rest)))
}

/// Kind, count and bytes follow what the findings have in common.
fn tally<K>(of: K, row: &Row<'_>) -> Result<DriftTally<K>, Failure> {
    Ok(DriftTally {
        of,
        kind: kind(row, 1)?,
        tally: Tally {
            count: row.get::<_, i64>(2)?.cast_unsigned(),
            bytes: whole(row.get(3)?),
        },
    })
}

pub(super) fn kind(row: &Row<'_>, column: usize) -> Result<DriftKind, Failure> {
    let text = row.get_ref(column)?.as_str().ok();
    let kind = text.and_then(|text| text.parse().ok());
    kind.ok_or_else(|| rows::damaged("kind of drift", &"another"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of sizes; the cast saturates"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Findings of runs, by kind, as [`super::scans::counts`] counts them.
pub(super) fn of_runs(
    connection: &Connection,
    root: &RootName,
    runs: &[&str],
) -> Result<Vec<(DriftKind, u64)>, Failure> {
    let mut counts = DriftKind::ALL.map(|kind| (kind, 0));
    let mut count = connection.prepare_cached(
        "SELECT 0, kind, count(*), 0.0 FROM scan_finding
         WHERE root = ?1 AND run = ?2 AND ignored_by IS NULL GROUP BY kind",
    )?;
    for run in runs {
        for found in count.query_and_then(params![root.as_str(), run], |row| tally((), row))? {
            let found = found?;
            for (kind, sum) in &mut counts {
                if *kind == found.kind {
                    *sum += found.tally.count;
                }
            }
        }
    }
    Ok(counts.to_vec())
}
