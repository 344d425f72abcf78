//! When jobs were done, and what came of them.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::rows::{self, Failure};
use crate::ledger::jobs::{JobOutcome, JobRow};

pub(super) fn all(connection: &Connection) -> Result<Vec<JobRow>, Failure> {
    connection
        .prepare_cached(
            "SELECT name, mark, begun_at, ended_at, outcome, detail, succeeded_at, runs, failures
             FROM job ORDER BY name",
        )?
        .query_and_then([], job)?
        .collect()
}

fn job(row: &Row<'_>) -> Result<JobRow, Failure> {
    let outcome: Option<String> = row.get(4)?;
    let outcome = outcome.map(|text| {
        let outcome = text.parse();
        outcome.map_err(|()| rows::damaged("outcome of a job", &text))
    });
    Ok(JobRow {
        name: rows::parse(row, 0, "job's name")?,
        mark: rows::time(row, 1)?,
        begun_at: time(row, 2)?,
        ended_at: time(row, 3)?,
        outcome: outcome.transpose()?,
        detail: row.get(5)?,
        succeeded_at: time(row, 6)?,
        runs: row.get::<_, i64>(7)?.cast_unsigned(),
        failures: row.get::<_, i64>(8)?.cast_unsigned(),
    })
}

fn time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failure> {
    if row.get::<_, Option<i64>>(column)?.is_none() {
        return Ok(None);
    }
    rows::time(row, column).map(Some)
}

pub(super) fn note(connection: &Connection, job: &JobRow) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO job
                 (name, mark, begun_at, ended_at, outcome, detail, succeeded_at, runs, failures)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            job.name.as_str(),
            rows::time_column(job.mark),
            job.begun_at.map(rows::time_column),
            job.ended_at.map(rows::time_column),
            job.outcome.map(JobOutcome::as_str),
            job.detail,
            job.succeeded_at.map(rows::time_column),
            job.runs.cast_signed(),
            job.failures.cast_signed(),
        ])?;
    Ok(())
}
