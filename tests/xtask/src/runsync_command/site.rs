//! One site, and the commands that are run there.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use runsync::assembly::{self, Assembly};
use runsync::clock::SystemClock;
use runsync::lease::Held;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{files, process};

use super::answers::{Created, Run, Status};
use super::daemon::Daemon;

/// A site: a datastore root, its registry and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    binary: PathBuf,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// The folder of its datastore root.
    pub(crate) root: PathBuf,
}

impl Site {
    /// `runsync init`: a new site below `folder`, which gets a root and a configuration.
    pub(crate) fn init(binary: &Path, folder: &Path, name: &str, confirm: &str) -> Result<Self> {
        let site = Self {
            binary: binary.to_path_buf(),
            config: folder.join("site.toml"),
            root: folder.join("root"),
        };
        std::fs::create_dir_all(&site.root)
            .with_context(|| format!("cannot make {}", site.root.display()))?;
        process::output(site.command().arg("init").arg(&site.root).args([
            "--site",
            name,
            "--confirm",
            confirm,
        ]))?;
        Ok(site)
    }

    /// `runsync --config …`, to be given a subcommand.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null());
        command
    }

    /// Opens the site in this process, which holds its lease as long as what is returned lives.
    pub(crate) fn open(&self) -> Result<(Held, Assembly)> {
        let site = runsync_config::load(&self.config)?;
        let open = |tenure: &_| Assembly::open(&site, tenure, Arc::new(SystemClock));
        let turned_away = &mut || ControlFlow::Break(());
        Ok(assembly::claim(&site, &SystemClock, open, turned_away)?)
    }

    /// The UUID of the site's repository: the origin of its runs.
    pub(crate) fn repository(&self) -> Result<RepositoryId> {
        #[derive(Deserialize)]
        struct RepositoryFile {
            repository: RepositoryId,
        }
        let file = self.root.join("runsync/repository.json");
        let text = files::read(&file)?;
        let parsed: RepositoryFile = serde_json::from_str(&text)
            .with_context(|| format!("cannot parse {}", file.display()))?;
        Ok(parsed.repository)
    }

    /// The key that signs the site's manifests, where `init` puts it.
    pub(crate) fn signing_key(&self) -> Result<SigningKey> {
        let file = self.config.with_file_name("keys").join("signing.pem");
        Ok(SigningKey::from_pem(&files::read(&file)?)?)
    }

    /// `runsync keys show`: the public keys, as the file that `keys trust` reads.
    pub(crate) fn public_keys(&self) -> Result<Vec<u8>> {
        process::output(self.command().args(["keys", "show"]))
    }

    /// Lets `origin` own the runs below `prefixes` here, and trusts its keys.
    pub(crate) fn accept_peer(&self, peer: &Site, name: &str, prefixes: &[&str]) -> Result<()> {
        let keys = self.config.with_file_name(format!("{name}.keys"));
        files::write(&keys, &peer.public_keys()?)?;
        let block = format!(
            "\n[[peer]]\nsite = \"{name}\"\norigin = \"{}\"\nrun_prefixes = {prefixes:?}\n",
            peer.repository()?
        );
        let config = files::read(&self.config)? + &block;
        files::write(&self.config, config.as_bytes())?;
        process::output(self.command().args(["keys", "trust"]).arg(&keys))?;
        Ok(())
    }

    /// `runsync manifest create` from a Butler export.
    pub(crate) fn create_from_export(&self, run: &str, export: &Path) -> Result<Created> {
        self.json(
            self.command()
                .args(["manifest", "create", "--json", "--run", run])
                .arg("--from-export")
                .arg(export),
        )
    }

    /// `runsync manifest create` from JSON lines of data IDs, about files below `directory`.
    pub(crate) fn create_from_jsonl(
        &self,
        run: &str,
        jsonl: &Path,
        directory: &Path,
        zstd: bool,
    ) -> Result<Created> {
        let mut create = self.command();
        create
            .args(["manifest", "create", "--json", "--run", run])
            .arg("--from-jsonl")
            .arg(jsonl)
            .arg("--directory")
            .arg(directory);
        if zstd {
            create.arg("--zstd");
        }
        self.json(&mut create)
    }

    /// `runsync ingest`, to be run or measured.
    pub(crate) fn ingest<'a>(&self, manifests: impl IntoIterator<Item = &'a Path>) -> Command {
        let mut ingest = self.command();
        ingest.args(["ingest", "--direct"]).args(manifests);
        ingest
    }

    /// `runsync status`.
    pub(crate) fn status(&self) -> Result<Status> {
        self.json(self.command().args(["status", "--direct", "--json"]))
    }

    /// `runsync query runs`.
    pub(crate) fn runs(&self) -> Result<Vec<Run>> {
        let output = process::output(self.command().args(["query", "runs", "--direct", "--json"]))?;
        let runs = serde_json::Deserializer::from_slice(&output).into_iter();
        runs.collect::<Result<_, _>>()
            .context("cannot understand what `query runs` printed")
    }

    /// `runsync exists`, which reads UUIDs on standard input.
    pub(crate) fn exists(&self) -> Command {
        let mut exists = self.command();
        exists.args(["exists", "--direct"]);
        exists
    }

    /// Starts `runsync daemon`; what it says is appended to `log`.
    pub(crate) fn start_daemon(&self, log: &Path) -> Result<Daemon> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = self
            .command()
            .arg("daemon")
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Daemon(child))
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as what the site's command answers"
    )]
    fn json<T: DeserializeOwned>(&self, command: &mut Command) -> Result<T> {
        let words = process::words(command);
        let output = process::output(command)?;
        serde_json::from_slice(&output).with_context(|| {
            format!(
                "cannot understand what `{words}` printed: {}",
                String::from_utf8_lossy(&output)
            )
        })
    }
}
