//! What a repair plans, and why it leaves the rest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runsync::file_identity::FileIdentity;
use runsync::ledger::repairs::RepairAct;
use runsync::ledger::scans::{DriftKind, Span};

use super::scan::Finding;
use super::{Lying, Model, Standing, fold, later};
use crate::scene::bytes;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) below: Option<String>,
    pub(crate) kind: Option<DriftKind>,
    /// Whether dark files are to be deleted, which the root does not allow.
    pub(crate) delete_dark: bool,
}

/// What is done about one artifact.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) kind: DriftKind,
    pub(crate) act: RepairAct,
    pub(crate) identity: Option<FileIdentity>,
    /// Whether it may as well be left: something is spelled as it is that no pass has found.
    pub(crate) may_be_left: bool,
}

/// Why nothing is done at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Clock,
    Share,
}

/// A plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) refused: Option<Refused>,
    pub(crate) items: Vec<Item>,
    pub(crate) unripe: u64,
    pub(crate) reported: u64,
    /// By path, why: for the count of cases.
    pub(crate) left: Vec<(String, &'static str)>,
    /// Findings that somebody ignores, which would be repaired else.
    pub(crate) ignored: u64,
    pub(crate) too_large: bool,
}

impl Plan {
    /// How many artifacts each act is about.
    pub(crate) fn acts(&self) -> BTreeMap<RepairAct, u64> {
        let mut acts = BTreeMap::new();
        for item in &self.items {
            *acts.entry(item.act).or_default() += 1;
        }
        acts
    }

    /// Whether it is known to the last artifact.
    pub(crate) fn is_certain(&self) -> bool {
        !self.items.iter().any(|item| item.may_be_left)
    }
}

impl Model {
    pub(crate) fn refusal(&self, now: Timestamp) -> Option<Refused> {
        let is_dark = |finding: &&Finding| finding.kind == DriftKind::Dark;
        let dark = self.findings.values().filter(is_dark).count();
        let amiss = self.findings.len() - dark;
        if self.doubts_clock(now) {
            Some(Refused::Clock)
        } else if self.exceeds_share(dark) || self.exceeds_share(amiss) {
            Some(Refused::Share)
        } else {
            None
        }
    }

    /// What would be done.
    pub(crate) fn plan(&mut self, ask: &Ask, now: Timestamp) -> Plan {
        self.watch.witness(now);
        let mut plan = Plan {
            refused: self.refusal(now),
            ..Plan::default()
        };
        if plan.refused.is_some() {
            return plan;
        }
        let span = match &ask.below {
            None => Span::all(),
            Some(folder) => Span {
                from: format!("{folder}/"),
                until: Some(format!("{folder}0")),
            },
        };
        for (path, finding) in &self.findings {
            if !span.holds(path) || ask.kind.is_some_and(|kind| kind != finding.kind) {
                continue;
            }
            let Some(act) = self.act_of(finding, ask.delete_dark) else {
                plan.reported += u64::from(!finding.ignored);
                continue;
            };
            let item = self.item(path, finding, act);
            let why = self.why_left(&item, now);
            match why {
                _ if finding.ignored => {
                    let is_kept = why.is_none() && self.is_ripe(finding, now);
                    plan.ignored += u64::from(is_kept);
                }
                _ if !self.is_ripe(finding, now) => plan.unripe += 1,
                Some(why) => plan.left.push((path.clone(), why)),
                None => plan.items.push(item),
            }
        }
        plan.too_large = self.is_too_large(plan.items.len(), now);
        plan
    }

    /// Whether so many artifacts are more than may be repaired unasked, with those of the time that passes lie apart.
    fn is_too_large(&self, count: usize, now: Timestamp) -> bool {
        let recent = |(at, _): &&(Timestamp, String)| later(*at, self.policy.apart) >= now;
        let recent = self.unasked.iter().filter(recent).count();
        count > 0 && (count + recent) as u64 > self.policy.artifacts_max
    }

    fn item(&self, path: &str, finding: &Finding, act: RepairAct) -> Item {
        let is_twin = |other: &&String| *other != path && fold(other) == fold(path);
        let unseen = |other: &String| !self.findings.contains_key(other);
        let mut twins = self.files.keys().chain(self.claims.keys()).filter(is_twin);
        Item {
            path: path.to_owned(),
            kind: finding.kind,
            act,
            identity: finding.identity,
            may_be_left: twins.any(unseen),
        }
    }

