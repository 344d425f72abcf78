//! Who holds the lease.

use std::fmt;
use std::io;

use jiff::Timestamp;
use rustix::process::geteuid;
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::process::Process;

/// What holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A daemon: for as long as it runs.
    Daemon,
    /// An operator's command: until it is done.
    Command,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daemon => "a daemon",
            Self::Command => "a command",
        })
    }
}

/// Who holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// What it is.
    pub what: What,
    /// The user that it runs as.
    pub uid: u32,
    /// The name of its machine, for people: it decides nothing.
    pub host: String,
    /// Its process.
    #[serde(flatten)]
    pub process: Process,
    /// When it claimed the lease, by its machine's clock: for people too.
    pub since: Timestamp,
    /// Names the [lock file](super::lock) that it keeps locked.
    pub lock: Uuid,
}

impl Holder {
    /// The calling process as a holder.
    pub(super) fn this(what: What, since: Timestamp, lock: Uuid) -> io::Result<Self> {
        Ok(Self {
            what,
            uid: geteuid().as_raw(),
            host: uname().nodename().to_string_lossy().into_owned(),
            process: Process::this()?,
            since,
            lock,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, host, .. } = self;
        write!(f, "{what} (pid {} on {host})", self.process.pid)
    }
}
