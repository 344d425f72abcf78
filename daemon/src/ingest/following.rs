//! Has removed here what origins have removed, as this site's policy for each says.
//!
//! A request is no record of its own: it is a manifest in the ledger that is blocked because what
//! it removes is still here. One step looks at all of them, and hands those that need nobody's
//! word to the removal flow; operators confirm or refuse the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::peer::RemovalPolicy;
use runsync_config::root::RootName;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ManifestId, RunKey, SiteName};
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::flow::Flow;
use super::hear::is_under_way;
use super::refuse::{Blocker, Omission, blocker};
use super::settle::Settled;
use super::{IngestError, error_chain};
use crate::clock::later;
use crate::ledger::record::{ManifestRow, ManifestState, ManifestSummary};
use crate::registry::RegistryError;
use crate::removal::{Consent, Phase, Plan, RemovalError, Removing, Requester, Word};
use crate::schema::{GenerationSchema, RunKeySchema};
use crate::worker::{Next, Pulse, StepError, Wake, Worker};

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);
/// How often it is asked whether there is anything to follow.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// What an origin has removed and is still here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    /// The manifest that says so.
    #[schema(value_type = Uuid)]
    pub manifest: ManifestId,
    /// Whether the run is removed, or a snapshot leaves datasets out.
    #[schema(value_type = String)]
    pub content: Content,
    /// The run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// The origin's site.
    #[schema(value_type = String)]
    pub site: SiteName,
    /// The generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// Datasets that are still here, when that was looked at last.
    pub datasets: u64,
    /// What becomes of it.
    pub state: AskedState,
    /// Since when it is known here.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Why it stands so, for people.
    pub reason: Option<String>,
}

/// What becomes of what an origin has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskedState {
    /// It is removed here without anybody's word, as soon as it can be.
    Due,
    /// An operator is asked.
    Waiting,
    /// It stays, by the policy for its origin.
    Reported,
    /// It stays: an operator has refused.
    Refused,
    /// It is being removed.
    UnderWay,
}

/// Why what an origin has removed is not removed here.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No manifest of that UUID removes anything that is still here.
    #[error("no manifest {manifest} removes anything that is still here")]
    Missing {
        /// The UUID.
        manifest: ManifestId,
    },
    /// The manifest cannot be read now.
    #[error("the manifest `{path}` cannot be read as it was")]
    Unreadable {
        /// Where it lies.
        path: String,
    },
    /// Reading or deciding failed.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The removal does not go on.
    #[error(transparent)]
    Removal(#[from] RemovalError),
}

impl FollowError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => {
                Some("`runsync removal list` lists what origins have removed".to_owned())
            }
            Self::Unreadable { .. } => {
                Some("have it transferred again; what it removes stays until then".to_owned())
            }
            Self::Ingest(error) => error.hint(),
            Self::Removal(error) => error.hint(),
        }
    }
}

impl From<RegistryError> for FollowError {
    fn from(error: RegistryError) -> Self {
        Self::Removal(error.into())
    }
}

impl From<crate::ledger::LedgerError> for FollowError {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Removal(error.into())
    }
}

/// Hands what origins have removed to the removal flow.
#[derive(Debug)]
pub struct Following {
    flows: Vec<Flow>,
    removing: Arc<Removing>,
}

/// A request with the manifest that makes it.
struct Found {
    row: ManifestRow,
    summary: ManifestSummary,
    omission: Omission,
}

impl Following {
    /// Over all roots of a site.
    pub fn new(flows: Vec<Flow>, removing: Arc<Removing>) -> Self {
        Self { flows, removing }
    }

