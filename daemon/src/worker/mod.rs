//! Runs the loops of the daemon.
//!
//! A [`Worker`] is one loop: it takes a step, says when it wants the next one, and waits. What it
//! does follows from durable state alone; a [`Wake`] only says that it may be worth looking. So it
//! makes no difference whether an event, the passing of time or an operator woke it, and a wake-up
//! that is lost costs time and nothing else.
//!
//! [`driver`] is the only place of the program that spawns: it starts workers, starts them again
//! after an error or a panic, and stops them. [`status`] is what `runsync status` and the watchdog
//! read.
//!
//! # Invariants
//!
//! - A step is never interrupted; the wait between two steps always may be.
//! - A worker that fails is tried again, ever more slowly, and holds up no other.

pub mod wake;

pub mod status;

pub mod driver;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

pub use self::driver::{BackOff, Driver, StillRunning, Tasks};
pub use self::status::{Activity, Pulse, WorkerStatus};
pub use self::wake::Wake;

/// What a worker wants after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another step at once: there is more to do.
    Again,
    /// A step when woken, or after this long at the latest; `None`: only when woken.
    Idle(Option<Duration>),
}

/// Why a step failed; the driver logs and keeps its chain of causes.
pub type StepError = Box<dyn Error + Send + Sync>;

/// One loop of the daemon.
pub trait Worker: Send {
    /// Does a bounded piece of work. It runs on a thread where it may block.
    ///
    /// Whatever is done must be safe to do again: after an error or a panic the same work comes
    /// back. A step that takes longer than a moment calls [`Pulse::beat`] as it advances and
    /// returns early once [`Pulse::is_stopping`].
    ///
    /// # Errors
    ///
    /// Any: the worker is tried again, after a back-off.
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError>;
}
