//! Ends the rules of runs that were removed, so that Rucio lets their files go wherever they are.
//!
//! An obligation in the ledger says whose. The removal flow adds it: with the notice of a removal by this
//! site, which has all of this account's rules on the run's container and its Rucio datasets end, but
//! only once the removal manifest is available wherever manifests go, or files would vanish at sites
//! that have not heard why; or with a journal that is left to Rucio, which has only those for this
//! site's own RSE end. It is met when Rucio lists none of these rules any more: until its judge-cleaner
//! has been at work, a rule that was told to end is still in the way of a new one.
//!
//! Nothing is remembered of what was asked of Rucio: each look asks what rules there are and tells those
//! to end that are not told yet. So a look that was cut off, or whose answer was lost, is done again.
//! The control Rucio dataset has rules of its own, which stay.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RseName, RunKey, Scope};
use tracing::info;

use super::error::PublishError;
use super::flow::Publishing;
use super::withdraw::not_there;
use super::{names, rules};
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ledger::record::{Holder, Publication, PublicationState, RuleEnding, RuleEndingState};
use crate::registry::record::RunRow;
use crate::registry::removal::RunPart;
use crate::rucio::rules::Rule;
use crate::rucio::{Did, DidKind, Exception, Rucio, RucioError};

/// How far Rucio's clock may be ahead of this site's.
const SKEW: Duration = Duration::from_secs(60);
/// Rules of others that are kept with an obligation.
const HOLDERS_MAX: usize = 16;

/// What Rucio has of a removed run.
pub(super) struct InRucio {
    container: Did,
    /// Its Rucio datasets that are in the container.
    attached: Vec<Did>,
    /// This account's rules that end.
    pub(super) ours: Vec<Rule>,
    /// The others.
    pub(super) others: Vec<Rule>,
    /// Whether there is any DID of it.
    is_there: bool,
}

impl Publishing {
    /// One look at a run whose rules are to end: ends those that may end now, and strikes the obligation
    /// out where it is met. Returns how it stands; none: it is met.
    ///
    /// # Errors
    ///
    /// Where Rucio or the ledger fails: it is kept with the obligation.
    pub fn end_rules(
        &self,
        rucio: &Rucio,
        ending: &RuleEnding,
    ) -> Result<Option<RuleEnding>, PublishError> {
        let looked = self.look(rucio, ending);
        let now = self.ground.clock.now();
        let left = match looked {
            Ok(None) => {
                self.ground.ledger.strike_rule_ending(ending)?;
                info!(run = %ending.run.name, ended = ending.ended, "its rules have ended in Rucio");
                return Ok(None);
            }
            Ok(Some(left)) => RuleEnding {
                problem: None,
                hint: None,
                changed_at: now,
                ..left
            },
            Err(error) => {
                if !error.is_interruption() && !error.is_fenced() {
                    self.ground.ledger.note_rule_endings(&[RuleEnding {
                        problem: Some(error_chain(&error)),
                        hint: error.hint(),
                        changed_at: now,
                        ..ending.clone()
                    }])?;
                }
                return Err(error);
            }
        };
        self.ground
            .ledger
            .note_rule_endings(std::slice::from_ref(&left))?;
        Ok(Some(left))
    }

    /// One look at all runs whose rules are to end. One that fails holds up no other.
    ///
    /// # Errors
    ///
    /// The first one.
    pub fn end_all_rules(
        &self,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), PublishError> {
        let mut ended = Ok(());
        for ending in self.ground.ledger.rule_endings()? {
            if go_on().is_break() {
                return Err(PublishError::Interrupted);
            }
            match self.end_rules(self.rucio()?, &ending) {
                Ok(_) => {}
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                // No other would fare better.
                Err(error) if error.is_about_rucio() => return ended.and(Err(error)),
                Err(error) => ended = ended.and(Err(error)),
            }
        }
        ended
    }

    fn look(&self, rucio: &Rucio, ending: &RuleEnding) -> Result<Option<RuleEnding>, PublishError> {
        let found = self.in_rucio(rucio, ending)?;
        if !found.is_there {
            return Ok(None);
        }
        if !found.ours.is_empty() {
            let (waits_for, ended) = self.end_where_told(rucio, ending, &found.ours)?;
            let state = match waits_for {
                Some(_) => RuleEndingState::Waiting,
                None => RuleEndingState::Ending,
            };
            return Ok(Some(RuleEnding {
                state,
                ended: ending.ended + ended,
                waits_for: waits_for.unwrap_or_default(),
                holders: holders(&found.others),
                ..ending.clone()
            }));
        }
        if ending.rse.is_some() {
            return Ok(None);
        }
        if !found.others.is_empty() {
            return Ok(Some(RuleEnding {
                state: RuleEndingState::Held,
                waits_for: Vec::new(),
                holders: holders(&found.others),
                ..ending.clone()
            }));
        }
        // What comes under the run's name later has rules on the container again, and they must not
        // bring back what was removed.
        for dataset in &found.attached {
            rucio.detach(&found.container, dataset)?;
        }
        Ok(None)
    }

