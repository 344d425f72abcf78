//! Speaks with the service manager: ready, alive, reloading, stopping; and listens to signals.
//!
//! The watchdog is fed only while every worker advances, so that a daemon that is merely there is
//! restarted. Without a service manager (no `NOTIFY_SOCKET`) all of it is silent, and signals work
//! the same.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

/// How often to feed the watchdog within its period: twice is what `sd_watchdog_enabled(3)` asks
/// for, and one more lets a busy machine miss one.
const FEEDS_PER_PERIOD: u32 = 3;
/// How often workers are looked at where nobody set a watchdog: often enough to log soon.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// How long a worker may be silent before it counts as stalled: far longer than the longest step
/// between two beats (a batch of datasets, a stretch of a checksum, on a slow disk), and shorter
/// than `WatchdogSec=` in the unit.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long workers may take to end their steps when the daemon stops: what `TimeoutStopSec=` in
/// the unit leaves after the rest.
pub const STOP_DEADLINE: Duration = Duration::from_secs(75);

/// Signals that the daemon heeds.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    /// Heeds them from now on; before that a reload would kill the process.
    ///
    /// # Errors
    ///
    /// Where the operating system refuses a handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

/// Serves until SIGTERM or SIGINT: says that the daemon is ready (recovery is done), feeds the
/// watchdog while `stalled` names no worker, and has SIGHUP call `reload`. Says that it stops
/// before it returns; the caller then stops the workers.
///
/// `stalled` is asked now and then; it is [`Driver::stalled`](crate::worker::Driver::stalled)
/// with [`PATIENCE`]. `reload` logs its own errors and returns
/// what `systemctl status` is to show.
pub async fn serve<R>(
    mut signals: Signals,
    status: &str,
    stalled: impl Fn() -> Vec<String>,
    mut reload: R,
) where
    R: AsyncFnMut() -> String,
{
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    let watchdog = sd_notify::watchdog_enabled().filter(|period| !period.is_zero());
    let mut looks = interval(look_interval(watchdog));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known_stalled = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => {
                info!("reloading configuration");
                tell_reloading();
                let status = reload().await;
                tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
            }
            _ = looks.tick() => look(&mut known_stalled, stalled()),
        }
    }
    info!("stopping");
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Shows a text in `systemctl status`, such as how far recovery is.
pub fn show_status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

fn look_interval(watchdog: Option<Duration>) -> Duration {
    match watchdog {
        Some(period) => (period / FEEDS_PER_PERIOD).max(Duration::from_millis(1)),
        None => LOOK_INTERVAL,
    }
}

/// Feeds the watchdog, or logs who keeps it hungry, once per worker.
fn look(known: &mut Vec<String>, stalled: Vec<String>) {
    if stalled.is_empty() {
        tell(&[NotifyState::Watchdog]);
    }
    for worker in stalled.iter().filter(|worker| !known.contains(worker)) {
        error!(%worker, "worker does not advance");
    }
    *known = stalled;
}

fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::{Child, Command};
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Pid, Signal as Kill, kill_process};
    use tempfile::TempDir;

    use super::*;

    const SERVED: &str = "service::tests::a_daemon_that_serves";
    const STALLING: &str = "service::tests::a_daemon_whose_worker_stalls";

    struct Manager {
        socket: UnixDatagram,
        daemon: Child,
        _directory: TempDir,
    }

    impl Manager {
        /// Plays the service manager for a test of this binary that plays the daemon.
        fn start(daemon: &str, watchdog: Duration) -> Self {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let daemon = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", daemon])
                .env("NOTIFY_SOCKET", &path)
                .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
                .env_remove("WATCHDOG_PID")
                .spawn()
                .unwrap();
            Self {
                socket,
                daemon,
                _directory: directory,
            }
        }

        fn next(&self) -> String {
            let mut text = [0; 1000];
            let length = self.socket.recv(&mut text).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        }

        /// The next message that holds `word`; those about the watchdog may come between.
        fn until(&self, word: &str) -> String {
            loop {
                let text = self.next();
                if text.contains(word) {
                    return text;
                }
                assert_eq!(text, "WATCHDOG=1\n", "waiting for {word}");
            }
        }

        fn kill(&self, signal: Kill) {
            let process = i32::try_from(self.daemon.id()).unwrap();
            kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
        }
    }

    #[test]
    fn the_service_manager_hears_ready_alive_reloading_and_stopping() {
        let mut manager = Manager::start(SERVED, Duration::from_millis(30));
        let ready = manager.until("READY=1");
        assert!(ready.contains("STATUS=2 roots"), "{ready}");
        manager.until("WATCHDOG=1");
        manager.kill(Kill::HUP);
        let reloading = manager.until("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        let ready = manager.until("READY=1");
        assert!(ready.contains("STATUS=reloaded 1 times"), "{ready}");
        manager.until("WATCHDOG=1");
        manager.kill(Kill::TERM);
        manager.until("STOPPING=1");
        assert!(manager.daemon.wait().unwrap().success());
    }

    #[test]
    fn a_worker_that_does_not_advance_lets_the_watchdog_starve() {
        let mut manager = Manager::start(STALLING, Duration::from_millis(30));
        manager.until("READY=1");
        let next = manager.next();
        assert!(next.contains("STOPPING=1"), "{next}");
        assert!(manager.daemon.wait().unwrap().success());
    }

    #[tokio::test]
    #[ignore = "run by the_service_manager_hears_ready_alive_reloading_and_stopping"]
    async fn a_daemon_that_serves() {
        let reloads = AtomicU32::new(0);
        let reload = async || {
            let times = reloads.fetch_add(1, Ordering::SeqCst) + 1;
            format!("reloaded {times} times")
        };
        serve(Signals::new().unwrap(), "2 roots", Vec::new, reload).await;
    }

    #[tokio::test]
    #[ignore = "run by a_worker_that_does_not_advance_lets_the_watchdog_starve"]
    async fn a_daemon_whose_worker_stalls() {
        let looks = AtomicU32::new(0);
        let stalled = || {
            if looks.fetch_add(1, Ordering::SeqCst) == 3 {
                kill_process(rustix::process::getpid(), Kill::INT).unwrap();
            }
            vec!["sweep".to_owned()]
        };
        let reload = async || String::new();
        serve(Signals::new().unwrap(), "", stalled, reload).await;
    }

    #[test]
    fn the_watchdog_is_fed_three_times_in_its_period() {
        let period = Duration::from_secs(60);
        assert_eq!(look_interval(Some(period)), Duration::from_secs(20));
        assert_eq!(look_interval(None), LOOK_INTERVAL);
    }

    #[test]
    fn the_unit_leaves_time_to_notice_a_stall_and_to_stop() {
        let unit = include_str!("../../systemd/runsync.service");
        let period = |key: &str| {
            let value = unit
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap();
            humantime::parse_duration(value).unwrap()
        };
        assert!(period("WatchdogSec=") > PATIENCE);
        assert!(period("TimeoutStopSec=") > STOP_DEADLINE);
    }
}
