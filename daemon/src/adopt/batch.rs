//! One manifest of datasets of one run: checked against the registry one by one, then written.
//!
//! A manifest is registered whole or not at all, so whatever would keep it out is found before it is written: the
//! manifest in the making is read as ingest will read it, asked for its conflicts, and made again without those.
//! Datasets whose dimension records are not here wait; past the patience for that they get a manifest of their
//! own, which is `blocked` in the ledger, shown, and tried again with every change.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufWriter, Seek};
use std::ops::ControlFlow;

use runsync_manifest::content::Content;
use runsync_manifest::entry::DataId;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{Repository, UniverseVersion};
use runsync_manifest::name::{DatasetId, DatasetTypeName, ManifestId, RunKey};
use runsync_manifest::universe;
use runsync_manifest::writer::Packing;
use serde_json::json;
use uuid::Uuid;

use super::error::AdoptError;
use super::flow::{Adopting, Place};
use super::gather::Gathered;
use crate::create::{Draft, Publication, Stated, StatedDataset};
use crate::datastore::{Datastore, manifest_path};
use crate::ingest::parse;
use crate::registry::conflict::Conflict;
use crate::registry::record::{Registration, RowSource};
use crate::removal::Taken;

/// Rounds of leaving out what conflicts. One is enough unless more conflicts than are listed come out.
const ROUNDS_MAX: usize = 8;
/// Conflicts listed for each dataset at hand: its own, its data ID's, its path's, and its dimensions'.
const CONFLICTS_EACH: usize = 16;

/// A manifest on its way into the root.
pub(super) struct Written {
    /// Where it lies.
    pub(super) path: String,
    /// Its generation.
    pub(super) generation: Generation,
}

/// What is to become of the datasets of a batch.
#[derive(Default)]
pub(super) struct Sorted {
    /// They go into a manifest.
    pub(super) fit: Vec<Gathered>,
    /// They lack dimension records.
    pub(super) short: Vec<(Gathered, String)>,
    /// They contradict something.
    pub(super) contrary: Vec<(Gathered, String)>,
    /// The run is being removed: all wait.
    pub(super) removal_under_way: bool,
}

/// A manifest in the making.
struct Made {
    file: File,
    checked: parse::Checked,
}

