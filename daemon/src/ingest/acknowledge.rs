//! Writes down what was decided: the last stage, and the only one that moves a manifest's
//! persisted state.
//!
//! A crash before it leaves a registered manifest unacknowledged; the next sweep takes the file
//! for new, finds that its datasets are known, and acknowledges it then.

use std::borrow::Cow;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::header::Header;
use runsync_manifest::name::RunKey;
use runsync_manifest::trailer::Trailer;
use tracing::{info, warn};

use super::parse::Parsed;
use super::refuse::Refusal;
use super::settle::Settled;
use crate::file_identity::FileIdentity;
use crate::ledger::record::{Finding, Location, ManifestRow, ManifestState, ManifestSummary};
use crate::ledger::{Ledger, LedgerError};
use crate::registry::record::DimensionDiffers;

/// Characters of a dimension record that a finding shows.
const SHOWN_CHARS: usize = 300;

/// The ledger's row of a manifest that is registered.
pub(super) fn registered(parsed: &Parsed, root: &RootName, now: Timestamp) -> ManifestRow {
    ManifestRow {
        location: location(parsed.settled(), root),
        file: parsed.file(),
        state: ManifestState::Registered,
        reason: None,
        hint: None,
        blocker: None,
        summary: Some(summary(parsed.header(), Some(parsed.trailer()))),
        first_seen: parsed.settled().first_seen(),
        decided_at: now,
    }
}

/// The ledger's row of a manifest that is refused, read as far as `header` and `trailer` say.
pub(super) fn refused(
    settled: &Settled,
    file: FileIdentity,
    root: &RootName,
    read: (Option<&Header>, Option<&Trailer>),
    refusal: Refusal,
    now: Timestamp,
) -> ManifestRow {
    ManifestRow {
        location: location(settled, root),
        file,
        state: refusal.state,
        reason: Some(refusal.reason),
        hint: refusal.hint,
        blocker: refusal
            .blocker
            .as_ref()
            .and_then(|blocker| serde_json::to_string(blocker).ok()),
        summary: read.0.map(|header| summary(header, read.1)),
        first_seen: settled.first_seen(),
        decided_at: now,
    }
}

/// Writes the rows in one commit and says so in the log.
pub(super) fn acknowledge(rows: &[ManifestRow], ledger: &dyn Ledger) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    ledger.record(rows)?;
    rows.iter().for_each(tell);
    Ok(())
}

/// Keeps the dimension records that differ from those registered first.
pub(super) fn keep_differing(
    run: &RunKey,
    differing: &[DimensionDiffers],
    ledger: &dyn Ledger,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let findings: Vec<Finding> = differing
        .iter()
        .map(|differs| Finding {
            kind: "dimension_differs".to_owned(),
            subject: format!("{} {}", differs.element, differs.key),
            detail: format!(
                "run `{}` of {} brings {}; registered first was {}",
                run.name,
                run.origin,
                cut(&differs.manifest),
                cut(&differs.registered)
            ),
            first_seen: now,
            last_seen: now,
            times: 1,
        })
        .collect();
    ledger.find_all(&findings)
}

/// The start of a record: a finding tells what to look at, the registry has the rest.
fn cut(record: &str) -> Cow<'_, str> {
    match record.char_indices().nth(SHOWN_CHARS) {
        None => Cow::Borrowed(record),
        Some((end, _)) => Cow::Owned(record.get(..end).unwrap_or_default().to_owned() + "…"),
    }
}

fn tell(row: &ManifestRow) {
    let path = row.location.path.as_str();
    let root = row.location.root.as_str();
    let run = row
        .summary
        .as_ref()
        .map_or("", |summary| summary.run.name.as_str());
    let reason = row.reason.as_deref().unwrap_or_default();
    match row.state {
        ManifestState::Registered => info!(root, path, run, "manifest registered"),
        ManifestState::Superseded => info!(root, path, run, reason, "manifest superseded"),
        ManifestState::Blocked => info!(root, path, run, reason, "manifest blocked"),
        ManifestState::Untrusted => warn!(root, path, run, reason, "manifest untrusted"),
        ManifestState::Quarantined => warn!(root, path, run, reason, "manifest quarantined"),
    }
}

fn location(settled: &Settled, root: &RootName) -> Location {
    Location {
        root: root.clone(),
        path: settled.path().to_owned(),
    }
}

fn summary(header: &Header, trailer: Option<&Trailer>) -> ManifestSummary {
    ManifestSummary {
        manifest: header.manifest,
        content: header.content,
        run: RunKey {
            origin: header.origin.repository,
            name: header.run.clone(),
        },
        site: header.origin.site.clone(),
        generation: header.generation,
        digest: trailer.map(|trailer| trailer.sha256),
        key_id: trailer
            .and_then(|trailer| trailer.signature.as_ref())
            .map(|signature| signature.key_id),
        datasets: trailer.map(|trailer| trailer.counts.dataset),
        total_bytes: trailer.map(|trailer| trailer.total_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_is_cut_between_characters() {
        let whole = "é".repeat(SHOWN_CHARS);
        assert_eq!(cut(&whole), whole);
        let long = whole.clone() + "x";
        assert_eq!(cut(&long), whole + "…");
    }
}
