//! One manifest's way into the tables, in stages that can stop after any row.
//!
//! data IDs → paths → datasets → waiting
//!
//! Each stage writes one table in its own key order. The look-ups come first and count for
//! nothing until `dataset` and `record` hold what they point to; these two are written together,
//! so a reader sees a dataset with all its artifacts or not at all. A conflict that another
//! manifest brings in the middle is found where the dataset or data ID is taken already.

use runsync_manifest::generation::Generation;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Failure;
use super::stages::{Ids, StageRows, Step};
use crate::registry::record::{DimensionDiffers, Registered, Registration};

/// Most differing dimension records that are named.
const DIFFERING_MAX: usize = 100;

/// Which table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    DataIds,
    Paths,
    Datasets,
    Waiting,
    Done,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::DataIds,
        Self::Paths,
        Self::Datasets,
        Self::Waiting,
        Self::Done,
    ];

    fn number(self) -> i64 {
        match self {
            Self::DataIds => 0,
            Self::Paths => 1,
            Self::Datasets => 2,
            Self::Waiting => 3,
            Self::Done => 4,
        }
    }

    fn after(self, trust: bool) -> Self {
        match self {
            Self::DataIds => Self::Paths,
            Self::Paths => Self::Datasets,
            Self::Datasets if !trust => Self::Waiting,
            Self::Datasets | Self::Waiting | Self::Done => Self::Done,
        }
    }
}

/// How far a manifest has come: a row of `registering`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) stage: Stage,
    pub(super) rows_done: u64,
    /// Another registration has begun since: what this one has written may be replaced.
    pub(super) overlaps: bool,
    pub(super) datasets_added: u64,
    pub(super) artifacts_waiting: u64,
}

/// A manifest on its way.
pub(super) struct Load<'a> {
    registration: &'a Registration<'a>,
    ids: Ids,
    marker: Marker,
    /// Rows of the stage, after those done.
    rows: Option<StageRows<'a>>,
    differing: Vec<DimensionDiffers>,
}

impl<'a> Load<'a> {
    /// Writes what rows refer to, and finds out where an earlier attempt stopped.
    pub(super) fn begin(
        connection: &Connection,
        registration: &'a Registration<'a>,
    ) -> Result<Self, Failure> {
        let ids = Ids::of(connection, registration)?;
        let found = find_marker(connection, registration, &ids)?;
        demote_others(connection, registration, &ids)?;
        Ok(Self {
            registration,
            ids,
            marker: found.unwrap_or(Marker {
                stage: Stage::DataIds,
                rows_done: 0,
                overlaps: false,
                datasets_added: 0,
                artifacts_waiting: 0,
            }),
            rows: None,
            differing: dimensions(connection, registration)?,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.marker.stage == Stage::Done
    }

    /// Writes up to `budget` rows of the present stage, and moves on where it ends.
    pub(super) fn step(&mut self, connection: &Connection, budget: u64) -> Result<(), Failure> {
        if self.is_done() {
            return Ok(());
        }
        let mut rows = match self.rows.take() {
            Some(rows) => rows,
            None => StageRows::open(connection, self.registration, &self.ids, &self.marker)?,
        };
        let step = rows.write(connection, self.registration, &mut self.ids, budget)?;
        let Step {
            rows: written,
            ended,
            datasets_added,
            artifacts_waiting,
        } = step;
        self.marker.datasets_added += datasets_added;
        self.marker.artifacts_waiting += artifacts_waiting;
        if ended {
            self.marker.stage = self.marker.stage.after(self.registration.trust);
            self.marker.rows_done = 0;
        } else {
            self.marker.rows_done += written;
            self.rows = Some(rows);
        }
        Ok(())
    }

    /// How many of its claims are done, all stages taken together.
    pub(super) fn rows_done(&self) -> u64 {
        let (datasets, claims) = (
            self.registration.rows.datasets(),
            self.registration.rows.claims(),
        );
        let waiting = if self.registration.trust { 0 } else { claims };
        let all = datasets + 2 * claims + waiting;
        let before = match self.marker.stage {
            Stage::DataIds => 0,
            Stage::Paths => datasets,
            Stage::Datasets => datasets + claims,
            Stage::Waiting => datasets + 2 * claims,
            Stage::Done => return claims,
        };
        claims.saturating_mul(before + self.marker.rows_done) / all.max(1)
    }

    /// Takes up what another process has done for the same manifest meanwhile.
    pub(super) fn catch_up(&mut self, connection: &Connection) -> Result<(), Failure> {
        let Some(saved) = find_marker(connection, self.registration, &self.ids)? else {
            self.marker.stage = Stage::Done;
            return Ok(());
        };
        if saved != self.marker {
            self.rows = None;
        }
        self.marker = saved;
        Ok(())
    }

    /// Saves how far it has come.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Failure> {
        let Generation { epoch, sequence } = self.registration.generation;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO registering (run_id, epoch, sequence, digest, stage,
                     rows_done, claims_done, claims, overlaps, datasets_added,
                     artifacts_waiting)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                self.ids.run_id,
                epoch,
                sequence,
                self.registration.digest.0,
                self.marker.stage.number(),
                self.marker.rows_done.cast_signed(),
                self.rows_done().cast_signed(),
                self.registration.rows.claims().cast_signed(),
                self.marker.overlaps,
                self.marker.datasets_added.cast_signed(),
                self.marker.artifacts_waiting.cast_signed()
            ])?;
        Ok(())
    }

    /// Ends a registration that is done.
    pub(super) fn finish(&mut self, connection: &Connection) -> Result<Registered, Failure> {
        let Generation { epoch, sequence } = self.registration.generation;
        connection
            .prepare_cached(
                "UPDATE run SET epoch = ?2, sequence = ?3 WHERE run_id = ?1
                     AND (epoch IS NULL OR (epoch, sequence) < (?2, ?3))",
            )?
            .execute(params![self.ids.run_id, epoch, sequence])?;
        connection
            .prepare_cached(
                "DELETE FROM registering
                 WHERE run_id = ?1 AND epoch = ?2 AND sequence = ?3 AND digest = ?4",
            )?
            .execute(params![
                self.ids.run_id,
                epoch,
                sequence,
                self.registration.digest.0
            ])?;
        Ok(Registered {
            datasets_added: self.marker.datasets_added,
            artifacts_waiting: self.marker.artifacts_waiting,
            dimensions_differing: std::mem::take(&mut self.differing),
        })
    }
}

