//! Repairs a hundred artifacts at a time, each step durable before the next.
//!
//! examined → declared → noted → records → files → synced → done

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;

use runsync_config::root::{ConfirmLevel, Deleter};
use runsync_manifest::name::ArtifactPath;
use uuid::Uuid;

use super::RepairError;
use super::changed::unchanged;
use super::declare::{Declared, Declaring, Told};
use super::examine::{Depth, artifact, examine, is_read};
use super::flow::{RepairPhase, RepairProgress};
use super::plan::{Item, Left};
use super::report::RootRepaired;
use super::scene::Scene;
use super::unmoved;
use crate::beside::{Ending, beside};
use crate::datastore::{Aside, Deletion, Moved, ToDelete};
use crate::ledger::repairs::{NewRepair, RepairAct, RepairEnd};
use crate::ledger::scans::Span;
use crate::publish::{PublishError, Publishing};
use crate::recovery::untouchable::Beside;
use crate::rucio::Rucio;

/// Artifacts that are repaired before anybody asks whether this process still may.
pub(super) const TOGETHER: usize = 100;
/// Bytes of these, but for one that has more itself: what is read while nobody else may register.
const BYTES_TOGETHER: u64 = 10_000_000_000;
/// Why an artifact is left that others have spoken for.
pub(super) const SPOKEN_FOR: &str = "an open journal or a manifest that is not registered names it";

/// Whose repair it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) repair: Uuid,
    pub(super) plan: &'a str,
    pub(super) account: &'a str,
    /// Whether somebody approved of the very plan.
    pub(super) approved: bool,
}

/// Repairs in one root.
pub(super) struct Acting<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) publishing: &'a Publishing,
    pub(super) order: Order<'a>,
}

/// An item that was noted, under its number.
pub(super) type Noted = (Item, Option<Aside>, u64);

