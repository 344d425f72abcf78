//! The site that publishes.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{Naming, Rucio};

use crate::random::Random;
use crate::runsync_command::Site;
use crate::synthetic::{self, Row};
use crate::{files as disk, process};

/// The RSE that the root is.
pub(super) const RSE: &str = "BENCH";
/// The scope, which is the name of the root's folder: the RSE has `<prefix>/<scope>/<name>`.
pub(super) const SCOPE: &str = "root";
/// Whoever publishes.
pub(super) const ACCOUNT: &str = "runsync";
pub(super) const USER: &str = "runsync";
pub(super) const PASSWORD: &str = "not-so-secret";
/// What an artifact holds.
const BYTES: &[u8] = b"SIMPLE";
/// Artifacts in a folder.
const IN_FOLDER: u64 = 1_000;

/// A site whose root is an RSE.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) site: Site,
}

impl Scene {
    /// Makes a site that confirms at a level.
    pub(super) fn new(binary: &Path, folder: &Path, confirm: &str) -> Result<Self> {
        let site = Site::init(binary, folder, "SITE_A", confirm)?;
        Ok(Self { site })
    }

    /// Has a server know the account and the RSE.
    pub(super) fn introduce(&self, rucio: &Rucio) -> Result<()> {
        rucio.add_account(ACCOUNT, (USER, PASSWORD), true)?;
        rucio.add_scope(Rucio::ACCOUNT, SCOPE)?;
        rucio.add_rse(RSE, Naming::Identity, self.site.root.parent())?;
        rucio.set_limit(ACCOUNT, RSE, None)
    }

    /// Has the site publish to the server at `url`.
    pub(super) fn configure(&self, url: &str) -> Result<()> {
        let password = self.site.config.with_file_name("password");
        disk::write(&password, PASSWORD.as_bytes())?;
        std::fs::set_permissions(&password, Permissions::from_mode(0o600))
            .context("cannot protect the password")?;
        let before = disk::read(&self.site.config)?;
        let with_rse = before.replace("#rse = \"SITE_A_DISK\"", &format!("rse = \"{RSE}\""));
        ensure!(with_rse != before, "the configuration names no RSE");
        let rucio = format!(
            "\n[rucio]\nurl = \"{url}\"\naccount = \"{ACCOUNT}\"\nscope = \"{SCOPE}\"\n\
             [rucio.userpass]\nusername = \"{USER}\"\npassword_file = \"password\"\n"
        );
        disk::write(&self.site.config, (with_rse + &rucio).as_bytes())
    }

    /// Has a run registered and confirmed; its artifacts are there, or the manifest is trusted.
    pub(super) fn add(&self, run: &str, files: u64, there: bool) -> Result<()> {
        let manifest = self.site.config.with_file_name("new.manifest.jsonl");
        let (origin, key) = (self.site.repository()?, self.site.signing_key()?);
        let seed = u64::from(simd_adler32::adler32(&run.as_bytes())) << 32;
        synthetic::write_run(&manifest, run, files, (origin, &key), |at| {
            let path = artifact(run, at);
            if there {
                write(&self.site.root.join(&path), at)?;
            }
            let mut row = Row::new(at);
            row.uuid = Random::new(seed + at).uuid();
            row.path = path;
            row.size = u64::try_from(BYTES.len())?;
            row.adler32 = simd_adler32::adler32(&BYTES).to_be_bytes();
            Ok(row)
        })?;
        process::output(&mut self.site.ingest([manifest.as_path()]))?;
        Ok(())
    }
}

/// The path of an artifact.
pub(super) fn artifact(run: &str, at: u64) -> String {
    format!("{run}/{:03}/raw_{at:07}.fits", at / IN_FOLDER)
}

/// An artifact's Adler-32 as Rucio writes it, and its size.
pub(super) fn known_as() -> (String, usize) {
    (
        format!("{:08x}", simd_adler32::adler32(&BYTES)),
        BYTES.len(),
    )
}

fn write(path: &Path, at: u64) -> Result<()> {
    if at.is_multiple_of(IN_FOLDER) {
        disk::make_parent(path)?;
    }
    let writing = || format!("cannot write {}", path.display());
    let mut file = File::create(path).with_context(writing)?;
    file.write_all(BYTES).with_context(writing)
}
