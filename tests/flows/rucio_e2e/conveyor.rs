//! Rucio's own daemons, cycle after cycle, as they run at a facility.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use harness::{Daemon, Rucio};

use crate::proof::aside;

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
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cycling: bool,
    is_paused: bool,
    is_over: bool,
}

impl Conveyor {
    pub(crate) fn start(server: &Arc<Rucio>) -> Self {
        let (server, shared) = (Arc::clone(server), Arc::new(Shared::default()));
        let cycling = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while cycling.begin() {
                // A message that cannot be sent goes with the next cycle.
                if let Err(error) = server.step(CYCLE) {
                    aside(&format!("Rucio's daemons: {error:#}"));
                }
                cycling.set(|state| state.is_cycling = false);
            }
        });
        Self { shared, thread }
    }

    /// Does something between two cycles. The daemons remember for minutes what an RSE was like when
    /// they first saw it: they must not see one that is half made.
    pub(crate) fn between_cycles<T>(&self, work: impl FnOnce() -> T) -> T {
        self.shared.set(|state| state.is_paused = true);
        let state = self.shared.state.lock().unwrap();
        drop(
            self.shared
                .changed
                .wait_while(state, |state| state.is_cycling)
                .unwrap(),
        );
        let done = work();
        self.shared.set(|state| state.is_paused = false);
        done
    }

    pub(crate) fn stop(self) {
        self.shared.set(|state| state.is_over = true);
        self.thread.join().unwrap();
    }
}

impl Shared {
    /// Waits until a cycle may begin; false once it is over.
    fn begin(&self) -> bool {
        let state = self.state.lock().unwrap();
        let waits = |state: &mut State| state.is_paused && !state.is_over;
        let mut state = self.changed.wait_while(state, waits).unwrap();
        state.is_cycling = !state.is_over;
        state.is_cycling
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }
}
