//! Runs whose rules are to end in Rucio.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RseName, RunKey};
use rusqlite::{Connection, Params, Row, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::rows::{self, Failure};
use crate::ledger::LedgerError;
use crate::ledger::record::RuleEnding;

const COLUMNS: &str = "origin, run, scope, rse, epoch, sequence, at_once, state, ended, waits_for, \
     holders, problem, hint, since, changed_at";

/// An obligation that takes effect sooner, or of which more is meant, is no other one.
pub(super) fn add(connection: &Connection, endings: &[RuleEnding]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(&format!(
        "INSERT INTO rule_ending ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT DO UPDATE SET at_once = max(at_once, excluded.at_once),
             epoch = CASE WHEN (excluded.epoch, excluded.sequence) > (epoch, sequence)
                 THEN excluded.epoch ELSE epoch END,
             sequence = CASE WHEN (excluded.epoch, excluded.sequence) > (epoch, sequence)
                 THEN excluded.sequence ELSE sequence END,
             since = max(since, excluded.since)"
    ))?;
    for row in endings {
        insert.execute(params![
            row.run.origin.0.as_bytes(),
            row.run.name.as_str(),
            row.scope.as_str(),
            rse_column(row),
            row.up_to.map(|generation| generation.epoch),
            row.up_to.map(|generation| generation.sequence),
            row.at_once,
            row.state.as_str(),
            row.ended.cast_signed(),
            json(&row.waits_for)?,
            json(&row.holders)?,
            row.problem,
            row.hint,
            rows::time_column(row.since),
            rows::time_column(row.changed_at),
        ])?;
    }
    Ok(())
}

pub(super) fn note(connection: &Connection, endings: &[RuleEnding]) -> Result<(), Failure> {
    let mut update = connection.prepare_cached(
        "UPDATE rule_ending SET state = ?5, ended = ?6, waits_for = ?7, holders = ?8,
             problem = ?9, hint = ?10, changed_at = ?11
         WHERE run = ?1 AND origin = ?2 AND scope = ?3 AND rse = ?4",
    )?;
    for row in endings {
        update.execute(params![
            row.run.name.as_str(),
            row.run.origin.0.as_bytes(),
            row.scope.as_str(),
            rse_column(row),
            row.state.as_str(),
            row.ended.cast_signed(),
            json(&row.waits_for)?,
            json(&row.holders)?,
            row.problem,
            row.hint,
            rows::time_column(row.changed_at),
        ])?;
    }
    Ok(())
}

/// One of which more is meant by now, or that was asked for again, is not met.
pub(super) fn strike(connection: &Connection, row: &RuleEnding) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "DELETE FROM rule_ending WHERE run = ?1 AND origin = ?2 AND scope = ?3 AND rse = ?4
                 AND epoch IS ?5 AND sequence IS ?6 AND since = ?7",
        )?
        .execute(params![
            row.run.name.as_str(),
            row.run.origin.0.as_bytes(),
            row.scope.as_str(),
            rse_column(row),
            row.up_to.map(|generation| generation.epoch),
            row.up_to.map(|generation| generation.sequence),
            rows::time_column(row.since),
        ])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<RuleEnding>, Failure> {
    list(connection, "ORDER BY since, run, origin, scope, rse", [])
}

pub(super) fn of_run(connection: &Connection, run: &RunKey) -> Result<Vec<RuleEnding>, Failure> {
    let of_run = params![run.name.as_str(), run.origin.0.as_bytes()];
    let rest = "WHERE run = ?1 AND origin = ?2 ORDER BY scope, rse";
    list(connection, rest, of_run)
}

fn list(
    connection: &Connection,
    rest: &str,
    parameters: impl Params,
) -> Result<Vec<RuleEnding>, Failure> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM rule_ending {rest}"))?
        .query_and_then(parameters, rule_ending)?
        .collect()
}

fn rule_ending(row: &Row<'_>) -> Result<RuleEnding, Failure> {
    let generation = match (row.get(4)?, row.get(5)?) {
        (Some(epoch), Some(sequence)) => Some(Generation { epoch, sequence }),
        _ => None,
    };
    let is_anywhere = row
        .get_ref(3)?
        .as_str()
        .map_err(rusqlite::Error::from)?
        .is_empty();
    Ok(RuleEnding {
        run: RunKey {
            origin: RepositoryId(Uuid::from_bytes(row.get(0)?)),
            name: rows::parse(row, 1, "run name")?,
        },
        scope: rows::parse(row, 2, "scope")?,
        rse: if is_anywhere {
            None
        } else {
            Some(rows::parse(row, 3, "name of an RSE")?)
        },
        up_to: generation,
        at_once: row.get(6)?,
        state: rows::parse(row, 7, "state of rules that end")?,
        ended: row.get::<_, i64>(8)?.cast_unsigned(),
        waits_for: from_json(row, 9)?,
        holders: from_json(row, 10)?,
        problem: row.get(11)?,
        hint: row.get(12)?,
        since: rows::time(row, 13)?,
        changed_at: rows::time(row, 14)?,
    })
}

fn rse_column(row: &RuleEnding) -> &str {
    row.rse.as_ref().map_or("", RseName::as_str)
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| damaged(&error))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Failure> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| damaged(&error))
}

fn damaged(error: &serde_json::Error) -> Failure {
    Failure::Ledger(LedgerError::Damaged {
        what: "list of rules that end",
        value: error.to_string(),
    })
}
