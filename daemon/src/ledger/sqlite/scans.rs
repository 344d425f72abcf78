//! How far scans have come, and the drift that they saw.

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunName};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};

use super::drift_summary;
use super::repairs::witness;
use super::rows::{self, Failure};
use crate::file_identity::FileIdentity;
use crate::ledger::scans::{
    Drift, DriftFilter, DriftFinding, DriftKind, DriftSide, Ignored, ScanRow, Span,
};

const SCAN_COLUMNS: &str = "root, scope, number, position, begun_at, tried_at, finished_at, counts,
     whole_begun_at, whole_objects, whole_unseen";

const FINDING_COLUMNS: &str =
    "root, path, kind, detail, size, identity, claimed, first_seen, last_seen, times, ignored_by,
     ignored_why, ignored_at,
     (SELECT twin.path FROM scan_finding AS twin WHERE twin.root = scan_finding.root
         AND twin.folded = scan_finding.folded AND twin.path <> scan_finding.path
         AND twin.side = scan_finding.side LIMIT 1),
     run, CASE WHEN era = (SELECT eras FROM meta) AND since_scan <> scan THEN since END";

/// Of findings of one root that a filter names; parameters 1 to 6.
const FILTER: &str = "root = ?1 AND (?2 IS NULL OR kind = ?2)
     AND path >= ?3 AND path < ?4 AND (?5 OR ignored_by IS NULL) AND (?6 IS NULL OR side = ?6)";

pub(super) fn begin(
    connection: &Connection,
    root: &RootName,
    (scope, from): (&str, &str),
    at: Timestamp,
) -> Result<ScanRow, Failure> {
    witness(connection, at)?;
    let number: i64 = connection
        .prepare_cached("UPDATE meta SET scans = scans + 1 RETURNING scans")?
        .query_row([], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO scan (root, scope, number, position, begun_at, tried_at, counts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, '{}')
             ON CONFLICT DO UPDATE SET number = excluded.number, position = excluded.position,
                 begun_at = excluded.begun_at, tried_at = excluded.tried_at,
                 counts = excluded.counts",
        )?
        .execute(params![
            root.as_str(),
            scope,
            number,
            from,
            rows::time_column(at)
        ])?;
    let begun = one(connection, root, scope)?;
    begun.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

pub(super) fn one(
    connection: &Connection,
    root: &RootName,
    scope: &str,
) -> Result<Option<ScanRow>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT {SCAN_COLUMNS} FROM scan WHERE root = ?1 AND scope = ?2"
        ))?
        .query_and_then([root.as_str(), scope], scan_row)?
        .next()
        .transpose()
}

pub(super) fn all(connection: &Connection) -> Result<Vec<ScanRow>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT {SCAN_COLUMNS} FROM scan ORDER BY root, scope"
        ))?
        .query_and_then([], scan_row)?
        .collect()
}

fn scan_row(row: &Row<'_>) -> Result<ScanRow, Failure> {
    Ok(ScanRow {
        root: rows::parse(row, 0, "root name")?,
        scope: row.get(1)?,
        number: row.get::<_, i64>(2)?.cast_unsigned(),
        position: row.get(3)?,
        begun_at: rows::time(row, 4)?,
        tried_at: rows::time(row, 5)?,
        finished_at: optional_time(row, 6)?,
        counts: row.get(7)?,
        whole_begun_at: optional_time(row, 8)?,
        whole_objects: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        whole_unseen: row.get::<_, i64>(10)?.cast_unsigned(),
    })
}

fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failure> {
    match row.get::<_, Option<i64>>(column)? {
        Some(_) => rows::time(row, column).map(Some),
        None => Ok(None),
    }
}

pub(super) fn note(
    connection: &Connection,
    scan: &ScanRow,
    seen: &[Drift],
    concluded: &[Span],
) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE scan SET position = ?4, tried_at = ?5, finished_at = ?6, counts = ?7,
                 whole_begun_at = ?8, whole_objects = ?9, whole_unseen = ?10
             WHERE root = ?1 AND scope = ?2 AND number = ?3",
        )?
        .execute(params![
            scan.root.as_str(),
            scan.scope,
            scan.number.cast_signed(),
            scan.position,
            rows::time_column(scan.tried_at),
            scan.finished_at.map(rows::time_column),
            scan.counts,
            scan.whole_begun_at.map(rows::time_column),
            scan.whole_objects.map(u64::cast_signed),
            scan.whole_unseen.cast_signed(),
        ])?;
    keep(connection, scan, seen)?;
    let mut heal = connection.prepare_cached(
        "DELETE FROM scan_finding WHERE root = ?1 AND path >= ?2 AND path < ?3 AND scan <> ?4
             AND side = ?5",
    )?;
    for span in concluded {
        heal.execute(params![
            scan.root.as_str(),
            span.from,
            end(span),
            scan.number.cast_signed(),
            DriftSide::of_scope(&scan.scope).as_str()
        ])?;
    }
    Ok(())
}

