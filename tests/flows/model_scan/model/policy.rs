//! The site's configuration, as far as it matters here.

use std::collections::BTreeSet;
use std::time::Duration;

use runsync::ledger::repairs::RepairAct;

use super::Model;

/// What configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// What is done, and not only reported.
    pub(crate) acts: BTreeSet<RepairAct>,
    /// In per cent.
    pub(crate) share_max: u64,
    pub(crate) artifacts_max: u64,
    pub(crate) apart: Duration,
    pub(crate) dark_age: Duration,
    pub(crate) waiting_deadline: Duration,
    /// Whether arrivals are confirmed by their size, and not by their checksum.
    pub(crate) confirms_by_size: bool,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Policy {
    /// All that a policy may have done.
    pub(crate) const ACTS: [RepairAct; 4] = [
        RepairAct::Forget,
        RepairAct::Register,
        RepairAct::Quarantine,
        RepairAct::Unstore,
    ];

    /// Everything is done that can be.
    pub(crate) fn everything() -> Self {
        Self {
            acts: Self::ACTS.into(),
            share_max: 25,
            artifacts_max: 1_000,
            apart: HOUR * 24,
            dark_age: HOUR * 24,
            waiting_deadline: HOUR * 24,
            confirms_by_size: true,
        }
    }

    pub(crate) fn level(&self) -> &'static str {
        if self.confirms_by_size {
            "size"
        } else {
            "checksum"
        }
    }

    /// As TOML, after that of the root.
    pub(crate) fn toml(&self) -> String {
        let word = |act: RepairAct| {
            if self.acts.contains(&act) {
                act.as_str()
            } else {
                "report"
            }
        };
        format!(
            "waiting_deadline = \"{}s\"\n\
             [removal]\nlate_arrivals = \"0s\"\n\
             [repair]\nlost = \"{}\"\nclaimed = \"{}\"\ndark = \"{}\"\ncorrupt = \"{}\"\n\
             share_max = \"{}%\"\nartifacts_max = {}\napart = \"{}s\"\ndark_age = \"{}s\"\n",
            self.waiting_deadline.as_secs(),
            word(RepairAct::Forget),
            word(RepairAct::Register),
            word(RepairAct::Quarantine),
            word(RepairAct::Unstore),
            self.share_max,
            self.artifacts_max,
            self.apart.as_secs(),
            self.dark_age.as_secs(),
        )
    }
}

impl Model {
    /// Whether so much is more than the share of all records.
    pub(super) fn exceeds_share(&self, count: usize) -> bool {
        count as u64 * 100 > self.recorded().count() as u64 * self.policy.share_max
    }
}
