//! Tells Rucio of replicas here that it has lost: the files are known to it, and lie where they should.

use std::collections::BTreeMap;

use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::error::PublishError;
use super::flow::{PublishRoot, Publishing};
use super::place::Placing;
use crate::datastore::Linked;
use crate::error_chain::error_chain;
use crate::registry::record::WaitingArtifact;
use crate::rucio::replicas::{AVAILABLE, Look, NewReplica, Place, Registered};
use crate::rucio::{Did, Rucio};

impl Publishing {
    /// Tells Rucio of a run's artifacts in a root, which are there and right. Only of files that it knows, by the
    /// same size and checksum, in exactly one scope. Returns why it was not told of others.
    ///
    /// # Errors
    ///
    /// Where Rucio, registry or ledger fails, or the RSE has files elsewhere than in the root: some may be added.
    pub fn add_here(
        &self,
        rucio: &Rucio,
        root: &RootName,
        run: &RunKey,
        artifacts: &[WaitingArtifact],
    ) -> Result<Vec<(ArtifactPath, String)>, PublishError> {
        let (root, rse) = self.root_and_rse(root, run)?;
        let mut placing = Placing::find(rucio, &root.config, rse)?;
        let known = self.known(rucio, run, artifacts)?;
        let (mut files, mut left) = (Vec::new(), Vec::new());
        for artifact in artifacts {
            match known.get(&artifact.path) {
                Some(Ok(did)) => files.push((artifact, did.clone())),
                Some(Err(why)) => left.push((artifact.path.clone(), why.clone())),
                None => left.push((
                    artifact.path.clone(),
                    "Rucio does not know its file".to_owned(),
                )),
            }
        }
        if files.is_empty() {
            return Ok(left);
        }
        let dids: Vec<Did> = files.iter().map(|(_, did)| did.clone()).collect();
        placing.probe(rucio, dids.get(..2).unwrap_or(&dids))?;
        // A file has its name before Rucio counts on it.
        let unnamed = self.name(rucio, (root, &placing), &dids)?;
        files.retain(|(artifact, did)| {
            let why = unnamed.get(did);
            left.extend(why.map(|why| (artifact.path.clone(), why.clone())));
            why.is_none()
        });
        let replicas: Vec<NewReplica> = files
            .iter()
            .map(|(artifact, did)| NewReplica {
                did: did.clone(),
                bytes: artifact.size,
                adler32: artifact.checksums.adler32,
                md5: artifact.checksums.md5,
                pfn: placing.pfn(artifact.path.as_str()),
            })
            .collect();
        let answers = if placing.is_checked() {
            rucio.add_replicas_at(rse, &replicas, Look::First)?
        } else {
            rucio.add_replicas(rse, &replicas, Look::First)?
        };
        for ((artifact, did), answer) in files.iter().zip(answers) {
            let why = match answer {
                Registered::Done(place) | Registered::Equal(place) => {
                    match self.give_name(root, &placing, (did, &place)) {
                        Ok(named) => named.err(),
                        Err(error) => Some(error_chain(&error)),
                    }
                }
                Registered::Conflict { what } => Some(what),
                Registered::Refused(refusal) => Some(refusal.to_string()),
                Registered::Missing => Some("Rucio took it, and does not list it".to_owned()),
            };
            left.extend(why.map(|why| (artifact.path.clone(), why)));
        }
        Ok(left)
    }

    /// Gives files the names that an RSE will know them by, durably; returns why others have none.
    fn name(
        &self,
        rucio: &Rucio,
        (root, placing): (&PublishRoot, &Placing),
        dids: &[Did],
    ) -> Result<BTreeMap<Did, String>, PublishError> {
        let mut unnamed = BTreeMap::new();
        // What is registered with its place lies there already.
        if placing.is_checked() || placing.pfn("").is_some() {
            return Ok(unnamed);
        }
        let pfns = rucio.pfns(placing.rse(), dids)?;
        for did in dids {
            let Some(pfn) = pfns.get(&did.to_string()) else {
                unnamed.insert(
                    did.clone(),
                    "Rucio does not say where it would lie".to_owned(),
                );
                continue;
            };
            if let Err(error) = self.link(root, placing, did, std::slice::from_ref(pfn)) {
                unnamed.insert(did.clone(), error_chain(&error));
            }
        }
        root.datastore.sync()?;
        Ok(unnamed)
    }

    /// What Rucio calls artifacts, or why they are not the files that it knows.
    fn known(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        artifacts: &[WaitingArtifact],
    ) -> Result<BTreeMap<ArtifactPath, Result<Did, String>>, PublishError> {
        let mut known: BTreeMap<ArtifactPath, Result<Did, String>> = BTreeMap::new();
        let paths: Vec<ArtifactPath> = artifacts.iter().map(|one| one.path.clone()).collect();
        self.in_scopes(rucio, run, &paths, &mut |dids| {
            for replica in rucio.replicas(dids, None)? {
                let replica = replica?;
                let did = Did::new(&replica.scope, replica.name);
                let artifact = artifacts.iter().find(|one| one.path.as_str() == did.name);
                let Some(artifact) = artifact else { continue };
                let adler32 = artifact.checksums.adler32.to_string();
                let is_it = replica.bytes == Some(artifact.size)
                    && replica
                        .adler32
                        .is_some_and(|theirs| theirs.eq_ignore_ascii_case(&adler32));
                let answer = match known.get(&artifact.path) {
                    Some(_) => Err("Rucio knows it in more than one scope".to_owned()),
                    None if is_it => Ok(did),
                    None => Err(format!("Rucio knows {did} by another size or checksum")),
                };
                known.insert(artifact.path.clone(), answer);
            }
            Ok(())
        })?;
        Ok(known)
    }

    /// Gives a file the name that an RSE knows it by, where that is another. True where it was given; within, why
    /// the replica is of no use.
    pub(super) fn give_name(
        &self,
        root: &PublishRoot,
        placing: &Placing,
        (did, place): (&Did, &Place),
    ) -> Result<Result<bool, String>, PublishError> {
        if place.state != AVAILABLE {
            return Ok(Err(format!("its replica is {}", place.state)));
        }
        if placing.is_checked() {
            return Ok(Ok(false));
        }
        self.link(root, placing, did, &place.pfns).map(Ok)
    }

    /// The same, where its place alone is known.
    fn link(
        &self,
        root: &PublishRoot,
        placing: &Placing,
        did: &Did,
        pfns: &[String],
    ) -> Result<bool, PublishError> {
        let Some(second) = placing.second_name(did, pfns)? else {
            return Ok(false);
        };
        let occupied = || PublishError::Occupied {
            did: Box::new(did.clone()),
            rse: placing.rse().clone(),
            path: second.to_string(),
        };
        // The server's word must not put a file where a run has, or awaits, another.
        let registry = &self.ground.registry;
        if registry.claimed(&root.config.name, &[&second])? == [true] {
            return Err(occupied());
        }
        match root.datastore.link(&did.name, &second)? {
            // One that is there may not be durable yet.
            Linked::Made | Linked::There => Ok(true),
            Linked::Other => Err(occupied()),
        }
    }
}
