//! Puts one snapshot in the place of an adopted run's many manifests, and deletes those.
//!
//! Files that come one by one make a manifest each, every `batch_age` at most. From `manifests_max` on the run is
//! written anew as the registry has it. Its manifests are this site's own and told to nobody, so that those
//! that the snapshot has superseded may go: nothing but the snapshot is needed to make the registry again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::ops::ControlFlow;

use runsync_config::adopt::Adopt;
use runsync_manifest::content::Content;
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::name::{DatasetId, DatasetTypeName, ManifestId, RunKey};
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use super::error::AdoptError;
use super::flow::{Adopting, Place};
use crate::adopted;
use crate::datastore::{Deletion, manifest_path};
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::registry::record::{DatasetRow, RecordRow};
use crate::removal::Taken;

/// Datasets read at once.
const PAGE: usize = 10_000;
/// zstd's own default level.
const ZSTD_LEVEL: i32 = 3;

impl Adopting {
    /// Compacts a run that has too many manifests. Where one of them is not registered, or the registry does not have
    /// all that they say, nothing is done.
    pub(super) fn compact(
        &self,
        config: &Adopt,
        place: &Place,
        run: &RunKey,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), AdoptError> {
        let rows = place.flow.site().ledger.of_run(run)?;
        let additions = rows.iter().filter(|row| is_of(row, Content::Additions));
        let registered = additions.filter(|row| row.state == ManifestState::Registered);
        let count = registered.count();
        // What cannot be merged is not read again with every manifest that comes.
        let is_turn = !is_of_dimensions(run) || count.is_multiple_of(config.manifests_max);
        if count >= config.manifests_max
            && is_turn
            && let Some(path) = self.write_snapshot(place, run, progress)?
        {
            self.register(place, path)?;
            let rows = place.flow.site().ledger.of_run(run)?;
            let manifests = drop_superseded(place, &rows)?;
            info!(run = %run.name, rse = %place.rse, manifests, "adopted run is compacted");
        }
        Ok(())
    }

