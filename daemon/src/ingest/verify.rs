//! Decides what a manifest may do: signature, origin, ownership, generation, conflicts.
//!
//! Only this stage makes a [`Verified`], and only a [`Verified`] can be registered.

use std::io;
use std::ops::ControlFlow;

use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{Header, Repository};
use runsync_manifest::name::{RunKey, RunPrefix};
use runsync_manifest::trailer::Trailer;
use runsync_manifest::universe;

use super::parse::Parsed;
use super::refuse::{Blocker, Refusal, blocker};
use super::trust::{SignatureWorth, Trust};
use crate::ledger::record::{ManifestRow, ManifestState, below_floor};
use crate::ledger::{Ledger, LedgerError};
use crate::registry::record::{Registration, RowSource};
use crate::registry::{Registry, RegistryError};

/// Conflicts looked for; one is enough to refuse, a few help the operator.
const CONFLICTS_SHOWN: usize = 5;

/// A manifest that may be registered, or heard.
#[derive(Debug)]
pub struct Verified {
    parsed: Parsed,
    run: RunKey,
}

/// What may be done with a manifest.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Compare what it says with what is registered.
    Compare(Verified),
    /// Register its datasets.
    Register(Verified),
    /// Hear what it removes.
    Hear(Verified),
    /// Keep it for the flow that compares inventories.
    Hold(Verified),
    /// The same manifest was registered under another name.
    Known(Parsed),
    /// None of these.
    Refuse(Parsed, Refusal),
}

/// Why it cannot be decided now.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Verified {
    /// The manifest as read.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Its run.
    pub fn run(&self) -> &RunKey {
        &self.run
    }
}

/// Who must have signed a manifest: its run's origin, or for an inventory its holder.
fn speaker(header: &Header) -> &Repository {
    header.holder.as_ref().unwrap_or(&header.origin)
}

/// Judges a header before the rest is read, so that a stranger's file costs one line.
pub(super) fn admit(header: &Header, trust: &Trust) -> Result<(), Box<Refusal>> {
    for repository in [&header.origin, speaker(header)] {
        if !trust.knows(repository.repository) {
            return Err(Box::new(Refusal::untrusted(
                format!(
                    "repository {} of site {} is not configured here",
                    repository.repository, repository.site
                ),
                "add a [[peer]] with this origin to the configuration, trust its key, and reload the daemon",
            )));
        }
    }
    if !trust.may_own(header.origin.repository, &header.run) {
        return Err(Box::new(Refusal::quarantined(
            format!(
                "run `{}` is outside the run-name prefixes of repository {}",
                header.run, header.origin.repository
            ),
            "if the origin may own it, add the prefix to its [[peer]], reload, and run `runsync quarantine retry`",
        )));
    }
    if header.universe.name != universe::NAMESPACE {
        return Err(Box::new(Refusal::quarantined(
            format!(
                "its dimension universe is `{}`; this registry's is `{}`",
                header.universe.name,
                universe::NAMESPACE
            ),
            "data IDs of another universe cannot be registered beside the Butler's own",
        )));
    }
    Ok(())
}

/// A whole manifest that was signed by whom it must be.
#[derive(Debug)]
pub(super) struct Authentic(Parsed);

/// Whether a manifest is authentic.
pub(super) enum Authentication {
    /// It is.
    Authentic(Box<Authentic>),
    /// It is not, and why.
    Refused(Box<Parsed>, Box<Refusal>),
}

impl Authentic {
    /// The manifest as read.
    pub(super) fn parsed(&self) -> &Parsed {
        &self.0
    }
}

/// Judges who signed a whole manifest, and whose files it claims. `unsigned` is an operator's word
/// for a manifest of this site's own repository that carries no signature.
///
/// # Errors
///
/// Where scratch files cannot be read.
pub(super) fn authenticate(
    parsed: Parsed,
    trust: &Trust,
    unsigned: bool,
) -> io::Result<Authentication> {
    let refusal = match check_signature(parsed.header(), parsed.trailer(), trust, unsigned) {
        Err(refusal) => Some(refusal),
        Ok(()) => foreign_path(&parsed, trust)?,
    };
    Ok(match refusal {
        None => Authentication::Authentic(Box::new(Authentic(parsed))),
        Some(refusal) => Authentication::Refused(Box::new(parsed), refusal),
    })
}

/// A path that lies where another origin keeps its runs: claiming it would keep the owner's own
/// manifest out.
fn foreign_path(parsed: &Parsed, trust: &Trust) -> io::Result<Option<Box<Refusal>>> {
    let (origin, run) = (parsed.header().origin.repository, &parsed.header().run);
    let foreign = trust.prefixes_of_others(origin);
    if foreign.is_empty() {
        return Ok(None);
    }
    // An adopted run lies where its owner's will.
    let own = |prefix: &RunPrefix| trust.is_adopted(origin) && prefix.owns(run);
    let mut cursor = parsed.rows().by_path()?;
    while let Some(row) = cursor.next()? {
        let mut foreign = foreign.iter();
        if let Some(prefix) = foreign.find(|prefix| prefix.covers(row.path) && !own(prefix)) {
            return Ok(Some(Box::new(Refusal::quarantined(
                format!(
                    "dataset {} claims path `{}`, which lies below run-name prefix `{prefix}` of another repository",
                    row.uuid, row.path
                ),
                "ask the origin to keep its files below its own run names",
            ))));
        }
    }
    Ok(None)
}