    fn act_of(&self, finding: &Finding, delete: bool) -> Option<RepairAct> {
        let act = match finding.kind {
            DriftKind::Lost => RepairAct::Forget,
            DriftKind::Corrupt => RepairAct::Unstore,
            DriftKind::Dark if finding.claimed => RepairAct::Register,
            DriftKind::Dark if delete => return Some(RepairAct::Delete),
            DriftKind::Dark => RepairAct::Quarantine,
            DriftKind::Irregular
            | DriftKind::SiteOnly
            | DriftKind::RucioDiffers
            | DriftKind::RucioState
            | DriftKind::RucioOnly => return None,
        };
        self.policy.acts.contains(&act).then_some(act)
    }

    /// Whether two passes that lie apart saw the same, and a whole one that began since.
    fn is_ripe(&self, finding: &Finding, now: Timestamp) -> bool {
        let whole = self.passes.get("").and_then(|pass| pass.whole_begun_at);
        self.unchanged_since(finding).is_some_and(|since| {
            later(since, self.policy.apart) <= finding.last_seen
                && finding.last_seen <= now
                && whole.is_some_and(|whole| since <= whole)
        })
    }

    fn why_left(&self, item: &Item, now: Timestamp) -> Option<&'static str> {
        if self.is_spoken_for(&item.path) {
            Some("journaled or named by a manifest that is not registered")
        } else if self.has_twin(&item.path) {
            Some("twin")
        } else {
            self.fitness(item, now).err()
        }
    }

    /// Whether an artifact is still as it was found.
    pub(super) fn fitness(&self, item: &Item, now: Timestamp) -> Result<(), &'static str> {
        let file = self.files.get(&item.path);
        let standing = self.standing(&item.path);
        if self.is_busy(&item.path) {
            return Err("a removal is under way");
        }
        match item.act {
            RepairAct::Forget if file.is_some() => Err("it is back"),
            RepairAct::Forget if self.links.contains(&item.path) => Err("a link lies there"),
            RepairAct::Forget => stands(standing, Standing::Recorded),
            RepairAct::Unstore => {
                is_same(item, file)?;
                stands(standing, Standing::Recorded)
            }
            RepairAct::Register => {
                self.is_old_same(item, now)?;
                let claim = self.claims.get(&item.path);
                if claim.is_some_and(|claim| !self.runs[&claim.run].wanted) {
                    return Err("not wanted");
                }
                stands(standing, Standing::Absent)?;
                let fits = file.is_some_and(|file| file.bytes.len() == bytes(&item.path).len());
                fits.then_some(()).ok_or("wrong")
            }
            RepairAct::AddReplica => unreachable!("there is no Rucio"),
            RepairAct::Quarantine | RepairAct::Delete => {
                is_same(item, file)?;
                if standing.is_some() {
                    return Err("a dataset names it by now");
                }
                if item.act == RepairAct::Delete {
                    return Err("deletion is not allowed");
                }
                self.is_old_same(item, now)
            }
        }
    }

    fn is_old_same(&self, item: &Item, now: Timestamp) -> Result<(), &'static str> {
        let file = self.files.get(&item.path);
        is_same(item, file)?;
        let is_old = file.is_some_and(|file| self.is_old(file.changed_ns, now));
        is_old.then_some(()).ok_or("young")
    }

    /// The same at the moment of the act, where files are read.
    pub(super) fn closer(&self, item: &Item, now: Timestamp) -> Result<(), &'static str> {
        self.fitness(item, now)?;
        let is_right = self.is_right(&item.path);
        if item.act == RepairAct::Unstore && is_right {
            Err("right")
        } else if item.act == RepairAct::Register && !is_right {
            Err("wrong")
        } else {
            Ok(())
        }
    }
}

fn stands(standing: Option<Standing>, as_it: Standing) -> Result<(), &'static str> {
    if standing == Some(as_it) {
        Ok(())
    } else {
        Err("its record has changed")
    }
}

fn is_same(item: &Item, file: Option<&Lying>) -> Result<(), &'static str> {
    match file {
        None => Err("gone"),
        Some(file) if Some(file.identity) != item.identity => Err("replaced or changed"),
        Some(_) => Ok(()),
    }
}
