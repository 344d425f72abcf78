//! What this site's account may do, found out without doing it.
//!
//! Rucio has no question for that. Each of these requests is one that the server turns down for another
//! reason once it has let it pass: an empty list of files, a file where only collections are made, a
//! name that nothing has. Its gateway asks for the permission first (`rucio/gateway`), so that a
//! refusal of the permission tells itself apart. Nothing is changed either way.

use reqwest::Method;
use runsync_manifest::name::{RseName, Scope};
use serde_json::json;
use uuid::Uuid;

use super::client::{Call, Rucio};
use super::error::RucioError;
use super::exception::Exception;

/// Something that publishing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// Registering files at an RSE.
    AddReplicas(&'a RseName),
    /// Making Rucio datasets and containers in a scope.
    AddDids(&'a Scope),
    /// Attaching to what is in a scope.
    Attach(&'a Scope),
    /// Adding rules.
    AddRules(&'a Scope),
    /// Declaring replicas at an RSE bad.
    DeclareBad(&'a RseName),
}

impl Rucio {
    /// Why this site's account may not do something; none: it may.
    ///
    /// # Errors
    ///
    /// Where the server does not tell.
    pub fn denied(&self, act: Act<'_>) -> Result<Option<String>, RucioError> {
        // Nothing has this name, and nothing gets it.
        let nothing = format!("runsync-check-{}", Uuid::new_v4());
        let (endpoint, body) = match act {
            Act::AddReplicas(rse) => ("/replicas", json!({"rse": rse, "files": []})),
            Act::AddDids(scope) => (
                "/dids",
                json!([{"scope": scope, "name": nothing, "type": "FILE"}]),
            ),
            Act::Attach(scope) => (
                "/dids/attachments",
                json!([{"scope": scope, "name": nothing, "dids": [{"scope": scope, "name": nothing}]}]),
            ),
            Act::DeclareBad(rse) => (
                "/replicas/bad",
                json!({
                    "replicas": [{"scope": self.config().scope, "name": nothing, "rse": rse}],
                    "reason": "runsync: none, a question for permission",
                }),
            ),
            Act::AddRules(scope) => (
                "/rules/",
                json!({
                    "dids": [{"scope": scope, "name": nothing}],
                    "account": self.config().account,
                    "copies": 1,
                    "rse_expression": "*",
                    "grouping": "DATASET",
                    "locked": false,
                }),
            ),
        };
        let call = Call::new(Method::POST, endpoint, &[]).body(&body)?;
        match self.act(&call) {
            Err(RucioError::Refused { refusal, .. }) => {
                let is_denied = refusal.exception == Exception::AccessDenied;
                Ok(is_denied.then_some(refusal.message))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(None),
        }
    }
}