/// Another kind of drift, or another file, is new: what was said of the earlier one says nothing of it.
fn keep(connection: &Connection, scan: &ScanRow, seen: &[Drift]) -> Result<(), Failure> {
    // A clock that leaps tells nothing of how long ago the last pass was.
    let era = witness(connection, scan.tried_at)?;
    let same = "kind = excluded.kind AND identity IS excluded.identity AND size IS excluded.size";
    let mut keep = connection.prepare_cached(&format!(
        "INSERT INTO scan_finding (root, path, kind, detail, size, identity, claimed, folded,
             first_seen, last_seen, times, scan, side, run, era, since, since_scan)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 1, ?10, ?11, ?12, ?13, ?9, ?10)
         ON CONFLICT DO UPDATE SET
             since = CASE WHEN {same} AND era = excluded.era THEN since ELSE excluded.since END,
             since_scan = CASE WHEN {same} AND era = excluded.era THEN since_scan
                 ELSE excluded.since_scan END,
             era = excluded.era,
             first_seen = CASE WHEN {same} THEN first_seen ELSE excluded.first_seen END,
             times = CASE WHEN {same} THEN times + (scan <> excluded.scan) ELSE 1 END,
             ignored_by = CASE WHEN {same} THEN ignored_by END,
             ignored_why = CASE WHEN {same} THEN ignored_why END,
             ignored_at = CASE WHEN {same} THEN ignored_at END,
             kind = excluded.kind, detail = excluded.detail, size = excluded.size,
             identity = excluded.identity, claimed = excluded.claimed, folded = excluded.folded,
             last_seen = excluded.last_seen, scan = excluded.scan, run = excluded.run"
    ))?;
    for drift in seen {
        keep.execute(params![
            scan.root.as_str(),
            drift.path.as_str(),
            drift.kind.as_str(),
            drift.detail,
            drift.size.map(u64::cast_signed),
            drift.identity.as_ref().map(json).transpose()?,
            drift.claimed,
            drift.folded,
            rows::time_column(scan.tried_at),
            scan.number.cast_signed(),
            drift.kind.side().as_str(),
            drift.run.as_ref().map(RunName::as_str),
            era,
        ])?;
    }
    Ok(())
}

pub(super) fn json(identity: &FileIdentity) -> Result<String, Failure> {
    let text = serde_json::to_string(identity);
    text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()).into())
}

/// Every text sorts before every blob.
fn end(span: &Span) -> ToSqlOutput<'_> {
    let until = span.until.as_deref();
    ToSqlOutput::Borrowed(until.map_or(ValueRef::Blob(&[]), |text| ValueRef::Text(text.as_bytes())))
}

/// A page never ends amid the findings of one path: its next one goes on after that path.
pub(super) fn findings(
    connection: &Connection,
    filter: &DriftFilter,
    after: Option<(&RootName, &str)>,
    limit: usize,
) -> Result<Vec<DriftFinding>, Failure> {
    let mut page = Vec::new();
    for root in roots(connection, filter)? {
        let from = match after {
            Some((last, _)) if root.as_str() < last.as_str() => continue,
            Some((last, path)) if root == last.as_str() => crate::ledger::scans::after(path),
            Some(_) | None => String::new(),
        };
        let from = from.max(filter.span.from.clone());
        let left = limit - page.len();
        page.extend(of_root(connection, filter, (&root, &from, ""), left)?);
        if let Some(last) = page.last().filter(|_| page.len() >= limit) {
            let at = Span::at(last.path.as_str());
            let of_path = DriftFilter {
                span: at,
                ..filter.clone()
            };
            let (path, side) = (last.path.to_string(), last.kind.side());
            let key = (&*root, &*path, side.as_str());
            page.extend(of_root(connection, &of_path, key, usize::MAX)?);
            return Ok(page);
        }
    }
    Ok(page)
}

/// The roots that a filter means, by name: those that were ever scanned.
fn roots(connection: &Connection, filter: &DriftFilter) -> Result<Vec<String>, Failure> {
    if let Some(root) = &filter.root {
        return Ok(vec![root.to_string()]);
    }
    connection
        .prepare_cached("SELECT DISTINCT root FROM scan ORDER BY root")?
        .query_and_then([], |row| Ok(row.get(0)?))?
        .collect()
}

/// Findings of one root from a path on, and there after a side; each page is one search by the key.
fn of_root(
    connection: &Connection,
    filter: &DriftFilter,
    (root, from, side): (&str, &str, &str),
    limit: usize,
) -> Result<Vec<DriftFinding>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT {FINDING_COLUMNS} FROM scan_finding WHERE {FILTER} AND (path > ?3 OR side > ?7)
             ORDER BY root, path, side LIMIT ?8"
        ))?
        .query_and_then(
            params![
                root,
                filter.kind.map(DriftKind::as_str),
                from,
                end(&filter.span),
                filter.ignored,
                filter.side.map(DriftSide::as_str),
                side,
                i64::try_from(limit).unwrap_or(i64::MAX),
            ],
            finding,
        )?
        .collect()
}

