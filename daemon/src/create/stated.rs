//! A draft of artifacts whose sizes and checksums somebody else states: nothing is measured.
//!
//! Each dataset is taken or refused for itself, so that one that is wrong keeps out no other.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::checksum::Checksums;
use runsync_manifest::entry::{DataId, DataValue};
use runsync_manifest::header::{DatasetType, UniverseVersion};
use runsync_manifest::name::{ArtifactPath, DatasetId};

use super::draft::{Claim, Draft};
use super::error::{CreateError, Place};

/// A draft in the making.
#[derive(Debug)]
pub struct Stated {
    draft: Draft,
    datasets: BTreeSet<DatasetId>,
    data_ids: BTreeMap<(usize, Box<str>), DatasetId>,
    artifacts: BTreeMap<ArtifactPath, (u64, Checksums)>,
}

/// One dataset in one artifact, as it is stated.
#[derive(Debug, Clone)]
pub struct StatedDataset<'a> {
    /// The dataset.
    pub uuid: DatasetId,
    /// Its type; dimensions may be all of them, or the required ones.
    pub dataset_type: DatasetType,
    /// Its data ID; implied dimensions are left out.
    pub data_id: DataId<'a>,
    /// Where its artifact lies.
    pub path: ArtifactPath,
    /// The artifact's size in bytes.
    pub size: u64,
    /// The artifact's checksums.
    pub checksums: Checksums,
    /// What reads it.
    pub formatter: Option<&'a str>,
}

impl Stated {
    /// Nothing yet, in a dimension universe.
    pub fn new(universe: UniverseVersion) -> Self {
        Self {
            draft: Draft::new(universe),
            datasets: BTreeSet::new(),
            data_ids: BTreeMap::new(),
            artifacts: BTreeMap::new(),
        }
    }

    /// Datasets taken.
    pub fn len(&self) -> usize {
        self.datasets.len()
    }

    /// Whether none is taken.
    pub fn is_empty(&self) -> bool {
        self.datasets.is_empty()
    }

    /// Takes a dataset, and returns its canonical data ID. `source` is what errors call where it is stated.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or what of those taken before it contradicts: then it is not taken.
    pub fn add(
        &mut self,
        source: &str,
        stated: StatedDataset<'_>,
    ) -> Result<Box<str>, CreateError> {
        let place = Place {
            file: source.to_owned(),
            line: 1,
        };
        let uuid = stated.uuid;
        let contradicts = |problem| CreateError::Contradiction {
            place: place.clone(),
            dataset: uuid,
            problem,
        };
        if self.datasets.contains(&uuid) {
            return Err(contradicts("comes twice"));
        }
        let name = stated.dataset_type.name.to_string();
        self.draft.add_type(stated.dataset_type, &place)?;
        let dataset_type = self.draft.types.find(&name, &place)?;
        let data_id = self.data_id(dataset_type, &stated.data_id, &place)?;
        let artifact = (stated.size, stated.checksums);
        if self
            .artifacts
            .get(&stated.path)
            .is_some_and(|known| *known != artifact)
        {
            return Err(contradicts(
                "has another artifact at the path of another one",
            ));
        }
        match self.data_ids.entry((dataset_type, data_id.clone())) {
            Entry::Occupied(_) => {
                return Err(contradicts(
                    "has the dataset type and data ID of another one",
                ));
            }
            Entry::Vacant(free) => free.insert(uuid),
        };
        self.datasets.insert(uuid);
        self.artifacts.insert(stated.path.clone(), artifact);
        let formatter = stated.formatter.map(|name| self.draft.formatter(name));
        let file = self.draft.begin_file(source);
        self.draft.claims.push(Claim {
            uuid,
            component: None,
            dataset_type,
            data_id: data_id.clone(),
            path: stated.path,
            formatter,
            measured: Some(artifact),
            file,
            line: 1,
        });
        Ok(data_id)
    }

    fn data_id(
        &self,
        dataset_type: usize,
        data_id: &DataId<'_>,
        place: &Place,
    ) -> Result<Box<str>, CreateError> {
        let given = data_id
            .pairs()
            .iter()
            .map(|(dimension, value)| (dimension.to_string(), owned(value)))
            .collect();
        let shape = self.draft.types.get(dataset_type);
        shape.map_or(Ok("".into()), |shape| {
            shape.data_id(&self.draft.universe, given, place)
        })
    }

    /// The draft of what was taken.
    ///
    /// # Errors
    ///
    /// [`CreateError::Contradiction`], which [`add`](Self::add) has kept out.
    pub fn into_draft(mut self) -> Result<Draft, CreateError> {
        self.draft.settle()?;
        Ok(self.draft)
    }
}

fn owned(value: &DataValue<'_>) -> DataValue<'static> {
    match value {
        DataValue::Integer(number) => DataValue::Integer(*number),
        DataValue::Text(text) => DataValue::Text(text.to_string().into()),
    }
}
