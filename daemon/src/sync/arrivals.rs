//! Takes in artifacts that Rucio has brought: names them, and has them confirmed.
//!
//! An artifact is confirmed at its root's level. At `size` and `checksum` that is a look at the file,
//! which may be there up to some twenty seconds before Rucio calls its replica AVAILABLE; at `trust` it
//! is that word.

use std::collections::{BTreeMap, BTreeSet};

use runsync_config::root::ConfirmLevel;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::SyncError;
use super::place::Brought;
use super::root::{Here, RootSync, WRONG};
use crate::ingest::{OfRun, confirm_arrived, confirm_unseen};
use crate::registry::record::{ArtifactStanding, ClaimAt, WaitingArtifact};

/// An artifact that Rucio has here, and what runs say of it.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) path: ArtifactPath,
    pub(super) here: Here,
    pub(super) claims: Vec<ClaimAt>,
}

impl Arrival {
    /// What runs that Rucio carries for wait for here, or forgot.
    fn wanted(&self) -> impl Iterator<Item = &ClaimAt> {
        self.claims
            .iter()
            .filter(|claim| !claim.busy && claim.wanted)
    }

    fn is(&self, standing: ArtifactStanding) -> bool {
        self.wanted().any(|claim| claim.standing == standing)
    }
}

impl RootSync<'_, '_> {
    /// Takes in artifacts, and has those confirmed that are right. What was forgotten waits again first.
    pub(super) fn take_in(&mut self, mut arrivals: Vec<Arrival>) -> Result<(), SyncError> {
        for arrival in &mut arrivals {
            let ours = self.syncing.ground.repository;
            arrival.claims.retain(|claim| claim.run.origin != ours);
        }
        arrivals.retain(|arrival| {
            arrival.is(ArtifactStanding::Awaited)
                || (arrival.is(ArtifactStanding::Absent) && arrival.here.is_available())
        });
        self.leave_out_others(&mut arrivals)?;
        if arrivals.is_empty() {
            return Ok(());
        }
        self.flow.datastore().check_identity()?;
        arrivals.sort_by(|a, b| a.path.cmp(&b.path));
        self.await_again(&arrivals)?;
        let trusts = self.root().confirm == ConfirmLevel::Trust;
        if trusts {
            arrivals.retain(|arrival| arrival.here.is_available());
        }
        let brought: Vec<Brought> = arrivals.iter().map(brought).collect();
        let named = self.name(&brought)?;
        let mut of_runs: BTreeMap<RunKey, Vec<WaitingArtifact>> = BTreeMap::new();
        let arrivals = arrivals.iter().zip(named).filter(|(_, named)| *named);
        let mut right = Vec::new();
        for (arrival, _) in arrivals {
            right.push(&arrival.path);
            for claim in arrival.wanted() {
                if claim.standing == ArtifactStanding::Confirmed {
                    continue;
                }
                let artifact = WaitingArtifact {
                    path: arrival.path.clone(),
                    size: claim.size,
                    checksums: claim.checksums,
                };
                let of_run = of_runs.entry(claim.run.clone()).or_default();
                if of_run.last() != Some(&artifact) {
                    of_run.push(artifact);
                }
            }
        }
        self.heal(WRONG, &right)?;
        self.confirm(of_runs.into_iter().collect())
    }

    /// Leaves out what Rucio knows as another file than manifests do, which is a finding.
    fn leave_out_others(&mut self, arrivals: &mut Vec<Arrival>) -> Result<(), SyncError> {
        let mut wrong = Vec::new();
        arrivals.retain(|arrival| {
            let differs = arrival
                .wanted()
                .find_map(|claim| differs(&arrival.here, claim.size, &claim.checksums));
            if let Some(detail) = differs {
                wrong.push((arrival.path.clone(), detail));
                return false;
            }
            true
        });
        self.tell(WRONG, &wrong)
    }

    /// Lets wait again what was forgotten and is here again.
    fn await_again(&mut self, arrivals: &[Arrival]) -> Result<(), SyncError> {
        let forgotten = arrivals
            .iter()
            .filter(|arrival| arrival.is(ArtifactStanding::Absent));
        let paths: Vec<&ArtifactPath> = forgotten.map(|arrival| &arrival.path).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let count = self.registry().await_at(&self.root().name, &paths)?;
        self.report.awaited_again += count;
        Ok(())
    }

