//! Tells other sites: writes the removal manifests that commits have left to be written.
//!
//! A notice is committed with its removal, and says all that the manifest says. So the manifest is
//! the same however often it is written, and a crash before the notice is struck out does no harm.
//! The file lies beside the run's other manifests, and travels with them.

use std::io::Cursor;

use runsync_manifest::content::Content;
use runsync_manifest::header::{Header, Repository, UniverseVersion};
use runsync_manifest::limits::Limits;
use runsync_manifest::reader::Reader;
use runsync_manifest::signature::SigningKey;
use runsync_manifest::universe;
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};
use tracing::info;

use super::RemovalError;
use super::flow::{NamedRoot, Removing};
use crate::datastore::{DatastoreError, manifest_path};
use crate::ledger::record::RuleEnding;
use crate::registry::removal::Notice;

impl Removing {
    /// Writes all removal manifests that are still to be written, and strikes them out.
    ///
    /// # Errors
    ///
    /// The first one: the others are written all the same.
    pub fn tell(&self) -> Result<(), RemovalError> {
        let notices = self.ground.registry.notices()?;
        if notices.is_empty() {
            return Ok(());
        }
        let key = self.signing_key()?;
        let mut told = Ok(());
        for notice in notices {
            told = told.and(self.tell_one(&notice, &key));
        }
        told
    }

    fn tell_one(&self, notice: &Notice, key: &SigningKey) -> Result<(), RemovalError> {
        let manifest = self.manifest(notice, key)?;
        for root in self.roots_of(notice)? {
            install(root, notice, &manifest)?;
        }
        // Before the notice is struck out: whose rules have to end must not be forgotten either.
        self.end_rules(notice)?;
        self.ground.registry.notice_sent(notice.manifest)?;
        let (run, generation) = (&notice.run.name, notice.generation);
        info!(%run, %generation, "removal manifest written");
        Ok(())
    }

    /// Has this account's rules on the removed run end, wherever they are, once its removal manifest has
    /// arrived: in Rucio, if this site has one. A run that was never published has none.
    fn end_rules(&self, notice: &Notice) -> Result<(), RemovalError> {
        if self.ground.rucio.is_none() || self.ground.roots.iter().all(|root| root.rse.is_none()) {
            return Ok(());
        }
        let now = self.ground.clock.now();
        let scopes = self.scopes([&notice.run])?;
        let ending = |scope| RuleEnding {
            up_to: Some(notice.generation),
            at_once: notice.at_once,
            ..RuleEnding::new(notice.run.clone(), scope, now)
        };
        let endings: Vec<RuleEnding> = scopes.into_iter().map(ending).collect();
        Ok(self.ground.ledger.add_rule_endings(&endings)?)
    }

    /// The roots in which manifests of the run lie, or the first one.
    fn roots_of(&self, notice: &Notice) -> Result<Vec<&NamedRoot>, RemovalError> {
        let mut roots = Vec::new();
        for root in &self.ground.roots {
            let listed = root.datastore.list_manifests_of(&notice.run);
            let (files, errors) = listed.map_err(|source| failed(root, source))?;
            if !files.is_empty() || !errors.is_empty() {
                roots.push(root);
            }
        }
        if roots.is_empty() {
            roots.extend(self.ground.roots.first());
        }
        Ok(roots)
    }

    fn manifest(&self, notice: &Notice, key: &SigningKey) -> Result<Vec<u8>, RemovalError> {
        let header = Header {
            format: FORMAT,
            manifest: notice.manifest,
            content: Content::Removal,
            run: notice.run.name.clone(),
            origin: Repository {
                repository: notice.run.origin,
                site: self.ground.site.clone(),
            },
            holder: None,
            generation: notice.generation,
            created_at: notice.created_at.to_string(),
            scope: None,
            universe: UniverseVersion {
                name: universe::NAMESPACE.to_owned(),
                version: universe::VERSION,
            },
            dataset_types: Vec::new(),
            provenance: serde_json::Value::Null,
        };
        let written = Writer::new(Vec::new(), Packing::Plain, &header)
            .and_then(|writer| writer.finish(Some(key)));
        let (manifest, _) = written.map_err(|source| RemovalError::Manifest {
            run: notice.run.name.clone(),
            source,
        })?;
        Ok(manifest)
    }

    fn signing_key(&self) -> Result<SigningKey, RemovalError> {
        let pem = runsync_config::secret::read(&self.ground.signing_key_file)?;
        Ok(SigningKey::from_pem(pem.expose())?)
    }
}

/// Puts a manifest into a root, where it may lie already: this one, or a stranger of its generation.
fn install(root: &NamedRoot, notice: &Notice, manifest: &[u8]) -> Result<(), RemovalError> {
    let Notice {
        run, generation, ..
    } = notice;
    let path = manifest_path(run.origin, &run.name, *generation, false);
    let installed = root
        .datastore
        .install_manifest(&path, &mut Cursor::new(manifest));
    if installed.map_err(|source| failed(root, source))? {
        return Ok(());
    }
    let there = root.datastore.open_manifest(&path);
    let (file, _) = there.map_err(|source| failed(root, source))?;
    let there = Reader::new(file, Limits::default());
    if there.is_ok_and(|there| there.header().manifest == notice.manifest) {
        return Ok(());
    }
    Err(RemovalError::GenerationTaken {
        run: run.name.clone(),
        generation: *generation,
        path,
    })
}

fn failed(root: &NamedRoot, source: DatastoreError) -> RemovalError {
    let root = root.name.clone();
    RemovalError::Root { root, source }
}
