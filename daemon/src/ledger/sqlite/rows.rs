//! Columns as types, and back.

use std::str::FromStr;

use jiff::Timestamp;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ManifestId, RepositoryId, RunKey};
use runsync_manifest::signature::KeyId;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::file_identity::FileIdentity;
use crate::lease::Fenced;
use crate::ledger::LedgerError;
use crate::ledger::record::{
    Finding, Location, ManifestRow, ManifestState, ManifestSummary, RequestRow,
};
use crate::sqlite::SqliteError;

/// Columns that [`manifest_row`] reads and [`write_manifest`] writes.
pub(super) const MANIFEST_COLUMNS: &str = "root, path, size, modified_ns, inode, state, reason, \
     hint, blocker, first_seen, decided_at, manifest, content, origin, run, site, epoch, sequence, \
     digest, key_id, datasets, total_bytes";

/// A failure inside this backend.
#[derive(Debug)]
pub(super) enum Failure {
    /// A statement failed; the action is not known here.
    Statement(rusqlite::Error),
    /// Already what the caller gets.
    Ledger(LedgerError),
}

impl Failure {
    pub(super) fn during(self, action: &'static str) -> LedgerError {
        match self {
            Self::Statement(source) => SqliteError::during(action, source).into(),
            Self::Ledger(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        Self::Statement(source)
    }
}

impl From<Fenced> for Failure {
    fn from(fenced: Fenced) -> Self {
        Self::Ledger(fenced.into())
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

pub(super) fn damaged(what: &'static str, value: &impl ToString) -> Failure {
    Failure::Ledger(LedgerError::Damaged {
        what,
        value: value.to_string(),
    })
}

pub(super) fn parse<T: FromStr>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<T, Failure> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(rusqlite::Error::from)?;
    text.parse().map_err(|_| damaged(what, &text))
}

/// Nanoseconds since 1970; what lies beyond the year 2262 is told as that.
pub(super) fn time_column(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    let value: i64 = row.get(column)?;
    Timestamp::from_nanosecond(i128::from(value)).map_err(|_| damaged("time", &value))
}

pub(super) fn state(row: &Row<'_>, column: usize) -> Result<ManifestState, Failure> {
    let text: String = row.get(column)?;
    ManifestState::ALL
        .into_iter()
        .find(|&state| state.as_str() == text)
        .ok_or_else(|| damaged("state of a manifest", &text))
}

pub(super) fn content_column(content: Content) -> &'static str {
    match content {
        Content::Additions => "additions",
        Content::Removal => "removal",
        Content::Snapshot => "snapshot",
        Content::Inventory => "inventory",
    }
}

pub(super) fn content(text: &str) -> Result<Content, Failure> {
    [
        Content::Additions,
        Content::Removal,
        Content::Snapshot,
        Content::Inventory,
    ]
    .into_iter()
    .find(|&content| content_column(content) == text)
    .ok_or_else(|| damaged("content of a manifest", &text))
}

pub(super) fn file(row: &Row<'_>, first_column: usize) -> rusqlite::Result<FileIdentity> {
    Ok(FileIdentity {
        size: row.get::<_, i64>(first_column)?.cast_unsigned(),
        modified_ns: row.get(first_column + 1)?,
        inode: row.get::<_, i64>(first_column + 2)?.cast_unsigned(),
    })
}

/// Reads [`MANIFEST_COLUMNS`].
pub(super) fn manifest_row(row: &Row<'_>) -> Result<ManifestRow, Failure> {
    Ok(ManifestRow {
        location: Location {
            root: parse(row, 0, "root name")?,
            path: row.get(1)?,
        },
        file: file(row, 2)?,
        state: state(row, 5)?,
        reason: row.get(6)?,
        hint: row.get(7)?,
        blocker: row.get(8)?,
        first_seen: time(row, 9)?,
        decided_at: time(row, 10)?,
        summary: summary(row)?,
    })
}

fn summary(row: &Row<'_>) -> Result<Option<ManifestSummary>, Failure> {
    let Some(manifest) = row.get::<_, Option<[u8; 16]>>(11)? else {
        return Ok(None);
    };
    let text: String = row.get(12)?;
    let count = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
    };
    Ok(Some(ManifestSummary {
        manifest: ManifestId(Uuid::from_bytes(manifest)),
        content: content(&text)?,
        run: RunKey {
            origin: RepositoryId(Uuid::from_bytes(row.get(13)?)),
            name: parse(row, 14, "run name")?,
        },
        site: parse(row, 15, "site name")?,
        generation: Generation {
            epoch: row.get(16)?,
            sequence: row.get(17)?,
        },
        digest: row.get::<_, Option<[u8; 32]>>(18)?.map(Sha256),
        key_id: row.get::<_, Option<[u8; 16]>>(19)?.map(KeyId),
        datasets: count(20)?,
        total_bytes: count(21)?,
    }))
}

/// When the first manifest of each run was registered.
pub(super) fn runs_registered(
    connection: &Connection,
) -> Result<Vec<(RunKey, Timestamp)>, Failure> {
    connection
        .prepare_cached(
            "SELECT min(decided_at), origin, run FROM manifest
             WHERE state IN ('registered', 'superseded') AND run IS NOT NULL AND origin IS NOT NULL
             GROUP BY run, origin",
        )?
        .query_and_then([], |row| {
            let origin = RepositoryId(uuid::Uuid::from_bytes(row.get(1)?));
            let name = parse(row, 2, "run name")?;
            Ok((RunKey { origin, name }, time(row, 0)?))
        })?
        .collect()
}

/// Runs `statement`, whose parameters are [`MANIFEST_COLUMNS`].
pub(super) fn write_manifest(
    statement: &mut rusqlite::Statement<'_>,
    row: &ManifestRow,
) -> rusqlite::Result<usize> {
    let summary = row.summary.as_ref();
    statement.execute(params![
        row.location.root.as_str(),
        row.location.path,
        row.file.size.cast_signed(),
        row.file.modified_ns,
        row.file.inode.cast_signed(),
        row.state.as_str(),
        row.reason,
        row.hint,
        row.blocker,
        time_column(row.first_seen),
        time_column(row.decided_at),
        summary.map(|summary| summary.manifest.0.into_bytes()),
        summary.map(|summary| content_column(summary.content)),
        summary.map(|summary| summary.run.origin.0.into_bytes()),
        summary.map(|summary| summary.run.name.as_str()),
        summary.map(|summary| summary.site.as_str()),
        summary.map(|summary| summary.generation.epoch),
        summary.map(|summary| summary.generation.sequence),
        summary
            .and_then(|summary| summary.digest)
            .map(|digest| digest.0),
        summary
            .and_then(|summary| summary.key_id)
            .map(|key_id| key_id.0),
        summary
            .and_then(|summary| summary.datasets)
            .map(u64::cast_signed),
        summary
            .and_then(|summary| summary.total_bytes)
            .map(u64::cast_signed),
    ])
}

/// Reads kind, subject, detail, first and last time, and how often.
pub(super) fn finding(row: &Row<'_>) -> Result<Finding, Failure> {
    Ok(Finding {
        kind: row.get(0)?,
        subject: row.get(1)?,
        detail: row.get(2)?,
        first_seen: time(row, 3)?,
        last_seen: time(row, 4)?,
        times: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}

/// Reads number, time, user, account, what, of what, and outcome.
pub(super) fn request(row: &Row<'_>) -> Result<RequestRow, Failure> {
    Ok(RequestRow {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        at: time(row, 1)?,
        uid: row.get(2)?,
        account: row.get(3)?,
        what: row.get(4)?,
        subject: row.get(5)?,
        outcome: row.get(6)?,
    })
}

/// Remembers the first manifest accepted as a generation. What was only set aside counts for nothing.
pub(super) fn write_accepted(
    statement: &mut rusqlite::Statement<'_>,
    row: &ManifestRow,
) -> rusqlite::Result<()> {
    let accepted = match row.state {
        ManifestState::Registered | ManifestState::Blocked | ManifestState::Superseded => true,
        ManifestState::Untrusted | ManifestState::Quarantined => false,
    };
    let Some(summary) = row.summary.as_ref().filter(|_| accepted) else {
        return Ok(());
    };
    let Some(digest) = summary
        .digest
        .filter(|_| summary.content != Content::Inventory)
    else {
        return Ok(());
    };
    accept(statement, &summary.run, summary.generation, &digest)
}

/// Writes what is accepted as a generation, if nothing is yet.
pub(super) const ACCEPT: &str =
    "INSERT OR IGNORE INTO accepted (origin, run, epoch, sequence, digest)
     VALUES (?1, ?2, ?3, ?4, ?5)";

/// Runs [`ACCEPT`].
pub(super) fn accept(
    statement: &mut rusqlite::Statement<'_>,
    run: &RunKey,
    generation: Generation,
    digest: &Sha256,
) -> rusqlite::Result<()> {
    statement.execute(params![
        run.origin.0.as_bytes(),
        run.name.as_str(),
        generation.epoch,
        generation.sequence,
        digest.0
    ])?;
    Ok(())
}
