//! Decides what is drift: each suspicion is looked at by its name, and asked of the registry, after the listing.
//!
//! A listing and a page of records are of two moments, and a store may leave a file out of a listing. What holds
//! at a third moment, by both, is found; what has changed meanwhile is left for the next pass.

use runsync_manifest::checksum::Checksums;
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
    /// The file was read and has these checksums, which are not those of its record.
    Sum(SeenFile, Checksums),
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
        (Suspicion::Sum(file, sums), Some(_)) => {
            let is_read = evidence.look == Look::File(file.identity);
            // The records may be others by now than those it was compared with.
            let recorded = claims
                .iter()
                .filter(|claim| claim.standing == ArtifactStanding::Confirmed);
            let mut differ = recorded.filter_map(|claim| difference(&claim.checksums, &sums));
            match differ.next().filter(|_| is_read) {
                Some(detail) => {
                    let found = (DriftKind::Corrupt, detail, Some(file.identity.size));
                    Verdict::Found(of_file(drift(path, found, true), file.identity))
                }
                None => Verdict::Undecided,
            }
        }
        // The record went since.
        (_, None) => Verdict::Undecided,
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

/// How a file's checksums differ from those of its record, for people.
pub(super) fn difference(said: &Checksums, found: &Checksums) -> Option<String> {
    let differs = |what: &str, said: String, found: String| {
        (said != found).then(|| format!("{what} {found}, and the record says {said}"))
    };
    let adler32 = (said.adler32.to_string(), found.adler32.to_string());
    let md5 = said.md5.zip(found.md5);
    let sha256 = said.sha256.zip(found.sha256);
    differs("adler32", adler32.0, adler32.1)
        .or_else(|| md5.and_then(|(a, b)| differs("md5", a.to_string(), b.to_string())))
        .or_else(|| sha256.and_then(|(a, b)| differs("sha256", a.to_string(), b.to_string())))
}

#[cfg(test)]
mod tests {
    use runsync_manifest::checksum::Adler32;
    use runsync_manifest::name::{RepositoryId, RunKey};
    use uuid::Uuid;

    use super::*;

    fn sums(adler32: u8) -> Checksums {
        Checksums {
            adler32: Adler32([adler32; 4]),
            md5: None,
            sha256: None,
        }
    }

    /// What comes of a file that was read and has these checksums, where its record has those by then.
    fn read(found: Checksums, recorded: Checksums) -> Verdict {
        let identity = FileIdentity {
            size: 1,
            modified_ns: 0,
            inode: 0,
        };
        let path: ArtifactPath = "a".parse().unwrap();
        let file = SeenFile {
            path: path.clone(),
            identity,
            changed_ns: 0,
        };
        let claims = [ClaimAt {
            run: RunKey {
                origin: RepositoryId(Uuid::nil()),
                name: "r".parse().unwrap(),
            },
            standing: ArtifactStanding::Confirmed,
            size: 1,
            checksums: recorded,
            wanted: true,
            busy: false,
        }];
        let evidence = Evidence {
            look: Look::File(identity),
            claims: &claims,
            second_name: false,
            rucio_names: false,
            behind: &Behind::default(),
        };
        let what = Suspicion::Sum(file, found);
        judge(Suspect { path, what }, &evidence)
    }

    #[test]
    fn checksums_are_compared_with_what_is_recorded_by_then() {
        assert!(matches!(read(sums(1), sums(2)), Verdict::Found(_)));
        assert_eq!(read(sums(1), sums(1)), Verdict::Undecided);
    }
}