impl Acting<'_> {
    /// Repairs what a plan says of a root.
    pub(super) fn act(
        &self,
        items: &[Item],
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        for some in together(items) {
            self.some(some.to_vec(), report, progress)?;
        }
        Ok(())
    }

    fn some(
        &self,
        items: Vec<Item>,
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        let scene = self.scene;
        // Nobody registers, and nobody journals, from the last look on.
        let turn = &scene.flow.site().registration;
        let _turn = turn.acquire(&mut || progress(RepairPhase::Waiting))?;
        let items = self.standing(items, report, progress)?;
        let mut left = Vec::new();
        let (items, declared) = self.declare(items, &mut left, progress)?;
        // Said is said, whatever comes of it here.
        report.tell(declared.values());
        let items = self.to_be_replaced(items, &declared, &mut left);
        go_on(progress(RepairPhase::Declared))?;
        // Asking Rucio takes its time.
        let (items, more) = examine(scene, items, Depth::Plan, progress)?;
        left.extend(more);
        for left in left {
            report.leave(left);
        }
        if items.is_empty() {
            return Ok(());
        }
        let noted = self.note(items, &declared)?;
        go_on(progress(RepairPhase::Noted))?;
        self.check()?;
        let unchanged = self.records(&noted)?;
        go_on(progress(RepairPhase::Records))?;
        let mut ends = Vec::with_capacity(noted.len());
        let gone_through = self.files((&noted, unchanged), (&mut ends, report), progress);
        // Also of those that were moved before something failed.
        self.recall_moved(&noted, &ends)?;
        gone_through?;
        scene.datastore().sync().map_err(|e| scene.failed(e))?;
        self.record_unmoved(&noted, &ends)?;
        // What was not there in a root that went away meanwhile says nothing.
        self.check()?;
        go_on(progress(RepairPhase::Files))?;
        scene.ledger().end_repairs(&ends, scene.now())?;
        for ((item, ..), end) in noted.iter().zip(&ends) {
            if end.done {
                report.acts.entry(item.act).or_default().add(item.size);
            }
        }
        go_on(progress(RepairPhase::Done(report.repaired())))
    }

    /// Those that are still as the plan says; files are read where it depends on them. The others are left.
    pub(super) fn standing(
        &self,
        items: Vec<Item>,
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<Vec<Item>, RepairError> {
        self.check()?;
        let mut left = Vec::new();
        let items = self.touchable(items, &mut left, progress)?;
        let (items, more) = examine(self.scene, items, Depth::Act, progress)?;
        for left in left.into_iter().chain(more) {
            report.leave(left);
        }
        Ok(items)
    }

    /// Tells Rucio, where it has to be told; `progress` is asked meanwhile.
    fn declare(
        &self,
        items: Vec<Item>,
        left: &mut Vec<Left>,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(Vec<Item>, Declared), RepairError> {
        self.asking(progress, |rucio, ending| {
            let declaring = Declaring {
                scene: self.scene,
                publishing: self.publishing,
                order: self.order,
                ending,
            };
            declaring.declare(rucio, items, left)
        })
    }

    /// Asks Rucio, which may take its time: `progress` is asked meanwhile, and may break it off.
    pub(super) fn asking<T: Send>(
        &self,
        progress: &mut RepairProgress<'_>,
        ask: impl FnOnce(&Result<Rucio, PublishError>, &Ending) -> Result<T, RepairError> + Send,
    ) -> Result<T, RepairError> {
        let answer = beside(&mut || progress(RepairPhase::Working), |ending| {
            let heard = ending.clone();
            let waiting = Arc::new(move || heard.go_on());
            let rucio = self.publishing.rucio().map(|rucio| rucio.waiting(waiting));
            let answer = ask(&rucio, ending)?;
            go_on(ending.go_on())?;
            Ok(answer)
        });
        answer.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Leaves what would have its record again at once, or wait in vain.
    fn to_be_replaced(
        &self,
        items: Vec<Item>,
        declared: &Declared,
        left: &mut Vec<Left>,
    ) -> Vec<Item> {
        let mut stand = Vec::with_capacity(items.len());
        for item in items {
            match self.not_replaced(&item, declared.get(&item.path)) {
                Some(why) => left.push(Left {
                    path: item.path,
                    kind: item.kind,
                    why: why.to_owned(),
                }),
                None => stand.push(item),
            }
        }
        stand
    }

    /// Why an item is left of whose replica Rucio was told so.
    fn not_replaced(&self, item: &Item, told: Option<&Told>) -> Option<&'static str> {
        let root = self.scene.flow.root();
        if item.act != RepairAct::Unstore || self.aside(item).is_some() {
            return None;
        }
        if !matches!(told, Some(Told::Bad | Told::BadBefore)) {
            return Some("its file is Rucio's to replace, and was not declared bad");
        }
        let size = item.identity.map(|identity| identity.size);
        let is_of_size = size.is_some() && size == item.said.as_ref().map(|said| said.size);
        (is_of_size && root.confirm == ConfirmLevel::Size).then_some(
            "its replica was declared bad, and its file is Rucio's to replace: until then it keeps its record, for at level `size` it would be taken for right",
        )
    }

    /// Takes back once more what was confirmed while its file was on its way: whoever looked at it did so before.
    fn recall_moved(&self, noted: &[Noted], ends: &[RepairEnd]) -> Result<(), RepairError> {
        let moved = noted.iter().zip(ends).filter(|((item, aside, _), end)| {
            item.act == RepairAct::Unstore && aside.is_some() && end.done
        });
        let moved: Vec<&Item> = moved.map(|((item, ..), _)| item).collect();
        let looking = self.scene.flow.looking();
        looking.forget_sight_of(moved.iter().map(|item| &item.path));
        self.take_back(moved)
    }

    /// Gives those their records again whose very files could not be moved.
    fn record_unmoved(&self, noted: &[Noted], ends: &[RepairEnd]) -> Result<(), RepairError> {
        let left = noted.iter().zip(ends).filter(|((item, aside, _), end)| {
            item.act == RepairAct::Unstore && aside.is_some() && !end.done
        });
        let unmoved = left.filter_map(|((item, ..), _)| Some((&item.path, item.identity?)));
        unmoved::record(self.scene, &unmoved.collect::<Vec<_>>())
    }

    /// Takes records back. What is brought again is waited for; what is not is not here.
    fn take_back<'i>(&self, items: impl IntoIterator<Item = &'i Item>) -> Result<(), RepairError> {
        let (registry, root) = (self.scene.registry(), self.scene.root());
        let (brought, gone): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.is_brought);
        let paths = |items: Vec<&'i Item>| -> Vec<&'i ArtifactPath> {
            items.into_iter().map(|item| &item.path).collect()
        };
        let (brought, gone) = (paths(brought), paths(gone));
        if !brought.is_empty() {
            registry.recall_at(root, &brought)?;
        }
        if !gone.is_empty() {
            registry.forget_at(root, &gone)?;
        }
        Ok(())
    }

    /// Checks that this process may write, and that the root is still the one that was opened.
    pub(super) fn check(&self) -> Result<(), RepairError> {
        self.scene.registry().check_fence()?;
        let checked = self.scene.datastore().check_identity();
        checked.map_err(|error| self.scene.failed(error))
    }

    /// Leaves what a journal or a manifest names that came since the plan was made.
    pub(super) fn touchable(
        &self,
        items: Vec<Item>,
        left: &mut Vec<Left>,
        progress: &mut RepairProgress<'_>,
    ) -> Result<Vec<Item>, RepairError> {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Ok(items);
        };
        let span = Span {
            from: first.path.to_string(),
            until: Some(crate::ledger::scans::after(last.path.as_str())),
        };
        let untouchable = (self.scene).untouchable(&span, RepairPhase::Working, progress)?;
        let doubt = untouchable.doubt().map(str::to_owned);
        let mut beside: Beside<'_> = untouchable.beside()?;
        let mut stand = Vec::with_capacity(items.len());
        for item in items {
            let why = if beside.holds(item.path.as_str())? {
                Some(SPOKEN_FOR.to_owned())
            } else {
                doubt.clone()
            };
            match why {
                Some(why) => left.push(Left {
                    path: item.path,
                    kind: item.kind,
                    why,
                }),
                None => stand.push(item),
            }
        }
        Ok(stand)
    }

    pub(super) fn note(
        &self,
        items: Vec<Item>,
        declared: &Declared,
    ) -> Result<Vec<Noted>, RepairError> {
        let at = self.scene.now();
        let asides: Vec<Option<Aside>> = items.iter().map(|item| self.aside(item)).collect();
        let rows = items.iter().zip(&asides).map(|(item, aside)| NewRepair {
            repair: self.order.repair,
            plan: self.order.plan.to_owned(),
            root: self.scene.root().clone(),
            path: item.path.clone(),
            kind: item.kind,
            act: item.act,
            detail: item.detail.clone(),
            size: item.size,
            identity: item.identity,
            aside: aside.as_ref().map(ToString::to_string),
            account: self.order.account.to_owned(),
            begun_at: at,
            declared: declared
                .get(&item.path)
                .filter(|told| **told != Told::BadBefore)
                .map(ToString::to_string),
            approved: self.order.approved,
        });
        let ids = (self.scene.ledger()).begin_repairs(&rows.collect::<Vec<_>>())?;
        let noted = items.into_iter().zip(asides).zip(ids);
        Ok(noted.map(|((item, aside), id)| (item, aside, id)).collect())
    }

    /// Where an item's file goes. What Rucio has is Rucio's to replace.
    fn aside(&self, item: &Item) -> Option<Aside> {
        let is_moved = match item.act {
            RepairAct::Quarantine => true,
            RepairAct::Unstore => self.scene.flow.root().deleter == Deleter::Runsync,
            RepairAct::Forget | RepairAct::Register | RepairAct::Delete | RepairAct::AddReplica => {
                false
            }
        };
        is_moved.then(|| Aside::of(self.order.repair, &item.path))
    }

    /// Records go before their files, and come after them. For each artifact why its records are not as they are
    /// to be; none: they are.
    fn records(&self, noted: &[Noted]) -> Result<Vec<Option<String>>, RepairError> {
        let items = noted.iter().map(|(item, ..)| item);
        self.take_back(items.filter(|item| item.act.takes_records_back()))?;
        let registry = self.scene.registry();
        let recorded = noted
            .iter()
            .filter(|(item, ..)| item.act == RepairAct::Register);
        let recorded: Vec<_> = recorded.filter_map(|(item, ..)| artifact(item)).collect();
        if !recorded.is_empty() {
            registry.record_at(self.scene.root(), &recorded)?;
        }
        // How many claims were changed does not tell whose.
        let asked = noted.iter().map(|(item, ..)| (&item.path, item.act));
        unchanged(self.scene, &asked.collect::<Vec<_>>())
    }

    fn files(
        &self,
        (noted, unchanged): (&[Noted], Vec<Option<String>>),
        (ends, report): (&mut Vec<RepairEnd>, &mut RootRepaired),
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        for ((item, aside, id), unchanged) in noted.iter().zip(unchanged) {
            let why = match unchanged {
                Some(why) => Some(why),
                None => self.file(item, aside.as_ref())?,
            };
            ends.push(RepairEnd {
                id: *id,
                done: why.is_none(),
            });
            if let Some(why) = why {
                report.leave(Left {
                    path: item.path.clone(),
                    kind: item.kind,
                    why,
                });
            }
            go_on(progress(RepairPhase::File))?;
        }
        Ok(())
    }

    /// Does what is to be done about one file; why that is not done, where it is not.
    fn file(&self, item: &Item, aside: Option<&Aside>) -> Result<Option<String>, RepairError> {
        let Some(identity) = item.identity else {
            return Ok(None);
        };
        let artifact = ToDelete {
            path: &item.path,
            identity,
        };
        let datastore = self.scene.datastore();
        if aside.is_some() || item.act == RepairAct::Delete {
            self.scene.registry().check_fence()?;
        }
        if let Some(aside) = aside {
            let moved = datastore.set_aside(artifact, aside);
            let moved = moved.map_err(|error| self.scene.failed(error))?;
            return Ok(not_moved(moved, aside.as_str()));
        }
        if item.act == RepairAct::Delete {
            let deleted = datastore.delete(&[artifact]);
            let deleted = deleted.map_err(|error| self.scene.failed(error))?;
            return Ok(deleted.first().and_then(|one| not_deleted(*one)));
        }
        Ok(None)
    }
}

