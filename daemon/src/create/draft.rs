//! A manifest in the making: what its run holds, before and after measuring.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use jiff::Timestamp;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::content::Content;
use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::name::{ArtifactPath, DatasetId, ManifestId, RunName, Scope};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::trailer::Trailer;
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};

use super::error::{CreateError, Place};
use super::fields::{DatasetTypes, Dimensions, TypeShape};

/// What one artifact of one dataset is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) uuid: DatasetId,
    pub(super) component: Option<Box<str>>,
    /// Index into the draft's dataset types.
    pub(super) dataset_type: usize,
    /// Canonical.
    pub(super) data_id: Box<str>,
    pub(super) path: ArtifactPath,
    /// Index into the draft's formatters: there are few, and many claims.
    pub(super) formatter: Option<usize>,
    /// Size and checksums, once they are measured.
    pub(super) measured: Option<(u64, Checksums)>,
    /// Where it stands: index into the draft's files, and line.
    pub(super) file: usize,
    pub(super) line: u64,
}

/// What a run holds, read from an input and not yet published.
#[derive(Debug)]
pub struct Draft {
    /// The inputs, as the operator named them.
    files: Vec<String>,
    pub(super) universe: UniverseVersion,
    pub(super) types: DatasetTypes,
    pub(super) dimensions: Dimensions,
    pub(super) claims: Vec<Claim>,
    formatters: Vec<Box<str>>,
}

/// Who publishes what as which generation.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The new manifest's UUID, version 7.
    pub manifest: ManifestId,
    /// Additions or a snapshot.
    pub content: Content,
    /// The run.
    pub run: RunName,
    /// This repository, the run's origin.
    pub origin: Repository,
    /// The generation.
    pub generation: Generation,
    /// Now.
    pub created_at: Timestamp,
    /// The Rucio scope of the run's files.
    pub scope: Option<Scope>,
    /// Free.
    pub provenance: serde_json::Value,
}

impl Draft {
    pub(super) fn new(universe: UniverseVersion) -> Self {
        Self {
            files: Vec::new(),
            universe,
            types: DatasetTypes::default(),
            dimensions: Dimensions::default(),
            claims: Vec::new(),
            formatters: Vec::new(),
        }
    }

    /// Notes the input that is read next; its index.
    pub(super) fn begin_file(&mut self, file: &str) -> usize {
        self.files.push(file.to_owned());
        self.files.len() - 1
    }

    /// Artifacts named: one for each dataset and component.
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Dimension records that it brings.
    pub fn dimension_records(&self) -> usize {
        self.dimensions.len()
    }

    /// The dimension universe of its data IDs.
    pub fn universe(&self) -> &UniverseVersion {
        &self.universe
    }

    /// The dataset types.
    pub fn dataset_types(&self) -> Vec<DatasetType> {
        self.types.definitions()
    }

    pub(super) fn add_type(
        &mut self,
        definition: DatasetType,
        place: &Place,
    ) -> Result<(), CreateError> {
        let shape = TypeShape::new(definition, &self.universe, place)?;
        self.types.add(shape, place)
    }

    /// The index of a formatter, kept once.
    pub(super) fn formatter(&mut self, formatter: &str) -> usize {
        let known = self.formatters.iter().position(|kept| **kept == *formatter);
        known.unwrap_or_else(|| {
            self.formatters.push(formatter.into());
            self.formatters.len() - 1
        })
    }

    /// Sorts the claims by UUID and component, and finds what contradicts itself.
    pub(super) fn settle(&mut self) -> Result<(), CreateError> {
        self.claims
            .sort_by(|a, b| (a.uuid, &a.component).cmp(&(b.uuid, &b.component)));
        for pair in self.claims.windows(2) {
            if let [a, b] = pair
                && let Some(problem) = contradiction(a, b)
            {
                return Err(self.contradicts(b, problem));
            }
        }
        let mut held: BTreeMap<(usize, &str), DatasetId> = BTreeMap::new();
        for claim in &self.claims {
            let key = (claim.dataset_type, &*claim.data_id);
            if *held.entry(key).or_insert(claim.uuid) != claim.uuid {
                let problem = "has the dataset type and data ID of another one";
                return Err(self.contradicts(claim, problem));
            }
        }
        Ok(())
    }

