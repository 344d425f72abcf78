//! The conformance suite, and what is the SQLite ledger's own.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::{RepositoryId, RunKey};
use rusqlite::Connection;

use super::*;
use crate::lease::Tenure;
use crate::ledger::conformance::conformance;
use crate::ledger::record::{NewRequest, REQUESTS_KEPT, RuleEnding};
use crate::ledger::{Ledger, LedgerError};
use crate::sqlite::Database;

const PATIENCE: Duration = Duration::from_secs(10);

fn file(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("ledger.sqlite");
    if !path.try_exists().unwrap() {
        SqliteLedger::create(&path).unwrap();
    }
    path
}

fn open(folder: &Path, tenure: &Tenure) -> Result<Box<dyn Ledger>, LedgerError> {
    let ledger = SqliteLedger::open(&file(folder), tenure, PATIENCE)?;
    Ok(Box::new(ledger))
}

conformance!(open);

#[test]
fn rules_that_are_to_end_are_not_struck_out_where_they_were_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let tenure = crate::ledger::conformance::tenure(1);
    let ledger = SqliteLedger::open(&file(folder.path()), &tenure, PATIENCE).unwrap();
    let run = RunKey {
        origin: RepositoryId(uuid::Uuid::from_u128(7)),
        name: "u/a".parse().unwrap(),
    };
    let asked = |second: i64| {
        let at = Timestamp::from_second(second).unwrap();
        RuleEnding::new(run.clone(), "hsc".parse().unwrap(), at)
    };
    let known = || ledger.rule_endings_of(&run).unwrap();
    ledger.add_rule_endings(&[asked(1)]).unwrap();
    let looked_at = known().remove(0);
    ledger.add_rule_endings(&[asked(2)]).unwrap();
    ledger.add_rule_endings(&[asked(1)]).unwrap();
    assert_eq!(known()[0].since, asked(2).since);
    ledger.strike_rule_ending(&looked_at).unwrap();
    assert_eq!(known().len(), 1);
    ledger.strike_rule_ending(&known()[0]).unwrap();
    assert_eq!(known(), []);
}

#[test]
fn the_oldest_requests_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let tenure = crate::ledger::conformance::tenure(1);
    let ledger = SqliteLedger::open(&file(folder.path()), &tenure, PATIENCE).unwrap();
    let ask = || {
        ledger.note_request(&NewRequest {
            at: Timestamp::UNIX_EPOCH,
            uid: None,
            account: "alice".to_owned(),
            what: "wake".to_owned(),
            subject: String::new(),
        })
    };
    let first = ask().unwrap();
    let second = ask().unwrap();
    ledger
        .write("count on", |connection| {
            let by = i64::try_from(REQUESTS_KEPT).unwrap() - 3;
            connection.execute("UPDATE sqlite_sequence SET seq = seq + ?1", [by])?;
            Ok(())
        })
        .unwrap();
    let ids = || -> Vec<u64> {
        let rows = ledger.requests(None, usize::MAX).unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    let third = ask().unwrap();
    assert_eq!(ids(), [third, second, first]);
    let fourth = ask().unwrap();
    assert_eq!(ids(), [fourth, third, second]);
}

mod lease {
    use super::*;
    use crate::lease::LeaseTable;
    use crate::lease::conformance::conformance;

    fn open(folder: &Path) -> Box<dyn LeaseTable> {
        Box::new(SqliteLease::open(&file(folder), PATIENCE).unwrap())
    }

    conformance!(open);

    #[test]
    fn a_ledger_of_the_first_release_gets_its_lease_when_it_is_looked_at() {
        const FIRST: Schema = Schema {
            migrations: &[include_str!("../sql/0001_tables.sql")],
            ..SCHEMA
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        Database::create(&path, &FIRST, |begun| {
            begun.execute("INSERT INTO meta (only_row, forgotten) VALUES (1, 7)", [])?;
            Ok(())
        })
        .unwrap();
        let row = open(folder.path()).read().unwrap();
        assert_eq!((row.fence.number(), row.beat, row.holder), (0, 0, None));
        let tenure = crate::ledger::conformance::tenure(1);
        let ledger = SqliteLedger::open(&path, &tenure, PATIENCE).unwrap();
        assert_eq!(ledger.forgotten().unwrap(), 7);
    }

    #[test]
    fn a_table_that_another_process_keeps_locked_is_busy_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let lease = SqliteLease::open(&path, Duration::from_millis(50)).unwrap();
        let row = lease.read().unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = lease.renew(row.fence).unwrap_err();
        assert!(refused.is_busy(), "{refused:?}");
        assert_eq!(lease.read().unwrap(), row);
        other.execute_batch("ROLLBACK").unwrap();
        lease.renew(row.fence).unwrap();
    }
}
