//! Answers from records: runs, datasets, records, existence.

use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{DatasetId, DatasetTypeName, RepositoryId, RunKey};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::failure::Failure;
use super::hidden::Hidden;
use super::names;
use super::rows::{self, Names, count, dataset_id, generation};
use crate::registry::record::{
    DatasetRow, Existence, HeldDataset, Presence, RecordRow, Registering, RowSource, RunRow,
    WaitingArtifact, WaitingRun,
};

/// What a run waits for between two paths; [`rows::CHECKSUM_COLUMNS`] come first.
const AWAITED: &str = "SELECT adler32, md5, sha256, size, path FROM waiting \
     WHERE run_id = ?1 AND root_id = ?2 AND path > ?3 AND path < ?4";

/// The first run and root after another at which anything is waited for.
const NEXT_WAITING: &str = "SELECT run_id, root_id FROM waiting \
     WHERE (run_id, root_id) > (?1, ?2) ORDER BY run_id, root_id LIMIT 1";

pub(super) fn changes(connection: &Connection) -> Result<u64, Failure> {
    connection
        .prepare_cached("SELECT changes FROM meta")?
        .query_row([], |row| Ok(count(row, 0)))?
}

pub(super) fn run(connection: &Connection, run: &RunKey) -> Result<Option<RunRow>, Failure> {
    let columns = rows::RUN_COLUMNS;
    connection
        .prepare_cached(&format!(
            "SELECT {columns} FROM run WHERE name = ?1 AND origin = ?2"
        ))?
        .query_and_then(
            params![run.name.as_str(), run.origin.0.as_bytes()],
            rows::run_row,
        )?
        .next()
        .transpose()
}

/// Who holds each dataset.
pub(super) fn holders(
    connection: &Connection,
    datasets: &[DatasetId],
) -> Result<Vec<Option<HeldDataset>>, Failure> {
    let mut find = connection.prepare_cached(
        "SELECT run.name, run.origin, dataset_type.name, dataset.data_id,
             dataset.epoch, dataset.sequence
         FROM dataset CROSS JOIN run ON run.run_id = dataset.run_id
         CROSS JOIN dataset_type ON dataset_type.dataset_type_id = dataset.dataset_type_id
         WHERE dataset.uuid = ?1",
    )?;
    let mut held = |uuid: &DatasetId| {
        let mut found = find.query_and_then([uuid.0.as_bytes()], |row| {
            Ok::<_, Failure>(HeldDataset {
                run: rows::run_key(row, 0)?,
                dataset: DatasetRow {
                    uuid: *uuid,
                    dataset_type: rows::parse(row, 2, "dataset type name")?,
                    data_id: row.get(3)?,
                    generation: generation(row, 4)?
                        .ok_or_else(|| rows::damaged("generation", &"nothing"))?,
                },
            })
        })?;
        found.next().transpose()
    };
    datasets.iter().map(&mut held).collect()
}

