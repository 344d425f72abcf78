//! The hints at hand, and what becomes of each.

use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::RseName;

use super::set_aside::{SetAside, Why};
use crate::ledger::record::{Hint, HintKind, NewHint, Taken};

/// First pause of a hint that waits for something; doubled with each try.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Its longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Doublings until then.
const DOUBLINGS_MAX: u32 = 6;

/// The hints at hand, and what becomes of each.
pub(super) struct Desk<'h> {
    pub(super) hints: &'h [Hint],
    pub(super) taken: Vec<Taken>,
    pub(super) aside: SetAside,
    /// Files that are not adopted, and have come all the same.
    pub(super) arrived: Vec<NewHint>,
    pub(super) now: Timestamp,
}

impl<'h> Desk<'h> {
    /// Hints of which each is done, unless something else is said.
    pub(super) fn of(hints: &'h [Hint], now: Timestamp) -> Self {
        Self {
            hints,
            taken: vec![Taken::Done; hints.len()],
            aside: SetAside::default(),
            arrived: Vec::new(),
            now,
        }
    }

    /// Says what becomes of a hint.
    pub(super) fn set(&mut self, index: usize, taken: Taken) {
        if let Some(slot) = self.taken.get_mut(index) {
            *slot = taken;
        }
    }

    /// Sets a hint aside.
    pub(super) fn set_aside(&mut self, index: usize, rse: &RseName, why: &Why, reason: &str) {
        if let Some(hint) = self.hints.get(index) {
            self.aside.add(hint, rse, why, reason);
        }
    }

    /// Has a file looked for like any other that has come: its run's manifest may wait for it.
    pub(super) fn has_arrived(&mut self, index: usize) {
        let arrived = self.hints.get(index).map(|hint| NewHint {
            kind: HintKind::Arrived,
            rse: hint.rse.clone(),
            scope: hint.scope.clone(),
            name: hint.name.clone(),
            detail: None,
            heard_at: hint.heard_at,
        });
        self.arrived.extend(arrived);
    }

    /// Puts a hint off, for longer each time.
    pub(super) fn put_off(&mut self, index: usize) {
        let tries = self.hints.get(index).map_or(0, |hint| hint.tries);
        let doubled = FIRST_PAUSE * 2_u32.pow(tries.min(DOUBLINGS_MAX));
        self.set(index, Taken::Later(doubled.min(LONGEST_PAUSE)));
    }

    /// How long a hint has waited.
    pub(super) fn age(&self, index: usize) -> Duration {
        let heard = self.hints.get(index).map_or(self.now, |hint| hint.heard_at);
        Duration::try_from(self.now.duration_since(heard)).unwrap_or_default()
    }
}
