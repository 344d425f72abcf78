//! Collections that people make: chains of runs and collections, and sets of tagged datasets.
//!
//! A collection names what is in it and holds nothing: hiding one, or removing one, deletes no
//! dataset. What a chain has lost keeps its place, as `[deleted]`, so that the order of the others
//! stays; only the chain's owner takes it away. A tag goes with its dataset.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use runsync_manifest::name::{CollectionName, DatasetId, DatasetTypeName, RepositoryId, RunName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// Hexadecimal digits of a plan's number, as many as one of a removal has.
const PLAN_DIGITS: usize = 16;

/// What a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A run.
    Run,
    /// A set of datasets of any runs.
    Tagged,
    /// An ordered list of collections.
    Chained,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Run, Self::Tagged, Self::Chained];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Tagged => "tagged",
            Self::Chained => "chained",
        }
    }

    /// What a collection of it is called.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Tagged => "a tagged collection",
            Self::Chained => "a chain",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is the word of no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of collection")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|one| one.as_str() == text);
        named.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionRow {
    /// Its name.
    #[schema(value_type = String)]
    pub name: CollectionName,
    /// What it is.
    pub kind: Kind,
    /// Of a run: the repository that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub origin: Option<RepositoryId>,
    /// The account that may change it; none: nobody of this site.
    pub owner: Option<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// Places of a chain; datasets of the others.
    pub members: u64,
    /// Places of a chain that show `[deleted]`.
    pub deleted: u64,
}

/// A place in a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The name of what is there, or was.
    #[schema(value_type = String)]
    pub name: CollectionName,
    /// What is there; none: it shows `[deleted]`.
    pub kind: Option<Kind>,
}

/// A collection with its places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    /// What it is.
    #[serde(flatten)]
    pub row: CollectionRow,
    /// The places of a chain, in order.
    pub places: Vec<Member>,
}

/// What becomes of the members of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Chaining {
    /// They are these.
    Set,
    /// These come first.
    Prepend,
    /// These come last.
    Extend,
    /// These go.
    Remove,
}

/// Datasets to tag, or not to tag any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Datasets {
    /// These.
    #[schema(value_type = Vec<Uuid>)]
    Uuids(Vec<DatasetId>),
    /// All of a run.
    OfRun {
        /// The run.
        #[schema(value_type = String)]
        run: RunName,
        /// Only of this dataset type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        dataset_type: Option<DatasetTypeName>,
    },
}

/// What is to become of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Its members change; the chain is made where it is not there.
    Chain {
        /// The members.
        #[schema(value_type = Vec<String>)]
        members: Vec<CollectionName>,
        /// What becomes of them.
        how: Chaining,
    },
    /// The places of a chain that show `[deleted]` go.
    DropDeleted,
    /// Datasets are tagged; the collection is made where it is not there.
    Associate {
        /// The datasets.
        datasets: Datasets,
    },
    /// Datasets are tagged no more.
    Disassociate {
        /// The datasets.
        datasets: Datasets,
    },
    /// Lists leave it out.
    Hide,
    /// Lists show it again.
    Unhide,
}

impl Change {
    /// Its word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "chain",
            Self::DropDeleted => "drop-deleted",
            Self::Associate { .. } => "associate",
            Self::Disassociate { .. } => "disassociate",
            Self::Hide => "hide",
            Self::Unhide => "unhide",
        }
    }
}

/// Whoever changes collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account's name, which is the owner of what it makes.
    pub account: String,
    /// Whether it may change also what others own.
    pub any: bool,
}

impl Actor {
    /// Whether it may change what `owner` owns.
    pub fn may_change(&self, owner: Option<&str>) -> bool {
        self.any || owner == Some(self.account.as_str())
    }
}

/// What of people's collections a run's removal takes away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// Chains that show `[deleted]` in its place from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub chains: Vec<CollectionName>,
    /// Tags on its datasets.
    #[serde(default)]
    pub tags: u64,
}

/// A chain that shows `[deleted]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrokenChain {
    /// Its name.
    #[schema(value_type = String)]
    pub name: CollectionName,
    /// Its owner.
    pub owner: String,
    /// Names of what was there.
    pub deleted: Vec<String>,
}

/// What removing collections would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionPlan {
    /// Its number: the same as long as the same would be done.
    pub id: String,
    /// The collections, by name.
    pub collections: Vec<PlannedCollection>,
}

