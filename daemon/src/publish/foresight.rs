//! What becomes of runs in Rucio when they are removed, asked before it is done.

use std::collections::BTreeSet;

use runsync_config::root::Deleter;
use runsync_manifest::name::{ArtifactPath, RepositoryId, RseName, RunKey, RunName, Scope};

use super::ending::holders;
use super::error::PublishError;
use super::flow::{PublishRoot, Publishing};
use super::rules;
use crate::error_chain::error_chain;
use crate::ledger::record::RuleEnding;
use crate::registry::RegistryError;
use crate::removal::{Plan, PlannedInRucio, scopes_of};
use crate::rucio::{Did, Exception, Rucio};

/// Runs of a plan of which Rucio is asked: a plan of more is no list that anybody reads.
const ASKED_MAX: usize = 50;

impl Publishing {
    /// Adds to a plan what becomes of its runs in Rucio. Where Rucio does not answer the plan says so, and
    /// is the same plan: none of this is part of its number.
    pub fn foresee(&self, plan: &mut Plan) {
        let Some(rucio) = &self.ground.rucio else {
            return;
        };
        let everywhere = plan.operation.is_told();
        if !everywhere && plan.left_to_rucio.is_empty() {
            return;
        }
        let mut planned = PlannedInRucio::default();
        if let Err(error) = self.ask_all(rucio, plan, &mut planned) {
            planned.unknown = Some(error_chain(&error));
        }
        plan.rucio = Some(planned);
    }

    fn ask_all(
        &self,
        rucio: &Rucio,
        plan: &Plan,
        planned: &mut PlannedInRucio,
    ) -> Result<(), PublishError> {
        let rses: Vec<Option<RseName>> = if plan.operation.is_told() {
            vec![None]
        } else {
            let left = plan.left_to_rucio.iter();
            left.map(|root| Some(root.rse.clone())).collect()
        };
        let now = self.ground.clock.now();
        for planned_run in plan.runs.iter().take(ASKED_MAX) {
            let run = &planned_run.run;
            for scope in self.scopes(rucio, run)? {
                for rse in &rses {
                    let ending = RuleEnding {
                        rse: rse.clone(),
                        up_to: planned_run.floor.filter(|_| rse.is_none()),
                        ..RuleEnding::new(run.clone(), scope.clone(), now)
                    };
                    let found = self.in_rucio(rucio, &ending)?;
                    planned.ends.extend(holders(&found.ours));
                    planned.stay.extend(holders(&found.others));
                }
            }
        }
        if plan.runs.len() > ASKED_MAX {
            planned.unknown = Some(format!("only the first {ASKED_MAX} runs were asked for"));
        }
        if plan.operation.is_told() && !plan.now && !planned.ends.is_empty() {
            let root = self
                .ground
                .roots
                .iter()
                .find_map(|root| root.config.rse.as_ref());
            if let Some(rse) = root {
                planned.after = rules::control_rses(rucio, rse)?;
            }
        }
        Ok(())
    }

    pub(super) fn scopes(
        &self,
        rucio: &Rucio,
        run: &RunKey,
    ) -> Result<BTreeSet<Scope>, PublishError> {
        let roots = self.ground.roots.iter();
        let roots = roots.map(|root| (&root.config.name, &*root.datastore));
        let defaults = (&*self.ground.peers, &rucio.config().scope);
        let found = scopes_of(run, &*self.ground.ledger, &roots, defaults);
        found.map_err(|error| PublishError::Scopes(Box::new(error)))
    }

    /// Asks about a run's artifacts by what Rucio may call them: in each of the run's scopes, as many at once as one
    /// call takes.
    pub(super) fn in_scopes(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        paths: &[ArtifactPath],
        ask: &mut dyn FnMut(&[&Did]) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        for scope in self.scopes(rucio, run)? {
            let dids = paths.iter().map(|path| Did::new(&scope, path.as_str()));
            let dids: Vec<Did> = dids.collect();
            let dids: Vec<&Did> = dids.iter().collect();
            for chunk in dids.chunks(rucio.config().bulk) {
                ask(chunk)?;
            }
        }
        Ok(())
    }

    /// Has Rucio carry runs here again that were unstored, where it is Rucio that deletes here: each gets
    /// a rule for this site's own RSE again. A run that Rucio does not know is left to whoever carries it.
    ///
    /// # Errors
    ///
    /// Where Rucio or the ledger fails, also where the rule that unstoring has ended is still ending:
    /// it is to be tried again.
    pub fn want_again(
        &self,
        names: &[RunName],
        origin: Option<RepositoryId>,
        whole: bool,
    ) -> Result<(), PublishError> {
        let Some(rucio) = &self.ground.rucio else {
            return Ok(());
        };
        let left = self
            .ground
            .roots
            .iter()
            .filter(|root| is_left_to_rucio(root));
        let rses: Vec<RseName> = left.filter_map(|root| root.config.rse.clone()).collect();
        if rses.is_empty() || !whole {
            return Ok(());
        }
        self.check_quiet()?;
        let rows = self.ground.registry.runs(None)?;
        for name in names {
            let runs = rows.iter().map(|row| row.key.clone()).filter(|run| {
                run.name == *name && origin.is_none_or(|origin| run.origin == origin)
            });
            for run in runs {
                self.check_rules_ended(&run)?;
                for rse in &rses {
                    self.want_at(rucio, &run, rse)?;
                }
            }
        }
        Ok(())
    }

    /// Nothing is restored while a removal deletes: a rule that was made all the same would keep what it
    /// waits for.
    fn check_quiet(&self) -> Result<(), PublishError> {
        for removal in self.ground.registry.removals()? {
            if let Some(part) = removal.parts.first().filter(|_| !removal.is_late()) {
                let run = part.run.clone();
                return Err(RegistryError::RemovalUnderWay { run }.into());
            }
        }
        Ok(())
    }

    fn want_at(&self, rucio: &Rucio, run: &RunKey, rse: &RseName) -> Result<(), PublishError> {
        for scope in self.scopes(rucio, run)? {
            let container: Did = super::names::container(&scope, run);
            if rucio.did(&container)?.is_none() {
                continue;
            }
            match rucio.add_rule(&rules::again(rucio, &run.name, &container, rse)) {
                Ok(_) => {}
                Err(error) if error.is(&Exception::DataIdentifierNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has the rules of runs of this site end at once that wait for a removal manifest; returns of how
    /// many.
    ///
    /// # Errors
    ///
    /// Where the ledger fails.
    pub fn end_rules_at_once(&self, names: &[RunName]) -> Result<usize, PublishError> {
        let ledger = &self.ground.ledger;
        let mut endings = ledger.rule_endings()?;
        endings.retain(|ending| {
            ending.run.origin == self.ground.repository && names.contains(&ending.run.name)
        });
        for ending in &mut endings {
            ending.at_once = true;
        }
        ledger.add_rule_endings(&endings)?;
        Ok(endings.len())
    }
}

fn is_left_to_rucio(root: &PublishRoot) -> bool {
    root.config.deleter == Deleter::Rucio
}
