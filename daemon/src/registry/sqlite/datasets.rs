//! Writes datasets with their claims, or compares them with what is registered.

use runsync_manifest::checksum::Checksums;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{CachedStatement, Connection, params};
use uuid::Uuid;

use super::failure::Failure;
use super::rows::{ABSENT, AWAITED, CONFIRMED};
use super::stages::{Ids, Step};
use super::{conflicts, names, rows};
use crate::registry::conflict::Conflict;
use crate::registry::record::{ClaimCursor, ClaimRow, Registration};

/// A claim of its own, apart from its dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    component: String,
    path: String,
    size: u64,
    checksums: Checksums,
    formatter: Option<String>,
}

/// A dataset with all claims on its artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    uuid: DatasetId,
    dataset_type: usize,
    data_id: String,
    claims: Vec<Claim>,
}

impl Group {
    /// Of nothing yet.
    fn new() -> Self {
        Self {
            uuid: DatasetId(Uuid::nil()),
            dataset_type: 0,
            data_id: String::new(),
            claims: Vec::new(),
        }
    }

    /// Becomes the dataset of `row`, in the memory of what it was before.
    fn begin(&mut self, row: &ClaimRow<'_>) {
        self.uuid = row.uuid;
        self.dataset_type = row.dataset_type;
        row.data_id.clone_into(&mut self.data_id);
        self.claims.truncate(1);
        match self.claims.first_mut() {
            Some(claim) => claim.become_of(row),
            None => self.claims.push(Claim::of(row)),
        }
    }
}

impl Claim {
    fn of(row: &ClaimRow<'_>) -> Self {
        Self {
            component: row.component.to_owned(),
            path: row.path.to_owned(),
            size: row.size,
            checksums: row.checksums,
            formatter: row.formatter.map(ToOwned::to_owned),
        }
    }

    fn become_of(&mut self, row: &ClaimRow<'_>) {
        row.component.clone_into(&mut self.component);
        row.path.clone_into(&mut self.path);
        self.size = row.size;
        self.checksums = row.checksums;
        match (&mut self.formatter, row.formatter) {
            (Some(held), Some(formatter)) => formatter.clone_into(held),
            (held, formatter) => *held = formatter.map(ToOwned::to_owned),
        }
    }
}

/// Claims in UUID order, a dataset at a time.
pub(super) struct ClaimGroups<'a> {
    claims: Box<dyn ClaimCursor + 'a>,
    /// The dataset lent last.
    group: Group,
    /// The next one, with its first claim, where there is `more`.
    ahead: Group,
    more: bool,
}

impl<'a> ClaimGroups<'a> {
    pub(super) fn over(claims: Box<dyn ClaimCursor + 'a>) -> Result<Self, Failure> {
        let mut groups = Self {
            claims,
            group: Group::new(),
            ahead: Group::new(),
            more: false,
        };
        if let Some(row) = groups.claims.next()? {
            groups.ahead.begin(&row);
            groups.more = true;
        }
        Ok(groups)
    }

    fn next(&mut self) -> Result<Option<&Group>, Failure> {
        if !self.more {
            return Ok(None);
        }
        std::mem::swap(&mut self.group, &mut self.ahead);
        self.more = false;
        while let Some(row) = self.claims.next()? {
            if row.uuid != self.group.uuid {
                self.ahead.begin(&row);
                self.more = true;
                break;
            }
            self.group.claims.push(Claim::of(&row));
        }
        Ok(Some(&self.group))
    }
}

/// A claim as registered.
#[derive(Debug)]
struct Registered {
    component: String,
    root_id: i64,
    path: String,
    size: u64,
    checksums: Checksums,
    state: i64,
}

impl Registered {
    fn lies_at(&self, root_id: i64, claim: &Claim) -> bool {
        self.component == claim.component && self.root_id == root_id && self.path == claim.path
    }

    fn equals(&self, root_id: i64, claim: &Claim) -> bool {
        self.lies_at(root_id, claim) && self.size == claim.size && self.checksums == claim.checksums
    }
}

/// What a step changes in the run's counters.
#[derive(Debug, Default)]
struct Counters {
    datasets: i64,
    claims: i64,
    waiting: i64,
    /// Wide enough for all claims of any one step.
    bytes: i128,
}

impl Counters {
    fn add(&mut self, size: i64, state: i64) {
        self.count(1, size, state);
    }

    fn subtract(&mut self, size: i64, state: i64) {
        self.count(-1, size, state);
    }

