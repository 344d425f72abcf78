//! Judges conflicts where runs were adopted: an adopted run gives way to the run's owner.
//!
//! The owner's first manifest takes over what it names: datasets go over as they are, with their records
//! and what is confirmed of them, and keep their UUIDs. From then on the run is its owner's alone: adopted
//! manifests of it that come later, or again, count for nothing.

use std::ops::ControlFlow;

use runsync_manifest::name::{RepositoryId, RunKey, RunName};
use tracing::{info, warn};

use super::IngestError;
use super::flow::{Flow, Progress};
use super::refuse::Refusal;
use super::trust::Trust;
use super::verify::{self, Verdict, Verified};
use crate::ledger::record::Finding;
use crate::registry::record::GivenWay;

/// Kind of the finding about adopted datasets that contradicted the run's owner.
pub const ADOPTED_CONTRADICTED: &str = "adopted_contradicted";
/// Kind of the finding about adopted datasets that the run's owner has not named.
pub const ADOPTED_LEFT: &str = "adopted_left";

impl Flow {
    /// Judges an authentic manifest by what is registered, once adopted runs have given way to it.
    pub(super) fn compare(
        &self,
        verified: Verified,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Verdict, IngestError> {
        let trust = self.site().trust();
        let run = verified.run().clone();
        if trust.is_adopted(run.origin) {
            if let Some(owner) = self.owner_heard_of(&run.name)? {
                let why = format!("run `{}` is of repository {owner} by now", run.name);
                let refusal = Refusal::superseded(why);
                return Ok(Verdict::Refuse(verified.into_parsed(), refusal));
            }
        } else {
            self.take_over(&verified, &trust, progress)?;
        }
        let root = &self.root().name;
        let compared = &mut |rows| progress(Progress::Compared { rows });
        Ok(verify::judge_conflicts(
            verified,
            &*self.site().registry,
            root,
            compared,
        )?)
    }

    /// The repository that has spoken for a run of that name, where one has that may own it.
    pub fn owner_heard_of(&self, name: &RunName) -> Result<Option<RepositoryId>, IngestError> {
        let trust = self.site().trust();
        for origin in trust.owners_of(name) {
            let run = RunKey {
                origin,
                name: name.clone(),
            };
            let row = self.site().registry.run(&run)?;
            if row.is_some_and(|row| row.generation.is_some() || row.floor.is_some()) {
                return Ok(Some(origin));
            }
        }
        Ok(None)
    }

    fn take_over(
        &self,
        verified: &Verified,
        trust: &Trust,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), IngestError> {
        let registry = &self.site().registry;
        for origin in trust.adopted_origins() {
            let adopted = RunKey {
                origin,
                name: verified.run().name.clone(),
            };
            let row = registry.run(&adopted)?;
            if row.is_none_or(|row| row.datasets == 0) {
                continue;
            }
            let registration = verified.registration(&self.root().name, false);
            let compared = &mut |rows| progress(Progress::Compared { rows });
            let given = registry.give_way(&adopted, &registration, compared)?;
            self.tell(&adopted, trust, &given)?;
        }
        Ok(())
    }

    /// Says what an adopted run has given up, and closes it where nothing is left.
    fn tell(&self, adopted: &RunKey, trust: &Trust, given: &GivenWay) -> Result<(), IngestError> {
        let (registry, ledger) = (&self.site().registry, &self.site().ledger);
        let name = &adopted.name;
        let label = trust.label(adopted.origin).unwrap_or_default();
        if given.moved + given.dropped > 0 {
            info!(
                run = %name,
                adopted = label,
                moved = given.moved,
                dropped = given.dropped,
                "adopted run gives way to its owner"
            );
        }
        let mut findings = Vec::new();
        let subject = format!("{label}/{name}");
        let now = self.site().clock.now();
        let mut find = |kind: &str, detail: String| {
            warn!(run = %name, adopted = label, kind, detail, "adopted run differs from its owner's");
            findings.push(Finding {
                kind: kind.to_owned(),
                subject: subject.clone(),
                detail,
                first_seen: now,
                last_seen: now,
                times: 1,
            });
        };
        if given.dropped > 0 {
            let examples: Vec<String> = given.examples.iter().map(ToString::to_string).collect();
            let detail = format!(
                "{} datasets of messages contradicted the manifest of the run's owner and are known no more, their artifacts stay: {}",
                given.dropped,
                examples.join(", ")
            );
            find(ADOPTED_CONTRADICTED, detail);
        }
        let left = registry.run(adopted)?.filter(|row| row.datasets > 0);
        if let Some(row) = left {
            find(
                ADOPTED_LEFT,
                format!(
                    "{} datasets of messages are not in what the run's owner has published; `runsync remove-runs --local` with `--origin {label}` drops them",
                    row.datasets
                ),
            );
        } else {
            if let Some(generation) = registry.run(adopted)?.and_then(|row| row.generation) {
                registry.raise_floor(adopted, generation)?;
            }
            ledger.healed(ADOPTED_LEFT, &subject)?;
        }
        if !findings.is_empty() {
            ledger.find_all(&findings)?;
        }
        Ok(())
    }
}
