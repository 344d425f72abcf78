//! Rucio's own daemons, one cycle at a time.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::config::Programs;
use crate::scratch;
use crate::supervisor::Supervisor;

const NAME: &str = "daemons";
const SCRIPT: &str = include_str!("../python/daemons.py");

/// A daemon of Rucio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// judge-evaluator: what has been attached to a dataset comes under its rules.
    Evaluate,
    /// judge-injector: rules that were made asynchronously take hold.
    Inject,
    /// conveyor-submitter: queued transfers go to FTS.
    Submit,
    /// conveyor-poller: asks FTS how they went.
    Poll,
    /// conveyor-finisher: replicas become available, messages are written.
    Finish,
    /// judge-cleaner: rules past their lifetime end.
    Clean,
    /// judge-repairer: rules that are stuck are tried again.
    Repair,
    /// undertaker: DIDs past their lifetime end.
    Undertake,
    /// reaper: replicas that nothing protects are deleted, with their files.
    Reap,
    /// hermes: all messages that wait go to the broker. It is an error where one cannot be sent.
    Hermes,
    /// minos: PFNs that were declared bad or unavailable become replicas in that state.
    Minos,
    /// necromancer: bad replicas are copied again, or given up.
    Necromance,
    /// abacus-rse: how much is on each RSE.
    AbacusRse,
    /// abacus-account: how much each account has there.
    AbacusAccount,
    /// abacus-collection-replica: how much of a Rucio dataset each RSE has.
    AbacusCollection,
}

impl Daemon {
    /// Each once, in an order in which what one finds out the next acts upon.
    pub const ALL: &[Self] = &[
        Self::Minos,
        Self::Necromance,
        Self::Undertake,
        Self::Evaluate,
        Self::Inject,
        Self::Clean,
        Self::Repair,
        Self::Submit,
        Self::Poll,
        Self::Finish,
        Self::Reap,
        Self::AbacusRse,
        Self::AbacusAccount,
        Self::AbacusCollection,
        Self::Hermes,
    ];
    /// From a rule to replicas that are there, and to the messages about it.
    pub const TRANSFER: &[Self] = &[
        Self::Evaluate,
        Self::Submit,
        Self::Poll,
        Self::Finish,
        Self::Hermes,
    ];
    /// From the end of a rule to files that are gone, and to the messages about it.
    pub const DELETION: &[Self] = &[Self::Clean, Self::Reap, Self::Hermes];

    fn name(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Inject => "inject",
            Self::Submit => "submit",
            Self::Poll => "poll",
            Self::Finish => "finish",
            Self::Clean => "clean",
            Self::Repair => "repair",
            Self::Undertake => "undertake",
            Self::Reap => "reap",
            Self::Hermes => "hermes",
            Self::Minos => "minos",
            Self::Necromance => "necromance",
            Self::AbacusRse => "abacus-rse",
            Self::AbacusAccount => "abacus-account",
            Self::AbacusCollection => "abacus-collection",
        }
    }
}

/// The process that runs them.
#[derive(Debug)]
pub(crate) struct Stepper {
    socket: PathBuf,
    connection: Mutex<Option<BufReader<UnixStream>>>,
}

impl Stepper {
    /// Starts it without waiting for it: it has much to import.
    pub(crate) fn spawn(
        supervisor: &Supervisor,
        programs: &Programs,
        folder: &Path,
    ) -> Result<Self> {
        let script = folder.join("python/daemons.py");
        scratch::write(&script, SCRIPT.as_bytes())?;
        let socket = folder.join("daemons.sock");
        let mut python = programs.command("python");
        python.arg(script).arg(&socket);
        supervisor.spawn(NAME, &python)?;
        Ok(Self {
            socket,
            connection: Mutex::new(None),
        })
    }

    /// Waits until it takes orders.
    pub(crate) fn wait(&self, supervisor: &Supervisor) -> Result<()> {
        let connection = supervisor.wait_for(NAME, || UnixStream::connect(&self.socket).ok())?;
        *self.connection() = Some(BufReader::new(connection));
        Ok(())
    }

    /// Runs a cycle of one to its end.
    pub(crate) fn step(&self, daemon: Daemon) -> Result<()> {
        let name = daemon.name();
        let mut connection = self.connection();
        let connection = connection
            .as_mut()
            .context("the daemons have not started")?;
        let mut line = String::new();
        writeln!(connection.get_mut(), "{name}")
            .and_then(|()| connection.read_line(&mut line))
            .with_context(|| format!("the daemon {name} does not answer"))?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the daemon {name} answered `{line}`"))?;
        match answer.get("error").and_then(Value::as_str) {
            None => Ok(()),
            Some(error) => bail!("the daemon {name} failed: {error}"),
        }
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<BufReader<UnixStream>>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
