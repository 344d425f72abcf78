//! Drops findings about artifacts that nobody waits for any more.
//!
//! An artifact that is found right takes its finding along. One that a later manifest moved, or
//! that somebody else confirmed, does not: nobody looks at it again.

use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::RunKey;

use super::findings::{self, CORRUPT};
use crate::clock::later;
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::ledger::record::Finding;
use crate::registry::record::WaitingRun;

/// How often some findings are looked at, at most.
const INTERVAL: Duration = Duration::from_secs(30);
/// So many at a time: each costs a look-up in the registry.
const PAGE: usize = 1_000;

/// How far the findings of one root were looked at.
#[derive(Debug, Default)]
pub(super) struct Obsolete {
    checked: Option<Timestamp>,
    /// The last subject looked at in this pass.
    after: Option<String>,
}

impl Obsolete {
    /// Looks at some findings, and drops those about what none of `runs`, which are all that wait
    /// in the flow's root, waits for. Where none waits, all are looked at.
    pub(super) fn drop_findings(
        &mut self,
        flow: &Flow,
        runs: &[WaitingRun],
        now: Timestamp,
    ) -> Result<(), IngestError> {
        let is_early = |checked| later(checked, INTERVAL) > now;
        if self.checked.is_some_and(is_early) && !runs.is_empty() {
            return Ok(());
        }
        self.checked = Some(now);
        while self.drop_page(flow, runs)? && runs.is_empty() {}
        Ok(())
    }

    /// False where that was the last page.
    fn drop_page(&mut self, flow: &Flow, runs: &[WaitingRun]) -> Result<bool, IngestError> {
        let (ledger, ours) = (&flow.site().ledger, findings::ours(flow.root()));
        let after = self.after.take();
        let page = ledger.findings_of(CORRUPT, &ours, after.as_deref(), PAGE)?;
        let mut obsolete = Vec::new();
        for finding in &page {
            if !is_waited_for(flow, runs, (&ours, finding))? {
                obsolete.push(finding.subject.clone());
            }
        }
        if !obsolete.is_empty() {
            ledger.healed_all(CORRUPT, &obsolete)?;
        }
        if page.len() == PAGE {
            self.after = page.last().map(|last| last.subject.clone());
        }
        Ok(self.after.is_some())
    }
}

fn is_waited_for(
    flow: &Flow,
    runs: &[WaitingRun],
    (ours, finding): (&str, &Finding),
) -> Result<bool, IngestError> {
    let path = findings::path_of(ours, finding);
    let (Some(path), Some(name)) = (path, findings::run_of(finding)) else {
        // Written by another version: nothing is concluded.
        return Ok(!runs.is_empty());
    };
    for waiting in runs.iter().filter(|run| run.run.name.as_str() == name) {
        if waits_for(flow, &waiting.run, &waiting.root, path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn waits_for(flow: &Flow, run: &RunKey, root: &RootName, path: &str) -> Result<bool, IngestError> {
    let (Some(after), before) = (just_before(path), format!("{path}\0")) else {
        return Ok(true);
    };
    let between = (Some(after.as_str()), Some(before.as_str()));
    let registry = &flow.site().registry;
    let page = registry.waiting_artifacts(run, root, between, 1)?;
    Ok(page.iter().any(|artifact| artifact.path.as_str() == path))
}

/// A text that sorts before `path`, with no path in between: its last character made one less, and
/// after it the last character there is, which is no letter and stands in no path.
fn just_before(path: &str) -> Option<String> {
    let mut before = path.to_owned();
    let last = u32::from(before.pop()?);
    before.push(char::from_u32(last.checked_sub(1)?)?);
    before.push(char::MAX);
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_between_a_path_and_the_text_just_before_it() {
        let before = just_before("data/b.fits").unwrap();
        assert!(*"data/b.fits" > *before);
        for smaller in ["data/b.fit", "data/b.fitr", "data/b.fitrz/z", "data/a"] {
            assert!(*smaller < *before, "{smaller}");
        }
        assert_eq!(just_before(""), None);
    }
}
