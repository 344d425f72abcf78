//! Locks of Rucio datasets: what is to be at which RSE, and how far that is.
//!
//! A rule says where data has to be; Rucio's judge turns it into one lock for each Rucio dataset and RSE
//! (`rucio/core/rule.py`). So a lock at an RSE is Rucio's word that files are to be there, and its
//! state tells whether they are.

use std::time::SystemTime;

use jiff::Timestamp;
use reqwest::Method;
use runsync_manifest::name::Scope;
use serde::{Deserialize, Serialize};

use super::client::{Call, Rucio};
use super::did::Did;
use super::error::RucioError;
use super::exception::Exception;
use super::rules::Rule;

/// The lock of a Rucio dataset at an RSE, as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DatasetLock {
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Where.
    pub rse: String,
    /// The rule that it comes of.
    pub rule_id: String,
    /// How far it is.
    pub state: LockState,
}

/// How far a lock is: `LockState` in `rucio/db/sqla/constants.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockState {
    /// All files are there.
    Ok,
    /// They are on their way.
    Replicating,
    /// They do not come by themselves any more.
    Stuck,
    /// A state of a later release.
    #[serde(other)]
    Other,
}

#[derive(Serialize)]
struct Asked<'a> {
    dids: Vec<AskedDid<'a>>,
}

#[derive(Serialize)]
struct AskedDid<'a> {
    scope: &'a Scope,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Rucio {
    /// The locks of Rucio datasets at all RSEs, in no order. Those that are not there have none. At most
    /// as many as one bulk call takes.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn dataset_locks(&self, datasets: &[Did]) -> Result<Vec<DatasetLock>, RucioError> {
        if datasets.is_empty() {
            return Ok(Vec::new());
        }
        let dids = datasets.iter().map(|did| AskedDid {
            scope: &did.scope,
            name: &did.name,
            kind: "dataset",
        });
        let asked = Asked {
            dids: dids.collect(),
        };
        let call = Call::new(Method::POST, "/locks/bulk_locks_for_dids", &[])
            .body(&asked)?
            .repeatable();
        self.lines(&call)?.collect()
    }

    /// A rule by its number; `None` where there is none (any more).
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn rule(&self, id: &str) -> Result<Option<Rule>, RucioError> {
        match self.ask(&Call::get("/rules", &[id])) {
            Ok(rule) => Ok(Some(rule)),
            Err(error) if error.is(&Exception::RuleNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Rule {
    /// When it was made; `None` where the server does not tell in the form that is known.
    pub fn made_at(&self) -> Option<Timestamp> {
        let text = self.created_at.as_deref()?.replace("UTC", "GMT");
        let at: SystemTime = httpdate::parse_http_date(&text).ok()?;
        Timestamp::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_a_later_release_is_read() {
        let lock = |state: &str| {
            let json = format!(
                r#"{{"rse_id": "x", "rse": "B", "scope": "hsc", "name": "a", "rule_id": "r", "account": "root", "state": "{state}", "length": 5}}"#
            );
            serde_json::from_str::<DatasetLock>(&json).unwrap().state
        };
        assert_eq!(lock("OK"), LockState::Ok);
        assert_eq!(lock("STUCK"), LockState::Stuck);
        assert_eq!(lock("WAITING_APPROVAL"), LockState::Other);
    }

    #[test]
    fn the_time_of_a_rule_is_read_as_the_server_writes_it() {
        let rule: Rule = serde_json::from_str(
            r#"{"id": "r", "scope": "hsc", "name": "a", "account": "root", "rse_expression": "B",
                "copies": 1, "state": "OK", "created_at": "Sun, 22 Nov 2026 03:16:16 UTC"}"#,
        )
        .unwrap();
        assert_eq!(rule.made_at(), "2026-11-22T03:16:16Z".parse().ok());
    }
}
