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
    /// Judges an authentic manifest by what is registered, and has adopted runs give way to it. Whether
    /// anything else stands against it is asked first: a manifest that is kept out takes nothing over.
    pub(super) fn compare(
        &self,
        verified: Verified,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Verdict, IngestError> {
        let trust = self.site().trust();
        let run = verified.run().clone();
        let giving_way = self.giving_way(&run)?;
        if trust.is_adopted(run.origin)
            && let Some(owner) = self.owner_heard_of(&run.name)?
        {
            let why = format!("run `{}` is of repository {owner} by now", run.name);
            let refusal = Refusal::superseded(why);
            return Ok(Verdict::Refuse(verified.into_parsed(), refusal));
        }
        let (registry, root) = (&*self.site().registry, &self.root().name);
        let compared = &mut |rows| progress(Progress::Compared { rows });
        let verdict = verify::judge_conflicts(verified, registry, root, &giving_way, compared)?;
        if giving_way.is_empty() {
            return Ok(verdict);
        }
        let Verdict::Register(verified) = verdict else {
            return Ok(verdict);
        };
        for adopted in &giving_way {
            let registration = verified.registration(root, false);
            let given = registry.give_way(adopted, &registration, compared)?;
            self.tell(adopted, &trust, &given)?;
        }
        Ok(verify::judge_conflicts(
            verified,
            registry,
            root,
            &[],
            compared,
        )?)
    }

    /// The adopted runs that have to give way to a run: those of its name that hold anything.
    pub(super) fn giving_way(&self, run: &RunKey) -> Result<Vec<RunKey>, IngestError> {
        let trust = self.site().trust();
        let mut giving_way = Vec::new();
        if trust.is_adopted(run.origin) {
            return Ok(giving_way);
        }
        for origin in trust.adopted_origins() {
            let adopted = RunKey {
                origin,
                name: run.name.clone(),
            };
            let row = self.site().registry.run(&adopted)?;
            if row.is_some_and(|row| row.datasets > 0) {
                giving_way.push(adopted);
            }
        }
        Ok(giving_way)
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

    /// Says what an adopted run has given up.
    fn tell(&self, adopted: &RunKey, trust: &Trust, given: &GivenWay) -> Result<(), IngestError> {
        let label = trust.label(adopted.origin).unwrap_or_default();
        if given.moved + given.dropped > 0 {
            info!(
                run = %adopted.name,
                adopted = label,
                moved = given.moved,
                dropped = given.dropped,
                "adopted run gives way to its owner"
            );
        }
        if given.dropped == 0 {
            return Ok(());
        }
        let examples: Vec<String> = given.examples.iter().map(ToString::to_string).collect();
        let detail = format!(
            "{} datasets of messages contradicted the manifest of the run's owner and are known no more, their artifacts stay: {}",
            given.dropped,
            examples.join(", ")
        );
        self.find(ADOPTED_CONTRADICTED, adopted, label, detail)
    }

    /// Ends what a run's owner has taken over, once its manifest is registered: an adopted run of which nothing is
    /// left is closed, and of another it is said what is left. Said again it changes nothing, so that a crash before
    /// it is mended by the next look at the manifest.
    pub(super) fn close_adopted(&self, owned: &RunKey) -> Result<(), IngestError> {
        let trust = self.site().trust();
        if trust.is_adopted(owned.origin) {
            return Ok(());
        }
        let registry = &self.site().registry;
        for origin in trust.adopted_origins() {
            let adopted = RunKey {
                origin,
                name: owned.name.clone(),
            };
            let Some(row) = registry.run(&adopted)? else {
                continue;
            };
            let label = trust.label(origin).unwrap_or_default();
            if row.datasets > 0 {
                let detail = format!(
                    "{} datasets of messages are not in what the run's owner has published; `runsync remove-runs --local` with `--origin {label}` drops them",
                    row.datasets
                );
                self.find(ADOPTED_LEFT, &adopted, label, detail)?;
                continue;
            }
            if let Some(generation) = row.generation.filter(|_| !row.is_removed()) {
                registry.raise_floor(&adopted, generation)?;
            }
            let subject = format!("{label}/{}", adopted.name);
            self.site().ledger.healed(ADOPTED_LEFT, &subject)?;
        }
        Ok(())
    }

    fn find(
        &self,
        kind: &str,
        adopted: &RunKey,
        label: &str,
        detail: String,
    ) -> Result<(), IngestError> {
        let run = &adopted.name;
        warn!(%run, adopted = label, kind, detail, "adopted run differs from its owner's");
        let now = self.site().clock.now();
        let finding = Finding {
            kind: kind.to_owned(),
            subject: format!("{label}/{run}"),
            detail,
            first_seen: now,
            last_seen: now,
            times: 1,
        };
        Ok(self.site().ledger.find_all(&[finding])?)
    }
}