/// A collection that would be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedCollection {
    /// What it is.
    #[serde(flatten)]
    pub row: CollectionRow,
    /// Chains that stay and show `[deleted]` in its place from then on.
    #[schema(value_type = Vec<String>)]
    pub chains: Vec<CollectionName>,
}

impl CollectionPlan {
    /// A plan of these collections.
    pub fn new(collections: Vec<PlannedCollection>) -> Self {
        let mut digest = Sha256::new();
        for planned in &collections {
            let row = &planned.row;
            digest.update(format!("\n{} {} {}", row.name, row.kind, row.members));
            for chain in &planned.chains {
                digest.update(format!("\n\t{chain}"));
            }
        }
        let mut id = HEXLOWER.encode(&digest.finalize());
        id.truncate(PLAN_DIGITS);
        Self { id, collections }
    }
}

/// Why collections are not changed.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// There is no collection of that name.
    #[error("there is no collection `{name}`")]
    Missing {
        /// The name.
        name: CollectionName,
    },
    /// It is of another kind.
    #[error("`{name}` is {}, not {expected}", found.phrase())]
    OtherKind {
        /// The name.
        name: CollectionName,
        /// What it is.
        found: Kind,
        /// What it would have to be.
        expected: &'static str,
    },
    /// Another account's, or nobody's.
    #[error("`{name}` is {}", owned(owner.as_deref()))]
    NotYours {
        /// The collection.
        name: CollectionName,
        /// Whose it is.
        owner: Option<String>,
    },
    /// A chain would be below itself.
    #[error("chain `{chain}` cannot have `{member}` in it, which is or has `{chain}`")]
    Cycle {
        /// The chain.
        chain: CollectionName,
        /// The member.
        member: CollectionName,
    },
    /// Several origins own a run of that name.
    #[error("{count} origins own a run `{name}`")]
    Ambiguous {
        /// The name.
        name: CollectionName,
        /// How many.
        count: usize,
    },
    /// A chain does not have this member.
    #[error("`{member}` is not in chain `{chain}`")]
    NoMember {
        /// The chain.
        chain: CollectionName,
        /// The member.
        member: CollectionName,
    },
    /// A chain has a run in it that is to go.
    #[error("run `{run}` is in chain {}", quoted(chains))]
    Referenced {
        /// The run.
        run: RunName,
        /// The chains.
        chains: Vec<CollectionName>,
    },
    /// There is no such dataset.
    #[error("there is no dataset {uuid}")]
    NoDataset {
        /// Its UUID.
        uuid: DatasetId,
    },
    /// The collection has another dataset of that type and data ID.
    #[error("`{name}` has dataset {tagged} already, of the type and data ID of {uuid}")]
    Twin {
        /// The collection.
        name: CollectionName,
        /// The dataset that is tagged.
        tagged: DatasetId,
        /// The dataset that was to be.
        uuid: DatasetId,
    },
    /// What would be removed has changed since the plan.
    #[error("the plan {approved} was approved, and what would be removed has changed since")]
    PlanChanged {
        /// The plan that was approved.
        approved: String,
    },
}

fn owned(owner: Option<&str>) -> String {
    owner.map_or_else(
        || "owned by nobody of this site".to_owned(),
        |owner| format!("owned by {owner}"),
    )
}

fn quoted(names: &[CollectionName]) -> String {
    let names = names.iter().map(|name| format!("`{name}`"));
    names.collect::<Vec<_>>().join(", ")
}

impl CollectionError {
    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "`runsync collections list --all` lists what there is",
            Self::OtherKind { .. } => {
                "a name is of one collection; `runsync collections list --all` says of which kind"
            }
            Self::NotYours { .. } => {
                "only its owner, root and the daemon's own account may change it"
            }
            Self::Cycle { .. } => "`runsync collections tree` shows what is in it",
            Self::Ambiguous { .. } => "only a run whose name one origin owns can be named here",
            Self::NoMember { .. } => "`runsync collections tree` shows what is in the chain",
            Self::Referenced { .. } => {
                "nothing was removed: take it out with `runsync collections chain --remove` first"
            }
            Self::NoDataset { .. } => "nothing was changed; `runsync exists` tells what is here",
            Self::Twin { .. } => {
                "a tagged collection has one dataset of a type and data ID: disassociate the other first"
            }
            Self::PlanChanged { .. } => "look at the plan again: run the command with `--dry-run`",
        }
    }
}
