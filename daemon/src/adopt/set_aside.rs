//! What becomes of messages that nothing can be made of: counted, and told by kind, never kept one by one.
//!
//! A sender that goes wrong does so a million times. So each kind of fault is one finding for each RSE, with how often
//! and the newest example; the log names every one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runsync_manifest::name::RseName;
use tracing::warn;

use super::message::{MessageError, Unsupported};
use crate::adopted;
use crate::ledger::record::{Finding, Hint};
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::adopting::{self, Fate};

/// Kind of the findings about messages that were set aside.
pub(super) const SET_ASIDE: &str = "adopt_set_aside";

/// Why a message was set aside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It cannot be read.
    Broken,
    /// Nobody knows such a kind.
    Unknown,
    /// It needs a Butler.
    NeedsButler(&'static str),
    /// Its file lies in no root.
    Elsewhere,
    /// It contradicts what is registered, or another message.
    Contrary,
    /// Its run may not be adopted here.
    Foreign,
}

impl Why {
    pub(super) fn of(error: &MessageError) -> Self {
        match error {
            MessageError::UnknownKind(_) => Self::Unknown,
            MessageError::Json(_)
            | MessageError::Missing(_)
            | MessageError::Field { .. }
            | MessageError::Sidecar(_) => Self::Broken,
        }
    }

    pub(super) fn needs(what: Unsupported) -> Self {
        Self::NeedsButler(what.as_str())
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown kind",
            Self::NeedsButler(what) => what,
            Self::Elsewhere => "elsewhere",
            Self::Contrary => "contrary",
            Self::Foreign => "foreign run",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Broken => "the sender's metadata of this DID is wrong",
            Self::Unknown => "this version knows data_product, dim_file, raw_file and zip_file",
            Self::NeedsButler(_) => {
                "it needs a registry that is a Butler: only a Butler reads such files"
            }
            Self::Elsewhere => "see `pfn_prefix` of the root, and which RSE the sender means",
            Self::Contrary => "the first stays; what differs must be mended where it was made",
            Self::Foreign => "see `run_prefixes` in [adopt], and those of peers",
        }
    }

    fn fate(&self) -> Fate {
        match self {
            Self::Broken => Fate::Broken,
            Self::Unknown => Fate::Unknown,
            Self::NeedsButler(_) => Fate::NeedsButler,
            Self::Elsewhere => Fate::Elsewhere,
            Self::Contrary => Fate::Contrary,
            Self::Foreign => Fate::Foreign,
        }
    }
}

/// Messages set aside in one go.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    /// By subject: how many, and the newest example.
    kinds: BTreeMap<String, (u64, String)>,
}

impl SetAside {
    /// Sets a message aside.
    pub(super) fn add(&mut self, hint: &Hint, rse: &RseName, why: &Why, reason: &str) {
        let (scope, name) = (&hint.scope, &hint.name);
        warn!(scope, name, rse = %rse, why = why.word(), reason, "message about a file is set aside");
        adopting::message(rse, why.fate());
        let subject = format!("{} {}", adopted::label(rse), why.word());
        let detail = format!("{scope}:{name}: {reason}; {}", why.hint());
        let kept = self.kinds.entry(subject).or_default();
        *kept = (kept.0 + 1, detail);
    }

    /// Keeps what was set aside.
    pub(super) fn keep(self, ledger: &dyn Ledger, now: Timestamp) -> Result<(), LedgerError> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        let findings: Vec<Finding> = self
            .kinds
            .into_iter()
            .map(|(subject, (times, detail))| Finding {
                kind: SET_ASIDE.to_owned(),
                subject,
                detail,
                first_seen: now,
                last_seen: now,
                times,
            })
            .collect();
        ledger.find_all(&findings)
    }
}