    fn write_snapshot(
        &self,
        place: &Place,
        run: &RunKey,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<String>, AdoptError> {
        let site = place.flow.site();
        let _turn = site.registration.acquire(progress)?;
        if !all_registered(place, run)? {
            return Ok(None);
        }
        let taken = Taken::of(run, &*site.registry, &*site.ledger, self.roots())?;
        let generation = taken.choose(run, None)?;
        let is_dimensions = is_of_dimensions(run);
        let snapshot = if is_dimensions {
            self.snapshot_of_dimensions(place, run, generation, progress)?
        } else {
            self.snapshot(place, run, generation)?
        };
        let Some(mut file) = snapshot else {
            return Ok(None);
        };
        let path = manifest_path(run.origin, &run.name, generation, !is_dimensions);
        let datastore = place.flow.datastore();
        Ok(datastore
            .install_manifest(&path, &mut file)?
            .then_some(path))
    }

    /// The snapshot, in a file without a name; none where the registry holds datasets without records.
    fn snapshot(
        &self,
        place: &Place,
        run: &RunKey,
        generation: Generation,
    ) -> Result<Option<File>, AdoptError> {
        let site = place.flow.site();
        let registry = &site.registry;
        let mut types = registry.dataset_types()?;
        let used = types_of(place, run)?;
        types.retain(|one| used.contains(&one.name));
        let header = self.header(place, run, generation, (self.universe(), types));
        let scratch = tempfile::tempfile_in(&site.scratch).map_err(AdoptError::Scratch)?;
        let mut writer = Writer::new(BufWriter::new(scratch), Packing::Zstd(ZSTD_LEVEL), &header)?;
        if !write_datasets(place, run, &mut writer)? {
            return Ok(None);
        }
        self.finish(writer).map(Some)
    }

    /// The same of a run of dimension records, of what its manifests say; none where these cannot be merged.
    fn snapshot_of_dimensions(
        &self,
        place: &Place,
        run: &RunKey,
        generation: Generation,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<File>, AdoptError> {
        let site = place.flow.site();
        let rows = site.ledger.of_run(run)?;
        let registered = rows
            .iter()
            .filter(|row| row.state == ManifestState::Registered);
        let Some(mut merged) = place.merge(registered, progress)? else {
            warn!(run = %run.name, rse = %place.rse, "manifests of dimension records cannot be merged");
            return Ok(None);
        };
        let universe = merged.universe.take().unwrap_or_else(|| self.universe());
        let header = self.header(place, run, generation, (universe, Vec::new()));
        let scratch = tempfile::tempfile_in(&site.scratch).map_err(AdoptError::Scratch)?;
        // Not packed: records are so much alike that a reader would take them for a bomb.
        let mut writer = Writer::new(BufWriter::new(scratch), Packing::Plain, &header)?;
        for line in merged.into_lines()? {
            writer.dimension(&line)?;
        }
        self.finish(writer).map(Some)
    }

    fn header(
        &self,
        place: &Place,
        run: &RunKey,
        generation: Generation,
        (universe, dataset_types): (UniverseVersion, Vec<DatasetType>),
    ) -> Header {
        Header {
            format: FORMAT,
            manifest: ManifestId(Uuid::now_v7()),
            content: Content::Snapshot,
            run: run.name.clone(),
            origin: Repository {
                repository: run.origin,
                site: self.site_name().clone(),
            },
            holder: None,
            generation,
            created_at: place.flow.site().clock.now().to_string(),
            scope: None,
            universe,
            dataset_types,
            provenance: json!({ "adopted_at": place.rse.to_string() }),
        }
    }

    fn finish(&self, writer: Writer<BufWriter<File>>) -> Result<File, AdoptError> {
        let (written, _) = writer.finish(Some(&self.signing_key()?))?;
        let file = written.into_inner();
        let mut file = file.map_err(|error| AdoptError::Scratch(error.into_error()))?;
        file.rewind().map_err(AdoptError::Scratch)?;
        Ok(file)
    }
}

fn is_of_dimensions(run: &RunKey) -> bool {
    run.name.as_str() == adopted::DIMENSIONS_RUN
}

fn is_of(row: &ManifestRow, content: Content) -> bool {
    let summary = row.summary.as_ref();
    summary.is_some_and(|summary| summary.content == content)
}

/// Whether all that lies in the run's folder counts already, or for nothing: a snapshot would overtake the rest unread.
fn all_registered(place: &Place, run: &RunKey) -> Result<bool, AdoptError> {
    let (files, errors) = place.flow.datastore().list_manifests_of(run)?;
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let ledger = &place.flow.site().ledger;
    let known = ledger.manifests_at(&place.flow.root().name, &paths)?;
    let settled = known.iter().filter(|row| {
        matches!(
            row.state,
            ManifestState::Registered | ManifestState::Superseded
        )
    });
    Ok(settled.count() == paths.len())
}

fn types_of(place: &Place, run: &RunKey) -> Result<BTreeSet<DatasetTypeName>, AdoptError> {
    let registry = &place.flow.site().registry;
    let mut used = BTreeSet::new();
    let mut after = None;
    loop {
        let page = registry.datasets(run, None, after, PAGE)?;
        after = page.last().map(|row| row.uuid);
        let is_last = page.len() < PAGE;
        used.extend(page.into_iter().map(|row| row.dataset_type));
        if is_last {
            return Ok(used);
        }
    }
}

/// Writes all datasets of a run; false where one has no record, so that the snapshot would remove it.
fn write_datasets<W: Write>(
    place: &Place,
    run: &RunKey,
    writer: &mut Writer<W>,
) -> Result<bool, AdoptError> {
    let registry = &place.flow.site().registry;
    let mut after: Option<DatasetId> = None;
    loop {
        let datasets = registry.datasets(run, None, after, PAGE)?;
        // A message's file holds one whole dataset, so each has one record.
        let records = registry.records(run, after, PAGE)?;
        after = datasets.last().map(|row| row.uuid);
        let is_last = datasets.len() < PAGE;
        let by_uuid: BTreeMap<DatasetId, &RecordRow> =
            records.iter().map(|record| (record.uuid, record)).collect();
        for dataset in &datasets {
            let Some(record) = by_uuid.get(&dataset.uuid) else {
                return Ok(false);
            };
            writer.dataset(&entry(dataset, record)?)?;
        }
        if is_last {
            return Ok(true);
        }
    }
}

fn entry<'a>(
    dataset: &'a DatasetRow,
    record: &'a RecordRow,
) -> Result<DatasetEntry<'a>, AdoptError> {
    Ok(DatasetEntry {
        uuid: dataset.uuid,
        dataset_type: dataset.dataset_type.as_str().into(),
        data_id: serde_json::from_str(&dataset.data_id).map_err(AdoptError::Garbled)?,
        path: record.path.as_str().into(),
        size: record.size,
        checksums: record.checksums,
        formatter: record.formatter.as_deref().map(Into::into),
        component: None,
    })
}

/// Deletes the files of manifests that are superseded, each only where it is the one that was read, and forgets them.
fn drop_superseded(place: &Place, rows: &[ManifestRow]) -> Result<u64, AdoptError> {
    let (datastore, ledger) = (place.flow.datastore(), &place.flow.site().ledger);
    let root = &place.flow.root().name;
    let superseded =
        |row: &&ManifestRow| row.state == ManifestState::Superseded && row.location.root == *root;
    let mut gone = Vec::new();
    for row in rows.iter().filter(superseded) {
        match datastore.delete_manifest(&row.location.path, row.file)? {
            Deletion::Deleted | Deletion::Absent => gone.push(&row.location),
            other @ (Deletion::Other(_) | Deletion::Irregular | Deletion::Failed(_)) => {
                let path = &row.location.path;
                warn!(root = %root, path, outcome = ?other, "superseded manifest is not deleted");
            }
        }
    }
    datastore.sync()?;
    for location in &gone {
        ledger.forget(location)?;
    }
    Ok(gone.len() as u64)
}