    fn contradicts(&self, claim: &Claim, problem: &'static str) -> CreateError {
        CreateError::Contradiction {
            place: Place {
                file: self.files.get(claim.file).cloned().unwrap_or_default(),
                line: claim.line,
            },
            dataset: claim.uuid,
            problem,
        }
    }

    /// Writes the manifest: dimension lines in foreign-key order, dataset lines by UUID.
    ///
    /// Returns the output, not synced, and the trailer.
    ///
    /// # Errors
    ///
    /// [`CreateError::Unmeasured`] before measuring, [`CreateError::Write`] where
    /// writing fails or the publication breaks a rule of the format.
    pub fn write<W: Write>(
        self,
        publication: &Publication,
        output: W,
        packing: Packing,
        key: Option<&SigningKey>,
    ) -> Result<(W, Trailer), CreateError> {
        let types = self.used_types();
        let header = publication.header(self.universe, types.into_values().collect());
        let mut writer = Writer::new(output, packing, &header)?;
        let lines: Vec<DimensionRecords> = self.dimensions.into_lines();
        for line in &lines {
            writer.dimension(line)?;
        }
        for claim in &self.claims {
            let formatter = claim
                .formatter
                .and_then(|index| self.formatters.get(index))
                .map(AsRef::as_ref);
            writer.dataset(&entry(claim, &self.types, formatter)?)?;
        }
        Ok(writer.finish(key)?)
    }

    /// The dataset types that claims use; an export may define others.
    fn used_types(&self) -> BTreeMap<usize, DatasetType> {
        let used: BTreeSet<_> = self.claims.iter().map(|claim| claim.dataset_type).collect();
        used.into_iter()
            .filter_map(|index| Some((index, self.types.get(index)?.definition.clone())))
            .collect()
    }
}

impl Publication {
    fn header(&self, universe: UniverseVersion, dataset_types: Vec<DatasetType>) -> Header {
        Header {
            format: FORMAT,
            manifest: self.manifest,
            content: self.content,
            run: self.run.clone(),
            origin: self.origin.clone(),
            holder: None,
            generation: self.generation,
            created_at: self.created_at.to_string(),
            scope: self.scope.clone(),
            universe,
            dataset_types,
            provenance: self.provenance.clone(),
        }
    }
}

fn contradiction(a: &Claim, b: &Claim) -> Option<&'static str> {
    if a.uuid != b.uuid {
        return None;
    }
    if a.component == b.component {
        return Some("comes twice");
    }
    if (a.dataset_type, &a.data_id) != (b.dataset_type, &b.data_id) {
        return Some("has two data IDs or dataset types");
    }
    None
}

fn entry<'a>(
    claim: &'a Claim,
    types: &'a DatasetTypes,
    formatter: Option<&'a str>,
) -> Result<DatasetEntry<'a>, CreateError> {
    let (size, checksums) = claim.measured.ok_or_else(|| CreateError::Unmeasured {
        path: claim.path.clone(),
    })?;
    let dataset_type = types
        .get(claim.dataset_type)
        .map_or("", |shape| shape.definition.name.as_str());
    Ok(DatasetEntry {
        uuid: claim.uuid,
        dataset_type: dataset_type.into(),
        // Canonical JSON of our own making always parses.
        data_id: serde_json::from_str(&claim.data_id).unwrap_or_default(),
        path: claim.path.as_str().into(),
        size,
        checksums,
        formatter: formatter.map(Into::into),
        component: claim.component.as_deref().map(Into::into),
    })
}