    /// All that origins have removed and is still here, by run and generation.
    ///
    /// # Errors
    ///
    /// Where ledger or registry fail.
    pub fn list(&self) -> Result<Vec<Asked>, FollowError> {
        let found = self.found()?;
        found.into_iter().map(|found| self.asked(found)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`FollowError::Missing`] where there is none of that UUID.
    pub fn get(&self, manifest: ManifestId) -> Result<Asked, FollowError> {
        self.asked(self.find(manifest)?)
    }

    /// What following one would do.
    ///
    /// # Errors
    ///
    /// Where the manifest cannot be read, or the run is being removed.
    pub fn plan(&self, manifest: ManifestId) -> Result<Plan, FollowError> {
        let found = self.find(manifest)?;
        self.with_word(&found, |word| {
            self.removing
                .plan_following(word, &mut |_| ControlFlow::Continue(()))
        })
    }

    /// Follows one as an operator says, up to its commit.
    ///
    /// # Errors
    ///
    /// As [`Removing::follow`].
    pub fn confirm(
        &self,
        removal: Uuid,
        manifest: ManifestId,
        consent: &Consent,
        requester: &Requester,
        progress: &mut dyn FnMut(Phase) -> ControlFlow<()>,
    ) -> Result<(), FollowError> {
        let found = self.find(manifest)?;
        self.with_word(&found, |word| {
            let consent = Some(consent);
            self.removing
                .follow(removal, word, consent, requester, progress)
        })
    }

    /// Keeps what one removes, until an operator confirms it after all. The datasets that a snapshot
    /// brings are registered.
    ///
    /// # Errors
    ///
    /// Where there is none of that UUID, or the ledger fails.
    pub fn refuse(&self, manifest: ManifestId, account: &str) -> Result<Asked, FollowError> {
        // Whoever follows looks at the row in its own turn.
        let turn = self
            .removing
            .ground()
            .registration
            .acquire(&mut || ControlFlow::Continue(()))
            .map_err(RemovalError::from)?;
        let found = self.find(manifest)?;
        if self.is_followed(&found)? {
            return Err(FollowError::Missing { manifest });
        }
        let flow = self.flow(&found.row.location.root)?;
        self.change(&found, |row, omission| {
            omission.refused = Some(account.to_owned());
            let datasets = omission.datasets;
            row.reason = Some(format!(
                "{datasets} datasets stay here: {account} has refused"
            ));
            row.hint = Some("`runsync removal confirm` removes them all the same".to_owned());
        })?;
        drop(turn);
        info!(run = %found.summary.run.name, account, "what the origin has removed is kept");
        if found.summary.content == Content::Snapshot && !found.omission.registered {
            let path = found.row.location.path.clone();
            let settled = Settled::by_operator(path, flow.site().clock.now());
            flow.decide(vec![settled], false, &mut |_| ControlFlow::Continue(()))?;
        }
        self.get(manifest)
    }

    /// Changes the rows of a manifest, in whichever roots it lies.
    fn change(
        &self,
        found: &Found,
        change: impl Fn(&mut ManifestRow, &mut Omission),
    ) -> Result<(), FollowError> {
        let ledger = &self.removing.ground().ledger;
        let mut rows = ledger.of_run(&found.summary.run)?;
        rows.retain_mut(|row| {
            let summary = row.summary.as_ref();
            let is_it = summary.is_some_and(|one| one.manifest == found.summary.manifest);
            let Some(Blocker::Removal(mut omission)) = blocker(row).filter(|_| is_it) else {
                return false;
            };
            change(row, &mut omission);
            row.blocker = serde_json::to_string(&Blocker::Removal(omission)).ok();
            true
        });
        Ok(ledger.record(&rows)?)
    }

    /// Whether its removal is committed already.
    fn is_followed(&self, found: &Found) -> Result<bool, FollowError> {
        let registry = &self.removing.ground().registry;
        let run = &found.summary.run;
        let followed = registry.run(run)?.and_then(|row| row.followed);
        let committed = followed.is_some_and(|followed| followed >= found.summary.generation);
        Ok(committed || is_under_way(&**registry, run)?)
    }

    /// Whether nobody has refused it meanwhile.
    fn still_stands(&self, found: &Found) -> Result<bool, RemovalError> {
        let row = self
            .removing
            .ground()
            .ledger
            .manifest(&found.row.location)?;
        Ok(match row.as_ref().and_then(blocker) {
            Some(Blocker::Removal(omission)) => omission.refused.is_none(),
            Some(Blocker::Conflict(_) | Blocker::Fork | Blocker::Frozen | Blocker::Held) | None => {
                false
            }
        })
    }

    fn asked(&self, found: Found) -> Result<Asked, FollowError> {
        let Found {
            row,
            summary,
            omission,
        } = found;
        let flow = self.flow(&row.location.root)?;
        let state = if is_under_way(&*flow.site().registry, &summary.run)? {
            AskedState::UnderWay
        } else if omission.refused.is_some() {
            AskedState::Refused
        } else {
            match flow.policy(&summary.run) {
                RemovalPolicy::Apply if omission.above.is_some() => AskedState::Waiting,
                RemovalPolicy::Apply => AskedState::Due,
                RemovalPolicy::Confirm => AskedState::Waiting,
                RemovalPolicy::Report => AskedState::Reported,
            }
        };
        Ok(Asked {
            manifest: summary.manifest,
            content: summary.content,
            run: summary.run,
            site: summary.site,
            generation: summary.generation,
            datasets: omission.datasets,
            state,
            since: row.first_seen,
            reason: row.reason,
        })
    }

    fn flow(&self, root: &RootName) -> Result<&Flow, RemovalError> {
        let found = self.flows.iter().find(|flow| flow.root().name == *root);
        found.ok_or_else(|| RemovalError::NoRoot { root: root.clone() })
    }

    fn find(&self, manifest: ManifestId) -> Result<Found, FollowError> {
        let found = self.found()?;
        let mut found = found.into_iter();
        let one = found.find(|found| found.summary.manifest == manifest);
        one.ok_or(FollowError::Missing { manifest })
    }

    /// Each manifest once, in whichever roots it lies.
    fn found(&self) -> Result<Vec<Found>, FollowError> {
        let Some(flow) = self.flows.first() else {
            return Ok(Vec::new());
        };
        let blocked = flow.site().ledger.manifests(Some(ManifestState::Blocked))?;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for row in blocked {
            let (Some(Blocker::Removal(omission)), Some(summary)) =
                (blocker(&row), row.summary.clone())
            else {
                continue;
            };
            if self.flow(&row.location.root).is_ok() && seen.insert(summary.manifest) {
                found.push(Found {
                    row,
                    summary,
                    omission,
                });
            }
        }
        found.sort_by(|a, b| {
            let of = |found: &Found| (found.summary.run.clone(), found.summary.generation);
            of(a).cmp(&of(b))
        });
        Ok(found)
    }

    /// Calls `act` with what the manifest says, which is read again.
    fn with_word<T>(
        &self,
        found: &Found,
        act: impl FnOnce(&Word<'_>) -> Result<T, RemovalError>,
    ) -> Result<T, FollowError> {
        let summary = &found.summary;
        let mut word = Word {
            run: &summary.run,
            generation: summary.generation,
            kept: None,
        };
        let path = &found.row.location.path;
        let unreadable = || FollowError::Unreadable { path: path.clone() };
        let flow = self.flow(&found.row.location.root)?;
        let again = flow.read_again(path)?;
        let same = again.filter(|again| summary.digest == Some(again.parsed().trailer().sha256));
        // Read again also where it names nothing: it counts only as long as its origin is trusted.
        let manifest = same.ok_or_else(unreadable)?;
        if summary.content == Content::Snapshot && !found.omission.registered {
            word.kept = Some(manifest.parsed().rows());
        }
        Ok(act(&word)?)
    }
}

/// Keeps at what origins have removed.
#[derive(Debug)]
pub struct FollowWorker {
    following: Arc<Following>,
    removals: Wake,
    /// When those that were not followed are tried again, and the pause after that.
    failed: BTreeMap<ManifestId, (Timestamp, Duration)>,
}

impl FollowWorker {
    /// Wakes `removals` when there is one to be seen through.
    pub fn new(following: Arc<Following>, removals: Wake) -> Self {
        Self {
            following,
            removals,
            failed: BTreeMap::new(),
        }
    }

    /// Commits the removals that need nobody's word; returns how many. `progress` may break off.
    ///
    /// # Errors
    ///
    /// Where ledger or registry fail, the lease is lost, or `progress` broke off. One that cannot be
    /// followed holds up no other.
    pub fn follow_due(
        &mut self,
        progress: &mut dyn FnMut(Phase) -> ControlFlow<()>,
    ) -> Result<usize, FollowError> {
        let following = Arc::clone(&self.following);
        let now = following.removing.ground().clock.now();
        let found = following.found()?;
        self.failed
            .retain(|id, _| found.iter().any(|found| found.summary.manifest == *id));
        let mut followed = 0;
        for found in found {
            let id = found.summary.manifest;
            let is_due = self.failed.get(&id).is_none_or(|(at, _)| *at <= now);
            let flow = following.flow(&found.row.location.root)?;
            let is_ours = found.omission.refused.is_none()
                && flow.policy(&found.summary.run) == RemovalPolicy::Apply;
            if is_ours && is_due && !following.is_followed(&found)? {
                followed += usize::from(self.follow(&found, now, progress)?);
            }
        }
        Ok(followed)
    }

    fn follow(
        &mut self,
        found: &Found,
        now: Timestamp,
        progress: &mut dyn FnMut(Phase) -> ControlFlow<()>,
    ) -> Result<bool, FollowError> {
        let requester = Requester {
            account: format!("site {}", found.summary.site),
            uid: None,
            daemon: true,
            any: false,
        };
        let following = Arc::clone(&self.following);
        let followed = following.with_word(found, |word| {
            let removing = &following.removing;
            let stands = &mut || following.still_stands(found);
            removing.follow_where(Uuid::new_v4(), word, stands, &requester, progress)
        });
        let run = &found.summary.run.name;
        match followed {
            Ok(()) => {
                info!(%run, generation = %found.summary.generation,
                    "removed by its origin, and so here");
                self.failed.remove(&found.summary.manifest);
                self.removals.wake();
                Ok(true)
            }
            Err(FollowError::Removal(error)) if error.is_interruption() || error.is_fenced() => {
                Err(error.into())
            }
            Err(error) => {
                warn!(%run, error = %error_chain(&error), "its origin is not followed yet");
                let manifest = found.summary.manifest;
                if let FollowError::Removal(RemovalError::NotApproved { above, .. }) = &error {
                    following.hold_up(found, above)?;
                }
                self.put_off(manifest, now);
                Ok(false)
            }
        }
    }

    fn put_off(&mut self, id: ManifestId, now: Timestamp) {
        let pause = self
            .failed
            .get(&id)
            .map_or(FIRST_PAUSE, |(_, pause)| *pause);
        let next = pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.failed.insert(id, (later(now, pause), next));
    }
}

impl Following {
    /// Says that a removal waits for approval.
    fn hold_up(&self, found: &Found, above: &str) -> Result<(), FollowError> {
        self.change(found, |row, omission| {
            if omission.refused.is_some() {
                return;
            }
            omission.above = Some(above.to_owned());
            row.reason = Some(format!(
                "what its origin has removed waits for approval: it is {above}"
            ));
            row.hint = Some(
                "`runsync removal confirm --dry-run` shows the plan, `--approve` with its number does it"
                    .to_owned(),
            );
        })
    }
}

impl Worker for FollowWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        match self.follow_due(&mut |_| pulse.go_on()) {
            Ok(_) => Ok(Next::Idle(Some(ASK_INTERVAL))),
            Err(FollowError::Removal(error)) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}
