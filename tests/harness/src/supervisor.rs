//! Speaks to the supervisor: the child that keeps all processes of a harness.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::scratch;

const SCRIPT: &str = include_str!("../python/supervisor.py");
/// How often whether something is ready is asked.
const POLL: Duration = Duration::from_millis(50);
/// A busy machine takes seconds to start any of them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keeps the processes of a harness. Once dropped, none of them is left, nor their folder.
#[derive(Debug)]
pub(crate) struct Supervisor {
    folder: PathBuf,
    child: Child,
    /// `None` once it has been told to end.
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts one that owns `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        scratch::make_folder(&folder.join("log"))?;
        let mut child = Command::new("python3")
            .args(["-I", "-c", SCRIPT])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What ends our process group, like Ctrl-C, must not end it before it has cleaned up.
            .process_group(0)
            .spawn()
            .context("cannot start python3")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let pipes = pipes.map(|(requests, answers)| Pipes {
            requests,
            answers: BufReader::new(answers),
        });
        Ok(Self {
            folder: folder.to_path_buf(),
            child,
            pipes: Mutex::new(pipes),
        })
    }

    /// Starts a process whose output goes to the log of that name.
    pub(crate) fn spawn(&self, name: &str, command: &Command) -> Result<()> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let argv: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let env: serde_json::Map<String, Value> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)))
            .map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                (name, value.to_string_lossy().into())
            })
            .collect();
        let log = self.log(name);
        self.ask(&json!({"do": "start", "name": name, "argv": argv, "env": env, "log": log}))?;
        Ok(())
    }

    /// Asks until something of a process is ready.
    ///
    /// # Errors
    ///
    /// Where the process ends first, or takes too long.
    pub(crate) fn wait_for<T>(
        &self,
        name: &str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            self.check(name)?;
            if let Some(ready) = ready() {
                return Ok(ready);
            }
            if start.elapsed() > PATIENCE {
                bail!(
                    "{name} is not ready after {PATIENCE:?}; {}",
                    scratch::tail(&self.log(name))
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Fails where a process has ended, with the last lines of its log.
    fn check(&self, name: &str) -> Result<()> {
        let answer = self.ask(&json!({"do": "poll", "name": name}))?;
        match answer.get("exit") {
            None | Some(Value::Null) => Ok(()),
            Some(status) => bail!(
                "{name} has ended with status {status}; {}",
                scratch::tail(&self.log(name))
            ),
        }
    }

    /// Asks a process to end and waits for it; one that has been stopped stays so.
    pub(crate) fn stop(&self, name: &str) -> Result<()> {
        self.ask(&json!({"do": "stop", "name": name}))?;
        Ok(())
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    fn ask(&self, request: &Value) -> Result<Value> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().context("the supervisor has been ended")?;
        let mut line = String::new();
        writeln!(pipes.requests, "{request}")
            .and_then(|()| pipes.answers.read_line(&mut line))
            .context("the supervisor does not answer")?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the supervisor answered `{line}` to {request}"))?;
        if let Some(error) = answer.get("error") {
            bail!("the supervisor cannot do {request}: {error}");
        }
        Ok(answer)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        drop(pipes.take());
        // It ends by itself once its standard input has ended.
        drop(self.child.wait());
    }
}
