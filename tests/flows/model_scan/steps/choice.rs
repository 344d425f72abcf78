//! Chooses a step.

use crate::world::World;

type Step = fn(&mut World) -> String;

impl World {
    /// Does something; what, in words.
    pub(crate) fn step(&mut self) -> String {
        let steps: [(u32, Step); 25] = [
            (8, Self::lose_one),
            (8, Self::spoil),
            (4, Self::bring_right),
            (2, Self::touch_one),
            (4, Self::rot_one),
            (2, Self::link_one),
            (6, Self::stray),
            (3, Self::respell),
            (3, Self::files_come),
            (3, Self::manifest_comes),
            (4, Self::work),
            (5, Self::confirm),
            (3, Self::remove_run),
            (2, Self::unstore_run),
            (3, Self::forget),
            (2, Self::restore_run),
            (3, Self::see_through),
            (4, Self::pass_time),
            (12, Self::scan_some),
            (16, Self::scan_days_on),
            (12, Self::repair),
            (16, Self::repair_days_on),
            (3, Self::bring_back),
            (4, Self::ignore),
            (3, Self::change_policy),
        ];
        let all: u32 = steps.iter().map(|(weight, _)| weight).sum();
        let mut at = self.rng.u32(0..all);
        for (weight, step) in steps {
            if at < weight {
                return step(self);
            }
            at -= weight;
        }
        String::new()
    }
}
