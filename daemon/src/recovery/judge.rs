//! Decides what is drift: each suspicion is looked at by its name, and asked of the registry, after the listing.
//!
//! A listing and a page of records are of two moments, and a store may leave a file out of a listing. What holds
//! at a third moment, by both, is found; what has changed meanwhile is left for the next pass.

use runsync_manifest::name::ArtifactPath;

use super::behind::Behind;
use crate::datastore::{Look, SeenFile};
use crate::file_identity::FileIdentity;
use crate::ledger::scans::{Drift, DriftKind};
use crate::registry::record::{ArtifactStanding, ClaimAt};
use crate::spelling::folded;

/// What the listing and the records make one suspect at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) path: ArtifactPath,
    pub(super) what: Suspicion,
}

/// What is suspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// The file was not listed.
    Lost,
    /// Nothing names the file.
    Dark(SeenFile),
    /// The file has another size.
    Size(SeenFile),
    /// The file was read and has other checksums, which these words tell.
    Sum(SeenFile, String),
    /// No regular file lies there.
    Irregular,
}

/// What is known of a suspect at the moment of judgement.
#[derive(Debug)]
pub(super) struct Evidence<'e> {
    pub(super) look: Look,
    pub(super) claims: &'e [ClaimAt],
    /// Whether runsync gave the file a second name.
    pub(super) second_name: bool,
    /// Whether names of its own are Rucio's in this root.
    pub(super) rucio_names: bool,
    pub(super) behind: &'e Behind,
}

/// What is decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Found(Drift),
    /// Nothing is wrong.
    Well,
    /// Nothing is wrong but that the listing left the file out.
    LeftOut,
    /// Nothing is wrong: it is another name of an artifact.
    SecondName,
    /// Nothing can be said.
    Undecided,
    /// Nothing can be said: it cannot be looked at.
    Unreadable,
}

pub(super) fn judge(suspect: Suspect, evidence: &Evidence<'_>) -> Verdict {
    let claims = evidence.claims;
    let unsettled = |claim: &ClaimAt| claim.busy || evidence.behind.holds(&claim.run);
    if claims.iter().any(unsettled) {
        return Verdict::Undecided;
    }
    if matches!(evidence.look, Look::Unreadable(_)) {
        return Verdict::Unreadable;
    }
    let stands = |standing| claims.iter().find(|claim| claim.standing == standing);
    let confirmed = stands(ArtifactStanding::Confirmed);
    let Suspect { path, what } = suspect;
    match (what, confirmed) {
        (Suspicion::Dark(file), None) if stands(ArtifactStanding::Awaited).is_none() => {
            dark(path, &file, evidence)
        }
        // It got its record, or came to be awaited, since.
        (Suspicion::Dark(_), _) => Verdict::Well,
        // The record went since, and the file too: nothing is left to differ.
        (_, None) if evidence.look == Look::Absent => Verdict::Well,
        (Suspicion::Lost, Some(claim)) => lost(path, claim, evidence.look),
        (Suspicion::Irregular, Some(claim)) => match evidence.look {
            Look::Irregular => Verdict::Found(irregular(path, claim)),
            Look::File(_) | Look::Absent | Look::Unreadable(_) => Verdict::Undecided,
        },
        (Suspicion::Size(file), Some(claim)) => match evidence.look {
            // Nobody has read what lies there now, if it has that size.
            Look::File(now) if now == file.identity && now.size != claim.size => {
                Verdict::Found(size(path, claim, now))
            }
            Look::File(_) | Look::Absent | Look::Irregular | Look::Unreadable(_) => {
                Verdict::Undecided
            }
        },
        (Suspicion::Sum(file, detail), Some(_)) if evidence.look == Look::File(file.identity) => {
            let found = (DriftKind::Corrupt, detail, Some(file.identity.size));
            Verdict::Found(of_file(drift(path, found, true), file.identity))
        }
        // The record went, or the file became another, since.
        (_, None) | (Suspicion::Sum(..), Some(_)) => Verdict::Undecided,
    }
}

fn lost(path: ArtifactPath, claim: &ClaimAt, look: Look) -> Verdict {
    match look {
        Look::Absent => {
            let detail = format!("record of run {}, {} bytes", claim.run, claim.size);
            let found = (DriftKind::Lost, detail, Some(claim.size));
            Verdict::Found(drift(path, found, true))
        }
        Look::File(now) if now.size == claim.size => Verdict::LeftOut,
        Look::File(now) => Verdict::Found(size(path, claim, now)),
        Look::Irregular => Verdict::Found(irregular(path, claim)),
        Look::Unreadable(_) => Verdict::Undecided,
    }
}

fn dark(path: ArtifactPath, file: &SeenFile, evidence: &Evidence<'_>) -> Verdict {
    if evidence.second_name {
        return Verdict::SecondName;
    }
    match evidence.look {
        Look::Absent => Verdict::Well,
        // It may be Rucio's, who does not tell of all.
        _ if evidence.rucio_names && evidence.claims.is_empty() => Verdict::Undecided,
        Look::File(now) if now == file.identity => {
            let claim = evidence.claims.first();
            let detail = match claim {
                Some(claim) => format!(
                    "a dataset of run {} names it, which was unstored or forgotten",
                    claim.run
                ),
                None => "nothing names it".to_owned(),
            };
            let found = (DriftKind::Dark, detail, Some(now.size));
            Verdict::Found(of_file(drift(path, found, claim.is_some()), now))
        }
        Look::File(_) | Look::Irregular | Look::Unreadable(_) => Verdict::Undecided,
    }
}

fn size(path: ArtifactPath, claim: &ClaimAt, now: FileIdentity) -> Drift {
    let detail = format!(
        "{} bytes, and the record of run {} says {}",
        now.size, claim.run, claim.size
    );
    let found = (DriftKind::Corrupt, detail, Some(now.size));
    of_file(drift(path, found, true), now)
}

fn irregular(path: ArtifactPath, claim: &ClaimAt) -> Drift {
    let detail = format!(
        "record of run {}, and what lies there is no regular file, or a link is on its way",
        claim.run
    );
    drift(path, (DriftKind::Irregular, detail, None), true)
}

fn drift(
    path: ArtifactPath,
    (kind, detail, size): (DriftKind, String, Option<u64>),
    claimed: bool,
) -> Drift {
    Drift {
        folded: folded(path.as_str()),
        path,
        kind,
        detail,
        size,
        identity: None,
        claimed,
        run: None,
    }
}

fn of_file(drift: Drift, identity: FileIdentity) -> Drift {
    let identity = Some(identity);
    Drift { identity, ..drift }
}
