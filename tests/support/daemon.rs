//! The real daemon as a child process: started, watched through its log, its socket to the service
//! manager and the site's registry and ledger, signalled, and killed when the test ends.
//!
//! Nothing here sleeps to let something happen: [`until`] asks again and again, up to a deadline.
//! A line of the log at WARN or above that the test did not announce fails it.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test support, of which each target uses a part"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use runsync::assembly::Readers;
use runsync::ledger::record::{Finding, ManifestRow, ManifestState};
use runsync::registry::record::{Presence, RunRow};
use runsync_manifest::name::DatasetId;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::support::TestSite;

/// Long enough for a busy machine; nothing waits for it to pass.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How often a condition is asked for.
const POLL: Duration = Duration::from_millis(10);

/// The command under test.
const BINARY: &str = env!("CARGO_BIN_EXE_runsync");

/// Waits until `condition` holds; panics with what was waited for.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(DEADLINE, condition),
        "waited in vain for: {what}"
    );
}

/// Whether `condition` comes to hold in time.
pub fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > time {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

impl TestSite {
    /// Configures the site for a daemon: `root` is TOML of its root, `more` follows.
    pub fn configure_daemon(&self, level: &str, root: &str, more: &str) {
        let log = "[log]\nformat = \"json\"\nfilter = \"info,runsync=debug\"";
        self.configure(level, &format!("{root}\n{log}\n{more}"));
    }

    /// `runsync --config … ARGS`.
    pub fn command(&self, args: &[&str]) -> Command {
        command(&self.config(), args)
    }

    /// `runsync daemon` of another configuration file of this site, as it is now: for a second
    /// daemon beside the first.
    pub fn second_daemon(&self) -> Command {
        let file = self.config().with_file_name("second.toml");
        let socket = self.config().with_file_name("second.sock");
        let config = std::fs::read_to_string(self.config()).unwrap();
        let config = format!("{config}\n[http]\nsocket = \"{}\"\n", socket.display());
        crate::support::write(&file, config.as_bytes());
        command(&file, &["daemon"])
    }

    /// Runs an operator's command to its end.
    pub fn run_command(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The lock files of those who hold, or held, the lease.
    pub fn lock_files(&self) -> Vec<PathBuf> {
        let state = self.folder.path().join("state");
        let files = std::fs::read_dir(state).unwrap().flatten();
        files
            .map(|file| file.path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("lease-")
            })
            .collect()
    }

    /// What a command that must go through prints.
    pub fn answer(&self, args: &[&str]) -> String {
        let output = self.run_command(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{args:?}: {}\n{out}\n{err}",
            output.status
        );
        out
    }

    /// What a command prints that goes past the daemon.
    pub fn directly(&self, args: &[&str]) -> String {
        self.answer(&[args, &["--direct"]].concat())
    }

    /// `status --json`.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.answer(&["status", "--json"])).unwrap()
    }

    /// Opens registry and ledger as an outsider, for reading.
    pub fn watch(&self) -> Onlooker {
        Onlooker(Readers::open(&self.site()).unwrap())
    }
}

