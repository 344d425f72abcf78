//! Memcached, without which Rucio's answers take many times as long. It listens on a socket in the
//! harness's folder.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use rustix::process::geteuid;

use crate::supervisor::Supervisor;

const NAME: &str = "memcached";

/// Starts it and waits until it takes connections.
pub(crate) fn start(supervisor: &Supervisor, folder: &Path) -> Result<()> {
    let socket = folder.join("memcached.sock");
    let mut command = Command::new(NAME);
    command.arg("-s").arg(&socket);
    if geteuid().is_root() {
        // It refuses root unless asked for it.
        command.args(["-u", "root"]);
    }
    supervisor.spawn(NAME, &command)?;
    supervisor.wait_for(NAME, || UnixStream::connect(&socket).ok().map(drop))
}