/// Judges an authentic manifest by what is known of its run, and by what is registered. `progress`
/// hears of rows compared, and may break off.
pub(super) fn verify(
    Authentic(parsed): Authentic,
    ledger: &dyn Ledger,
    registry: &dyn Registry,
    root: &RootName,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Verdict, VerifyError> {
    let header = parsed.header();
    let run = RunKey {
        origin: header.origin.repository,
        name: header.run.clone(),
    };
    if header.content == Content::Inventory {
        // Compared only: it has no place in the run's history.
        return Ok(Verdict::Hold(Verified { parsed, run }));
    }
    if is_interrupted(&parsed, &run, registry)? {
        // It was judged before its first row, and some of its rows are visible: it is whole or
        // absent only if it goes on now. What has been removed since is another matter.
        let verified = Verified { parsed, run };
        let outgoing = registry.outgoing(&verified.registration(root, false), progress)?;
        return Ok(match outgoing {
            None => Verdict::Register(verified),
            Some(conflict) => Verdict::Refuse(verified.parsed, conflict.into()),
        });
    }
    let row = registry.run(&run)?;
    let floor = row.as_ref().and_then(|run| run.floor);
    let followed = row.as_ref().and_then(|run| run.followed);
    let history = History {
        floor,
        // Nothing but that raises the one above the other.
        dropped: floor.filter(|floor| followed.is_some_and(|followed| followed > *floor)),
        accepted: ledger.accepted_digest(&run, header.generation)?,
        rows: ledger.of_run(&run)?,
    };
    if let Some(refusal) = history.refuses(&parsed) {
        return Ok(Verdict::Refuse(parsed, refusal));
    }
    if history.knows(&parsed) {
        return Ok(Verdict::Known(parsed));
    }
    match header.content {
        Content::Additions => Ok(Verdict::Compare(Verified { parsed, run })),
        Content::Removal | Content::Snapshot => Ok(Verdict::Hear(Verified { parsed, run })),
        Content::Inventory => Ok(Verdict::Hold(Verified { parsed, run })),
    }
}

/// Whether registering this very manifest was begun and not ended.
fn is_interrupted(
    parsed: &Parsed,
    run: &RunKey,
    registry: &dyn Registry,
) -> Result<bool, RegistryError> {
    let (generation, digest) = (parsed.header().generation, parsed.trailer().sha256);
    Ok(registry
        .registering()?
        .iter()
        .any(|one| one.run == *run && one.generation == generation && one.digest == digest))
}

/// What is known of a run before a manifest of it is judged.
struct History {
    floor: Option<Generation>,
    /// The floor, where it is that of a copy that was dropped, and nothing at it counts either.
    dropped: Option<Generation>,
    /// The digest first accepted as the manifest's generation.
    accepted: Option<Sha256>,
    rows: Vec<ManifestRow>,
}

impl History {
    /// Below the floor nothing counts, not even a fork; above it, a fork freezes the run until
    /// its origin raises the floor beyond it.
    fn refuses(&self, parsed: &Parsed) -> Option<Refusal> {
        let header = parsed.header();
        let digest = parsed.trailer().sha256;
        if let Some(floor) = self.floor.filter(|floor| header.generation < *floor) {
            return Some(superseded(header.generation, floor));
        }
        if let Some(dropped) = self.dropped.filter(|floor| header.generation == *floor) {
            return Some(superseded(header.generation, dropped));
        }
        if self.accepted.is_some_and(|accepted| accepted != digest) {
            return Some(fork(header));
        }
        if self.knows(parsed) {
            return None;
        }
        if let Some(refusal) = self.frozen(header, &digest) {
            return Some(refusal);
        }
        self.floor
            .filter(|floor| header.generation == *floor && header.content == Content::Additions)
            .map(|floor| superseded(header.generation, floor))
    }

    /// Whether this very manifest is registered, under whichever name.
    fn knows(&self, parsed: &Parsed) -> bool {
        self.rows.iter().any(|row| {
            row.state == ManifestState::Registered
                && row
                    .summary
                    .as_ref()
                    .is_some_and(|summary| summary.digest == Some(parsed.trailer().sha256))
        })
    }

    fn frozen(&self, header: &Header, digest: &Sha256) -> Option<Refusal> {
        let fork = self
            .rows
            .iter()
            .filter(|row| blocker(row) == Some(Blocker::Fork))
            .filter_map(|row| row.summary.as_ref())
            .filter(|summary| summary.digest.as_ref() != Some(digest))
            .map(|summary| summary.generation)
            .filter(|generation| self.floor.is_none_or(|floor| *generation >= floor))
            .max()?;
        if header.content == Content::Snapshot && header.generation.epoch > fork.epoch {
            return None;
        }
        Some(Refusal::blocked(
            Blocker::Frozen,
            format!(
                "run `{}` is frozen: it is forked at generation {fork}",
                header.run
            ),
            "the origin must publish a snapshot of the run in a higher epoch",
        ))
    }
}

/// Judges whether a manifest may speak for its run here, apart from what is registered: origin,
/// run-name prefixes, signature.
pub fn judge(header: &Header, trailer: &Trailer, trust: &Trust) -> Result<(), Box<Refusal>> {
    admit(header, trust)?;
    check_signature(header, trailer, trust, false)
}

/// Judges who signed a whole manifest.
pub(super) fn check_signature(
    header: &Header,
    trailer: &Trailer,
    trust: &Trust,
    unsigned: bool,
) -> Result<(), Box<Refusal>> {
    let speaker = speaker(header);
    let Some(signature) = &trailer.signature else {
        if unsigned && speaker.repository == trust.local() {
            return Ok(());
        }
        return Err(Box::new(Refusal::quarantined(
            "it carries no signature",
            "only a manifest of this site's own repository may be taken unsigned: `runsync ingest --unsigned FILE`",
        )));
    };
    let key_id = signature.key_id;
    match trust.judge(speaker.repository, signature, &trailer.sha256) {
        SignatureWorth::Good => Ok(()),
        SignatureWorth::KeyUnknown => Err(Box::new(Refusal::untrusted(
            format!(
                "key {key_id} is not known for repository {}",
                speaker.repository
            ),
            "get the key from the site by a trusted way, run `runsync keys trust FILE`, and reload the daemon",
        ))),
        SignatureWorth::KeyRevoked => Err(Box::new(Refusal::untrusted(
            format!(
                "key {key_id} of repository {} is revoked here",
                speaker.repository
            ),
            "the origin must publish a snapshot in a higher epoch, signed by another key",
        ))),
        SignatureWorth::Bad => Err(Box::new(Refusal::quarantined(
            format!("its signature is not by key {key_id}, which it names"),
            "the file was changed after it was signed: ask the origin for the manifest anew",
        ))),
    }
}

fn fork(header: &Header) -> Refusal {
    Refusal::blocked(
        Blocker::Fork,
        format!(
            "run `{}` is forked: another manifest of generation {} was accepted before",
            header.run, header.generation
        ),
        "the origin must publish a snapshot of the run in a higher epoch",
    )
}

/// A manifest that its run's floor overtakes, whichever came first.
pub(super) fn superseded(generation: Generation, floor: Generation) -> Refusal {
    Refusal::superseded(below_floor(generation, floor))
}

/// Judges a manifest by what stands against it in the registry, once `giving_way` have given way to it.
pub(super) fn judge_conflicts(
    verified: Verified,
    registry: &dyn Registry,
    root: &RootName,
    giving_way: &[RunKey],
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Verdict, VerifyError> {
    let conflicts = registry.conflicts_beside(
        &verified.registration(root, false),
        giving_way,
        CONFLICTS_SHOWN,
        progress,
    )?;
    // One that no other manifest can resolve decides, whatever else there is.
    let worst = conflicts
        .iter()
        .position(|conflict| !conflict.may_resolve())
        .unwrap_or(0);
    let others = conflicts.len().saturating_sub(1);
    let Some(conflict) = conflicts.into_iter().nth(worst) else {
        return Ok(Verdict::Register(verified));
    };
    let mut refusal = Refusal::from(conflict);
    if others > 0 {
        let or_more = if others + 1 == CONFLICTS_SHOWN {
            " or more"
        } else {
            ""
        };
        refusal.reason = format!("{} (and {others}{or_more} other conflicts)", refusal.reason);
    }
    Ok(Verdict::Refuse(verified.parsed, refusal))
}

impl Verified {
    /// What the registry is asked to take.
    pub(super) fn registration<'a>(&'a self, root: &'a RootName, trust: bool) -> Registration<'a> {
        Registration {
            run: &self.run,
            generation: self.parsed.header().generation,
            digest: self.parsed.trailer().sha256,
            root,
            dataset_types: &self.parsed.header().dataset_types,
            trust,
            rows: self.parsed.rows(),
        }
    }

    /// What is accepted by registering it: the run, its generation, its digest.
    pub(super) fn accepted(&self) -> (RunKey, Generation, Sha256) {
        let (header, trailer) = (self.parsed.header(), self.parsed.trailer());
        (self.run.clone(), header.generation, trailer.sha256)
    }

    /// Gives the manifest back, when it turns out that it cannot be registered after all.
    pub(super) fn into_parsed(self) -> Parsed {
        self.parsed
    }
}
