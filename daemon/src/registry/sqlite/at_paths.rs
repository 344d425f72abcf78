//! What runs say of the artifacts at given paths, and how these are forgotten and waited for again.
//!
//! Rucio tells of files, one by one, in thousands. Each path is one search in `record_by_path`; what
//! changes is changed by UUID, in the order of the largest table's own key.

use std::collections::{BTreeMap, HashMap, HashSet};

use runsync_config::root::RootName;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::name::{ArtifactPath, DatasetId, RunKey};
use rusqlite::{Connection, params};

use super::failure::Failure;
use super::hidden::Hidden;
use super::names;
use super::rows::{self, ABSENT, AWAITED, CONFIRMED};
use super::unwanted::UnwantedTypes;
use crate::registry::record::{ArtifactStanding, ClaimAt};

/// Claims at a path; [`rows::CHECKSUM_COLUMNS`] come first.
const AT_PATH: &str = "SELECT record.adler32, record.md5, record.sha256, record.size,
         record.confirmed, record.uuid, record.component, dataset.run_id, dataset.dataset_type_id
     FROM record_by_path AS by_path
     CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
         AND record.root_id = by_path.root_id AND record.path = by_path.path
     CROSS JOIN dataset ON dataset.uuid = record.uuid
     WHERE by_path.path = ?1 AND by_path.root_id = ?2
     ORDER BY record.uuid, record.component";

/// A claim, as its rows have it.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) uuid: DatasetId,
    pub(super) component: String,
    pub(super) run_id: i64,
    pub(super) standing: ArtifactStanding,
    pub(super) size: u64,
    pub(super) checksums: Checksums,
    pub(super) wanted: bool,
    pub(super) busy: bool,
}

/// What tells how runs stand, each looked up once.
pub(super) struct Standings<'c> {
    connection: &'c Connection,
    hidden: Hidden,
    /// Runs that are being registered or restored.
    busy: HashSet<i64>,
    unwanted: HashMap<i64, UnwantedTypes>,
}

impl<'c> Standings<'c> {
    pub(super) fn load(connection: &'c Connection) -> Result<Self, Failure> {
        let busy = connection
            .prepare_cached("SELECT run_id FROM registering UNION SELECT run_id FROM restoring")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Self {
            connection,
            hidden: Hidden::load(connection)?,
            busy,
            unwanted: HashMap::new(),
        })
    }

    /// Whether nothing is being registered, restored or removed.
    pub(super) fn all_settled(&self) -> bool {
        self.busy.is_empty() && self.hidden.is_empty()
    }

    pub(super) fn is_busy(&self, run_id: i64, dataset: DatasetId) -> Result<bool, Failure> {
        if self.busy.contains(&run_id) {
            return Ok(true);
        }
        Ok(self.hidden.concerns(run_id)
            && self.hidden.hides_records_of(self.connection, dataset)?)
    }

    fn wants(&mut self, run_id: i64, dataset_type_id: i64) -> Result<bool, Failure> {
        if !self.unwanted.contains_key(&run_id) {
            let types = UnwantedTypes::of(self.connection, run_id)?;
            self.unwanted.insert(run_id, types);
        }
        let types = self.unwanted.get(&run_id);
        Ok(types.is_none_or(|types| !types.holds(dataset_type_id)))
    }

    pub(super) fn at(&mut self, root_id: i64, path: &ArtifactPath) -> Result<Vec<Claim>, Failure> {
        let mut statement = self.connection.prepare_cached(AT_PATH)?;
        let mut found = statement.query(params![path.as_str(), root_id])?;
        let mut claims = Vec::new();
        while let Some(row) = found.next()? {
            let (uuid, run_id) = (rows::dataset_id(row, 5)?, row.get(7)?);
            let standing = match row.get(4)? {
                AWAITED => ArtifactStanding::Awaited,
                CONFIRMED => ArtifactStanding::Confirmed,
                _ => ArtifactStanding::Absent,
            };
            claims.push(Claim {
                uuid,
                component: row.get(6)?,
                run_id,
                standing,
                size: rows::count(row, 3)?,
                checksums: rows::checksums(row)?,
                wanted: self.wants(run_id, row.get(8)?)?,
                busy: self.is_busy(run_id, uuid)?,
            });
        }
        Ok(claims)
    }
}

