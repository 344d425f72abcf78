//! The `runsync` command line as tasks use it: the one place that knows its words and its JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{files, process};

/// How long a daemon may take to stop after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A site: a datastore root, its registry and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    binary: PathBuf,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// The folder of its datastore root.
    pub(crate) root: PathBuf,
}

/// What `manifest create` made.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Created {
    /// The manifest file.
    pub(crate) manifest: PathBuf,
    /// Datasets in it.
    pub(crate) datasets: u64,
}

/// What `status` tells.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    /// Number of manifests in each state.
    pub(crate) manifests: BTreeMap<String, u64>,
    /// All runs together.
    pub(crate) runs: RunCounts,
}

/// All runs together, as `status` counts them.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunCounts {
    /// Runs that wait for artifacts.
    pub(crate) waiting: u64,
    /// Datasets known.
    pub(crate) datasets: u64,
    /// Artifacts named.
    pub(crate) claims: u64,
    /// Artifacts confirmed.
    pub(crate) confirmed: u64,
}

/// A run as `query runs` tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) name: String,
    /// Datasets known.
    pub(crate) datasets: u64,
    /// Artifacts not confirmed yet.
    pub(crate) waiting: u64,
    /// Sum of the sizes of its artifacts.
    pub(crate) bytes: u64,
}

/// One line of the answer of `exists`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Existence {
    /// The dataset asked for.
    pub(crate) uuid: Uuid,
    /// `yes`, `pending` or `no`.
    pub(crate) exists: String,
    /// Its artifacts.
    pub(crate) artifacts: Vec<Artifact>,
}

/// An artifact in an answer of `exists`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Artifact {
    /// Path in the root.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Checksums by algorithm.
    pub(crate) checksums: BTreeMap<String, String>,
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
        ingest.arg("ingest").args(manifests);
        ingest
    }

    /// `runsync status`.
    pub(crate) fn status(&self) -> Result<Status> {
        self.json(self.command().args(["status", "--json"]))
    }

    /// `runsync query runs`.
    pub(crate) fn runs(&self) -> Result<Vec<Run>> {
        let output = process::output(self.command().args(["query", "runs", "--json"]))?;
        let runs = serde_json::Deserializer::from_slice(&output).into_iter();
        runs.collect::<Result<_, _>>()
            .context("cannot understand what `query runs` printed")
    }

    /// `runsync exists`, which reads UUIDs on standard input.
    pub(crate) fn exists(&self) -> Command {
        let mut exists = self.command();
        exists.arg("exists");
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

/// A daemon; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon(Child);

impl Daemon {
    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        if let Some(status) = self.0.try_wait().context("cannot look at the daemon")? {
            bail!("the daemon has ended by itself: {status}");
        }
        self.0.kill().context("cannot kill the daemon")?;
        self.0.wait().context("cannot wait for the daemon")?;
        Ok(())
    }

    /// Fails where the daemon no longer runs.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.0.try_wait().context("cannot look at the daemon")? {
            Some(status) => bail!("the daemon has ended by itself: {status}"),
            None => Ok(()),
        }
    }

    /// Asks it to stop (SIGTERM) and waits until it has, in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .context("the daemon has no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .context("cannot signal the daemon")?;
        let start = Instant::now();
        while start.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.0.try_wait().context("cannot look at the daemon")? {
                ensure!(
                    status.success(),
                    "the daemon did not stop in good order: {status}"
                );
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "the daemon has not stopped within {} s",
            STOP_DEADLINE.as_secs()
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// Asks `exists` (or a command that wraps it) for every UUID and hands each line of the answer on.
pub(crate) fn ask(
    exists: &mut Command,
    uuids: impl Iterator<Item = Uuid> + Send,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let words = process::words(exists);
    let mut child = exists
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let input = child.stdin.take().context("no pipe to write to")?;
    let mut output = BufReader::new(child.stdout.take().context("no pipe to read from")?);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(move || write_uuids(input, uuids));
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .context("cannot read the answer")?
            > 0
        {
            each(&line)?;
            line.clear();
        }
        writer.join().ok().context("the writing thread panicked")
    })?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{words}`"))?;
    ensure!(status.success(), "`{words}` failed: {status}");
    written.context("cannot write the UUIDs")
}

fn write_uuids(input: ChildStdin, uuids: impl Iterator<Item = Uuid>) -> std::io::Result<()> {
    let mut input = std::io::BufWriter::new(input);
    for uuid in uuids {
        writeln!(input, "{uuid}")?;
    }
    input.flush()
}
