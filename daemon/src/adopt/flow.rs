//! Takes hints about single files: reads, sorts, gathers, and has manifests written and registered.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use runsync_config::adopt::Adopt;
use runsync_config::root::RootName;
use runsync_manifest::name::{RepositoryId, RseName, RunKey, RunName, SiteName, StorageClassName};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::universe;
use tracing::{debug, info, warn};

use super::desk::Desk;
use super::error::AdoptError;
use super::gather::{self, Gathered};
use super::set_aside::Why;
use crate::adopted;
use crate::ingest::{flow, settle};
use crate::ledger::hints::{HintTaker, TakeError};
use crate::ledger::record::{Hint, ManifestState, Taken};
use crate::poison::lock;
use crate::registry::conflict::Conflict;
use crate::telemetry::adopting::{self, Fate};
use crate::worker::Wake;

/// What adopting works with.
#[derive(Debug)]
pub struct Ground {
    /// The site.
    pub site: SiteName,
    /// What is adopted; none: nothing is.
    pub config: Option<Adopt>,
    /// The ingest flow of each root.
    pub flows: Vec<flow::Flow>,
    /// The key that manifests are signed with.
    pub signing_key_file: PathBuf,
}

/// Makes runs of messages about single files.
#[derive(Debug)]
pub struct Adopting {
    ground: Ground,
    pub(super) places: Vec<Place>,
    /// Who confirms artifacts of a root, and is woken where some are new.
    wakes: Mutex<Vec<(RootName, Wake)>>,
}

/// An RSE whose files are adopted, and the root that it is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) rse: RseName,
    pub(super) origin: RepositoryId,
    pub(super) flow: flow::Flow,
}

/// Whose a run is.
enum Whose {
    /// It is adopted, or may be.
    Ours,
    /// Its owner's, who has spoken for it.
    Owners,
    /// Nobody's here: it was removed, or is about to be.
    Gone,
}

impl Adopting {
    /// Adopts on this ground.
    pub fn new(ground: Ground) -> Self {
        let rses = ground.config.iter().flat_map(|config| &config.rses);
        let places = rses.filter_map(|rse| {
            let mut flows = ground.flows.iter();
            let flow = flows.find(|flow| flow.root().rse.as_ref() == Some(rse))?;
            adopting::expect(rse);
            Some(Place {
                rse: rse.clone(),
                origin: adopted::origin_of(rse),
                flow: flow.clone(),
            })
        });
        Self {
            places: places.collect(),
            wakes: Mutex::default(),
            ground,
        }
    }

    /// Whether anything is adopted here.
    pub fn is_on(&self) -> bool {
        !self.places.is_empty()
    }

    /// Has `wake` woken when artifacts of a root are to be confirmed.
    pub fn tell(&self, root: RootName, wake: Wake) {
        lock(&self.wakes).push((root, wake));
    }

    pub(super) fn flows(&self) -> &[flow::Flow] {
        &self.ground.flows
    }

    pub(super) fn site_name(&self) -> &SiteName {
        &self.ground.site
    }

    pub(super) fn universe_version(&self) -> u32 {
        let config = self.ground.config.as_ref();
        config.map_or(universe::VERSION, |config| config.universe)
    }

    pub(super) fn formatter(&self, storage_class: &StorageClassName) -> Option<&str> {
        self.ground.config.as_ref()?.formatter(storage_class)
    }

    pub(super) fn signing_key(&self) -> Result<SigningKey, AdoptError> {
        let pem = runsync_config::secret::read(&self.ground.signing_key_file)?;
        Ok(SigningKey::from_pem(pem.expose())?)
    }