fn find_marker(
    connection: &Connection,
    registration: &Registration<'_>,
    ids: &Ids,
) -> Result<Option<Marker>, Failure> {
    let Generation { epoch, sequence } = registration.generation;
    Ok(connection
        .prepare_cached(
            "SELECT stage, rows_done, overlaps, datasets_added, artifacts_waiting FROM registering
             WHERE run_id = ?1 AND epoch = ?2 AND sequence = ?3 AND digest = ?4",
        )?
        .query_row(
            params![ids.run_id, epoch, sequence, registration.digest.0],
            marker,
        )
        .optional()?)
}

fn marker(row: &Row<'_>) -> rusqlite::Result<Marker> {
    let number: i64 = row.get(0)?;
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| stage.number() == number)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))?;
    Ok(Marker {
        stage,
        rows_done: row.get::<_, i64>(1)?.cast_unsigned(),
        overlaps: row.get(2)?,
        datasets_added: row.get::<_, i64>(3)?.cast_unsigned(),
        artifacts_waiting: row.get::<_, i64>(4)?.cast_unsigned(),
    })
}

fn demote_others(
    connection: &Connection,
    registration: &Registration<'_>,
    ids: &Ids,
) -> Result<(), Failure> {
    let Generation { epoch, sequence } = registration.generation;
    connection
        .prepare_cached(
            "UPDATE registering SET overlaps = 1
             WHERE NOT (run_id = ?1 AND epoch = ?2 AND sequence = ?3 AND digest = ?4)",
        )?
        .execute(params![ids.run_id, epoch, sequence, registration.digest.0])?;
    Ok(())
}

/// Adds dimension records; the first of each key stays.
fn dimensions(
    connection: &Connection,
    registration: &Registration<'_>,
) -> Result<Vec<DimensionDiffers>, Failure> {
    let mut add = connection.prepare_cached(
        "INSERT OR IGNORE INTO dimension_record (element, key, record) VALUES (?1, ?2, ?3)",
    )?;
    let mut known = connection
        .prepare_cached("SELECT record FROM dimension_record WHERE element = ?1 AND key = ?2")?;
    let mut differing = Vec::new();
    let mut failed = None;
    registration
        .rows
        .dimensions(&mut |row| {
            let result = (|| {
                if add.execute([row.element, row.key, row.record])? > 0 {
                    return Ok(None);
                }
                let first: String = known.query_row([row.element, row.key], |row| row.get(0))?;
                Ok(Some(first).filter(|first| first != row.record))
            })();
            match result {
                Ok(Some(registered)) if differing.len() < DIFFERING_MAX => {
                    differing.push(DimensionDiffers {
                        element: row.element.to_owned(),
                        key: row.key.to_owned(),
                        registered,
                        manifest: row.record.to_owned(),
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    return Err(std::io::Error::other("a dimension record was not written"));
                }
            }
            Ok(())
        })
        .map_err(|error| match failed {
            Some(statement) => Failure::Statement(statement),
            None => error.into(),
        })?;
    Ok(differing)
}
