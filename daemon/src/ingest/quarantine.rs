//! What an operator can do with manifests that were set aside.
//!
//! A quarantined file stays where it is: a copy of it may be under Rucio's rules, and what
//! Rucio placed only Rucio deletes.

use jiff::Timestamp;

use crate::ledger::record::{Location, ManifestRow, ManifestState};
use crate::ledger::{Ledger, LedgerError};

/// The manifests set aside, oldest first.
pub fn list(ledger: &dyn Ledger) -> Result<Vec<ManifestRow>, LedgerError> {
    ledger.manifests(Some(ManifestState::Quarantined))
}

/// Has a manifest read again at the next sweep. False where it is not in quarantine.
pub fn retry(ledger: &dyn Ledger, at: &Location) -> Result<bool, LedgerError> {
    if quarantined(ledger, at)?.is_none() {
        return Ok(false);
    }
    ledger.forget(at)
}

/// Takes a manifest off the list for good, as long as its file does not change. False where it
/// is not in quarantine.
pub fn drop(ledger: &dyn Ledger, at: &Location, now: Timestamp) -> Result<bool, LedgerError> {
    let Some(mut row) = quarantined(ledger, at)? else {
        return Ok(false);
    };
    row.state = ManifestState::Superseded;
    row.reason = row
        .reason
        .map(|reason| format!("dropped from quarantine: {reason}"));
    row.hint = None;
    row.decided_at = now;
    if let Some(summary) = &mut row.summary {
        // It was never accepted as its generation: a correct one may still come.
        summary.digest = None;
    }
    ledger.record(&[row])?;
    Ok(true)
}

fn quarantined(ledger: &dyn Ledger, at: &Location) -> Result<Option<ManifestRow>, LedgerError> {
    Ok(ledger
        .manifest(at)?
        .filter(|row| row.state == ManifestState::Quarantined))
}