    /// What is absent counts for nothing.
    fn count(&mut self, one: i64, size: i64, state: i64) {
        if state == ABSENT {
            return;
        }
        self.claims += one;
        self.waiting += one * i64::from(state == AWAITED);
        self.bytes += i128::from(one) * i128::from(size);
    }

    fn save(&self, connection: &Connection, run_id: i64, run: &RunKey) -> Result<(), Failure> {
        let bytes = i128::from(names::bytes_of_run(connection, run_id)?) + self.bytes;
        let bytes = i64::try_from(bytes.max(0)).map_err(|_| {
            Failure::Conflict(Box::new(Conflict::RunTooLarge {
                run: run.clone(),
                bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            }))
        })?;
        connection
            .prepare_cached(
                "UPDATE run SET datasets = datasets + ?2, claims = claims + ?3,
                     waiting = waiting + ?4, bytes = ?5
                 WHERE run_id = ?1",
            )?
            .execute([run_id, self.datasets, self.claims, self.waiting, bytes])?;
        Ok(())
    }
}

struct Writer<'a> {
    connection: &'a Connection,
    registration: &'a Registration<'a>,
    ids: &'a mut Ids,
    add_dataset: CachedStatement<'a>,
    put_record: CachedStatement<'a>,
    counters: Counters,
}

