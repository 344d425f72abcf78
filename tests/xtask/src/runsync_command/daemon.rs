//! `runsync daemon` as a child of a task.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a daemon may take to stop after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A daemon; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon(pub(super) Child);

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

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
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