fn finding(row: &Row<'_>) -> Result<DriftFinding, Failure> {
    let twin: Option<String> = row.get(13)?;
    let run: Option<String> = row.get(14)?;
    let ignored = match row.get::<_, Option<String>>(10)? {
        Some(by) => Some(Ignored {
            by,
            why: row.get(11)?,
            at: rows::time(row, 12)?,
        }),
        None => None,
    };
    Ok(DriftFinding {
        root: rows::parse(row, 0, "root name")?,
        path: rows::parse(row, 1, "artifact path")?,
        kind: drift_summary::kind(row, 2)?,
        detail: row.get(3)?,
        size: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        identity: identity_of(row, 5)?,
        claimed: row.get(6)?,
        run: run.and_then(|text| text.parse().ok()),
        first_seen: rows::time(row, 7)?,
        last_seen: rows::time(row, 8)?,
        times: row.get::<_, i64>(9)?.cast_unsigned(),
        unchanged_since: match row.get::<_, Option<i64>>(15)? {
            Some(_) => Some(rows::time(row, 15)?),
            None => None,
        },
        twin: twin.and_then(|text| ArtifactPath::try_from(text).ok()),
        ignored,
    })
}

pub(super) fn newest(
    connection: &Connection,
    root: Option<&RootName>,
    limit: usize,
) -> Result<Vec<DriftFinding>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT {FINDING_COLUMNS} FROM scan_finding
             WHERE (?1 IS NULL OR root = ?1) AND ignored_by IS NULL
             ORDER BY first_seen DESC, root, path LIMIT ?2"
        ))?
        .query_and_then(
            params![
                root.map(RootName::as_str),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            finding,
        )?
        .collect()
}

/// The file that was seen.
pub(super) fn identity_of(row: &Row<'_>, column: usize) -> Result<Option<FileIdentity>, Failure> {
    let identity: Option<String> = row.get(column)?;
    Ok(identity.and_then(|text| serde_json::from_str(&text).ok()))
}

pub(super) fn counts(
    connection: &Connection,
    filter: &DriftFilter,
) -> Result<Vec<(DriftKind, u64)>, Failure> {
    let mut counts = DriftKind::ALL.map(|kind| (kind, 0));
    // Without a stretch of paths they are counted already.
    let mut count = connection.prepare_cached(&if filter.span == Span::all() {
        "SELECT kind, sum(count) FROM drift_count WHERE root = ?1 AND (?2 IS NULL OR kind = ?2)
             AND (?3 IS ?3 AND ?4 IS ?4) AND (?5 OR NOT ignored) AND (?6 IS NULL OR side = ?6)
         GROUP BY kind"
            .to_owned()
    } else {
        format!("SELECT kind, count(*) FROM scan_finding WHERE {FILTER} GROUP BY kind")
    })?;
    for root in roots(connection, filter)? {
        let mut rows = count.query(params![
            root,
            filter.kind.map(DriftKind::as_str),
            filter.span.from,
            end(&filter.span),
            filter.ignored,
            filter.side.map(DriftSide::as_str),
        ])?;
        while let Some(row) = rows.next()? {
            let (kind, found) = (drift_summary::kind(row, 0)?, row.get::<_, i64>(1)?);
            for (known, count) in &mut counts {
                if *known == kind {
                    *count += found.cast_unsigned();
                }
            }
        }
    }
    Ok(counts.to_vec())
}

pub(super) fn ignore(
    connection: &Connection,
    root: &RootName,
    path: &str,
    word: Option<&Ignored>,
) -> Result<bool, Failure> {
    let changed = connection
        .prepare_cached(
            "UPDATE scan_finding SET ignored_by = ?3, ignored_why = ?4, ignored_at = ?5
             WHERE root = ?1 AND path = ?2",
        )?
        .execute(params![
            root.as_str(),
            path,
            word.map(|word| &word.by),
            word.map(|word| &word.why),
            word.map(|word| rows::time_column(word.at)),
        ])?;
    Ok(changed > 0)
}

pub(super) fn have_second_names(
    connection: &Connection,
    root: &RootName,
    inodes: &[u64],
) -> Result<Vec<bool>, Failure> {
    let mut named =
        connection.prepare_cached("SELECT 1 FROM sync_name WHERE root = ?1 AND inode = ?2")?;
    let has = |inode: &u64| Ok(named.exists(params![root.as_str(), inode.cast_signed()])?);
    inodes.iter().map(has).collect()
}
