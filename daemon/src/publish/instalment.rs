//! Publishes one manifest: its artifacts, itself, and what Rucio is to do with them.

use std::ops::ControlFlow;
use std::sync::Arc;

use runsync_manifest::checksum::{Checksums, Wanted, checksum};
use runsync_manifest::content::Content;
use runsync_manifest::name::Scope;

use super::artifacts::{self, Artifact, Artifacts};
use super::error::PublishError;
use super::flow::{Phase, Progress, PublishRoot, Publishing};
use super::order::Candidate;
use super::place::Placing;
use super::sum::{self, Sum};
use super::{names, rules};
use crate::ledger::record::{ManifestState, Publication, PublicationState};
use crate::rucio::replicas::{Look, NewReplica, Registered};
use crate::rucio::{Did, DidKind, Exception, Rucio, RucioError};
use crate::sorting::Sorter;
use crate::telemetry::rucio as telemetry;

/// How many files that should not be there are named.
const STRANGE_MAX: usize = 5;
/// Files between two reports while Rucio's list is read.
const LISTED_TOGETHER: u64 = 1000;
/// Memory for the names of what is published already.
const BUDGET_BYTES: usize = 16 << 20;

/// One manifest on its way.
pub(super) struct Instalment<'a> {
    publishing: &'a Publishing,
    rucio: &'a Rucio,
    root: &'a PublishRoot,
    placing: Placing,
    /// What the ledger knows of it.
    publication: Publication,
    /// Where the manifest lies in the root.
    path: String,
    scope: Scope,
    artifacts: Arc<Artifacts>,
}

impl<'a> Instalment<'a> {
    /// Reads the manifest, checks every name that it has, and asks where the RSE puts files.
    pub(super) fn open(
        publishing: &'a Publishing,
        rucio: &'a Rucio,
        candidate: &Candidate,
        publication: Publication,
        progress: &mut Progress<'_>,
    ) -> Result<Self, PublishError> {
        let (root, rse) = publishing.rse_of(candidate, &publication.run)?;
        let placing = Placing::find(rucio, &root.config, rse)?;
        let (scope, artifacts) = publishing.read(root, candidate, &publication.run, progress)?;
        let mut instalment = Self {
            publishing,
            rucio,
            root,
            placing,
            publication,
            path: candidate.path.clone(),
            scope,
            artifacts: Arc::new(artifacts),
        };
        instalment.probe()?;
        Ok(instalment)
    }

    fn probe(&mut self) -> Result<(), PublishError> {
        let mut dids = vec![self.manifest()];
        let mut cursor = self.artifacts.cursor().map_err(PublishError::Scratch)?;
        if let Some(first) = cursor.next().map_err(PublishError::Scratch)? {
            dids.push(Did::new(&self.scope, first.path));
        }
        self.placing.probe(self.rucio, &dids)
    }

    fn manifest(&self) -> Did {
        Did::new(&self.scope, self.path.clone())
    }

    fn dataset(&self) -> Did {
        names::instalment(
            &self.scope,
            &self.publication.run,
            self.publication.generation,
        )
    }