/// Items that are repaired together: neither too many nor, but for one, too large.
pub(super) fn together(items: &[Item]) -> impl Iterator<Item = &[Item]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut bytes = 0_u64;
        let fits = |item: &&Item| {
            bytes = bytes.saturating_add(item.size.filter(|_| is_read(item)).unwrap_or(0));
            bytes <= BYTES_TOGETHER
        };
        let count = rest.iter().take(TOGETHER).take_while(fits).count();
        let (some, others) = rest.split_at(count.max(1).min(rest.len()));
        rest = others;
        (!some.is_empty()).then_some(some)
    })
}

pub(super) fn go_on(flow: ControlFlow<()>) -> Result<(), RepairError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(RepairError::Interrupted),
    }
}

/// Why a file was not moved; none: it was.
pub(super) fn not_moved(moved: Moved, to: &str) -> Option<String> {
    match moved {
        Moved::Moved => None,
        Moved::Absent => Some("it is gone".to_owned()),
        Moved::Other(_) => Some("another file lies there by now".to_owned()),
        Moved::Irregular => Some("something lies there that is no file".to_owned()),
        Moved::Taken => Some("something lies already where it was to be moved to".to_owned()),
        Moved::Failed(fault) => Some(format!("it cannot be moved: {fault}")),
        Moved::Astray => Some(format!(
            "another file that came to lie there was moved instead, and cannot be put back: it is `{to}` in the root"
        )),
    }
}

fn not_deleted(deletion: Deletion) -> Option<String> {
    match deletion {
        Deletion::Deleted => None,
        Deletion::Absent => Some("it is gone".to_owned()),
        Deletion::Other(_) => Some("another file lies there by now".to_owned()),
        Deletion::Irregular => Some("something lies there that is no file".to_owned()),
        Deletion::Failed(fault) => Some(format!("it cannot be deleted: {fault}")),
    }
}
