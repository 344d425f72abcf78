//! Rows of the ledger as types.

use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ManifestId, RseName, RunKey, Scope, SiteName};
use runsync_manifest::signature::KeyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::embedded_json;
use crate::file_identity::FileIdentity;
use crate::schema::{GenerationSchema, RunKeySchema};

/// Where a manifest file lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Location {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Path relative to the root.
    pub path: String,
}

/// The persisted states of a manifest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ManifestState {
    /// Its datasets are known.
    Registered,
    /// Another manifest may let it in, or it is held for a flow that acts on it; tried again after every change.
    Blocked,
    /// Its key or its origin is not known here; tried again on reload.
    Untrusted,
    /// Wrong in itself; kept for the operator.
    Quarantined,
    /// At or below its run's floor.
    Superseded,
}

impl ManifestState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Registered,
        Self::Blocked,
        Self::Untrusted,
        Self::Quarantined,
        Self::Superseded,
    ];

    /// The state's name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Blocked => "blocked",
            Self::Untrusted => "untrusted",
            Self::Quarantined => "quarantined",
            Self::Superseded => "superseded",
        }
    }
}

impl std::fmt::Display for ManifestState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One manifest file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestRow {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// The state of the file when it was read.
    pub file: FileIdentity,
    /// Its state.
    pub state: ManifestState,
    /// Why it is in that state, for people; none where it is registered.
    pub reason: Option<String>,
    /// What to do about it, for people.
    pub hint: Option<String>,
    /// JSON of what blocks it, for the flow that tries it again.
    #[serde(
        serialize_with = "embedded_json::serialize_optional",
        deserialize_with = "embedded_json::deserialize_optional"
    )]
    #[schema(value_type = Option<Object>)]
    pub blocker: Option<String>,
    /// What it is, where it could be read that far.
    pub summary: Option<ManifestSummary>,
    /// When the file was first seen.
    pub first_seen: Timestamp,
    /// When its state was decided.
    pub decided_at: Timestamp,
}

impl ManifestRow {
    /// The row as superseded, where its run's floor overtakes it: a manifest below the floor, and an
    /// additions manifest at it. An inventory is no part of the run's history.
    #[must_use]
    pub fn overtaken(self, floor: Generation, now: Timestamp) -> Option<Self> {
        self.superseded_where(floor, now, |summary| match summary.content {
            Content::Additions => summary.generation <= floor,
            Content::Removal | Content::Snapshot => summary.generation < floor,
            Content::Inventory => false,
        })
    }

    /// The same where a copy was dropped: whatever is at the floor counts for nothing, too.
    #[must_use]
    pub fn dropped(self, floor: Generation, now: Timestamp) -> Option<Self> {
        self.superseded_where(floor, now, |summary| {
            summary.content != Content::Inventory && summary.generation <= floor
        })
    }

    fn superseded_where(
        self,
        floor: Generation,
        now: Timestamp,
        is_overtaken: impl FnOnce(&ManifestSummary) -> bool,
    ) -> Option<Self> {
        let judged = match self.state {
            ManifestState::Registered | ManifestState::Blocked => true,
            ManifestState::Untrusted | ManifestState::Quarantined | ManifestState::Superseded => {
                false
            }
        };
        let summary = self.summary.as_ref().filter(|_| judged)?;
        is_overtaken(summary).then(|| Self {
            reason: Some(below_floor(summary.generation, floor)),
            state: ManifestState::Superseded,
            hint: None,
            blocker: None,
            decided_at: now,
            ..self.clone()
        })
    }
}

/// Why a manifest that its run's floor overtakes counts for nothing.
pub fn below_floor(generation: Generation, floor: Generation) -> String {
    format!("generation {generation} is not above the run's floor {floor}")
}

/// What a manifest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestSummary {
    /// Its own UUID.
    #[schema(value_type = Uuid)]
    pub manifest: ManifestId,
    /// Its content.
    #[schema(value_type = String)]
    pub content: Content,
    /// Its run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// Its origin's site.
    #[schema(value_type = String)]
    pub site: SiteName,
    /// Its generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// Its digest, once the trailer was read.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Sha256>,
    /// The key that signed it, once the trailer was read.
    #[schema(value_type = Option<String>)]
    pub key_id: Option<KeyId>,
    /// Dataset lines, once the trailer was read.
    pub datasets: Option<u64>,
    /// Total bytes, once the trailer was read.
    pub total_bytes: Option<u64>,
}

/// One drift or oddity that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Its kind, such as `dimension_differs`.
    pub kind: String,
    /// What it is about; with the kind its identity.
    pub subject: String,
    /// For people.
    pub detail: String,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// How often.
    pub times: u64,
}

/// How a manifest of this site stands with Rucio.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PublicationState {
    /// It is to be published.
    Ordered,
    /// Rucio has it, its files and its rules.
    Published,
    /// A snapshot has taken its place: Rucio may delete the manifest.
    Withdrawn,
}

