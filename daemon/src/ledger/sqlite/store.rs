//! The ledger over its tables: one statement or a few for each question.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ArtifactPath, ManifestId, RepositoryId, RunKey};
use rusqlite::{Connection, Params, params};

use super::SCHEMA;
use super::drift_summary;
use super::hints;
use super::jobs;
use super::poison;
use super::publications;
use super::repairs;
use super::rows::{self, Failure, MANIFEST_COLUMNS};
use super::rule_endings;
use super::scans;
use super::syncs;
use crate::file_identity::FileIdentity;
use crate::lease::Tenure;
use crate::ledger::drift_summary::DriftSummary;
use crate::ledger::jobs::JobRow;
use crate::ledger::record::{
    Finding, Hint, HintKind, Location, MadeName, ManifestRow, ManifestState, NewHint, NewPoison,
    NewRequest, Poison, Publication, PublicationState, REQUESTS_KEPT, RequestRow, RuleEnding,
    SyncMarks, SyncPass,
};
use crate::ledger::repairs::{
    NewDeclaration, NewRepair, RepairEnd, RepairRow, Repaired, Watch, WhichRepairs,
};
use crate::ledger::scans::{Drift, DriftFilter, DriftFinding, DriftKind, Ignored, ScanRow, Span};
use crate::ledger::{Ledger, LedgerError};
use crate::sqlite::Database;

/// A ledger in a SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    database: Database,
}

impl SqliteLedger {
    /// Creates an empty ledger.
    ///
    /// # Errors
    ///
    /// Where the file holds something already, or cannot be written.
    pub fn create(path: &Path) -> Result<(), LedgerError> {
        Database::create(path, &SCHEMA, |begun| {
            begun.execute("INSERT INTO meta (only_row, forgotten) VALUES (1, 0)", [])?;
            Ok(())
        })?;
        Ok(())
    }

    /// Opens a ledger for reading and writing under a tenure; one of an older release is migrated.
    /// `patience` is how long another process's write is waited for.
    ///
    /// # Errors
    ///
    /// Where the file is missing, no ledger, of a newer release, or opened under a later tenure.
    pub fn open(path: &Path, tenure: &Tenure, patience: Duration) -> Result<Self, LedgerError> {
        let database = Database::open(path, &SCHEMA, tenure, patience)?;
        Ok(Self { database })
    }

    /// Opens a ledger for reading only, whether or not a daemon writes to it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); also where it must first be migrated.
    pub fn open_read_only(path: &Path) -> Result<Self, LedgerError> {
        let database = Database::open_read_only(path, &SCHEMA)?;
        Ok(Self { database })
    }

    fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, LedgerError> {
        self.database
            .read(work)
            .map_err(|failure| failure.during(action))
    }

    pub(super) fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, LedgerError> {
        self.database
            .write(|begun| work(begun))
            .map_err(|failure: Failure| failure.during(action))
    }
}

/// The manifest rows that `which` (the end of a SELECT) names.
fn manifests(
    connection: &Connection,
    which: &str,
    params: impl Params,
) -> Result<Vec<ManifestRow>, Failure> {
    connection
        .prepare_cached(&format!("SELECT {MANIFEST_COLUMNS} FROM manifest {which}"))?
        .query_and_then(params, rows::manifest_row)?
        .collect()
}

impl Ledger for SqliteLedger {
    fn forgotten(&self) -> Result<u64, LedgerError> {
        self.read("read how many manifests were forgotten", |connection| {
            let forgotten: i64 = connection
                .prepare_cached("SELECT forgotten FROM meta")?
                .query_row([], |row| row.get(0))?;
            Ok(forgotten.cast_unsigned())
        })
    }

    fn known_files(
        &self,
        root: &RootName,
    ) -> Result<Vec<(String, FileIdentity, ManifestState)>, LedgerError> {
        self.read("list the manifests of a root", |connection| {
            connection
                .prepare_cached(
                    "SELECT path, size, modified_ns, inode, state FROM manifest
                     WHERE root = ?1 ORDER BY path",
                )?
                .query_and_then([root.as_str()], |row| {
                    Ok((row.get(0)?, rows::file(row, 1)?, rows::state(row, 4)?))
                })?
                .collect()
        })
    }

