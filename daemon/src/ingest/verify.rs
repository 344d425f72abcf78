//! Decides what a manifest may do: signature, origin, ownership, generation, conflicts.
//!
//! Only this stage makes a [`Verified`], and only a [`Verified`] can be registered.

use runsync_config::root::RootName;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{Header, Repository};
use runsync_manifest::name::RunKey;
use runsync_manifest::trailer::Trailer;
use runsync_manifest::universe;

use super::parse::Parsed;
use super::refuse::{Blocker, Refusal, blocker};
use super::trust::{SignatureWorth, Trust};
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::ledger::{Ledger, LedgerError};
use crate::registry::record::{Registration, RunRow};
use crate::registry::{Registry, RegistryError};

/// Conflicts looked for; one is enough to refuse, a few help the operator.
const CONFLICTS_SHOWN: usize = 5;

/// A manifest that may be registered (or, for a removal or snapshot, held).
#[derive(Debug)]
pub struct Verified {
    parsed: Parsed,
    run: RunKey,
}

/// What may be done with a manifest.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Register its datasets.
    Register(Verified),
    /// Keep it for the flow that acts on removals, snapshots and inventories.
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

/// Judges a whole manifest. `unsigned` is an operator's word for a manifest of this site's own
/// repository that carries no signature.
pub(super) fn verify(
    parsed: Parsed,
    trust: &Trust,
    unsigned: bool,
    ledger: &dyn Ledger,
    registry: &dyn Registry,
    root: &RootName,
) -> Result<Verdict, VerifyError> {
    if let Err(refusal) = check_signature(parsed.header(), parsed.trailer(), trust, unsigned) {
        return Ok(Verdict::Refuse(parsed, *refusal));
    }
    let header = parsed.header();
    let run = RunKey {
        origin: header.origin.repository,
        name: header.run.clone(),
    };
    if header.content == Content::Inventory {
        // Compared only: it has no place in the run's history.
        return Ok(Verdict::Hold(Verified { parsed, run }));
    }
    let accepted = ledger.accepted_digest(&run, header.generation)?;
    if let Some(digest) = accepted
        && digest != parsed.trailer().sha256
    {
        let refusal = fork(&parsed);
        return Ok(Verdict::Refuse(parsed, refusal));
    }
    let rows = ledger.of_run(&run)?;
    if let Some(refusal) = frozen(&rows, header) {
        return Ok(Verdict::Refuse(parsed, refusal));
    }
    let known = registry.run(&run)?;
    if let Some(refusal) = overtaken(known.as_ref(), header) {
        return Ok(Verdict::Refuse(parsed, refusal));
    }
    if accepted.is_some() && is_registered(&rows, header) {
        return Ok(Verdict::Known(parsed));
    }
    match header.content {
        Content::Additions => judge_conflicts(Verified { parsed, run }, registry, root),
        Content::Removal | Content::Snapshot | Content::Inventory => {
            Ok(Verdict::Hold(Verified { parsed, run }))
        }
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

fn fork(parsed: &Parsed) -> Refusal {
    let header = parsed.header();
    Refusal::blocked(
        Blocker::Fork,
        format!(
            "run `{}` is forked: another manifest of generation {} was accepted before",
            header.run, header.generation
        ),
        "the origin must publish a snapshot of the run in a higher epoch",
    )
}

/// A forked run is frozen until its origin publishes a snapshot in a higher epoch.
fn frozen(rows: &[ManifestRow], header: &Header) -> Option<Refusal> {
    let fork = rows
        .iter()
        .filter(|row| blocker(row) == Some(Blocker::Fork))
        .filter_map(|row| row.summary.as_ref())
        .map(|summary| summary.generation)
        .filter(|generation| *generation != header.generation)
        .max()?;
    if header.content == Content::Snapshot && header.generation.epoch > fork.epoch {
        return None;
    }
    Some(Refusal::blocked(
        Blocker::Fork,
        format!(
            "run `{}` is frozen: it is forked at generation {fork}",
            header.run
        ),
        "the origin must publish a snapshot of the run in a higher epoch",
    ))
}

fn overtaken(known: Option<&RunRow>, header: &Header) -> Option<Refusal> {
    let floor = known.and_then(|run| run.floor)?;
    (header.generation < floor
        || header.generation == floor && header.content == Content::Additions)
        .then(|| Refusal::superseded(overtaken_reason(header.generation, floor)))
}

/// Why a manifest is superseded, whichever came first, it or its run's floor.
pub(super) fn overtaken_reason(generation: Generation, floor: Generation) -> String {
    format!("generation {generation} is not above the run's floor {floor}")
}

fn is_registered(rows: &[ManifestRow], header: &Header) -> bool {
    rows.iter().any(|row| {
        row.state == ManifestState::Registered
            && row
                .summary
                .as_ref()
                .is_some_and(|summary| summary.generation == header.generation)
    })
}

fn judge_conflicts(
    verified: Verified,
    registry: &dyn Registry,
    root: &RootName,
) -> Result<Verdict, VerifyError> {
    let conflicts = registry.conflicts(
        &verified.registration(root, false),
        CONFLICTS_SHOWN,
        &mut |_| std::ops::ControlFlow::Continue(()),
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

    /// Gives the manifest back, when it turns out that it cannot be registered after all.
    pub(super) fn into_parsed(self) -> Parsed {
        self.parsed
    }
}