    /// Ends rules, if other sites know why; else says what is waited for. Returns how many it has told.
    fn end_where_told(
        &self,
        rucio: &Rucio,
        ending: &RuleEnding,
        ours: &[Rule],
    ) -> Result<(Option<Vec<RseName>>, u64), PublishError> {
        if let Some(generation) = ending.up_to.filter(|_| !ending.at_once)
            && let Some(waits_for) = self.has_to_arrive(rucio, &ending.run, generation)?
        {
            return Ok((Some(waits_for), 0));
        }
        let now = self.ground.clock.now();
        let (mut ended, mut failed) = (0, None);
        for rule in ours.iter().filter(|rule| !rule.is_ending(now)) {
            match rucio.end_rule(&rule.id) {
                Ok(told) => ended += u64::from(told),
                // One that cannot be ended holds up no other.
                Err(error @ (RucioError::Refused { .. } | RucioError::Failing { .. })) => {
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match failed {
            None => Ok((None, ended)),
            Some(error) => Err(error.into()),
        }
    }

    /// Where the removal manifest of that generation has to arrive before any rule ends; none: it is
    /// everywhere. Nowhere is named where it is not published yet.
    fn has_to_arrive(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        generation: Generation,
    ) -> Result<Option<Vec<RseName>>, PublishError> {
        let publications = self.ground.ledger.publications_of(run)?;
        let is_word = |one: &&Publication| {
            one.content == Content::Removal
                && one.generation >= generation
                && one.state == PublicationState::Published
        };
        let Some(removal) = publications.iter().rfind(is_word) else {
            return Ok(Some(Vec::new()));
        };
        let (rse, manifest) = self.where_is(rucio, removal)?;
        let left = not_there(rucio, &manifest, rules::control_rses(rucio, &rse)?)?;
        Ok((!left.is_empty()).then_some(left))
    }

    /// Asks Rucio for the container of a run, its Rucio datasets and the rules on them.
    pub(super) fn in_rucio(
        &self,
        rucio: &Rucio,
        ending: &RuleEnding,
    ) -> Result<InRucio, PublishError> {
        let container = names::container(&ending.scope, &ending.run);
        let (attached, is_its_own) = attached(rucio, &container, ending)?;
        let mut found = InRucio {
            container: container.clone(),
            ours: Vec::new(),
            others: Vec::new(),
            is_there: false,
            attached,
        };
        let mut dids = vec![container];
        dids.extend(found.attached.iter().cloned());
        // Those that were not attached yet, or are not any more.
        for generation in self.generations(&ending.run)? {
            let dataset = names::instalment(&ending.scope, &ending.run, generation);
            if is_meant(ending, generation) && !dids.contains(&dataset) {
                dids.push(dataset);
            }
        }
        let account = &rucio.config().account;
        let mut only_here = BTreeMap::new();
        for did in dids {
            let rules = match rucio.rules_of(&did) {
                Ok(rules) => rules,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            found.is_there = true;
            for rule in rules {
                let rule = rule?;
                let ends = rule.account == *account
                    && is_from_before(&rule, ending)
                    && (is_its_own || did != found.container)
                    && match &ending.rse {
                        None => true,
                        Some(rse) => is_only_at(rucio, &rule, rse, &mut only_here)?,
                    };
                if ends {
                    found.ours.push(rule);
                } else {
                    found.others.push(rule);
                }
            }
        }
        Ok(found)
    }

    /// The generations of a run that this site knows of.
    fn generations(&self, run: &RunKey) -> Result<Vec<Generation>, PublishError> {
        let ledger = &self.ground.ledger;
        let mut generations: Vec<Generation> = ledger
            .publications_of(run)?
            .into_iter()
            .map(|one| one.generation)
            .collect();
        let accepted = ledger.accepted_generations(&[run])?;
        generations.extend(accepted.into_iter().flatten());
        generations.sort_unstable();
        generations.dedup();
        Ok(generations)
    }

    /// Has the rules of a removed run end that publishing has made while it was removed: the removal's own
    /// obligation may have been met before. Nothing is done where only some of the run goes.
    pub(super) fn end_what_was_made(
        &self,
        run: &RunKey,
        scope: &Scope,
        generation: Generation,
    ) -> Result<(), PublishError> {
        let (registry, ledger) = (&self.ground.registry, &self.ground.ledger);
        let row = registry.run(run)?;
        let is_gone = row.as_ref().is_some_and(RunRow::is_removed)
            || registry.removals()?.iter().any(|removal| {
                let whole = RunPart::whole(run.clone());
                removal.operation.is_of_origin() && removal.parts.contains(&whole)
            });
        if !is_gone {
            return Ok(());
        }
        // What still waits for other sites to know why does so with these.
        let endings = ledger.rule_endings_of(run)?;
        let waits = endings.iter().any(|ending| ending.rse.is_none())
            || registry.notices()?.iter().any(|notice| notice.run == *run);
        let floor = row.and_then(|row| row.floor);
        Ok(ledger.add_rule_endings(&[RuleEnding {
            up_to: floor.max(Some(generation)),
            at_once: !waits,
            ..RuleEnding::new(run.clone(), scope.clone(), self.ground.clock.now())
        }])?)
    }

    /// Whether rules of a run, from before it was removed, are still to end: a new one would be taken for
    /// one of them, and end with it.
    pub(super) fn check_rules_ended(&self, run: &RunKey) -> Result<(), PublishError> {
        let endings = self.ground.ledger.rule_endings_of(run)?;
        if endings.is_empty() {
            return Ok(());
        }
        Err(PublishError::RulesEnd {
            run: run.name.clone(),
        })
    }
}

/// The Rucio datasets of the run in its container that are meant, and whether the container holds nothing
/// else: its name does not tell the origin, so it may hold what is another's, which its rules keep too.
fn attached(
    rucio: &Rucio,
    container: &Did,
    ending: &RuleEnding,
) -> Result<(Vec<Did>, bool), PublishError> {
    let contents = match rucio.contents(container) {
        Ok(contents) => contents,
        Err(error) if is_missing(&error) => return Ok((Vec::new(), true)),
        Err(error) => return Err(error.into()),
    };
    let (mut attached, mut is_its_own) = (Vec::new(), true);
    for content in contents {
        let content = content?;
        let is_dataset = content.scope == ending.scope && content.kind == DidKind::Dataset;
        let generation = names::generation_of(&ending.run, &content.name);
        match generation.filter(|_| is_dataset) {
            Some(generation) if is_meant(ending, generation) => {
                attached.push(Did::new(&content.scope, content.name));
            }
            Some(_) => {}
            None => is_its_own = false,
        }
    }
    Ok((attached, is_its_own))
}

fn is_meant(ending: &RuleEnding, generation: Generation) -> bool {
    ending.up_to.is_none_or(|up_to| generation <= up_to)
}

/// Whether a rule may be one of those that were there when it was asked for. One for an RSE alone that was
/// made later keeps a copy that came back; where Rucio does not say when, it is kept.
fn is_from_before(rule: &Rule, ending: &RuleEnding) -> bool {
    let latest = later(ending.since, SKEW);
    ending.rse.is_none() || rule.made_at().is_some_and(|made| made <= latest)
}

fn is_missing(error: &RucioError) -> bool {
    error.is(&Exception::DataIdentifierNotFound)
}

/// Whether a rule is for one RSE and no other: what it keeps elsewhere must not go with the copy there.
fn is_only_at(
    rucio: &Rucio,
    rule: &Rule,
    rse: &RseName,
    known: &mut BTreeMap<String, bool>,
) -> Result<bool, PublishError> {
    if let Some(is_only) = known.get(&rule.rse_expression) {
        return Ok(*is_only);
    }
    let is_only = rucio.rses(&rule.rse_expression)? == [rse.clone()];
    known.insert(rule.rse_expression.clone(), is_only);
    Ok(is_only)
}

/// Rules, as they are shown: a few, where there are many.
pub(super) fn holders(rules: &[Rule]) -> Vec<Holder> {
    let holder = |rule: &Rule| Holder {
        rule: rule.id.clone(),
        account: rule.account.clone(),
        did: rule.did().to_string(),
        rse_expression: rule.rse_expression.clone(),
    };
    rules.iter().take(HOLDERS_MAX).map(holder).collect()
}

#[cfg(test)]
mod tests {
    use runsync_manifest::name::RepositoryId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_rule_that_was_made_after_a_copy_was_dropped_stays() {
        let rule = |made: &str| -> Rule {
            let json = format!(
                r#"{{"id": "1", "scope": "hsc", "name": "u/a", "account": "runsync", "rse_expression": "A",
                     "copies": 1, "state": "OK", "created_at": {made}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        let run = RunKey {
            origin: RepositoryId(Uuid::from_u128(7)),
            name: "u/a".parse().unwrap(),
        };
        let scope: Scope = "hsc".parse().unwrap();
        let now = "2026-11-22T03:16:16Z".parse().unwrap();
        let anywhere = RuleEnding::new(run, scope, now);
        let here = RuleEnding {
            rse: Some("A".parse().unwrap()),
            ..anywhere.clone()
        };
        for (made, ends) in [
            ("\"Sat, 21 Nov 2026 03:16:16 UTC\"", true),
            ("\"Sun, 22 Nov 2026 03:16:46 UTC\"", true),
            ("\"Sun, 22 Nov 2026 03:18:16 UTC\"", false),
            ("null", false),
        ] {
            assert_eq!(is_from_before(&rule(made), &here), ends, "{made}");
            assert!(is_from_before(&rule(made), &anywhere), "{made}");
        }
    }
}
