//! Rucio's own daemons, cycle after cycle, as they run at a facility.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use harness::{Daemon, Rucio};

/// What runs, in the order of a cycle.
const CYCLE: &[Daemon] = &[
    Daemon::Evaluate,
    Daemon::Submit,
    Daemon::Poll,
    Daemon::Finish,
    Daemon::Clean,
    Daemon::Reap,
    Daemon::Hermes,
];

/// A thread that runs them until it is stopped.
pub(crate) struct Conveyor {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Conveyor {
    pub(crate) fn start(server: &Arc<Rucio>) -> Self {
        let (server, stopping) = (Arc::clone(server), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = server.step(CYCLE) {
                    crate::proof::aside(&format!("Rucio's daemons: {error:#}"));
                }
            }
        });
        Self { stopping, thread }
    }

    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