    fn manifest(&self, at: &Location) -> Result<Option<ManifestRow>, LedgerError> {
        self.read("read a manifest's row", |connection| {
            let place = params![at.root.as_str(), at.path];
            Ok(manifests(connection, "WHERE root = ?1 AND path = ?2", place)?.pop())
        })
    }

    fn manifests_at(
        &self,
        root: &RootName,
        paths: &[&str],
    ) -> Result<Vec<ManifestRow>, LedgerError> {
        self.read("read the rows of manifests", |connection| {
            let mut found = Vec::new();
            for path in paths {
                let place = params![root.as_str(), path];
                found.extend(manifests(
                    connection,
                    "WHERE root = ?1 AND path = ?2",
                    place,
                )?);
            }
            Ok(found)
        })
    }

    fn seen_again(
        &self,
        root: &RootName,
        files: &[(String, FileIdentity)],
    ) -> Result<(), LedgerError> {
        if files.is_empty() {
            return Ok(());
        }
        self.write("note files seen again", |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE manifest SET size = ?3, modified_ns = ?4, inode = ?5
                 WHERE root = ?1 AND path = ?2",
            )?;
            for (path, file) in files {
                statement.execute(params![
                    root.as_str(),
                    path,
                    file.size.cast_signed(),
                    file.modified_ns,
                    file.inode.cast_signed()
                ])?;
            }
            Ok(())
        })
    }

    fn record(&self, rows: &[ManifestRow]) -> Result<(), LedgerError> {
        self.write("record manifests", |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "INSERT OR REPLACE INTO manifest ({MANIFEST_COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                         ?17, ?18, ?19, ?20, ?21, ?22)"
            ))?;
            let mut accepted = connection.prepare_cached(rows::ACCEPT)?;
            for row in rows {
                rows::write_manifest(&mut statement, row)?;
                rows::write_accepted(&mut accepted, row)?;
            }
            Ok(())
        })
    }

    fn forget(&self, at: &Location) -> Result<bool, LedgerError> {
        self.write("forget a manifest", |connection| {
            let dropped = connection.execute(
                "DELETE FROM manifest WHERE root = ?1 AND path = ?2",
                params![at.root.as_str(), at.path],
            )?;
            if dropped > 0 {
                connection.execute("UPDATE meta SET forgotten = forgotten + 1", [])?;
            }
            Ok(dropped > 0)
        })
    }

    fn manifests(&self, state: Option<ManifestState>) -> Result<Vec<ManifestRow>, LedgerError> {
        self.read("list manifests", |connection| match state {
            Some(state) => manifests(
                connection,
                "WHERE state = ?1 ORDER BY decided_at, root, path",
                [state.as_str()],
            ),
            None => manifests(connection, "ORDER BY decided_at, root, path", []),
        })
    }

    fn manifests_after(
        &self,
        state: Option<ManifestState>,
        root: Option<&RootName>,
        after: Option<(Timestamp, &Location)>,
        limit: usize,
    ) -> Result<Vec<ManifestRow>, LedgerError> {
        // An index has each state in this order; all of them together would have to be sorted.
        let states = state.map_or_else(|| ManifestState::ALL.to_vec(), |state| vec![state]);
        let after = after.map_or((i64::MIN, "", ""), |(at, file)| {
            (rows::time_column(at), file.root.as_str(), &*file.path)
        });
        let mut rows = self.read("list manifests", |connection| {
            let mut found = Vec::new();
            for state in states {
                found.extend(manifests(
                    connection,
                    "WHERE state = ?1 AND (decided_at, root, path) > (?2, ?3, ?4)
                         AND (?5 IS NULL OR root = ?5)
                     ORDER BY decided_at, root, path LIMIT ?6",
                    params![
                        state.as_str(),
                        after.0,
                        after.1,
                        after.2,
                        root.map(RootName::as_str),
                        i64::try_from(limit).unwrap_or(i64::MAX)
                    ],
                )?);
            }
            Ok(found)
        })?;
        rows.sort_by(|a, b| (a.decided_at, &a.location).cmp(&(b.decided_at, &b.location)));
        rows.truncate(limit);
        Ok(rows)
    }

    fn of_run(&self, run: &RunKey) -> Result<Vec<ManifestRow>, LedgerError> {
        self.read("list the manifests of a run", |connection| {
            manifests(
                connection,
                "WHERE run = ?1 AND origin = ?2 ORDER BY epoch, sequence, root, path",
                params![run.name.as_str(), run.origin.0.as_bytes()],
            )
        })
    }

    fn names_manifest(&self, run: &RunKey, manifest: ManifestId) -> Result<bool, LedgerError> {
        self.read("look for a manifest of a run", |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT 1 FROM manifest WHERE run = ?1 AND origin = ?2 AND manifest = ?3",
                )?
                .exists(params![
                    run.name.as_str(),
                    run.origin.0.as_bytes(),
                    manifest.0.as_bytes()
                ])?)
        })
    }

    fn accept(&self, manifests: &[(RunKey, Generation, Sha256)]) -> Result<(), LedgerError> {
        if manifests.is_empty() {
            return Ok(());
        }
        self.write("accept manifests", |connection| {
            let mut accepted = connection.prepare_cached(rows::ACCEPT)?;
            for (run, generation, digest) in manifests {
                rows::accept(&mut accepted, run, *generation, digest)?;
            }
            Ok(())
        })
    }

    fn accepted_digest(
        &self,
        run: &RunKey,
        generation: Generation,
    ) -> Result<Option<Sha256>, LedgerError> {
        self.read("look an accepted generation up", |connection| {
            connection
                .prepare_cached(
                    "SELECT digest FROM accepted
                     WHERE origin = ?1 AND run = ?2 AND epoch = ?3 AND sequence = ?4",
                )?
                .query_and_then(
                    params![
                        run.origin.0.as_bytes(),
                        run.name.as_str(),
                        generation.epoch,
                        generation.sequence
                    ],
                    |row| Ok(Sha256(row.get(0)?)),
                )?
                .next()
                .transpose()
        })
    }

    fn accepted_generations(&self, runs: &[&RunKey]) -> Result<Vec<Vec<Generation>>, LedgerError> {
        self.read("list accepted generations", |connection| {
            let mut accepted = connection.prepare_cached(
                "SELECT epoch, sequence FROM accepted WHERE origin = ?1 AND run = ?2
                 ORDER BY epoch, sequence",
            )?;
            let mut of_run = |run: &RunKey| {
                accepted
                    .query_and_then(params![run.origin.0.as_bytes(), run.name.as_str()], |row| {
                        Ok(Generation {
                            epoch: row.get(0)?,
                            sequence: row.get(1)?,
                        })
                    })?
                    .collect()
            };
            runs.iter().map(|run| of_run(run)).collect()
        })
    }

    fn counts(&self) -> Result<Vec<(ManifestState, u64)>, LedgerError> {
        self.read("count manifests", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT count(*) FROM manifest WHERE state = ?1")?;
            ManifestState::ALL
                .into_iter()
                .map(|state| {
                    let count: i64 = statement.query_row([state.as_str()], |row| row.get(0))?;
                    Ok((state, count.cast_unsigned()))
                })
                .collect()
        })
    }

    fn last_registered(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read("read when a manifest was registered", |connection| {
            connection
                .prepare_cached(
                    "SELECT decided_at FROM manifest WHERE state = ?1
                     ORDER BY decided_at DESC LIMIT 1",
                )?
                .query_and_then([ManifestState::Registered.as_str()], |row| {
                    rows::time(row, 0)
                })?
                .next()
                .transpose()
        })
    }

    fn find_all(&self, findings: &[Finding]) -> Result<(), LedgerError> {
        if findings.is_empty() {
            return Ok(());
        }
        self.write("keep findings", |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO finding (kind, subject, detail, first_seen, last_seen, times)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET
                     detail = excluded.detail,
                     last_seen = max(last_seen, excluded.last_seen),
                     times = times + excluded.times",
            )?;
            for finding in findings {
                statement.execute(params![
                    finding.kind,
                    finding.subject,
                    finding.detail,
                    rows::time_column(finding.first_seen),
                    rows::time_column(finding.last_seen),
                    finding.times.cast_signed()
                ])?;
            }
            Ok(())
        })
    }

    fn healed(&self, kind: &str, subject: &str) -> Result<(), LedgerError> {
        self.healed_all(kind, &[subject.to_owned()])
    }

    fn healed_all(&self, kind: &str, subjects: &[String]) -> Result<(), LedgerError> {
        self.write("drop findings", |connection| {
            let mut statement = connection
                .prepare_cached("DELETE FROM finding WHERE kind = ?1 AND subject = ?2")?;
            for subject in subjects {
                statement.execute([kind, subject])?;
            }
            Ok(())
        })
    }

    fn findings_of(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Finding>, LedgerError> {
        self.read("list findings of a kind", |connection| {
            // No subject goes on with the last character there is.
            let end = format!("{prefix}{}", char::MAX);
            connection
                .prepare_cached(
                    "SELECT kind, subject, detail, first_seen, last_seen, times FROM finding
                     WHERE kind = ?1 AND subject >= ?2 AND subject < ?3 AND subject > ?4
                     ORDER BY subject LIMIT ?5",
                )?
                .query_and_then(
                    params![
                        kind,
                        prefix,
                        end,
                        after.unwrap_or_default(),
                        i64::try_from(limit).unwrap_or(i64::MAX)
                    ],
                    rows::finding,
                )?
                .collect()
        })
    }

    fn findings(&self) -> Result<Vec<Finding>, LedgerError> {
        self.read("list findings", |connection| {
            connection
                .prepare_cached(
                    "SELECT kind, subject, detail, first_seen, last_seen, times FROM finding
                     ORDER BY kind, subject",
                )?
                .query_and_then([], rows::finding)?
                .collect()
        })
    }

    fn swept(&self, root: &RootName, at: Timestamp) -> Result<(), LedgerError> {
        self.write("note a sweep", |connection| {
            repairs::witness(connection, at)?;
            connection.execute(
                "INSERT OR REPLACE INTO sweep (root, at) VALUES (?1, ?2)",
                params![root.as_str(), rows::time_column(at)],
            )?;
            Ok(())
        })
    }

    fn last_sweep(&self, root: &RootName) -> Result<Option<Timestamp>, LedgerError> {
        self.read("read when a root was swept", |connection| {
            connection
                .prepare_cached("SELECT at FROM sweep WHERE root = ?1")?
                .query_and_then([root.as_str()], |row| rows::time(row, 0))?
                .next()
                .transpose()
        })
    }

    fn order_publications(&self, orders: &[Publication]) -> Result<(), LedgerError> {
        self.write("order publications", |connection| {
            publications::order(connection, orders)
        })
    }

    fn note_publications(&self, publications: &[Publication]) -> Result<(), LedgerError> {
        self.write("note publications", |connection| {
            publications::note(connection, publications)
        })
    }

    fn publications_of(&self, run: &RunKey) -> Result<Vec<Publication>, LedgerError> {
        self.read("list the publications of a run", |connection| {
            publications::of_run(connection, run)
        })
    }

    fn publications_in(&self, state: PublicationState) -> Result<Vec<Publication>, LedgerError> {
        self.read("list publications", |connection| {
            publications::in_state(connection, state)
        })
    }

    fn publication_counts(&self) -> Result<(u64, u64), LedgerError> {
        self.read("count publications", publications::counts)
    }

    fn runs_to_order(&self, origin: RepositoryId) -> Result<Vec<RunKey>, LedgerError> {
        self.read("list runs to order", |connection| {
            publications::to_order(connection, origin)
        })
    }

    fn overtaken(&self) -> Result<Vec<RunKey>, LedgerError> {
        self.read("list overtaken publications", publications::overtaken)
    }

    fn publications_after(
        &self,
        after: Option<(&RunKey, Generation)>,
        limit: usize,
    ) -> Result<Vec<Publication>, LedgerError> {
        self.read("list publications", |connection| {
            publications::after(connection, after, limit)
        })
    }

    fn note_sync_pass(&self, pass: &SyncPass) -> Result<(), LedgerError> {
        self.write("note how far asking Rucio has come", |connection| {
            syncs::note_pass(connection, pass)
        })
    }

    fn sync_pass(&self, root: &RootName) -> Result<Option<SyncPass>, LedgerError> {
        self.read("read how far asking Rucio has come", |connection| {
            syncs::pass(connection, root)
        })
    }

    fn mark_synced(
        &self,
        root: &RootName,
        run: &RunKey,
        marks: SyncMarks,
    ) -> Result<(), LedgerError> {
        self.write("note what was done to files of a run", |connection| {
            syncs::mark(connection, root, run, marks)
        })
    }

    fn note_names(&self, root: &RootName, names: &[MadeName<'_>]) -> Result<(), LedgerError> {
        self.write("note names of files of Rucio's", |connection| {
            syncs::note_names(connection, root, names)
        })
    }

    fn are_made(&self, root: &RootName, names: &[MadeName<'_>]) -> Result<Vec<bool>, LedgerError> {
        self.read("look up names of files of Rucio's", |connection| {
            syncs::are_made(connection, root, names)
        })
    }

    fn strike_names(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<(), LedgerError> {
        self.write("strike out names of files of Rucio's", |connection| {
            syncs::strike_names(connection, root, paths)
        })
    }

    fn sync_marks(&self, root: &RootName, run: &RunKey) -> Result<SyncMarks, LedgerError> {
        self.read("read what was done to files of a run", |connection| {
            syncs::marks(connection, root, run)
        })
    }

    fn add_rule_endings(&self, endings: &[RuleEnding]) -> Result<(), LedgerError> {
        self.write("note whose rules are to end", |connection| {
            rule_endings::add(connection, endings)
        })
    }

    fn note_rule_endings(&self, endings: &[RuleEnding]) -> Result<(), LedgerError> {
        self.write("note how rules end", |connection| {
            rule_endings::note(connection, endings)
        })
    }

    fn strike_rule_ending(&self, ending: &RuleEnding) -> Result<(), LedgerError> {
        self.write("note that rules have ended", |connection| {
            rule_endings::strike(connection, ending)
        })
    }

    fn rule_endings(&self) -> Result<Vec<RuleEnding>, LedgerError> {
        self.read("list whose rules are to end", rule_endings::all)
    }

    fn rule_endings_of(&self, run: &RunKey) -> Result<Vec<RuleEnding>, LedgerError> {
        self.read("list what rules of a run are to end", |connection| {
            rule_endings::of_run(connection, run)
        })
    }

    fn note_request(&self, request: &NewRequest) -> Result<u64, LedgerError> {
        self.write("note a request", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO request (at, uid, account, what, subject)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    rows::time_column(request.at),
                    request.uid,
                    request.account,
                    request.what,
                    request.subject
                ])?;
            let id = connection.last_insert_rowid();
            let oldest_kept = id - REQUESTS_KEPT.cast_signed();
            connection.execute("DELETE FROM request WHERE id <= ?1", [oldest_kept])?;
            Ok(id.cast_unsigned())
        })
    }

    fn note_outcome(&self, request: u64, outcome: &str) -> Result<(), LedgerError> {
        self.write("note what came of a request", |connection| {
            connection.execute(
                "UPDATE request SET outcome = ?2 WHERE id = ?1",
                params![request.cast_signed(), outcome],
            )?;
            Ok(())
        })
    }

    fn requests(&self, before: Option<u64>, limit: usize) -> Result<Vec<RequestRow>, LedgerError> {
        self.read("list requests", |connection| {
            connection
                .prepare_cached(
                    "SELECT id, at, uid, account, what, subject, outcome FROM request
                     WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                )?
                .query_and_then(
                    params![
                        before.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX)),
                        i64::try_from(limit).unwrap_or(i64::MAX)
                    ],
                    rows::request,
                )?
                .collect()
        })
    }

    fn note_hints(&self, new: &[NewHint]) -> Result<usize, LedgerError> {
        if new.is_empty() {
            return Ok(0);
        }
        self.write("note hints", |connection| hints::note(connection, new))
    }

    fn hints_due(
        &self,
        kind: HintKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, LedgerError> {
        self.read("list hints that are due", |connection| {
            hints::due(connection, kind, now, limit)
        })
    }

    fn next_hint_due(&self, kind: HintKind) -> Result<Option<Timestamp>, LedgerError> {
        self.read("read when a hint is due", |connection| {
            hints::next_due(connection, kind)
        })
    }

    fn hints_after(
        &self,
        kind: Option<HintKind>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Hint>, LedgerError> {
        self.read("list hints", |connection| {
            hints::after(connection, kind, after, limit)
        })
    }

    fn hints_done(&self, ids: &[u64]) -> Result<(), LedgerError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write("drop hints", |connection| {
            hints::done(connection, ids).map(drop)
        })
    }

    fn hints_later(&self, ids: &[u64], due: Timestamp) -> Result<(), LedgerError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write("put hints off", |connection| {
            hints::later(connection, ids, due)
        })
    }

    fn give_up_hints(&self, ids: &[u64]) -> Result<(), LedgerError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write("give hints up", |connection| {
            let dropped = hints::done(connection, ids)?;
            hints::lose(connection, dropped)
        })
    }

    fn hint_counts(&self) -> Result<Vec<(HintKind, u64)>, LedgerError> {
        self.read("count hints", hints::counts)
    }

    fn lose_hints(&self, count: u64) -> Result<(), LedgerError> {
        self.write("count lost hints", |connection| {
            hints::lose(connection, count)
        })
    }

    fn hints_lost(&self) -> Result<u64, LedgerError> {
        self.read("read how many hints were lost", hints::lost)
    }

    fn note_poison(&self, messages: &[NewPoison], keep: u64) -> Result<(), LedgerError> {
        if messages.is_empty() {
            return Ok(());
        }
        self.write("keep messages that could not be read", |connection| {
            poison::note(connection, messages, keep)
        })
    }

    fn poison_before(&self, before: Option<u64>, limit: usize) -> Result<Vec<Poison>, LedgerError> {
        self.read("list messages that could not be read", |connection| {
            poison::before(connection, before, limit)
        })
    }

    fn poison_count(&self) -> Result<u64, LedgerError> {
        self.read("count messages that could not be read", poison::count)
    }

    fn poison(&self, id: u64) -> Result<Option<Poison>, LedgerError> {
        self.read("look up a message that could not be read", |connection| {
            poison::one(connection, id)
        })
    }

    fn begin_scan(
        &self,
        root: &RootName,
        scope: &str,
        from: &str,
        at: Timestamp,
    ) -> Result<ScanRow, LedgerError> {
        self.write("begin a scan", |connection| {
            scans::begin(connection, root, (scope, from), at)
        })
    }

    fn scan(&self, root: &RootName, scope: &str) -> Result<Option<ScanRow>, LedgerError> {
        self.read("read how far a scan has come", |connection| {
            scans::one(connection, root, scope)
        })
    }

    fn scans(&self) -> Result<Vec<ScanRow>, LedgerError> {
        self.read("list scans", scans::all)
    }

    fn note_scan(
        &self,
        scan: &ScanRow,
        seen: &[Drift],
        concluded: &[Span],
    ) -> Result<(), LedgerError> {
        self.write("note what a scan has seen", |connection| {
            scans::note(connection, scan, seen, concluded)
        })
    }

    fn drift(
        &self,
        filter: &DriftFilter,
        after: Option<(&RootName, &str)>,
        limit: usize,
    ) -> Result<Vec<DriftFinding>, LedgerError> {
        self.read("list drift", |connection| {
            scans::findings(connection, filter, after, limit)
        })
    }

    fn drift_counts(&self, filter: &DriftFilter) -> Result<Vec<(DriftKind, u64)>, LedgerError> {
        self.read("count drift", |connection| {
            scans::counts(connection, filter)
        })
    }

    fn ignore_drift(
        &self,
        root: &RootName,
        path: &str,
        word: Option<&Ignored>,
    ) -> Result<bool, LedgerError> {
        self.write("note that drift is to be left out", |connection| {
            scans::ignore(connection, root, path, word)
        })
    }

    fn have_second_names(&self, root: &RootName, inodes: &[u64]) -> Result<Vec<bool>, LedgerError> {
        self.read("look for files with second names", |connection| {
            scans::have_second_names(connection, root, inodes)
        })
    }

    fn drift_summary(
        &self,
        root: Option<&RootName>,
        now: Timestamp,
        runs_max: usize,
    ) -> Result<DriftSummary, LedgerError> {
        self.read("count drift", |connection| {
            drift_summary::summary(connection, root, (now, runs_max))
        })
    }

    fn newest_drift(
        &self,
        root: Option<&RootName>,
        limit: usize,
    ) -> Result<Vec<DriftFinding>, LedgerError> {
        self.read("list the newest drift", |connection| {
            scans::newest(connection, root, limit)
        })
    }

    fn runs_registered(&self) -> Result<Vec<(RunKey, Timestamp)>, LedgerError> {
        self.read("list when runs were registered", rows::runs_registered)
    }

    fn jobs(&self) -> Result<Vec<JobRow>, LedgerError> {
        self.read("list jobs", jobs::all)
    }

    fn note_job(&self, job: &JobRow) -> Result<(), LedgerError> {
        self.write("note what came of a job", |connection| {
            jobs::note(connection, job)
        })
    }

    fn watch(&self, now: Timestamp) -> Result<Watch, LedgerError> {
        self.write("note the time", |connection| {
            repairs::witness(connection, now)?;
            repairs::watch(connection)
        })
    }

    fn begin_repairs(&self, repairs: &[NewRepair]) -> Result<Vec<u64>, LedgerError> {
        self.write("note what is repaired", |connection| {
            repairs::begin(connection, repairs)
        })
    }

    fn end_repairs(&self, ends: &[RepairEnd], at: Timestamp) -> Result<(), LedgerError> {
        if ends.is_empty() {
            return Ok(());
        }
        self.write("note what was repaired", |connection| {
            repairs::end(connection, ends, at)
        })
    }

    fn repairs(
        &self,
        which: WhichRepairs<'_>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<RepairRow>, LedgerError> {
        self.read("list repairs", |connection| {
            repairs::before(connection, which, before, limit)
        })
    }

    fn note_declaration(&self, told: &NewDeclaration) -> Result<(), LedgerError> {
        self.write("note what Rucio is told", |connection| {
            repairs::declare(connection, told)
        })
    }

    fn repaired_since(&self, since: Timestamp) -> Result<Repaired, LedgerError> {
        self.read("count repairs", |connection| {
            repairs::unasked_since(connection, since)
        })
    }

    fn note_restored(&self, id: u64, at: Timestamp) -> Result<(), LedgerError> {
        self.write("note what was brought back", |connection| {
            repairs::restored(connection, id, at)
        })
    }

    fn forget_poison(&self, id: Option<u64>) -> Result<u64, LedgerError> {
        self.write("drop messages that could not be read", |connection| {
            poison::forget(connection, id)
        })
    }
}