    /// Looks into hints about single files, and answers for each in their order.
    ///
    /// # Errors
    ///
    /// Where registry, ledger or a root do not answer: then all are to be tried again, and what was written is
    /// known by then.
    pub fn look_into(
        &self,
        hints: &[Hint],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Taken>, AdoptError> {
        let Some(first) = self.ground.flows.first() else {
            return Ok(vec![Taken::Done; hints.len()]);
        };
        let site = first.site();
        let mut desk = Desk::of(hints, site.clock.now());
        let looked = if let Some(config) = &self.ground.config {
            self.look(config, &mut desk, progress)
        } else {
            (0..hints.len()).for_each(|index| desk.has_arrived(index));
            Ok(())
        };
        // What was set aside is told also where the rest fails.
        desk.aside.keep(&*site.ledger, desk.now)?;
        looked?;
        if !desk.arrived.is_empty() {
            site.ledger.note_hints(&desk.arrived)?;
        }
        Ok(desk.taken)
    }

    fn look(
        &self,
        config: &Adopt,
        desk: &mut Desk<'_>,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), AdoptError> {
        let groups = self.sort(config, desk, progress)?;
        for ((place, run), group) in groups {
            let indices: Vec<usize> = group.iter().map(|one| one.index).collect();
            if progress().is_break() {
                for index in indices {
                    desk.set(index, Taken::Later(Duration::ZERO));
                }
                continue;
            }
            if let Some(place) = self.places.get(place) {
                self.take_group(config, place, run, group, desk, progress)?;
            }
        }
        Ok(())
    }

    fn take_group(
        &self,
        config: &Adopt,
        place: &Place,
        name: RunName,
        group: Vec<Gathered>,
        desk: &mut Desk<'_>,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), AdoptError> {
        let run = RunKey {
            origin: place.origin,
            name,
        };
        let files = group.len() as u64;
        match place.whose(&run)? {
            Whose::Ours => {}
            Whose::Owners => {
                debug!(run = %run.name, files, "files are of a run whose owner has spoken for it");
                adopting::messages(&place.rse, Fate::NotOurs, files);
                for one in &group {
                    desk.has_arrived(one.index);
                }
                return Ok(());
            }
            Whose::Gone => {
                debug!(run = %run.name, files, "files are of a run that was removed here");
                adopting::messages(&place.rse, Fate::NotOurs, files);
                return Ok(());
            }
        }
        let new = place.leave_known(&run, group, desk)?;
        if new.is_empty() {
            return Ok(());
        }
        let wait = gather::wait(
            &new,
            desk.hints,
            config.batch_files,
            config.batch_age,
            desk.now,
        );
        if let Some(wait) = wait {
            for one in &new {
                desk.set(one.index, Taken::Later(wait));
            }
            return Ok(());
        }
        let mut rest = new;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(config.batch_files));
            let batch = std::mem::replace(&mut rest, later);
            self.take_batch(config, place, &run, batch, desk, progress)?;
        }
        self.compact(config, place, &run, progress)
    }

    fn take_batch(
        &self,
        config: &Adopt,
        place: &Place,
        run: &RunKey,
        batch: Vec<Gathered>,
        desk: &mut Desk<'_>,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), AdoptError> {
        let all: Vec<usize> = batch.iter().map(|one| one.index).collect();
        let (sorted, written) = self.write_batch(place, run, batch, false, progress)?;
        if sorted.removal_under_way {
            for index in all {
                desk.put_off(index);
            }
            return Ok(());
        }
        for (one, reason) in &sorted.contrary {
            desk.set_aside(one.index, &place.rse, &Why::Contrary, reason);
        }
        if let Some(written) = written {
            let files = sorted.fit.len();
            info!(run = %run.name, rse = %place.rse, files, generation = %written.generation, "files adopted");
            self.register(place, written.path)?;
            adopting::messages(&place.rse, Fate::Adopted, files as u64);
        }
        let mut overdue = Vec::new();
        for (one, reason) in sorted.short {
            if desk.age(one.index) < config.dimension_patience {
                debug!(run = %run.name, reason, "file waits for dimension records");
                desk.put_off(one.index);
            } else {
                overdue.push(one);
            }
        }
        if overdue.is_empty() {
            return Ok(());
        }
        let (sorted, written) = self.write_batch(place, run, overdue, true, progress)?;
        for (one, reason) in &sorted.contrary {
            desk.set_aside(one.index, &place.rse, &Why::Contrary, reason);
        }
        if let Some(written) = written {
            warn!(
                run = %run.name,
                files = sorted.fit.len(),
                "files adopted whose dimension records have not come: their manifest is blocked until they do"
            );
            adopting::messages(&place.rse, Fate::Adopted, sorted.fit.len() as u64);
            self.register(place, written.path)?;
        }
        Ok(())
    }

    /// Has a manifest that lies in the root registered now. Where that fails, the sweep finds it.
    pub(super) fn register(&self, place: &Place, path: String) -> Result<(), AdoptError> {
        adopting::manifests(&place.rse, 1);
        let flow = &place.flow;
        let settled = settle::Settled::by_operator(path, flow.site().clock.now());
        let go_on = &mut |_| ControlFlow::Continue(());
        for decision in flow.decide(vec![settled], false, go_on)? {
            if let flow::Decision::Decided(row) = decision
                && row.state != ManifestState::Registered
            {
                let (path, reason) = (&row.location.path, row.reason.as_deref());
                debug!(path, state = %row.state, reason, "manifest of adopted files is not registered");
            }
        }
        for (root, wake) in lock(&self.wakes).iter() {
            if *root == flow.root().name {
                wake.wake();
            }
        }
        Ok(())
    }
}

impl Place {
    fn whose(&self, run: &RunKey) -> Result<Whose, AdoptError> {
        if self.flow.owner_heard_of(&run.name)?.is_some() {
            return Ok(Whose::Owners);
        }
        let registry = &self.flow.site().registry;
        let Some(row) = registry.run(run)? else {
            return Ok(Whose::Ours);
        };
        let run = run.clone();
        let is_going = registry.still_stands(&Conflict::RemovalUnderWay { run })?;
        Ok(if row.is_removed() || is_going {
            Whose::Gone
        } else {
            Whose::Ours
        })
    }

    /// Leaves out what is registered already; what differs from that is told.
    fn leave_known(
        &self,
        run: &RunKey,
        group: Vec<Gathered>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<Gathered>, AdoptError> {
        let registry = &self.flow.site().registry;
        let uuids: Vec<_> = group.iter().map(|one| one.product.uuid).collect();
        let holders = registry.holders(&uuids)?;
        let records = registry.exists(&uuids)?;
        let mut new = Vec::new();
        for ((one, holder), known) in group.into_iter().zip(holders).zip(records) {
            let Some(holder) = holder else {
                new.push(one);
                continue;
            };
            let mut records = known.records.iter();
            let is_same = holder.run == *run
                && holder.dataset.dataset_type == one.product.dataset_type.name
                && records.any(|record| {
                    record.path == one.path
                        && record.size == one.message.size
                        && record.checksums.adler32 == one.message.checksums.adler32
                });
            if is_same {
                adopting::message(&self.rse, Fate::Known);
            } else {
                let (uuid, held) = (holder.dataset.uuid, &holder.run.name);
                let reason = format!(
                    "dataset {uuid} is registered in run `{held}` with another artifact, type or run"
                );
                desk.set_aside(one.index, &self.rse, &Why::Contrary, &reason);
            }
        }
        Ok(new)
    }
}

impl HintTaker for Adopting {
    fn take(
        &self,
        hints: &[Hint],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Taken>, TakeError> {
        Ok(self.look_into(hints, progress)?)
    }
}