impl Adopting {
    /// Sorts out what of a batch fits the registry, and writes a manifest of that, where it is anything.
    /// With `short_too`, what lacks dimension records goes in all the same.
    pub(super) fn write_batch(
        &self,
        place: &Place,
        run: &RunKey,
        batch: Vec<Gathered>,
        short_too: bool,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(Sorted, Option<Written>), AdoptError> {
        let site = place.flow.site();
        // From here to the end nobody else registers, or chooses a generation.
        let _turn = site.registration.acquire(progress)?;
        let roots = self.roots();
        let taken = Taken::of(run, &*site.registry, &*site.ledger, roots)?;
        let generation = taken.choose(run, None)?;
        let mut sorted = Sorted {
            fit: batch,
            ..Sorted::default()
        };
        for _ in 0..ROUNDS_MAX {
            let draft = self.draft(&mut sorted)?;
            if sorted.fit.is_empty() {
                return Ok((sorted, None));
            }
            let made = self.make(place, run, generation, draft, Uuid::now_v7())?;
            let conflicts = place.conflicts(run, generation, &made, sorted.fit.len())?;
            if leave_out(&mut sorted, &conflicts, short_too) {
                continue;
            }
            if sorted.removal_under_way {
                return Ok((sorted, None));
            }
            let path = place.install(run, generation, made.file)?;
            return Ok((sorted, Some(Written { path, generation })));
        }
        // Something comes up again and again: all of it is tried again later.
        let left = std::mem::take(&mut sorted.fit);
        let why = "more conflicts than could be told apart".to_owned();
        sorted
            .short
            .extend(left.into_iter().map(|one| (one, why.clone())));
        Ok((sorted, None))
    }

    /// A draft of all that fits; what contradicts another of the batch is left out.
    fn draft(&self, sorted: &mut Sorted) -> Result<Draft, AdoptError> {
        let mut stated = Stated::new(self.universe());
        let mut fit = Vec::with_capacity(sorted.fit.len());
        for one in std::mem::take(&mut sorted.fit) {
            let formatter = self.formatter(&one.product.dataset_type.storage_class);
            let dataset = StatedDataset {
                uuid: one.product.uuid,
                dataset_type: one.product.dataset_type.clone(),
                data_id: one.product.data_id.clone(),
                path: one.path.clone(),
                size: one.message.size,
                checksums: one.message.checksums,
                formatter,
            };
            match stated.add(one.path.as_str(), dataset) {
                Ok(_) => fit.push(one),
                Err(error) => {
                    let reason = crate::error_chain::error_chain(&error);
                    sorted.contrary.push((one, reason));
                }
            }
        }
        sorted.fit = fit;
        Ok(stated.into_draft()?)
    }

    /// Writes a manifest into a file without a name, and reads it as ingest will.
    fn make(
        &self,
        place: &Place,
        run: &RunKey,
        generation: Generation,
        draft: Draft,
        manifest: Uuid,
    ) -> Result<Made, AdoptError> {
        let site = place.flow.site();
        let publication = Publication {
            manifest: ManifestId(manifest),
            content: Content::Additions,
            run: run.name.clone(),
            origin: Repository {
                repository: run.origin,
                site: self.site_name().clone(),
            },
            generation,
            created_at: site.clock.now(),
            scope: None,
            provenance: json!({ "adopted_at": place.rse.to_string() }),
        };
        let key = self.signing_key()?;
        let scratch = tempfile::tempfile_in(&site.scratch).map_err(AdoptError::Scratch)?;
        let output = BufWriter::new(scratch);
        let (written, _) = draft.write(&publication, output, Packing::Plain, Some(&key))?;
        let file = written.into_inner();
        let mut file = file.map_err(|error| AdoptError::Scratch(error.into_error()))?;
        file.rewind().map_err(AdoptError::Scratch)?;
        let to_read = file.try_clone().map_err(AdoptError::Scratch)?;
        let go_on = &mut |_| ControlFlow::Continue(());
        let checked = parse::check(to_read, site.limits, &site.scratch, go_on)?;
        Ok(Made { file, checked })
    }

    /// Writes a manifest of dimension records alone, where no manifest of that UUID is known.
    pub(super) fn write_dimensions(
        &self,
        place: &Place,
        run: &RunKey,
        draft: Draft,
        manifest: Uuid,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Written>, AdoptError> {
        let site = place.flow.site();
        let _turn = site.registration.acquire(progress)?;
        if site.ledger.names_manifest(run, ManifestId(manifest))? {
            return Ok(None);
        }
        let roots = self.roots();
        let taken = Taken::of(run, &*site.registry, &*site.ledger, roots)?;
        let generation = taken.choose(run, None)?;
        let made = self.make(place, run, generation, draft, manifest)?;
        if place.has_compacted(run, &made.checked.rows, progress)? {
            return Ok(None);
        }
        let path = place.install(run, generation, made.file)?;
        Ok(Some(Written { path, generation }))
    }

    pub(super) fn roots(
        &self,
    ) -> impl Iterator<Item = (&runsync_config::root::RootName, &dyn Datastore)> {
        let flows = self.flows().iter();
        flows.map(|flow| (&flow.root().name, &**flow.datastore()))
    }

    pub(super) fn universe(&self) -> UniverseVersion {
        UniverseVersion {
            name: universe::NAMESPACE.to_owned(),
            version: self.universe_version(),
        }
    }
}

impl Place {
    /// What keeps a manifest in the making out of the registry.
    fn conflicts(
        &self,
        run: &RunKey,
        generation: Generation,
        made: &Made,
        datasets: usize,
    ) -> Result<Vec<Conflict>, AdoptError> {
        let registration = Registration {
            run,
            generation,
            digest: made.checked.trailer.sha256,
            root: &self.flow.root().name,
            dataset_types: &made.checked.header.dataset_types,
            trust: false,
            rows: &made.checked.rows as &dyn RowSource,
        };
        let registry = &self.flow.site().registry;
        let limit = datasets.saturating_mul(CONFLICTS_EACH);
        let go_on = &mut |_| ControlFlow::Continue(());
        Ok(registry.conflicts(&registration, limit, go_on)?)
    }

    fn install(
        &self,
        run: &RunKey,
        generation: Generation,
        mut file: File,
    ) -> Result<String, AdoptError> {
        let path = manifest_path(run.origin, &run.name, generation, false);
        file.rewind().map_err(AdoptError::Scratch)?;
        // The turn to choose generations is ours: nothing is there.
        self.flow.datastore().install_manifest(&path, &mut file)?;
        Ok(path)
    }
}

/// Takes what conflicts out of what fits; whether anything was. With `short_too`, missing dimension records keep
/// nothing out.
fn leave_out(sorted: &mut Sorted, conflicts: &[Conflict], short_too: bool) -> bool {
    let mut contrary: BTreeMap<DatasetId, String> = BTreeMap::new();
    let mut types: BTreeMap<&DatasetTypeName, String> = BTreeMap::new();
    let mut missing: HashSet<(&str, &str)> = HashSet::new();
    let mut too_large = None;
    for conflict in conflicts {
        match conflict {
            Conflict::DatasetHeld { uuid, .. } | Conflict::DataIdHeld { uuid, .. } => {
                contrary
                    .entry(*uuid)
                    .or_insert_with(|| conflict.to_string());
            }
            Conflict::PathHeld { claim, .. } => {
                contrary
                    .entry(claim.uuid)
                    .or_insert_with(|| conflict.to_string());
            }
            Conflict::DatasetTypeDiffers { manifest, .. } => {
                types
                    .entry(&manifest.name)
                    .or_insert_with(|| conflict.to_string());
            }
            Conflict::RunTooLarge { .. } => too_large = Some(conflict.to_string()),
            Conflict::RemovalUnderWay { .. } => sorted.removal_under_way = true,
            Conflict::DimensionMissing { element, key } => {
                missing.insert((element, key));
            }
        }
    }
    let before = sorted.fit.len();
    for one in std::mem::take(&mut sorted.fit) {
        let product = &one.product;
        let reason = contrary
            .get(&product.uuid)
            .or_else(|| types.get(&product.dataset_type.name))
            .or(too_large.as_ref());
        if let Some(reason) = reason {
            let reason = reason.clone();
            sorted.contrary.push((one, reason));
        } else if let Some(lacks) = lacks(&product.data_id, &missing).filter(|_| !short_too) {
            sorted.short.push((one, lacks));
        } else {
            sorted.fit.push(one);
        }
    }
    sorted.fit.len() < before
}

/// The first dimension record of a data ID that is missing.
fn lacks(data_id: &DataId<'_>, missing: &HashSet<(&str, &str)>) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let names: BTreeSet<&str> = data_id
        .pairs()
        .iter()
        .map(|(name, _)| name.as_ref())
        .collect();
    names.into_iter().find_map(|name| {
        let element = universe::element(name).filter(|element| element.has_records)?;
        let pairs: Option<Vec<_>> = element
            .required
            .iter()
            .map(|name| Some(((*name).into(), data_id.get(name)?.clone())))
            .collect();
        let mut key = Vec::new();
        DataId::new(pairs?)?.write_canonical(&mut key);
        let key = String::from_utf8(key).ok()?;
        let is_missing = missing.contains(&(element.name, key.as_str()));
        is_missing.then(|| format!("there is no {} record {key}", element.name))
    })
}
