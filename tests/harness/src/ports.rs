//! Ports of the loopback that no other harness takes.

use std::fs::{File, TryLockError};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, bail};

use crate::{install, scratch};

/// Below what the kernel hands out to outgoing connections, which would take a port from us between
/// the look and the start.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that was free, reserved among harnesses by a locked file for as long as this lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a free port. Another program may still take it before it is used.
    pub(crate) fn reserve() -> Result<Self> {
        let folder = install::cache()?.join("ports");
        let first = rand_below(PORTS.len())?;
        for number in PORTS.clone().cycle().skip(first).take(PORTS.len()) {
            let lock = scratch::lock_file(&folder.join(number.to_string()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    return Err(error).context("cannot lock a port's file");
                }
            }
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
        bail!("no port of {PORTS:?} is free")
    }

    /// Where what listens there answers over HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }

    /// Whether something listens: asked of what was started there.
    pub(crate) fn connect(&self) -> Option<()> {
        TcpStream::connect(("127.0.0.1", self.number))
            .ok()
            .map(drop)
    }
}

fn rand_below(limit: usize) -> Result<usize> {
    let random = getrandom::u32().context("cannot draw a random number")?;
    Ok(usize::try_from(random)? % limit)
}