/// Writes up to about `budget` claims, always whole datasets.
pub(super) fn write(
    connection: &Connection,
    registration: &Registration<'_>,
    ids: &mut Ids,
    groups: &mut ClaimGroups<'_>,
    budget: u64,
) -> Result<Step, Failure> {
    let run_id = ids.run_id;
    let mut writer = Writer {
        connection,
        registration,
        ids,
        add_dataset: connection.prepare_cached(
            "INSERT OR IGNORE INTO dataset
                 (uuid, run_id, dataset_type_id, data_id, epoch, sequence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?,
        put_record: connection.prepare_cached(
            "INSERT INTO record (uuid, component, root_id, path, size, adler32, md5,
                 sha256, formatter_id, confirmed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?,
        counters: Counters::default(),
    };
    let mut step = Step::default();
    while step.rows < budget {
        let Some(group) = groups.next()? else {
            step.ended = true;
            break;
        };
        step.rows += u64::try_from(group.claims.len()).unwrap_or(u64::MAX);
        step.datasets_added += u64::from(writer.dataset(group)?);
    }
    writer.counters.save(connection, run_id, registration.run)?;
    Ok(step)
}

impl Writer<'_> {
    /// Returns whether the dataset is new.
    fn dataset(&mut self, group: &Group) -> Result<bool, Failure> {
        let dataset_type_id = self.ids.dataset_type(group.dataset_type)?;
        let Generation { epoch, sequence } = self.registration.generation;
        let added = self.add_dataset.execute(params![
            group.uuid.0.as_bytes(),
            self.ids.run_id,
            dataset_type_id,
            group.data_id,
            epoch,
            sequence
        ])?;
        if added == 0 {
            self.compare(group, dataset_type_id)?;
            return Ok(false);
        }
        self.counters.datasets += 1;
        let state = self.state(dataset_type_id, false);
        for claim in &group.claims {
            self.put(group.uuid, claim, state)?;
        }
        Ok(true)
    }

    /// What becomes of a claim, which may stay confirmed from before.
    fn state(&self, dataset_type_id: i64, stays: bool) -> i64 {
        if self.ids.unwanted.holds(dataset_type_id) {
            ABSENT
        } else if stays || self.registration.trust {
            CONFIRMED
        } else {
            AWAITED
        }
    }

    fn put(&mut self, uuid: DatasetId, claim: &Claim, state: i64) -> Result<(), Failure> {
        let size = rows::size_column(&claim.path, claim.size)?;
        let formatter = self
            .ids
            .formatter(self.connection, claim.formatter.as_deref())?;
        self.put_record.execute(params![
            uuid.0.as_bytes(),
            claim.component,
            self.ids.root_id,
            claim.path,
            size,
            rows::adler32_column(&claim.checksums),
            rows::md5_column(&claim.checksums),
            rows::sha256_column(&claim.checksums),
            formatter,
            state
        ])?;
        self.counters.add(size, state);
        Ok(())
    }

    /// Lets the higher generation decide about a dataset that is registered already.
    fn compare(&mut self, group: &Group, dataset_type_id: i64) -> Result<(), Failure> {
        let held = self.held_generation(group, dataset_type_id)?;
        let registered = self.registered(group.uuid)?;
        if held >= self.registration.generation {
            self.drop_paths_in_vain(group, &registered)
        } else {
            self.replace(group, dataset_type_id, &registered)
        }
    }

    /// The generation of a registered dataset, which must be the same dataset.
    fn held_generation(&self, group: &Group, dataset_type_id: i64) -> Result<Generation, Failure> {
        let mut statement = self.connection.prepare_cached(
            "SELECT run_id, dataset_type_id, data_id, epoch, sequence FROM dataset
             WHERE uuid = ?1",
        )?;
        let mut found = statement.query([group.uuid.0.as_bytes()])?;
        let row = found
            .next()?
            .ok_or_else(|| rows::damaged("dataset", &"nothing"))?;
        let held = (row.get(0)?, row.get(1)?, row.get::<_, String>(2)?);
        if held.0 != self.ids.run_id || held.1 != dataset_type_id || held.2 != group.data_id {
            let conflict = conflicts::dataset_held(self.connection, group.uuid, held)?;
            return Err(Failure::Conflict(Box::new(conflict)));
        }
        rows::generation(row, 3)?.ok_or_else(|| rows::damaged("generation", &"nothing"))
    }

    fn registered(&self, uuid: DatasetId) -> Result<Vec<Registered>, Failure> {
        let columns = rows::CHECKSUM_COLUMNS;
        self.connection
            .prepare_cached(&format!(
                "SELECT {columns}, component, root_id, path, size, confirmed
                 FROM record WHERE uuid = ?1"
            ))?
            .query_and_then([uuid.0.as_bytes()], |row| {
                Ok(Registered {
                    component: row.get(3)?,
                    root_id: row.get(4)?,
                    path: row.get(5)?,
                    size: rows::count(row, 6)?,
                    checksums: rows::checksums(row)?,
                    state: row.get(7)?,
                })
            })?
            .collect()
    }

    /// Takes back the paths that an earlier stage wrote for claims that count for nothing.
    fn drop_paths_in_vain(&self, group: &Group, registered: &[Registered]) -> Result<(), Failure> {
        let root_id = self.ids.root_id;
        for claim in &group.claims {
            if !registered.iter().any(|old| old.lies_at(root_id, claim)) {
                self.drop_path(group.uuid, &claim.component, root_id, &claim.path)?;
            }
        }
        Ok(())
    }

    fn drop_path(
        &self,
        uuid: DatasetId,
        component: &str,
        root_id: i64,
        path: &str,
    ) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "DELETE FROM record_by_path
                 WHERE root_id = ?1 AND path = ?2 AND uuid = ?3 AND component = ?4",
            )?
            .execute(params![root_id, path, uuid.0.as_bytes(), component])?;
        Ok(())
    }

    /// Replaces a dataset's claims; what has not changed stays confirmed.
    fn replace(
        &mut self,
        group: &Group,
        dataset_type_id: i64,
        registered: &[Registered],
    ) -> Result<(), Failure> {
        let root_id = self.ids.root_id;
        let Generation { epoch, sequence } = self.registration.generation;
        self.connection
            .prepare_cached("UPDATE dataset SET epoch = ?2, sequence = ?3 WHERE uuid = ?1")?
            .execute(params![group.uuid.0.as_bytes(), epoch, sequence])?;
        for old in registered {
            self.counters.subtract(old.size.cast_signed(), old.state);
            self.connection
                .prepare_cached("DELETE FROM record WHERE uuid = ?1 AND component = ?2")?
                .execute(params![group.uuid.0.as_bytes(), old.component])?;
            if !group.claims.iter().any(|claim| old.lies_at(root_id, claim)) {
                self.drop_path(group.uuid, &old.component, old.root_id, &old.path)?;
            }
        }
        for claim in &group.claims {
            let mut before = registered.iter();
            let stays = before.any(|old| old.state == CONFIRMED && old.equals(root_id, claim));
            let state = self.state(dataset_type_id, stays);
            self.put(group.uuid, claim, state)?;
        }
        let waits = self.state(dataset_type_id, false) == AWAITED;
        let still_waits = |old: &Registered| {
            let claims = &mut group.claims.iter();
            waits && claims.any(|claim| old.equals(root_id, claim))
        };
        for old in registered.iter().filter(|old| old.state == AWAITED) {
            if !still_waits(old) {
                self.stop_waiting(group.uuid, old)?;
            }
        }
        Ok(())
    }

    fn stop_waiting(&self, uuid: DatasetId, old: &Registered) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3
                     AND uuid = ?4 AND component = ?5",
            )?
            .execute(params![
                self.ids.run_id,
                old.root_id,
                old.path,
                uuid.0.as_bytes(),
                old.component
            ])?;
        Ok(())
    }
}