    /// Has Rucio know all of it, from where it stopped.
    pub(super) fn publish(mut self, progress: &mut Progress<'_>) -> Result<(), PublishError> {
        let is_snapshot = self.publication.content == Content::Snapshot;
        if is_snapshot {
            self.leave_out_what_is_published(progress)?;
        }
        let begun = self.publication.files.is_some();
        // A snapshot travels with its run, also where it has no artifacts of its own.
        let travels = is_snapshot || self.artifacts.sum.files > 0;
        let manifest = self.manifest_replica()?;
        self.publication.scope = Some(self.scope.clone());
        self.publication.files = Some(self.artifacts.sum.files + 1);
        self.publication.bytes = Some(self.artifacts.sum.bytes + manifest.bytes);
        self.note()?;
        if travels {
            self.publishing.check_rules_ended(&self.publication.run)?;
            let (container, dataset) = (self.container(), self.dataset());
            self.make(&container, DidKind::Container)?;
            self.make(&dataset, DidKind::Dataset)?;
            self.register_all(&dataset, begun, progress)?;
            self.register(std::slice::from_ref(&manifest), Look::First)?;
            self.check_stands()?;
            self.attach(&dataset, &[&manifest.did])?;
            self.verify(&dataset, &manifest, progress)?;
            go_on(progress, Phase::Finishing)?;
            self.check_stands()?;
            self.rucio.close(&dataset)?;
            self.rucio.attach(&container, &[&dataset])?;
            self.add_rules(&container)?;
            // A removal may have ended its rules before these were made.
            self.check_stands()?;
        } else {
            self.register(std::slice::from_ref(&manifest), Look::First)?;
        }
        go_on(progress, Phase::Finishing)?;
        self.announce(&manifest.did)?;
        self.publication.state = PublicationState::Published;
        self.publication.files_done = self.artifacts.sum.files + 1;
        self.publication.problem = None;
        self.publication.hint = None;
        self.note()
    }

    /// Whether the manifest still says what is so: hours may have passed. Where its run was removed
    /// meanwhile, what was just made ends too.
    fn check_stands(&self) -> Result<(), PublishError> {
        let stands = self.stands();
        if let Err(PublishError::Overtaken { .. }) = &stands {
            let Publication {
                run, generation, ..
            } = &self.publication;
            (self.publishing).end_what_was_made(run, &self.scope, *generation)?;
        }
        stands
    }

    fn stands(&self) -> Result<(), PublishError> {
        let Publication {
            run,
            root,
            generation,
            ..
        } = &self.publication;
        self.publishing.check_stays(run)?;
        let rows = self
            .publishing
            .ground
            .ledger
            .manifests_at(root, &[&self.path])?;
        let stands = rows.iter().any(|row| {
            row.state == ManifestState::Registered
                && (row.summary.as_ref()).is_some_and(|summary| summary.generation == *generation)
        });
        if stands {
            return Ok(());
        }
        Err(PublishError::Overtaken {
            run: run.name.clone(),
        })
    }

    fn container(&self) -> Did {
        names::container(&self.scope, &self.publication.run)
    }

    fn add_rules(&self, container: &Did) -> Result<(), PublishError> {
        let run = &self.publication.run.name;
        for rule in rules::of_run(self.rucio, run, container, self.placing.rse()) {
            self.rucio.add_rule(&rule)?;
        }
        Ok(())
    }

    /// Puts the manifest among those that all sites get.
    fn announce(&self, manifest: &Did) -> Result<(), PublishError> {
        let control = names::control(&self.scope, self.publication.run.origin);
        self.make(&control, DidKind::Dataset)?;
        self.rucio.attach(&control, &[manifest])?;
        let rses = rules::control_rses(self.rucio, self.placing.rse())?;
        for rule in rules::of_control(&control, &rses) {
            self.rucio.add_rule(&rule)?;
        }
        Ok(())
    }

