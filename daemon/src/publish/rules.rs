//! The rules that published data gets.
//!
//! A run's container has one rule at this site's own RSE, so that nobody else's rule can end the last
//! copy here, and those of configuration; the control Rucio dataset has one at each RSE that takes part.

use runsync_config::rucio::{Notify, Rule};
use runsync_manifest::name::{RseName, RunName};

use super::error::PublishError;
use crate::rucio::rules::NewRule;
use crate::rucio::{Did, Rucio};

/// For whoever reads it in Rucio.
const OWN: &str = "runsync: kept where it was made";
const CONFIGURED: &str = "runsync: configured for published runs";
const AGAIN: &str = "runsync: wanted here again";
const CONTROL: &str = "runsync: manifests for all sites that take part";

/// The rules of a run's container.
pub(super) fn of_run(rucio: &Rucio, run: &RunName, container: &Did, rse: &RseName) -> Vec<NewRule> {
    let mut rules = vec![own(container, rse)];
    let configured = rucio.config().rules.iter().filter(|rule| rule.is_for(run));
    rules.extend(configured.map(|rule| configured_rule(rule, container)));
    rules
}

fn configured_rule(rule: &Rule, container: &Did) -> NewRule {
    NewRule {
        did: container.clone(),
        rse_expression: rule.rse_expression.clone(),
        copies: rule.copies,
        lifetime: rule.lifetime,
        activity: rule.activity.clone(),
        notify: rule.notify.letter(),
        comment: CONFIGURED,
    }
}

/// The rule that has a run come back to an RSE of this site: with the lifetime and activity of the first
/// configured one for runs of that name.
pub(super) fn again(rucio: &Rucio, run: &RunName, container: &Did, rse: &RseName) -> NewRule {
    let configured = rucio.config().rules.iter().find(|rule| rule.is_for(run));
    NewRule {
        lifetime: configured.and_then(|rule| rule.lifetime),
        activity: configured.and_then(|rule| rule.activity.clone()),
        notify: configured.map_or(Notify::Yes, |rule| rule.notify).letter(),
        comment: AGAIN,
        ..own(container, rse)
    }
}

fn own(did: &Did, rse: &RseName) -> NewRule {
    NewRule {
        did: did.clone(),
        rse_expression: rse.to_string(),
        copies: 1,
        lifetime: None,
        activity: None,
        notify: Notify::No.letter(),
        comment: OWN,
    }
}

/// The RSEs that get an origin's manifests: its own first.
pub(super) fn control_rses(rucio: &Rucio, own: &RseName) -> Result<Vec<RseName>, PublishError> {
    let mut rses = vec![own.clone()];
    if let Some(expression) = &rucio.config().publish.control_rses {
        let others = rucio.rses(expression)?;
        if others.is_empty() {
            return Err(PublishError::NoControlRse {
                expression: expression.clone(),
            });
        }
        rses.extend(others.into_iter().filter(|rse| rse != own));
    }
    Ok(rses)
}

/// The rules of an origin's control Rucio dataset.
pub(super) fn of_control(control: &Did, rses: &[RseName]) -> Vec<NewRule> {
    let rule = |rse: &RseName| NewRule {
        notify: Notify::Yes.letter(),
        comment: CONTROL,
        ..own(control, rse)
    };
    rses.iter().map(rule).collect()
}
