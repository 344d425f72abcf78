//! Who holds the lease.

use std::fmt;
use std::io;
use std::time::Duration;

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
pub enum HolderKind {
    /// A daemon: for as long as it runs.
    Daemon,
    /// An operator's command: until it is done.
    Command,
}

impl fmt::Display for HolderKind {
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
    pub what: HolderKind,
    /// The user that it runs as.
    pub uid: u32,
    /// The name of its machine, for people: it decides nothing.
    pub host: String,
    /// Its process.
    #[serde(flatten)]
    pub process: Process,
    /// When it claimed the lease, by its machine's clock: for people too.
    pub since: Timestamp,
    /// The lease's duration as it knows it, in milliseconds; none was told by earlier releases.
    #[serde(default)]
    pub lease_ms: Option<u64>,
    /// Names the [lock file](super::lock) that it keeps locked.
    pub lock: Uuid,
}

impl Holder {
    /// The calling process as a holder.
    pub(super) fn this(
        what: HolderKind,
        since: Timestamp,
        lease: Duration,
        lock: Uuid,
    ) -> io::Result<Self> {
        Ok(Self {
            what,
            uid: geteuid().as_raw(),
            host: uname().nodename().to_string_lossy().into_owned(),
            process: Process::this()?,
            since,
            lease_ms: u64::try_from(lease.as_millis()).ok(),
            lock,
        })
    }
}

impl Holder {
    /// How long it stays the holder without renewing, as far as it has told.
    pub(super) fn lease(&self) -> Option<Duration> {
        self.lease_ms.map(Duration::from_millis)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, host, .. } = self;
        write!(f, "{what} (pid {} on {host})", self.process.pid)
    }
}
