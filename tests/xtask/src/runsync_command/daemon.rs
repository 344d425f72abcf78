//! `runsync daemon` as a child of a task.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to stop after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A daemon; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon(pub(super) Child);

impl Daemon {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.0), signal).context("cannot signal the daemon")
    }

    /// Stops it in its tracks (SIGSTOP): returns once no thread of it runs any more.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        while !self.is_frozen()? {
            thread::yield_now();
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool> {
        let tasks = format!("/proc/{}/task", self.id());
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot list {tasks}"))? {
            let stat = task.context("cannot list threads")?.path().join("stat");
            // A thread that has ended meanwhile runs no more.
            let stat = fs::read_to_string(stat).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, state)| state);
            if state.is_some_and(|state| !state.starts_with('T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it runs no more.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let ended = self.0.try_wait().context("cannot look at the daemon")?;
        Ok(ended.is_some())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.kill_now()
    }

    /// `kill -9`; what is left can be replaced by another.
    pub(crate) fn kill_now(&mut self) -> Result<()> {
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
        self.signal(Signal::TERM)?;
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
