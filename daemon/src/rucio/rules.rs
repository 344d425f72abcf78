//! Replication rules: where data has to be.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::Method;
use runsync_manifest::name::Scope;
use serde::{Deserialize, Serialize};

use super::client::{Call, Rucio};
use super::did::Did;
use super::error::RucioError;
use super::exception::Exception;
use super::lines::Lines;

/// How often a write that got no answer is read back and sent again.
const UNKNOWN_TRIES: u32 = 3;

/// A rule to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// What is to be somewhere.
    pub did: Did,
    /// Where.
    pub rse_expression: String,
    /// How many copies.
    pub copies: u32,
    /// How long; none: until it is ended.
    pub lifetime: Option<Duration>,
    /// Rucio's activity; none: the server's default.
    pub activity: Option<String>,
    /// Rucio's letter for what it sends messages about.
    pub notify: &'static str,
    /// For whoever reads it in Rucio.
    pub comment: &'static str,
}

/// A rule, as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Its number.
    pub id: String,
    /// The scope of the DID that it is on.
    pub scope: Scope,
    /// The name of that DID.
    pub name: String,
    /// Whose it is.
    pub account: String,
    /// Where.
    pub rse_expression: String,
    /// How many copies.
    pub copies: u32,
    /// Whether what it kept is deleted as soon as it ends.
    #[serde(default)]
    pub purge_replicas: bool,
    /// Such as `OK`, `REPLICATING`, `STUCK`.
    pub state: String,
    /// When it ends, in the server's form; none: when it is ended.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Why it is stuck.
    #[serde(default)]
    pub error: Option<String>,
    /// When it was made, in the server's form.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Rule {
    /// Whether it was told to end by now, with a purge: Rucio's judge-cleaner takes it away.
    pub fn is_ending(&self, now: Timestamp) -> bool {
        // The server writes times as HTTP does (RFC 9110), but for the name of the zone.
        let at = self
            .expires_at
            .as_deref()
            .map(|at| at.replace("UTC", "GMT"));
        let at = at.and_then(|at| httpdate::parse_http_date(&at).ok());
        self.purge_replicas && at.is_some_and(|at| at <= SystemTime::from(now))
    }

    /// The DID that it is on.
    pub fn did(&self) -> Did {
        Did::new(&self.scope, self.name.clone())
    }
}

/// The state of a rule whose copies are all there.
pub const OK: &str = "OK";

#[derive(Serialize)]
struct AddRule<'a> {
    dids: [&'a Did; 1],
    account: &'a str,
    copies: u32,
    rse_expression: &'a str,
    grouping: &'static str,
    lifetime: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<&'a str>,
    notify: &'static str,
    comment: &'static str,
    purge_replicas: bool,
    locked: bool,
    /// Whether it may be made where an RSE is not available at the moment.
    ignore_availability: bool,
}

impl Rucio {
    /// Makes a rule of this site's account, or finds that there is one for the same. True where this
    /// made it.
    ///
    /// # Errors
    ///
    /// [`Exception::InsufficientAccountLimit`] and others of rules.
    pub fn add_rule(&self, rule: &NewRule) -> Result<bool, RucioError> {
        let body = AddRule {
            dids: [&rule.did],
            account: &self.config().account,
            copies: rule.copies,
            rse_expression: &rule.rse_expression,
            grouping: "DATASET",
            lifetime: rule.lifetime.map(|lifetime| lifetime.as_secs()),
            activity: rule.activity.as_deref(),
            notify: rule.notify,
            comment: rule.comment,
            purge_replicas: false,
            locked: false,
            ignore_availability: false,
        };
        let call = Call::new(Method::POST, "/rules/", &[]).body(&body)?;
        for tried in 1.. {
            match self.act(&call) {
                Ok(()) => return Ok(true),
                Err(error) if error.is(&Exception::DuplicateRule) => return Ok(false),
                // Made after all, it is found to be a duplicate.
                Err(RucioError::Unknown { .. }) if tried < UNKNOWN_TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The rules of a data identifier, of all accounts.
    ///
    /// # Errors
    ///
    /// [`Exception::DataIdentifierNotFound`] where it is not there.
    pub fn rules_of(&self, did: &Did) -> Result<Lines<Rule>, RucioError> {
        let mut call = Call::get("/dids", &[did.scope.as_str(), &did.name]);
        call.push("rules");
        self.lines(&call)
    }

    /// The rules of all accounts that lock a file anywhere, whatever DID they are on.
    ///
    /// # Errors
    ///
    /// [`Exception::DataIdentifierNotFound`] where the file is not there.
    pub fn rules_over(&self, file: &Did) -> Result<Lines<Rule>, RucioError> {
        let mut call = Call::get("/dids", &[file.scope.as_str(), &file.name]);
        call.push("associated_rules");
        self.lines(&call)
    }

    /// Has a rule end now, and gives what no other rule keeps to Rucio's reaper. Both are one
    /// transaction of the server's, and doing it again changes nothing. False where there is no such
    /// rule any more.
    ///
    /// # Errors
    ///
    /// [`Exception::AccessDenied`] where the account may not.
    pub fn end_rule(&self, id: &str) -> Result<bool, RucioError> {
        #[derive(Serialize)]
        struct Update {
            options: Options,
        }
        #[derive(Serialize)]
        struct Options {
            purge_replicas: bool,
            /// In seconds from now.
            lifetime: i64,
        }
        let update = Update {
            options: Options {
                purge_replicas: true,
                lifetime: -1,
            },
        };
        let call = Call::new(Method::PUT, "/rules", &[id]).body(&update)?;
        match self.act(&call.repeatable()) {
            Ok(()) => Ok(true),
            Err(error) if error.is(&Exception::RuleNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
