//! Time, and configuration.

use std::time::Duration;

use jiff::SignedDuration;

use crate::model::Policy;
use crate::world::{DAY, HOUR, World};

/// The site's clock is not set further behind the machine's than this.
const BEHIND_MAX: SignedDuration = SignedDuration::from_hours(24 * 10);

impl World {
    pub(super) fn pass_time(&mut self) -> String {
        let (what, time) = match self.rng.u32(0..10) {
            0..=2 => ("minutes", HOUR / 60 * self.rng.u32(1..55)),
            3..=5 => ("hours", HOUR * self.rng.u32(1..30)),
            6 | 7 => ("days", DAY * self.rng.u32(2..10)),
            8 => ("years", DAY * self.rng.u32(61..1_000)),
            _ => return self.set_back(),
        };
        self.site.pass(time);
        self.tally.count(format!("clock: {what} on"));
        format!("{} s pass", time.as_secs())
    }

    /// Lets the time pass by which passes must lie apart: a little more, to the moment, or not quite.
    pub(super) fn pass_apart(&mut self) {
        let apart = self.model.policy.apart;
        let (case, time) = match self.rng.u32(0..6) {
            0 => ("not quite", apart.saturating_sub(Duration::from_millis(1))),
            1 => ("half", apart / 2),
            2 => ("to the moment", apart),
            _ => ("more", apart + HOUR),
        };
        self.site.pass(time);
        self.tally.count(format!("apart: {case}"));
    }

    fn set_back(&mut self) -> String {
        let (what, by) = if self.rng.bool() {
            ("minutes", SignedDuration::from_mins(self.rng.i64(1..59)))
        } else {
            (
                "days",
                SignedDuration::from_hours(self.rng.i64(2..24 * 100)),
            )
        };
        let to = (self.now() - by).max(self.machine() - BEHIND_MAX);
        self.set_clock(to);
        self.tally.count(format!("clock: {what} back"));
        format!("set back by {by}")
    }

    pub(super) fn change_policy(&mut self) -> String {
        let policy = self.some_policy();
        self.model.policy = policy;
        self.configure();
        self.tally.count("policy changed");
        format!("{:?}", self.model.policy)
    }

    fn some_policy(&mut self) -> Policy {
        let ahead = u32::try_from(self.ahead().as_secs() / HOUR.as_secs()).unwrap();
        let rng = &mut self.rng;
        // Most of the time something is done.
        let acts = Policy::ACTS.into_iter().filter(|_| rng.u32(0..5) > 0);
        let acts = acts.collect();
        // Files are about as old as the clock is ahead: some times make them young, and others old.
        let mut about = |least: u32| {
            let more = [-48_i64, -30, 20, 60][rng.usize(0..4)];
            let hours = i64::from(ahead) + more;
            let hours = if rng.bool() { hours } else { 0 };
            HOUR * u32::try_from(hours).unwrap_or(0).max(least)
        };
        let (dark_age, waiting_deadline) = (about(24), about(1));
        Policy {
            acts,
            share_max: [25, 25, 25, 10, 3][rng.usize(0..5)],
            artifacts_max: [1_000, 1][rng.usize(0..2)],
            apart: HOUR * [1, 24, 24, 40][rng.usize(0..4)],
            dark_age,
            waiting_deadline,
            confirms_by_size: rng.bool(),
        }
    }
}
