//! Tells Rucio of files that are recorded here, are there and right, and of which it has no replica here any more.
//!
//! Nothing is changed here. Rucio goes on with the replica as its rules say; one that no rule has ever kept stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runsync_config::repair::SiteOnly;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::RepairError;
use super::act::{Acting, Noted, go_on, together};
use super::declare::Declared;
use super::examine::artifact;
use super::flow::{RepairOrder, RepairPhase, RepairProgress};
use super::plan::{Item, Left, RootPlan};
use super::report::RootRepaired;
use super::scene::Scene;
use super::share;
use crate::error_chain::error_chain;
use crate::ledger::repairs::RepairEnd;
use crate::ledger::scans::{DriftFilter, DriftKind, DriftSide, Span};
use crate::publish::PublishError;
use crate::rucio::Rucio;

/// Whether replicas are added in a root at all. Where Rucio has lost more than a share of them it is Rucio's list that
/// is wrong, and a note says so.
pub(super) fn are_added(
    scene: &Scene<'_>,
    order: &RepairOrder,
    plan: &mut RootPlan,
) -> Result<bool, RepairError> {
    let is_meant = order.kind.is_none_or(|kind| kind == DriftKind::SiteOnly);
    if !is_meant || scene.policy.site_only != SiteOnly::AddReplica {
        return Ok(false);
    }
    let counts = scene.ledger().drift_counts(&DriftFilter {
        root: Some(scene.root().clone()),
        kind: Some(DriftKind::SiteOnly),
        side: Some(DriftSide::Records),
        span: Span::all(),
        ignored: true,
    })?;
    let count: u64 = counts.into_iter().map(|(_, count)| count).sum();
    if count == 0 {
        return Ok(false);
    }
    let (records, most) = (share::records(scene)?, scene.policy.share_max);
    if most.is_exceeded_by(count, records) {
        plan.left += count;
        plan.notes.push(format!(
            "Rucio has no replica of {count} of {records} records, which is more than the share {most} (`[repair] share_max`): it is told of none; see what Rucio lists at this RSE"
        ));
        return Ok(false);
    }
    Ok(true)
}

/// When the last comparison of all records with Rucio began.
pub(super) fn compared(scene: &Scene<'_>) -> Result<Option<Timestamp>, RepairError> {
    let row = (scene.ledger()).scan(scene.root(), DriftSide::Records.scope())?;
    Ok(row.and_then(|row| row.whole_begun_at))
}

impl Acting<'_> {
    /// Adds the replicas that a plan names.
    pub(super) fn add_replicas(
        &self,
        items: &[Item],
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        for some in together(items) {
            self.add_some(some.to_vec(), report, progress)?;
        }
        Ok(())
    }

    fn add_some(
        &self,
        items: Vec<Item>,
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        let scene = self.scene;
        // What is recorded, and right, stays so until Rucio has heard of it.
        let turn = &scene.flow.site().registration;
        let _turn = turn.acquire(&mut || progress(RepairPhase::Waiting))?;
        let items = self.standing(items, report, progress)?;
        if items.is_empty() {
            return Ok(());
        }
        let noted = self.note(items, &Declared::default())?;
        go_on(progress(RepairPhase::Noted))?;
        self.check()?;
        let mut failed = self.asking(progress, |rucio, _| match rucio {
            Ok(rucio) => Ok(self.tell(rucio, &noted)),
            Err(error) => Ok(not_told(noted.iter().map(|(item, ..)| item), error)),
        })?;
        self.check()?;
        let mut ends = Vec::with_capacity(noted.len());
        for (item, _, id) in &noted {
            let why = failed.remove(&item.path);
            let done = why.is_none();
            ends.push(RepairEnd { id: *id, done });
            match why {
                None => report.acts.entry(item.act).or_default().add(item.size),
                Some(why) => report.leave(Left {
                    path: item.path.clone(),
                    kind: item.kind,
                    why,
                }),
            }
        }
        scene.ledger().end_repairs(&ends, scene.now())?;
        go_on(progress(RepairPhase::Done(report.repaired())))
    }

    /// Tells Rucio, run by run: a file may be known in the scope of any that names it. Returns why it has not taken
    /// artifacts.
    fn tell(&self, rucio: &Rucio, noted: &[Noted]) -> BTreeMap<ArtifactPath, String> {
        let mut items: Vec<&Item> = noted.iter().map(|(item, ..)| item).collect();
        let mut failed = BTreeMap::new();
        for nth in 0.. {
            let mut runs: BTreeMap<&RunKey, Vec<&Item>> = BTreeMap::new();
            for item in items {
                if let Some(run) = item.said.as_ref().and_then(|said| said.runs.get(nth)) {
                    failed.remove(&item.path);
                    runs.entry(run).or_default().push(item);
                }
            }
            if runs.is_empty() {
                break;
            }
            items = Vec::new();
            for (run, of_run) in runs {
                failed.extend(self.tell_of(rucio, run, &of_run));
                let is_left = |item: &&Item| failed.contains_key(&item.path);
                items.extend(of_run.into_iter().filter(is_left));
            }
        }
        failed
    }

    fn tell_of(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        items: &[&Item],
    ) -> BTreeMap<ArtifactPath, String> {
        let artifacts: Vec<_> = items.iter().filter_map(|item| artifact(item)).collect();
        let added = (self.publishing).add_here(rucio, self.scene.root(), run, &artifacts);
        match added {
            Ok(left) => left.into_iter().collect(),
            Err(error) => not_told(items.iter().copied(), &error),
        }
    }
}

/// Why Rucio was told of none of some items.
fn not_told<'i>(
    items: impl Iterator<Item = &'i Item>,
    error: &PublishError,
) -> BTreeMap<ArtifactPath, String> {
    let why = format!("Rucio cannot be told of it: {}", error_chain(error));
    let left = items.map(|item| (item.path.clone(), why.clone()));
    left.collect()
}