pub(super) fn claims(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<Vec<Vec<ClaimAt>>, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(vec![Vec::new(); paths.len()]);
    };
    let mut standings = Standings::load(connection)?;
    let mut runs: HashMap<i64, RunKey> = HashMap::new();
    let mut answers = Vec::with_capacity(paths.len());
    for path in paths {
        let mut answer: Vec<ClaimAt> = Vec::new();
        for claim in standings.at(root_id, path)? {
            let run = if let Some(run) = runs.get(&claim.run_id) {
                run.clone()
            } else {
                let run = names::run_key(connection, claim.run_id)?;
                runs.insert(claim.run_id, run.clone());
                run
            };
            let said = ClaimAt {
                run,
                standing: claim.standing,
                size: claim.size,
                checksums: claim.checksums,
                wanted: claim.wanted,
                busy: claim.busy,
            };
            if !answer.contains(&said) {
                answer.push(said);
            }
        }
        answer.sort_by(|a, b| (&a.run, a.standing).cmp(&(&b.run, b.standing)));
        answers.push(answer);
    }
    Ok(answers)
}

/// Lets confirmed claims be absent.
pub(super) fn forget(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<u64, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(0);
    };
    let mut standings = Standings::load(connection)?;
    let mut claims = Vec::new();
    for path in paths {
        let confirmed = |claim: &Claim| claim.standing == ArtifactStanding::Confirmed;
        let found = standings.at(root_id, path)?.into_iter();
        claims.extend(found.filter(|claim| confirmed(claim) && !claim.busy));
    }
    claims.sort_unstable_by_key(|claim| claim.uuid);
    let mut less: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut forget = connection.prepare_cached(&format!(
        "UPDATE record SET confirmed = {ABSENT} WHERE uuid = ?1 AND component = ?2
             AND confirmed = {CONFIRMED}"
    ))?;
    let mut forgotten = 0;
    for claim in claims {
        if forget.execute(params![claim.uuid.0.as_bytes(), claim.component])? == 0 {
            continue;
        }
        forgotten += 1;
        let (count, bytes) = less.entry(claim.run_id).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(i64::try_from(claim.size).unwrap_or(i64::MAX));
    }
    for (run_id, (count, bytes)) in less {
        connection
            .prepare_cached(
                "UPDATE run SET claims = max(claims - ?2, 0), bytes = max(bytes - ?3, 0)
                 WHERE run_id = ?1",
            )?
            .execute([run_id, count, bytes])?;
    }
    Ok(forgotten)
}

/// Lets absent claims be awaited.
pub(super) fn await_again(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<u64, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(0);
    };
    let mut standings = Standings::load(connection)?;
    let mut claims = Vec::new();
    for path in paths {
        let found = standings.at(root_id, path)?;
        let others: Vec<_> = (found.iter())
            .filter(|claim| claim.standing != ArtifactStanding::Absent)
            .map(|claim| (claim.size, claim.checksums))
            .collect();
        let agrees = |claim: &Claim| {
            let ours = (claim.size, &claim.checksums);
            (others.iter()).all(|(size, checksums)| rows::agree(ours, (*size, checksums)))
        };
        for claim in found {
            if claim.standing == ArtifactStanding::Absent
                && claim.wanted
                && !claim.busy
                && agrees(&claim)
            {
                claims.push((*path, claim));
            }
        }
    }
    claims.sort_unstable_by_key(|(_, claim)| claim.uuid);
    let mut await_it = connection.prepare_cached(&format!(
        "UPDATE record SET confirmed = {AWAITED} WHERE uuid = ?1 AND component = ?2
             AND confirmed = {ABSENT}"
    ))?;
    let mut wait = connection.prepare_cached(
        "INSERT OR IGNORE INTO waiting
             (run_id, root_id, path, uuid, component, size, adler32, md5, sha256)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut more: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut awaited = 0;
    for (path, claim) in claims {
        if await_it.execute(params![claim.uuid.0.as_bytes(), claim.component])? == 0 {
            continue;
        }
        let size = rows::size_column(path.as_str(), claim.size)?;
        wait.execute(params![
            claim.run_id,
            root_id,
            path.as_str(),
            claim.uuid.0.as_bytes(),
            claim.component,
            size,
            rows::adler32_column(&claim.checksums),
            rows::md5_column(&claim.checksums),
            rows::sha256_column(&claim.checksums),
        ])?;
        awaited += 1;
        let (count, bytes) = more.entry(claim.run_id).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(size);
    }
    for (run_id, (count, bytes)) in more {
        connection
            .prepare_cached(
                "UPDATE run SET claims = claims + ?2, waiting = waiting + ?2, bytes = bytes + ?3
                 WHERE run_id = ?1",
            )?
            .execute([run_id, count, bytes])?;
    }
    Ok(awaited)
}