fn command(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("--config")
        .arg(config)
        .args(args)
        .stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads what the daemon has committed.
pub struct Onlooker(pub Readers);

impl Onlooker {
    pub fn manifests(&self) -> Vec<ManifestRow> {
        let mut rows = self.0.ledger.manifests(None).unwrap();
        rows.sort_by(|a, b| a.location.cmp(&b.location));
        rows
    }

    pub fn states(&self) -> Vec<ManifestState> {
        self.manifests().iter().map(|row| row.state).collect()
    }

    pub fn count(&self, state: ManifestState) -> usize {
        self.states()
            .into_iter()
            .filter(|found| *found == state)
            .count()
    }

    /// The state of the manifest whose path holds `part`.
    pub fn state_of(&self, part: &str) -> Option<ManifestState> {
        self.manifests()
            .iter()
            .find(|row| row.location.path.contains(part))
            .map(|row| row.state)
    }

    pub fn run(&self, name: &str) -> Option<RunRow> {
        let runs = self.0.registry.runs(None).unwrap();
        runs.into_iter()
            .find(|run| run.key.name.to_string() == name)
    }

    /// Whether the run of that name has all its records.
    pub fn complete(&self, name: &str, claims: u64) -> bool {
        self.run(name)
            .is_some_and(|run| run.claims == claims && run.waiting == 0)
    }

    /// Each run with its claims and what it waits for: cheaper than a dump.
    pub fn counts(&self) -> Vec<(String, u64, u64)> {
        let runs = self.0.registry.runs(None).unwrap().into_iter();
        runs.map(|run| (run.key.name.to_string(), run.claims, run.waiting))
            .collect()
    }

    pub fn presence(&self, uuid: u128) -> Presence {
        let asked = [DatasetId(Uuid::from_u128(uuid))];
        self.0.registry.exists(&asked).unwrap()[0].presence
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.0.ledger.findings().unwrap()
    }

    pub fn dump(&self) -> String {
        let mut dump = Vec::new();
        runsync::registry::dump(&*self.0.registry, &mut dump).unwrap();
        String::from_utf8(dump).unwrap()
    }
}

/// One line of the daemon's log.
#[derive(Debug, Clone)]
pub struct Line {
    pub level: String,
    pub message: String,
    /// The whole line.
    pub text: String,
}

impl Line {
    /// A line that is no JSON is what the command itself says when it fails.
    fn parse(text: String) -> Self {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let field = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let level = match field(&json["level"]) {
            level if level.is_empty() => "ERROR".to_owned(),
            level => level,
        };
        Self {
            level,
            message: field(&json["fields"]["message"]),
            text,
        }
    }

    fn is_alarming(&self) -> bool {
        self.level == "WARN" || self.level == "ERROR"
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    manager: UnixDatagram,
    lines: Arc<Mutex<Vec<Line>>>,
    reader: Option<JoinHandle<()>>,
    expected: Vec<String>,
    _socket: tempfile::TempDir,
}

impl Daemon {
    /// Starts `runsync daemon` and waits until it has said that it is ready.
    pub fn start(site: &TestSite) -> Self {
        let daemon = Self::spawn(&mut site.command(&["daemon"]));
        daemon.until_told("READY=1");
        daemon
    }

    /// Starts it by another command, and waits for nothing.
    pub fn spawn(command: &mut Command) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let path = socket.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        open_to_all(socket.path(), &path);
        manager
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut child = command
            .env("NOTIFY_SOCKET", &path)
            .env_remove("WATCHDOG_USEC")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let into = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                into.lock().unwrap().push(Line::parse(line));
            }
        });
        let reader = Some(reader);
        Self {
            child,
            manager,
            lines,
            reader,
            expected: Vec::new(),
            _socket: socket,
        }
    }

    /// Announces lines at WARN or above that hold `part`.
    #[must_use]
    pub fn expecting(mut self, part: &str) -> Self {
        self.expect(part);
        self
    }

    /// As [`expecting`](Self::expecting), later.
    pub fn expect(&mut self, part: &str) {
        self.expected.push(part.to_owned());
    }

    /// Waits until the daemon has told the service manager a text with `part` in it.
    pub fn until_told(&self, part: &str) -> String {
        let mut told = None;
        let found = holds_within(DEADLINE, || {
            let mut text = [0; 4096];
            if let Ok(length) = self.manager.recv(&mut text) {
                let text = self::text(&text[..length]);
                told = text.contains(part).then_some(text);
            }
            told.is_some()
        });
        assert!(found, "the daemon never said `{part}`:\n{}", self.log());
        told.unwrap()
    }

    /// Waits until `condition` holds, and shows the log where it never does.
    pub fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            holds_within(DEADLINE, condition),
            "waited in vain for: {what}\n{}",
            self.log()
        );
    }

    /// Waits for a line of the log that holds `part`, among those from the `from`th on.
    pub fn until_logged(&self, part: &str, from: usize) {
        self.until(&format!("`{part}` in the log"), || {
            self.logged(part, from) > 0
        });
    }

    /// How many lines of the log, from the `from`th on, hold `part`.
    pub fn logged(&self, part: &str, from: usize) -> usize {
        self.lines()
            .iter()
            .skip(from)
            .filter(|line| line.text.contains(part))
            .count()
    }

    /// The lines logged so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    pub fn log(&self) -> String {
        self.lines()
            .into_iter()
            .fold(String::new(), |mut log, line| {
                writeln!(log, "{}", line.text).unwrap();
                log
            })
    }

    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
    }

    /// Stops it in its tracks: returns once no thread of it runs any more.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        until("every thread is stopped", || {
            std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        });
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// A path as the daemon sees it, where it has mounts of its own.
    pub fn sees(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        assert!(
            self.is_running(),
            "the daemon ended by itself:\n{}",
            self.log()
        );
        self.end();
    }

    /// SIGTERM: it must end well. Returns how long that took.
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(
            status.success(),
            "the daemon ended with {status}:\n{}",
            self.log()
        );
        start.elapsed()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = holds_within(DEADLINE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the daemon does not end:\n{}", self.log());
        self.end();
        status.unwrap()
    }

    fn end(&mut self) {
        // Where it has ended already there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            return;
        }
        let alarms: Vec<String> = self
            .lines()
            .into_iter()
            .filter(Line::is_alarming)
            .filter(|line| !self.expected.iter().any(|part| line.text.contains(part)))
            .map(|line| line.text)
            .collect();
        assert!(
            alarms.is_empty(),
            "unexpected in the log:\n{}",
            alarms.join("\n")
        );
    }
}

/// The socket may be written to by a daemon of another user.
fn open_to_all(folder: &Path, socket: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o777)).unwrap();
}
