//! Compacting a run's manifests: one snapshot in the place of all.
//!
//! The snapshot says what the registry of the run's origin says, which is what all its manifests
//! together came to. It is written like any manifest, registered here, and published; the older
//! ones are withdrawn once it has arrived wherever manifests go ([`withdraw`](super::withdraw)).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufWriter, Seek, Write};
use std::ops::ControlFlow;

use runsync_config::root::RootName;
use runsync_manifest::content::Content;
use runsync_manifest::dimension::{DimensionRecord, DimensionRecords, canonical_record};
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository};
use runsync_manifest::name::{DatasetId, DatasetTypeName, ManifestId, RunKey, RunName};
use runsync_manifest::reader::{Line, Reader};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::universe;
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::PublishError;
use super::flow::{PublishRoot, Publishing};
use super::order::{Candidate, new_order};
use crate::datastore::manifest_path;
use crate::ledger::record::ManifestState;
use crate::registry::record::{DatasetRow, RecordRow};
use crate::removal::Taken;
use crate::schema::GenerationSchema;

/// Datasets read at once.
const PAGE: usize = 10_000;
/// zstd's own default level.
const ZSTD_LEVEL: i32 = 3;

/// Asked now and then whether to go on.
pub type GoOn<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// The snapshot that stands for a run's older manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compaction {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunName,
    /// Its generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// The root that it lies in.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Its path in the root.
    pub path: String,
    /// Whether this has written it; else it was there, and nothing has come since.
    pub written: bool,
}

impl Publishing {
    /// Writes a snapshot of a run of this site into its root, where its newest manifest is none, and
    /// orders that it be published once it is registered.
    ///
    /// # Errors
    ///
    /// Where a manifest of the run lies there that is not registered: the snapshot would overtake it.
    pub fn compact(
        &self,
        name: &RunName,
        by: &str,
        go_on: &mut GoOn<'_>,
    ) -> Result<Compaction, PublishError> {
        self.rucio()?;
        let run = RunKey {
            origin: self.ground.repository,
            name: name.clone(),
        };
        let _turn = self.ground.registration.acquire(go_on)?;
        self.check_confirmed(&run)?;
        let candidates = self.candidates(&run)?;
        let Some(newest) = candidates.last() else {
            let run = name.clone();
            return Err(PublishError::NothingToPublish { run });
        };
        self.check_all_registered(&run)?;
        if matches!(newest.content, Content::Snapshot | Content::Removal) {
            let compaction = Compaction {
                run: name.clone(),
                generation: newest.generation,
                root: newest.root.clone(),
                path: newest.path.clone(),
                written: false,
            };
            self.order_floor(&run, &compaction, newest.content, by)?;
            return Ok(compaction);
        }
        let root = self.root_of(newest, &run)?;
        let roots = self.ground.roots.iter();
        let roots = roots.map(|root| (&root.config.name, &*root.datastore));
        let taken = Taken::of(&run, &*self.ground.registry, &*self.ground.ledger, roots)?;
        let generation = taken.choose(&run, None)?;
        let is_packed = has_extension_zst(&newest.path);
        let path = manifest_path(run.origin, &run.name, generation, is_packed);
        let mut file = self.write(&run, &candidates, generation, is_packed, go_on)?;
        if !root.datastore.install_manifest(&path, &mut file)? {
            return Err(PublishError::GenerationTaken {
                run: name.clone(),
                generation,
            });
        }
        let compaction = Compaction {
            run: name.clone(),
            generation,
            root: newest.root.clone(),
            path,
            written: true,
        };
        self.order_floor(&run, &compaction, Content::Snapshot, by)?;
        Ok(compaction)
    }

    fn order_floor(
        &self,
        run: &RunKey,
        compaction: &Compaction,
        content: Content,
        by: &str,
    ) -> Result<(), PublishError> {
        let (root, now) = (compaction.root.clone(), self.ground.clock.now());
        let order = new_order(run, (compaction.generation, content), root, (by, now));
        Ok(self.ground.ledger.order_publications(&[order])?)
    }