pub(super) fn runs(
    connection: &Connection,
    prefix: Option<&str>,
    waiting: bool,
    after: Option<(&str, RepositoryId)>,
    limit: usize,
) -> Result<Vec<RunRow>, Failure> {
    let columns = rows::RUN_COLUMNS;
    // No run has an empty name.
    let (name, origin) = after.unwrap_or(("", RepositoryId(Uuid::nil())));
    // `0` is the character after `/`: between the two lie all names below the prefix. The stretch
    // that holds these and the prefix itself bounds the search.
    let below = match prefix {
        Some(_) => "name >= ?1 AND name < ?1 || '0' AND (name = ?1 OR name > ?1 || '/')",
        None => "?1 IS NULL",
    };
    connection
        .prepare_cached(&format!(
            "SELECT {columns} FROM run
             WHERE (name, origin) > (?2, ?3) AND {below}
                 AND (waiting > 0 OR NOT ?4)
             ORDER BY name, origin LIMIT ?5"
        ))?
        .query_and_then(
            params![
                prefix,
                name,
                origin.0.as_bytes(),
                waiting,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            rows::run_row,
        )?
        .collect()
}

/// Searches for each run and root once: what is waited for there is not counted.
pub(super) fn waiting_runs(connection: &Connection) -> Result<Vec<WaitingRun>, Failure> {
    let mut next = connection.prepare_cached(NEXT_WAITING)?;
    let mut root = connection.prepare_cached("SELECT name FROM root WHERE root_id = ?1")?;
    let hidden = Hidden::load(connection)?;
    let mut waiting = Vec::new();
    let mut last = (0_i64, 0_i64);
    while let Some((run_id, root_id)) = next
        .query_row([last.0, last.1], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
    {
        last = (run_id, root_id);
        if hidden.hides_all_records(run_id) {
            continue;
        }
        let name = root.query_and_then([root_id], |row| rows::parse(row, 0, "root name"))?;
        waiting.push(WaitingRun {
            run: names::run_key(connection, run_id)?,
            root: name
                .last()
                .unwrap_or_else(|| Err(rows::damaged("root number", &root_id)))?,
        });
    }
    waiting.sort_by(|a, b| (&a.run, &a.root).cmp(&(&b.run, &b.root)));
    Ok(waiting)
}

pub(super) fn registering(connection: &Connection) -> Result<Vec<Registering>, Failure> {
    connection
        .prepare_cached(
            "SELECT run.name, run.origin, registering.epoch, registering.sequence, digest,
                 claims_done, registering.claims
             FROM registering JOIN run USING (run_id)
             ORDER BY run.name, run.origin, registering.epoch, registering.sequence",
        )?
        .query_and_then([], |row| {
            Ok(Registering {
                run: rows::run_key(row, 0)?,
                generation: Generation {
                    epoch: row.get(2)?,
                    sequence: row.get(3)?,
                },
                digest: Sha256(row.get(4)?),
                done: count(row, 5)?,
                claims: count(row, 6)?,
            })
        })?
        .collect()
}

pub(super) fn waiting_artifacts(
    connection: &Connection,
    run: &RunKey,
    root: &RootName,
    (after, before): (Option<&str>, Option<&str>),
    limit: usize,
) -> Result<Vec<WaitingArtifact>, Failure> {
    let (Some(run_id), Some(root_id)) = (
        names::find_run(connection, run)?,
        names::find_root(connection, root)?,
    ) else {
        return Ok(Vec::new());
    };
    let hidden = Hidden::load(connection)?;
    if hidden.hides_all_records(run_id) {
        return Ok(Vec::new());
    }
    let shown = hidden.waiting_clause(run_id);
    let mut claims = connection.prepare_cached(&format!("{AWAITED} {shown} ORDER BY path"))?;
    let after = after.unwrap_or_default();
    // Every text sorts before every blob.
    let before = before.map_or(ValueRef::Blob(&[]), |text| ValueRef::Text(text.as_bytes()));
    let before = ToSqlOutput::Borrowed(before);
    let mut claims = claims.query(params![run_id, root_id, after, before])?;
    let mut waiting: Vec<WaitingArtifact> = Vec::new();
    // Counted are artifacts, not rows: a short page is the last one.
    while let Some(claim) = claims.next()? {
        let (size, checksums) = (count(claim, 3)?, rows::checksums(claim)?);
        let path = claim.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
        let full = waiting.len() == limit;
        match waiting.last_mut() {
            // Datasets that share an artifact may each name other checksums of it.
            Some(last) if last.path.as_str() == path => {
                let both = ((last.size, &last.checksums), (size, &checksums));
                if rows::agree(both.0, both.1) {
                    last.checksums.md5 = last.checksums.md5.or(checksums.md5);
                    last.checksums.sha256 = last.checksums.sha256.or(checksums.sha256);
                }
            }
            Some(_) | None if full => break,
            Some(_) | None => waiting.push(WaitingArtifact {
                path: rows::path(path.to_owned())?,
                size,
                checksums,
            }),
        }
    }
    Ok(waiting)
}

/// Probes in UUID order, which walks the table forward whatever the order of the question.
pub(super) fn exists(
    connection: &Connection,
    datasets: &[DatasetId],
) -> Result<Vec<Existence>, Failure> {
    let names = Names::load(connection)?;
    let hidden = Hidden::load(connection)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM record WHERE uuid = ?1 AND confirmed < 2 ORDER BY component",
        rows::RECORD_COLUMNS
    ))?;
    let mut answers: Vec<Existence> = datasets
        .iter()
        .map(|&uuid| Existence {
            uuid,
            presence: Presence::No,
            records: Vec::new(),
        })
        .collect();
    let mut in_order: Vec<&mut Existence> = answers.iter_mut().collect();
    in_order.sort_unstable_by_key(|answer| answer.uuid);
    for answer in in_order {
        if !hidden.is_empty() && hidden.hides_records_of(connection, answer.uuid)? {
            continue;
        }
        let mut found = statement.query([answer.uuid.0.as_bytes()])?;
        while let Some(row) = found.next()? {
            // Nearly all datasets have one artifact: room for four would be most of an answer.
            answer.records.reserve_exact(1);
            answer.records.push(names.record_row(row)?);
        }
        answer.presence = presence(&answer.records);
    }
    Ok(answers)
}