impl PublicationState {
    /// The state's name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Published => "published",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl std::fmt::Display for PublicationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PublicationState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Ordered, Self::Published, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// A manifest of this site that is, or is to be, in Rucio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// Its run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// Its generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// Its content.
    #[schema(value_type = String)]
    pub content: Content,
    /// The root that it lies in.
    #[schema(value_type = String)]
    pub root: RootName,
    /// The scope of its files; none: not read yet.
    #[schema(value_type = Option<String>)]
    pub scope: Option<Scope>,
    /// How it stands.
    pub state: PublicationState,
    /// Files that it has, each artifact once and the manifest itself; none: not counted yet.
    pub files: Option<u64>,
    /// Files that are registered and attached.
    pub files_done: u64,
    /// Sum of the sizes of all of them in bytes; none: not counted yet.
    pub bytes: Option<u64>,
    /// Why it does not go on, for people.
    pub problem: Option<String>,
    /// What to do about it, for people.
    pub hint: Option<String>,
    /// Who has ordered it; `policy` where configuration has.
    pub ordered_by: String,
    /// When.
    pub ordered_at: Timestamp,
    /// When anything of this has changed.
    pub changed_at: Timestamp,
}

/// How many requests are kept: the newest.
pub const REQUESTS_KEPT: u64 = 10_000;

/// Something that an operator asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// When.
    pub at: Timestamp,
    /// The user on the Unix socket; none: a token was shown.
    pub uid: Option<u32>,
    /// The user's name, or the token's.
    pub account: String,
    /// What is asked for, such as `wake`.
    pub what: String,
    /// Of what.
    pub subject: String,
}

/// Something that an operator asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRow {
    /// Its number; later ones are higher.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The user on the Unix socket; none: a token was shown.
    pub uid: Option<u32>,
    /// The user's name, or the token's.
    pub account: String,
    /// What was asked for, such as `wake`.
    pub what: String,
    /// Of what.
    pub subject: String,
    /// What came of it; none: it is under way, or the daemon ended meanwhile.
    pub outcome: Option<String>,
}

/// What a hint is about, and so who acts on it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HintKind {
    /// A file is said to have come to an RSE of this site.
    Arrived,
    /// A file is said to be gone from an RSE of this site.
    Deleted,
    /// A rule on a DID, or its lock at an RSE, is said to be satisfied.
    Settled,
    /// A file is said to have come whose message tells of the dataset in it.
    PerFile,
}

impl HintKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Arrived, Self::Deleted, Self::Settled, Self::PerFile];

    /// The kind's name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Deleted => "deleted",
            Self::Settled => "settled",
            Self::PerFile => "per_file",
        }
    }
}

impl std::fmt::Display for HintKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for HintKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// Something that a message hints at. Kind, RSE and DID are its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHint {
    /// What it is about.
    pub kind: HintKind,
    /// Where; none: the message does not say.
    pub rse: Option<RseName>,
    /// Scope of the DID, as the message has it: checked by nobody.
    pub scope: String,
    /// Name of the DID, as the message has it: checked by nobody, and no path.
    pub name: String,
    /// What else the message says, as JSON, where its kind needs that.
    pub detail: Option<String>,
    /// When the message came.
    pub heard_at: Timestamp,
}

/// A hint that waits until somebody has acted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hint {
    /// Its number: later ones are higher. Heard again, it gets a new one.
    pub id: u64,
    /// What it is about.
    pub kind: HintKind,
    /// Where; none: the message did not say.
    #[schema(value_type = Option<String>)]
    pub rse: Option<RseName>,
    /// Scope of the DID, as the message had it: checked by nobody.
    pub scope: String,
    /// Name of the DID, as the message had it: checked by nobody, and no path.
    pub name: String,
    /// What else the message said, as JSON, where its kind needs that.
    #[serde(
        serialize_with = "embedded_json::serialize_optional",
        deserialize_with = "embedded_json::deserialize_optional"
    )]
    #[schema(value_type = Option<Object>)]
    pub detail: Option<String>,
    /// When it was last heard.
    pub heard_at: Timestamp,
    /// How often it was put off since.
    pub tries: u32,
    /// When it is handed on, or handed on again.
    pub due: Timestamp,
}

/// What came of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All that it calls for is done, or it calls for nothing.
    Done,
    /// Not yet: it is to be tried again after this long.
    Later(Duration),
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPoison {
    /// The source that it came by.
    pub source: String,
    /// When.
    pub at: Timestamp,
    /// What is wrong with it, for people.
    pub reason: String,
    /// Size of its body in bytes.
    pub size: u64,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

/// A message that could not be read, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Its number; later ones are higher.
    pub id: u64,
    /// What is known of it.
    pub message: NewPoison,
}
