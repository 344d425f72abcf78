//! Accounts: what they are, what they may hold, which scopes there are.

use std::collections::BTreeMap;

use runsync_manifest::name::{RseName, Scope};
use serde::Deserialize;

use super::client::{Call, Rucio};
use super::error::RucioError;
use super::exception::Exception;

/// What an account may hold and holds at an RSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes that it may hold; none: as many as there are.
    pub limit: Option<u64>,
    /// Bytes that it holds.
    pub used: u64,
}

impl Quota {
    /// Bytes that it may still take; none: as many as there are.
    pub fn left(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.used))
    }
}

/// What no limit reaches: 2 to the power of 63.
const LIMIT_END: f64 = 9_223_372_036_854_775_808.0;

#[derive(Deserialize)]
struct Attribute {
    key: String,
}

#[derive(Deserialize)]
struct Usage {
    bytes: u64,
}

impl Rucio {
    /// All scopes.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn scopes(&self) -> Result<Vec<Scope>, RucioError> {
        self.ask(&Call::get("/scopes/", &[]))
    }

    /// Whether rules of this site's account need quota: Rucio asks it of all that have not the attribute
    /// `admin` (`rucio/core/rse_selector.py`).
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn needs_quota(&self) -> Result<bool, RucioError> {
        let account = &self.config().account;
        // With a slash at its end: the server redirects else.
        let call = Call::get("/accounts", &[account, "attr", ""]);
        let attributes: Vec<Attribute> = self.ask(&call)?;
        // Whatever its value is.
        Ok(!attributes.iter().any(|attribute| attribute.key == "admin"))
    }

    /// The quota of this site's account at one RSE; `None` where it has none.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn quota(&self, rse: &RseName) -> Result<Option<Quota>, RucioError> {
        let account = &self.config().account;
        let mut call = Call::get("/accounts", &[account, "limits", "local"]);
        call.push(rse.as_str());
        let limits: BTreeMap<String, Option<f64>> = match self.ask(&call) {
            Ok(limits) => limits,
            Err(error) if error.is(&Exception::RseNotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(limit) = limits.get(rse.as_str()).copied().flatten() else {
            return Ok(None);
        };
        Ok(Some(Quota {
            limit: bytes(limit),
            used: self.used(rse)?,
        }))
    }

    fn used(&self, rse: &RseName) -> Result<u64, RucioError> {
        let account = &self.config().account;
        let mut call = Call::get("/accounts", &[account, "usage", "local"]);
        call.push(rse.as_str());
        let mut used = 0;
        for usage in self.lines::<Usage>(&call)? {
            used += usage?.bytes;
        }
        Ok(used)
    }
}

/// A limit as Rucio writes it: negative or infinite for none. Its own numbers have 63 bits.
fn bytes(limit: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number out of range becomes the nearest one"
    )]
    (0.0..LIMIT_END).contains(&limit).then_some(limit as u64)
}