fn presence(records: &[RecordRow]) -> Presence {
    if records.is_empty() {
        Presence::No
    } else if records.iter().all(|record| record.confirmed) {
        Presence::Yes
    } else {
        Presence::Pending
    }
}

pub(super) fn datasets(
    connection: &Connection,
    run: &RunKey,
    dataset_type: Option<&DatasetTypeName>,
    after: Option<DatasetId>,
    limit: usize,
) -> Result<Vec<DatasetRow>, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(Vec::new());
    };
    let hidden = Hidden::load(connection)?;
    if hidden.hides_datasets(run_id) {
        return Ok(Vec::new());
    }
    let shown = hidden.datasets_clause(run_id);
    connection
        .prepare_cached(&format!(
            "SELECT dataset.uuid, dataset_type.name, dataset.data_id, dataset.epoch, dataset.sequence
             FROM dataset INDEXED BY dataset_by_run JOIN dataset_type USING (dataset_type_id)
             WHERE dataset.run_id = ?1 AND dataset.uuid > ?2
                 AND (?3 IS NULL OR dataset_type.name = ?3) {shown}
             ORDER BY dataset.uuid LIMIT ?4"
        ))?
        .query_and_then(
            params![
                run_id,
                start(after.as_ref()),
                dataset_type.map(DatasetTypeName::as_str),
                page_size(limit)
            ],
            |row| {
                Ok(DatasetRow {
                    uuid: dataset_id(row, 0)?,
                    dataset_type: rows::parse(row, 1, "dataset type name")?,
                    data_id: row.get(2)?,
                    generation: generation(row, 3)?
                        .ok_or_else(|| rows::damaged("generation", &"nothing"))?,
                })
            },
        )?
        .collect()
}

pub(super) fn records(
    connection: &Connection,
    run: &RunKey,
    after: Option<DatasetId>,
    limit: usize,
) -> Result<Vec<RecordRow>, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(Vec::new());
    };
    let names = Names::load(connection)?;
    let hidden = Hidden::load(connection)?;
    if hidden.hides_all_records(run_id) {
        return Ok(Vec::new());
    }
    let shown = hidden.records_clause(run_id);
    connection
        .prepare_cached(&format!(
            "SELECT {}
             FROM (SELECT uuid FROM dataset INDEXED BY dataset_by_run
                   WHERE run_id = ?1 AND uuid > ?2 AND EXISTS (SELECT 1 FROM record AS live
                           WHERE live.uuid = dataset.uuid AND live.confirmed < 2) {shown}
                   ORDER BY uuid LIMIT ?3) AS page
             CROSS JOIN record ON record.uuid = page.uuid AND record.confirmed < 2
             ORDER BY record.uuid, record.component",
            rows::RECORD_COLUMNS
        ))?
        .query_and_then(
            params![run_id, start(after.as_ref()), page_size(limit)],
            |row| names.record_row(row),
        )?
        .collect()
}

/// The empty blob sorts before every UUID.
fn start(after: Option<&DatasetId>) -> &[u8] {
    after.map_or(&[], |uuid| uuid.0.as_bytes())
}

fn page_size(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn dataset_types(connection: &Connection) -> Result<Vec<DatasetType>, Failure> {
    let columns = rows::TYPE_COLUMNS;
    connection
        .prepare_cached(&format!("SELECT {columns} FROM dataset_type ORDER BY name"))?
        .query_and_then([], rows::dataset_type)?
        .collect()
}

pub(super) fn has_dimensions(
    connection: &Connection,
    rows: &dyn RowSource,
) -> Result<bool, Failure> {
    let mut known = connection.prepare_cached(
        "SELECT 1 FROM dimension_record WHERE element = ?1 AND key = ?2 AND record = ?3",
    )?;
    let mut all = true;
    let mut failed = None;
    rows.dimensions(&mut |row| {
        if all && failed.is_none() {
            match known.exists([row.element, row.key, row.record]) {
                Ok(is_known) => all = is_known,
                Err(error) => failed = Some(error),
            }
        }
        Ok(())
    })?;
    failed.map_or(Ok(all), |error| Err(error.into()))
}

pub(super) fn dimension_records(
    connection: &Connection,
) -> Result<Vec<(String, String, String)>, Failure> {
    connection
        .prepare_cached("SELECT element, key, record FROM dimension_record ORDER BY element, key")?
        .query_and_then([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}
