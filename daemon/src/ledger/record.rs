//! Rows of the ledger as types.

use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ArtifactPath, ManifestId, RseName, RunKey, Scope, SiteName};
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

/// How far asking Rucio what should be in a root has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncPass {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Where the pass under way goes on, for the flow that does it; none: no pass is under way.
    #[serde(skip)]
    pub cursor: Option<String>,
    /// When the pass under way, or the last one, began.
    pub begun_at: Option<Timestamp>,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// When it was last tried.
    pub tried_at: Option<Timestamp>,
    /// Why it did not go on then, for people.
    pub problem: Option<String>,
}

impl SyncPass {
    /// Nothing was done yet.
    pub const fn new(root: RootName) -> Self {
        Self {
            root,
            cursor: None,
            begun_at: None,
            finished_at: None,
            tried_at: None,
            problem: None,
        }
    }
}

/// A name that runsync gave to a file of Rucio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeName<'a> {
    /// The name.
    pub path: &'a ArtifactPath,
    /// The file's inode: another file of that name is not meant.
    pub inode: u64,
}

/// What was done to files of a run because of Rucio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncMarks {
    /// Artifacts were forgotten because Rucio had deleted them: it may bring them again.
    pub forgotten: bool,
}

/// How far the rules of a run that was removed have ended in Rucio.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RuleEndingState {
    /// They stay until its removal manifest is where it has to be.
    Waiting,
    /// They are told to end; Rucio has not ended all of them yet.
    Ending,
    /// Those of this account have ended; others keep the run in Rucio.
    Held,
}

impl RuleEndingState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Ending, Self::Held];

    /// The state's name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ending => "ending",
            Self::Held => "held",
        }
    }
}

impl std::fmt::Display for RuleEndingState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RuleEndingState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// A rule of Rucio's that keeps what this site has removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
// Who holds the lease has the same name.
#[schema(as = RuleHolder)]
pub struct Holder {
    /// The rule's ID.
    pub rule: String,
    /// Whose it is.
    pub account: String,
    /// The DID that it is on.
    pub did: String,
    /// Where it keeps it.
    pub rse_expression: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rule,
            account,
            did,
            rse_expression,
        } = self;
        write!(
            f,
            "rule {rule} of account `{account}` on {did} at {rse_expression}"
        )
    }
}

/// A run whose rules this site has to end in Rucio: an obligation, struck out once it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleEnding {
    /// The run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// The scope of its DIDs.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Only the rules for this RSE alone: a copy is dropped. None: all of this account's.
    #[schema(value_type = Option<String>)]
    pub rse: Option<RseName>,
    /// Only what the run was up to this generation: it may come back. None: all of it.
    #[schema(value_type = Option<GenerationSchema>)]
    pub up_to: Option<Generation>,
    /// Whether the rules end at once, and not only when the removal manifest of that generation is
    /// available wherever manifests go.
    pub at_once: bool,
    /// How far it is.
    pub state: RuleEndingState,
    /// Rules that were told to end.
    pub ended: u64,
    /// RSEs at which the removal manifest is not available yet.
    #[schema(value_type = Vec<String>)]
    pub waits_for: Vec<RseName>,
    /// Rules of others that keep the run.
    pub holders: Vec<Holder>,
    /// Why it does not go on, for people.
    pub problem: Option<String>,
    /// What to do about it, for people.
    pub hint: Option<String>,
    /// Since when.
    // Of several times that it was asked for the last. With an RSE that is when the removal was begun: rules
    // that were made later stay.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// When anything of this has changed.
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
}

impl RuleEnding {
    /// One of which nothing is done yet.
    pub fn new(run: RunKey, scope: Scope, now: Timestamp) -> Self {
        Self {
            run,
            scope,
            rse: None,
            up_to: None,
            at_once: true,
            state: RuleEndingState::Waiting,
            ended: 0,
            waits_for: Vec::new(),
            holders: Vec::new(),
            problem: None,
            hint: None,
            since: now,
            changed_at: now,
        }
    }
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
