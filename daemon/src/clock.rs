//! The one source of time, so that tests can move it.
//!
//! A [`Clock`] tells people when something was; an [`Uptime`] measures how long something took,
//! whatever anybody does to the clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// A time moved forward; the end of time where it would lie beyond.
pub fn later(than: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| than.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A time moved back; the beginning of time where it would lie before.
pub fn earlier(than: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| than.checked_sub(by).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Clocks of one site differ by less.
pub const SKEW: Duration = Duration::from_secs(60 * 60);
/// A site without any sign of life for longer is as likely one whose clock was set.
pub const LEAP: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that may ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now`, to the millisecond.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millisecond()))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// Measures time on this machine alone; nobody can set it.
pub trait Uptime: Send + Sync + std::fmt::Debug {
    /// How long the machine has been running, without the time that it was suspended.
    fn awake(&self) -> Duration;

    /// How long ago the machine was started.
    fn since_boot(&self) -> Duration;
}

/// The machine's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemUptime;

impl Uptime for SystemUptime {
    fn awake(&self) -> Duration {
        elapsed(ClockId::Monotonic)
    }

    fn since_boot(&self) -> Duration {
        elapsed(ClockId::Boottime)
    }
}

fn elapsed(clock: ClockId) -> Duration {
    // Neither clock is ever negative.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// An uptime that passes only when told.
#[derive(Debug, Default)]
pub struct ManualUptime {
    awake_ms: AtomicU64,
    suspended_ms: AtomicU64,
}

impl ManualUptime {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.awake_ms.fetch_add(milliseconds(by), Ordering::SeqCst);
    }

    /// Suspends the machine for so long.
    pub fn suspend(&self, by: Duration) {
        self.suspended_ms
            .fetch_add(milliseconds(by), Ordering::SeqCst);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Uptime for ManualUptime {
    fn awake(&self) -> Duration {
        Duration::from_millis(self.awake_ms.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        self.awake() + Duration::from_millis(self.suspended_ms.load(Ordering::SeqCst))
    }
}