    fn confirm(&mut self, arrived: Vec<OfRun>) -> Result<(), SyncError> {
        if arrived.is_empty() {
            return Ok(());
        }
        self.report.confirmed += match self.root().confirm {
            ConfirmLevel::Trust => confirm_unseen(self.flow, arrived)?,
            ConfirmLevel::Size => confirm_arrived(self.flow, arrived, self.budget.progress)?,
            ConfirmLevel::Checksum => {
                let folders = folders(&arrived);
                if self.flow.looking().ask_for_folders(folders) {
                    // Each file would be read twice.
                    let artifacts = arrived.iter().map(|(_, artifacts)| artifacts.len() as u64);
                    self.report.reading += artifacts.sum::<u64>();
                    return Ok(());
                }
                confirm_arrived(self.flow, arrived, self.budget.progress)?
            }
        };
        Ok(())
    }

    /// Looks at artifacts under their own names, and has those confirmed that are there and right,
    /// whatever Rucio calls them. Nothing of this asks Rucio.
    pub(super) fn look_now(
        &mut self,
        artifacts: &[(ArtifactPath, Vec<ClaimAt>)],
    ) -> Result<(), SyncError> {
        let mut of_runs: BTreeMap<RunKey, Vec<WaitingArtifact>> = BTreeMap::new();
        for (path, claims) in artifacts {
            for claim in claims {
                if claim.standing == ArtifactStanding::Awaited
                    && !claim.busy
                    && self.is_carried(&claim.run)
                {
                    of_runs
                        .entry(claim.run.clone())
                        .or_default()
                        .push(WaitingArtifact {
                            path: path.clone(),
                            size: claim.size,
                            checksums: claim.checksums,
                        });
                }
            }
        }
        for artifacts in of_runs.values_mut() {
            artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        }
        self.confirm(of_runs.into_iter().collect())
    }
}

fn brought(arrival: &Arrival) -> Brought {
    let size = arrival.wanted().map(|claim| claim.size).next();
    Brought {
        path: arrival.path.clone(),
        here: arrival.here.clone(),
        size: size.unwrap_or_default(),
    }
}

/// What differs between what Rucio knows of a file and what its manifest says.
pub(super) fn differs(here: &Here, expected: u64, checksums: &Checksums) -> Option<String> {
    if let Some(bytes) = here.bytes.filter(|bytes| *bytes != expected) {
        return Some(format!(
            "its size is {bytes} bytes in Rucio, expected {expected}"
        ));
    }
    let expected = checksums.adler32.to_string();
    let theirs = here.adler32.as_deref().map(str::trim)?;
    let differs = !theirs.is_empty() && !theirs.eq_ignore_ascii_case(&expected);
    differs.then(|| format!("its adler32 is {theirs} in Rucio, expected {expected}"))
}

/// The folders of artifacts.
fn folders(arrived: &[OfRun]) -> BTreeSet<String> {
    let paths = arrived.iter().flat_map(|(_, artifacts)| artifacts);
    let folder = |artifact: &WaitingArtifact| {
        let folder = artifact.path.as_str().rsplit_once('/');
        folder.map_or("", |(folder, _)| folder).to_owned()
    };
    paths.map(folder).collect()
}

#[cfg(test)]
mod tests {
    use runsync_manifest::checksum::Wanted;

    use super::*;

    #[test]
    fn rucios_word_is_compared_with_the_manifests() {
        let claim = ClaimAt {
            run: RunKey {
                origin: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
                name: "u/a".parse().unwrap(),
            },
            standing: ArtifactStanding::Awaited,
            size: 7,
            checksums: runsync_manifest::checksum::checksum(&b"content"[..], Wanted::default())
                .unwrap()
                .1,
            wanted: true,
            busy: false,
        };
        let here = |bytes, adler32: Option<&str>| Here {
            state: "AVAILABLE".to_owned(),
            pfns: Vec::new(),
            bytes,
            adler32: adler32.map(str::to_owned),
        };
        let right = claim.checksums.adler32.to_string();
        for fine in [
            here(Some(7), Some(&right)),
            here(Some(7), Some(&right.to_uppercase())),
            here(None, None),
        ] {
            assert_eq!(differs(&fine, claim.size, &claim.checksums), None);
        }
        assert!(
            differs(&here(Some(8), Some(&right)), claim.size, &claim.checksums)
                .unwrap()
                .starts_with("its size is 8")
        );
        assert!(
            differs(
                &here(Some(7), Some("00000001")),
                claim.size,
                &claim.checksums
            )
            .is_some()
        );
    }
}