    /// What lies in the run's folders and is not registered would be overtaken unread.
    fn check_all_registered(&self, run: &RunKey) -> Result<(), PublishError> {
        for root in &self.ground.roots {
            let (files, errors) = root.datastore.list_manifests_of(run)?;
            if let Some(error) = errors.into_iter().next() {
                return Err(error.into());
            }
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let known = self.ground.ledger.manifests_at(&root.config.name, &paths)?;
            for path in paths {
                let row = known.iter().find(|row| row.location.path == path);
                let is_settled = row.is_some_and(|row| {
                    matches!(
                        row.state,
                        ManifestState::Registered | ManifestState::Superseded
                    )
                });
                if !is_settled {
                    return Err(PublishError::Unregistered {
                        run: run.name.clone(),
                        path: path.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn root_of(&self, candidate: &Candidate, run: &RunKey) -> Result<&PublishRoot, PublishError> {
        let mut roots = self.ground.roots.iter();
        let root = roots.find(|root| root.config.name == candidate.root);
        root.ok_or_else(|| PublishError::NoRse {
            root: candidate.root.clone(),
            run: run.name.clone(),
        })
    }

    /// Writes the snapshot into a file without a name.
    fn write(
        &self,
        run: &RunKey,
        candidates: &[Candidate],
        generation: Generation,
        is_packed: bool,
        go_on: &mut GoOn<'_>,
    ) -> Result<std::fs::File, PublishError> {
        let key = runsync_config::secret::read(&self.ground.signing_key_file)?;
        let key = SigningKey::from_pem(key.expose())?;
        let types = self.types_of(run, go_on)?;
        let header = self.header(run, candidates, generation, types)?;
        let scratch = tempfile::tempfile_in(&self.ground.scratch).map_err(PublishError::Scratch)?;
        let packing = if is_packed {
            Packing::Zstd(ZSTD_LEVEL)
        } else {
            Packing::Plain
        };
        let mut writer = Writer::new(BufWriter::new(scratch), packing, &header)?;
        self.write_dimensions(candidates, run, &mut writer, go_on)?;
        let root = candidates.last().map(|newest| &newest.root);
        self.write_datasets(run, root, &mut writer, go_on)?;
        let (written, _) = writer.finish(Some(&key))?;
        let file = written.into_inner();
        let mut file = file.map_err(|error| PublishError::Scratch(error.into_error()))?;
        file.rewind().map_err(PublishError::Scratch)?;
        Ok(file)
    }

    fn header(
        &self,
        run: &RunKey,
        candidates: &[Candidate],
        generation: Generation,
        dataset_types: Vec<DatasetType>,
    ) -> Result<Header, PublishError> {
        let newest = candidates
            .last()
            .ok_or_else(|| PublishError::NothingToPublish {
                run: run.name.clone(),
            })?;
        let before = self.reader(newest, run)?.header().clone();
        Ok(Header {
            format: FORMAT,
            manifest: ManifestId(Uuid::now_v7()),
            content: Content::Snapshot,
            run: run.name.clone(),
            origin: Repository {
                repository: run.origin,
                site: self.ground.site.clone(),
            },
            holder: None,
            generation,
            created_at: self.ground.clock.now().to_string(),
            scope: before.scope,
            universe: before.universe,
            dataset_types,
            provenance: before.provenance,
        })
    }

    fn reader(
        &self,
        candidate: &Candidate,
        run: &RunKey,
    ) -> Result<Reader<std::fs::File>, PublishError> {
        let root = self.root_of(candidate, run)?;
        let (file, _) = root.datastore.open_manifest(&candidate.path)?;
        Reader::new(file, self.ground.limits).map_err(|source| PublishError::Manifest {
            path: candidate.path.clone(),
            source: Box::new(source),
        })
    }

    /// The definitions of the dataset types that the run has.
    fn types_of(
        &self,
        run: &RunKey,
        go_on: &mut GoOn<'_>,
    ) -> Result<Vec<DatasetType>, PublishError> {
        let mut used: BTreeSet<DatasetTypeName> = BTreeSet::new();
        let mut after: Option<DatasetId> = None;
        loop {
            let page = self.ground.registry.datasets(run, None, after, PAGE)?;
            after = page.last().map(|row| row.uuid);
            let is_last = page.len() < PAGE;
            used.extend(page.into_iter().map(|row| row.dataset_type));
            ask(go_on)?;
            if is_last {
                break;
            }
        }
        let mut types = self.ground.registry.dataset_types()?;
        types.retain(|one| used.contains(&one.name));
        Ok(types)
    }

    /// Writes the records that the run's manifests bring, in foreign-key order: of each the first.
    fn write_dimensions<W: Write>(
        &self,
        candidates: &[Candidate],
        run: &RunKey,
        writer: &mut Writer<W>,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), PublishError> {
        let mut elements: Vec<String> = Vec::new();
        self.each_record(candidates, run, go_on, &mut |element, _| {
            if !elements.iter().any(|known| known == element) {
                elements.push(element.to_owned());
            }
            Ok(())
        })?;
        elements.sort_by_key(|element| universe::foreign_key_rank(element));
        // Element by element, so that the keys of one are in memory at a time.
        for element in elements {
            let mut seen = HashSet::new();
            self.each_record(candidates, run, go_on, &mut |name, record| {
                if name == element && seen.insert(key(name, record)?) {
                    writer.dimension(&DimensionRecords {
                        element: element.clone(),
                        records: vec![record.clone()],
                    })?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn each_record(
        &self,
        candidates: &[Candidate],
        run: &RunKey,
        go_on: &mut GoOn<'_>,
        each: &mut dyn FnMut(&str, &DimensionRecord) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        for candidate in candidates {
            let mut reader = self.reader(candidate, run)?;
            let unreadable = |source| PublishError::Manifest {
                path: candidate.path.clone(),
                source: Box::new(source),
            };
            // They stand before the datasets.
            while let Some(Line::Dimension(line)) = reader.next().map_err(unreadable)? {
                for record in &line.records {
                    each(&line.element, record)?;
                }
                ask(go_on)?;
            }
        }
        Ok(())
    }

    fn write_datasets<W: Write>(
        &self,
        run: &RunKey,
        root: Option<&RootName>,
        writer: &mut Writer<W>,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), PublishError> {
        let mut after: Option<DatasetId> = None;
        loop {
            let datasets = self.ground.registry.datasets(run, None, after, PAGE)?;
            let records = self.ground.registry.records(run, after, PAGE)?;
            after = datasets.last().map(|row| row.uuid);
            let is_last = datasets.len() < PAGE;
            let whole: BTreeSet<DatasetId> = records.iter().map(|record| record.uuid).collect();
            if datasets
                .iter()
                .any(|dataset| !whole.contains(&dataset.uuid))
            {
                // Left out, it would be removed everywhere.
                return Err(PublishError::NotHere {
                    run: run.name.clone(),
                });
            }
            let by_uuid: BTreeMap<DatasetId, DatasetRow> = datasets
                .into_iter()
                .map(|dataset| (dataset.uuid, dataset))
                .collect();
            for record in &records {
                if Some(&record.root) != root {
                    return Err(PublishError::SeveralRoots {
                        run: run.name.clone(),
                    });
                }
                if let Some(dataset) = by_uuid.get(&record.uuid) {
                    writer.dataset(&entry(dataset, record)?)?;
                }
            }
            ask(go_on)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// What tells a record from others of its element.
fn key(element: &str, record: &DimensionRecord) -> Result<String, PublishError> {
    let known = universe::element(element).and_then(|known| universe::record_key(known, record));
    if let Some(key) = known
        && let Ok(key) = serde_json::to_string(&key)
    {
        return Ok(key);
    }
    canonical_record(record).map_err(PublishError::Garbled)
}

fn entry<'a>(
    dataset: &'a DatasetRow,
    record: &'a RecordRow,
) -> Result<DatasetEntry<'a>, PublishError> {
    let data_id = serde_json::from_str(&dataset.data_id);
    Ok(DatasetEntry {
        uuid: dataset.uuid,
        dataset_type: dataset.dataset_type.as_str().into(),
        data_id: data_id.map_err(PublishError::Garbled)?,
        path: record.path.as_str().into(),
        size: record.size,
        checksums: record.checksums,
        formatter: record.formatter.as_deref().map(Into::into),
        component: (!record.component.is_empty()).then(|| record.component.as_str().into()),
    })
}

fn has_extension_zst(path: &str) -> bool {
    path.ends_with(manifest_path::PACKED_SUFFIX)
}

fn ask(go_on: &mut GoOn<'_>) -> Result<(), PublishError> {
    match go_on() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PublishError::Interrupted),
    }
}