    fn make(&self, did: &Did, kind: DidKind) -> Result<(), PublishError> {
        match self.rucio.make(did, kind) {
            Ok(_) => Ok(()),
            Err(error) if error.is(&Exception::DataIdentifierAlreadyExists) => {
                Err(PublishError::NameTaken { did: did.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Registers and attaches the artifacts, chunk by chunk, and remembers how far it came.
    fn register_all(
        &mut self,
        dataset: &Did,
        begun: bool,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        // Where it went wrong before, nothing is done, and anything may be there.
        let doubted = begun && self.publication.files_done == 0;
        let done = self.publication.files_done.min(self.artifacts.sum.files);
        let total = self.artifacts.sum.files;
        let mut look = if begun { Look::First } else { Look::After };
        let artifacts = Arc::clone(&self.artifacts);
        let mut cursor = artifacts.cursor().map_err(PublishError::Scratch)?;
        for _ in 0..done {
            cursor.next().map_err(PublishError::Scratch)?;
        }
        self.publication.files_done = done;
        loop {
            let chunk = cursor
                .chunk(self.rucio.config().bulk)
                .map_err(PublishError::Scratch)?;
            if chunk.is_empty() {
                break;
            }
            let done = self.publication.files_done;
            go_on(progress, Phase::Registering { done, total })?;
            self.check_stands()?;
            let files: Vec<NewReplica> = chunk.iter().map(|one| self.replica(one)).collect();
            self.register(&files, look)?;
            self.check_stands()?;
            let dids: Vec<&Did> = files.iter().map(|file| &file.did).collect();
            self.attach(dataset, &dids)?;
            self.publication.files_done += files.len() as u64;
            telemetry::files(files.len() as u64);
            self.note()?;
            // What a crash left is in the first chunk that is not done; what a failure left, anywhere.
            look = if doubted { Look::First } else { Look::After };
        }
        Ok(())
    }

    fn replica(&self, artifact: &Artifact) -> NewReplica {
        NewReplica {
            pfn: self.placing.pfn(&artifact.path),
            did: Did::new(&self.scope, artifact.path.clone()),
            bytes: artifact.bytes,
            adler32: artifact.adler32,
            md5: artifact.md5,
        }
    }

    fn manifest_replica(&self) -> Result<NewReplica, PublishError> {
        let (file, _) = self.root.datastore.open_manifest(&self.path)?;
        let wanted = Wanted {
            md5: true,
            sha256: false,
        };
        let (bytes, checksums) =
            checksum(file, wanted).map_err(|source| PublishError::Unreadable {
                path: self.path.clone(),
                source,
            })?;
        let Checksums { adler32, md5, .. } = checksums;
        Ok(NewReplica {
            did: self.manifest(),
            bytes,
            adler32,
            md5,
            pfn: self.placing.pfn(&self.path),
        })
    }

    /// Registers files at the RSE, and gives each the name that the RSE knows it by.
    fn register(&self, files: &[NewReplica], look: Look) -> Result<(), PublishError> {
        let rse = self.placing.rse();
        let answers = if self.placing.is_checked() {
            self.rucio.add_replicas_at(rse, files, look)?
        } else {
            self.rucio.add_replicas(rse, files, look)?
        };
        let mut wrong: Option<(Did, String)> = None;
        let (mut count, mut linked) = (0, false);
        for (file, answer) in files.iter().zip(answers) {
            let why = match answer {
                Registered::Done(place) | Registered::Equal(place) => {
                    match self.publishing.give_name(
                        self.root,
                        &self.placing,
                        (&file.did, &place),
                    )? {
                        Ok(made) => {
                            linked |= made;
                            continue;
                        }
                        Err(why) => why,
                    }
                }
                Registered::Conflict { what } => what,
                Registered::Refused(refusal) => refusal.to_string(),
                Registered::Missing => "Rucio took it, and does not list it".to_owned(),
            };
            count += 1;
            wrong.get_or_insert_with(|| (file.did.clone(), why));
        }
        if linked {
            self.root.datastore.sync()?;
        }
        match wrong {
            None => Ok(()),
            Some((first, why)) => Err(PublishError::Files {
                rse: self.placing.rse().clone(),
                count,
                first: Box::new(first),
                why,
            }),
        }
    }

    /// Attaches to the instalment's Rucio dataset.
    fn attach(&self, dataset: &Did, children: &[&Did]) -> Result<(), PublishError> {
        match self.rucio.attach(dataset, children) {
            // An earlier try has closed it, once it was whole: verifying tells whether it still is.
            Err(error) if is_closed(&error) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Compares what the Rucio dataset holds with what the manifest names.
    fn verify(
        &self,
        dataset: &Did,
        manifest: &NewReplica,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        let mut ours = self.artifacts.sum;
        let adler32 = manifest.adler32.to_string();
        let manifest_hash = sum::hash(&manifest.did.name, manifest.bytes, &adler32);
        ours.add(manifest_hash, manifest.bytes);
        let mut theirs = Sum::default();
        for content in self.rucio.contents(dataset)? {
            let content = content?;
            theirs.add(sum::hash_of(&content), content.bytes.unwrap_or_default());
            if theirs.files > ours.files {
                break;
            }
            if theirs.files.is_multiple_of(LISTED_TOGETHER) {
                go_on(progress, Phase::Verifying(theirs.files))?;
            }
        }
        if ours == theirs {
            return Ok(());
        }
        let told = |sum: Sum| format!("{} files of {} bytes", sum.files, sum.bytes);
        Err(PublishError::Differs {
            dataset: Box::new(dataset.clone()),
            ours: told(ours),
            theirs: told(theirs),
            closed: (self.rucio.did(dataset)?).is_some_and(|status| status.open == Some(false)),
            strange: self.strange(dataset, manifest_hash)?,
        })
    }

    /// Some of what a Rucio dataset holds and should not, or not so.
    fn strange(&self, dataset: &Did, manifest: u128) -> Result<Vec<String>, PublishError> {
        let mut ours = std::collections::HashSet::from([manifest]);
        let mut cursor = self.artifacts.cursor().map_err(PublishError::Scratch)?;
        while let Some(artifact) = cursor.next().map_err(PublishError::Scratch)? {
            ours.insert(artifact.hash());
        }
        let mut strange = Vec::new();
        for content in self.rucio.contents(dataset)? {
            let content = content?;
            if !ours.contains(&sum::hash_of(&content)) {
                strange.push(format!(
                    "{}:{} ({} bytes, adler32 {})",
                    content.scope,
                    content.name,
                    content.bytes.unwrap_or_default(),
                    content.adler32.as_deref().unwrap_or("unknown")
                ));
            }
            if strange.len() >= STRANGE_MAX {
                break;
            }
        }
        Ok(strange)
    }

    /// A snapshot names all of a run: only what no other instalment has, just so, is one of its own.
    fn leave_out_what_is_published(
        &mut self,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        let scratch = &self.publishing.ground.scratch;
        let mut known = Sorter::new(scratch, BUDGET_BYTES);
        let (own, mut key) = (self.dataset(), Vec::new());
        let datasets = match self.rucio.contents(&self.container()) {
            Err(error) if error.is(&Exception::DataIdentifierNotFound) => return Ok(()),
            datasets => datasets?,
        };
        let mut listed = 0_u64;
        for dataset in datasets {
            let dataset = dataset?;
            let dataset = Did::new(&dataset.scope, dataset.name);
            if dataset == own {
                continue;
            }
            for content in self.rucio.contents(&dataset)? {
                let content = content?;
                if content.scope == self.scope && artifacts::key_of(&content, &mut key) {
                    known.push(&key).map_err(PublishError::Scratch)?;
                }
                listed += 1;
                if listed.is_multiple_of(LISTED_TOGETHER) {
                    go_on(progress, Phase::Verifying(listed))?;
                }
            }
        }
        let known = known.sort().map_err(PublishError::Scratch)?;
        let left = self.artifacts.without(&known, scratch);
        self.artifacts = Arc::new(left.map_err(PublishError::Scratch)?);
        Ok(())
    }

    fn note(&mut self) -> Result<(), PublishError> {
        let ground = &self.publishing.ground;
        self.publication.changed_at = ground.clock.now();
        let row = std::slice::from_ref(&self.publication);
        Ok(ground.ledger.note_publications(row)?)
    }
}

/// Rucio's words for a parent that is closed; other children are refused with the same exception.
fn is_closed(error: &RucioError) -> bool {
    error.is(&Exception::UnsupportedOperation)
        && (error.refusal()).is_some_and(|refusal| refusal.message.contains("is closed"))
}

/// Tells how far it is, and stops where the caller breaks off.
pub(super) fn go_on(progress: &mut Progress<'_>, phase: Phase) -> Result<(), PublishError> {
    match progress(phase) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PublishError::Rucio(RucioError::Interrupted)),
    }
}
