//! The first line of a manifest: whose run, which generation, which types.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::error::Fault;
use crate::generation::Generation;
use crate::name::{
    DatasetTypeName, ManifestId, RepositoryId, RunKey, RunName, Scope, SiteName, StorageClassName,
};
use crate::rules::{check_depth, check_text, listed, unknown};
use crate::strict::{self, Sorted};
use crate::universe;
use crate::version;

/// The header line, less its `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Major version of the format.
    pub format: u32,
    /// The manifest's own UUID, version 7.
    pub manifest: ManifestId,
    /// What this manifest says about its run.
    pub content: Content,
    /// The run.
    pub run: RunName,
    /// The repository that owns the run.
    pub origin: Repository,
    /// The repository that took the inventory; only in an inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Repository>,
    /// Place in the run's history.
    pub generation: Generation,
    /// When it was written, RFC 3339 in UTC. For people; nothing is ordered by it.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// The Rucio scope of the run's files, where Rucio moves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The dimension universe that data IDs and dimension records are meant in.
    pub universe: UniverseVersion,
    /// The dataset types that the dataset lines use.
    #[serde(default)]
    pub dataset_types: Vec<DatasetType>,
    /// Free: who made the run, from what. Not interpreted.
    #[serde(
        default,
        deserialize_with = "strict::value",
        serialize_with = "sorted",
        skip_serializing_if = "serde_json::Value::is_null"
    )]
    pub provenance: serde_json::Value,
}

/// A Butler repository and the site it stands at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its UUID.
    pub repository: RepositoryId,
    /// Its site.
    pub site: SiteName,
}

/// A dimension universe's name and version, as the Butler's `dimensions.yaml` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UniverseVersion {
    /// Namespace, `daf_butler` for the Butler's own.
    pub name: String,
    /// Version, 8 in November 2026.
    pub version: u32,
}

/// The definition of a dataset type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetType {
    /// Its name.
    pub name: DatasetTypeName,
    /// Its required dimensions; a data ID of this type has exactly these keys.
    /// Order carries no meaning; the writer sorts them.
    pub dimensions: Vec<String>,
    /// Its storage class.
    pub storage_class: StorageClassName,
    /// Whether its datasets may enter CALIBRATION collections.
    #[serde(default)]
    pub is_calibration: bool,
}

impl Header {
    /// The run's identity.
    pub fn run_key(&self) -> RunKey {
        RunKey {
            origin: self.origin.repository,
            name: self.run.clone(),
        }
    }

    /// Who speaks in this manifest and so signs it: the holder in an inventory,
    /// else the origin.
    pub fn speaker(&self) -> &Repository {
        self.holder.as_ref().unwrap_or(&self.origin)
    }

    /// The header as the writer writes it: dataset types by name, and the
    /// dimensions of each by name.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut header = self.clone();
        for dataset_type in &mut header.dataset_types {
            dataset_type.dimensions.sort_unstable();
        }
        header.dataset_types.sort_by(|a, b| a.name.cmp(&b.name));
        header
    }

    /// Checks what the types of the fields cannot say.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), Fault> {
        version::may_write(self.format)?;
        if self.manifest.0.get_version_num() != 7 {
            let found = self.manifest.to_string();
            return Err(Fault::field_text("manifest", &found, "a UUID of version 7"));
        }
        check_repository("origin.repository", &self.origin)?;
        self.check_holder()?;
        if self.generation.epoch == 0 || self.generation.sequence == 0 {
            let found = self.generation.to_string();
            return Err(Fault::field_text(
                "generation",
                &found,
                "epoch and sequence from 1 up",
            ));
        }
        if !is_utc_time(&self.created_at) {
            let expected = "a time such as 2026-11-22T07:30:00Z (RFC 3339, UTC)";
            return Err(Fault::field_text("created_at", &self.created_at, expected));
        }
        check_text("universe.name", &self.universe.name)?;
        check_depth("provenance", &self.provenance)?;
        self.check_dataset_types()
    }

    fn check_holder(&self) -> Result<(), Fault> {
        match (&self.holder, self.content.has_holder()) {
            (Some(holder), true) => check_repository("holder.repository", holder),
            (None, false) => Ok(()),
            (None, true) => Err(Fault::Field {
                field: "holder".into(),
                found: "nothing".into(),
                expected: "the repository that took the inventory",
            }),
            (Some(_), false) => Err(Fault::Field {
                field: "holder".into(),
                found: "a repository".into(),
                expected: "it in an inventory only",
            }),
        }
    }

    fn check_dataset_types(&self) -> Result<(), Fault> {
        let mut names = BTreeSet::new();
        for (index, dataset_type) in self.dataset_types.iter().enumerate() {
            if !names.insert(&dataset_type.name) {
                return Err(Fault::field_text(
                    &format!("dataset_types[{index}].name"),
                    dataset_type.name.as_str(),
                    "each name once",
                ));
            }
            let field = format!("dataset_types[{index}].dimensions");
            check_dimensions(&field, &self.universe, &dataset_type.dimensions)?;
        }
        Ok(())
    }
}

fn check_repository(field: &str, repository: &Repository) -> Result<(), Fault> {
    if repository.repository.0.is_nil() {
        return Err(Fault::field_text(field, "nil", "a UUID other than nil"));
    }
    Ok(())
}

fn check_dimensions(
    field: &str,
    universe: &UniverseVersion,
    dimensions: &[String],
) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    let known = universe.name == universe::NAMESPACE;
    for dimension in dimensions {
        check_text(field, dimension)?;
        if !names.insert(dimension.as_str()) {
            return Err(Fault::field_text(field, dimension, "each dimension once"));
        }
        if known
            && universe::element_in(universe.version, dimension)
                .is_none_or(|element| element.key_kind == universe::KeyKind::None)
        {
            return Err(unknown(field, dimension, universe));
        }
    }
    let required = universe::required_dimensions_in(universe.version, dimensions);
    match required {
        Some(required) if known && !required.iter().eq(names.iter().copied()) => {
            Err(Fault::Field {
                field: field.to_owned(),
                found: listed(names),
                expected: "the required dimensions alone, and all of them",
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, then perhaps a fraction, then `Z`. Dates are checked
/// for form only: nothing is ordered by them.
fn is_utc_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let Some((seconds, rest)) = text.as_bytes().split_at_checked(FORM.len()) else {
        return false;
    };
    let formed = seconds.iter().zip(FORM).all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        _ => found == form,
    });
    let fraction = rest.strip_suffix(b"Z").map(|fraction| match fraction {
        [] => true,
        [b'.', digits @ ..] => {
            (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    });
    formed && fraction == Some(true)
}

fn sorted<S: serde::Serializer>(value: &serde_json::Value, to: S) -> Result<S::Ok, S::Error> {
    Sorted(value).serialize(to)
}
