//! Goes through sequences, on as many threads as there are processors.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::tally::Tally;
use crate::world::World;

/// Sequences that one site goes through: making a site costs more than a sequence.
const TOGETHER: u64 = 12;
/// Steps of a sequence, at least and at most.
const STEPS: std::ops::RangeInclusive<u64> = 12..=20;
/// From so many sequences on every case has to have taken place.
const ENOUGH: u64 = 500;

/// What has to take place.
const CASES: &[&str] = &[
    "after the plan: a file",
    "after the plan: a manifest",
    "after the plan: a registration",
    "after the plan: a removal",
    "after the plan: a scan",
    "after the plan: the clock is set back",
    "after the plan: time passes",
    "apart: half",
    "apart: more",
    "apart: not quite",
    "apart: to the moment",
    "arrivals: confirmed",
    "arrivals: files before their manifest",
    "arrivals: manifest, torn",
    "arrivals: manifest, whole",
    "arrivals: registered",
    "broken off",
    "brought back",
    "clock: days back",
    "clock: days on",
    "clock: hours on",
    "clock: minutes back",
    "clock: minutes on",
    "clock: years on",
    "crash: removal",
    "crash: repair, Declared",
    "crash: repair, Done",
    "crash: repair, File",
    "crash: repair, Files",
    "crash: repair, Noted",
    "crash: repair, Records",
    "crash: repair, Resumed",
    "crash: scan",
    "crash: scan broken off",
    "finished later",
    "ignored",
    "killed",
    "left: another by now",
    "left: deletion is not allowed",
    "left: gone",
    "left: ignored",
    "left: it is back",
    "left: its record has changed",
    "left: journaled or named by a manifest that is not registered",
    "left: not wanted",
    "left: only reported",
    "left: replaced or changed",
    "left: right",
    "left: twin",
    "left: unripe",
    "left: wrong",
    "left: young",
    "meanwhile: Declared",
    "meanwhile: Noted",
    "not brought back over another",
    "not brought back: corrupt",
    "settled where no more was done",
    "policy changed",
    "refused: more than a share",
    "refused: the clock has leapt",
    "refused: too large",
    "removal: an artifact forgotten",
    "removal: artifacts deleted",
    "removal: dropped",
    "removal: forget, Never",
    "removal: remove-runs, Committed",
    "removal: remove-runs, Deleting",
    "removal: remove-runs, Journaled",
    "removal: remove-runs, Never",
    "removal: restored",
    "removal: seen through",
    "removal: unstore, Committed",
    "removal: unstore, Deleting",
    "removal: unstore, Journaled",
    "removal: unstore, Never",
    "repaired: forget",
    "repaired: quarantine",
    "repaired: register",
    "repaired: unstore",
    "scan: bytes spent",
    "scan: gone on with",
    "scan: not read",
    "scan: of a clock in doubt",
    "scan: of a part",
    "scan: of a run",
    "scan: paths spent",
    "scan: sampled",
    "scan: time spent",
    "scan: whole",
    "storage: brought",
    "storage: linked",
    "storage: lost",
    "storage: respelled",
    "storage: right again in its place",
    "storage: rotten",
    "storage: spoiled, other size",
    "storage: spoiled, same size",
    "storage: strayed",
    "storage: touched",
];

/// What was gone through.
#[derive(Debug, Default)]
struct Gone {
    sequences: u64,
    steps: u64,
    tally: Tally,
}

/// Says what was done where a sequence fails.
struct Told {
    seed: u64,
    sequence: u64,
    steps: Vec<String>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            println!(
                "failed at MODEL_SCAN_SEED={}, sequence {} of its site, after:",
                self.seed, self.sequence
            );
            for (number, step) in self.steps.iter().enumerate() {
                println!("  {:>2}. {step}", number + 1);
            }
        }
    }
}

/// Goes through so many sequences at a site.
fn go_through(seed: u64, sequences: u64) -> Gone {
    let mut world = World::new(seed);
    world.check();
    let mut gone = Gone::default();
    for sequence in 0..sequences {
        let mut told = Told {
            seed,
            sequence,
            steps: Vec::new(),
        };
        let steps = world.rng.u64(STEPS);
        for _ in 0..steps {
            told.steps.push("(under way)".to_owned());
            let step = world.step();
            *told.steps.last_mut().unwrap() = step;
            world.check();
        }
        told.steps.push("(the end)".to_owned());
        let ended = world.end();
        *told.steps.last_mut().unwrap() = ended;
        world.check();
        gone.sequences += 1;
        gone.steps += steps;
    }
    gone.tally = world.tally;
    gone
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn all(first: u64, sequences: u64) -> Gone {
    let next = AtomicU64::new(0);
    let sites = sequences.div_ceil(TOGETHER);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut gone = Gone::default();
        loop {
            let site = next.fetch_add(1, Ordering::Relaxed);
            if site >= sites {
                return gone;
            }
            let left = sequences - site * TOGETHER;
            let more = go_through(first + site, left.min(TOGETHER));
            gone.sequences += more.sequences;
            gone.steps += more.steps;
            gone.tally.take(more.tally);
        }
    };
    let mut gone = Gone::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let more = thread.join().unwrap_or_else(|panicked| {
                next.store(sites, Ordering::Relaxed);
                std::panic::resume_unwind(panicked)
            });
            gone.sequences += more.sequences;
            gone.steps += more.steps;
            gone.tally.take(more.tally);
        }
    });
    gone
}

#[test]
fn whatever_happens_a_repair_changes_only_what_the_model_allows() {
    let seed = number("MODEL_SCAN_SEED");
    let usual = seed.map_or(48, |_| TOGETHER);
    let sequences = number("MODEL_SCAN_SEQUENCES").unwrap_or(usual);
    let gone = all(seed.unwrap_or(1), sequences);
    for (case, count) in gone.tally.cases() {
        println!("case: {case}: {count}");
    }
    let missing = gone.tally.missing(CASES);
    assert!(
        missing.is_empty() || gone.sequences < ENOUGH,
        "never took place: {missing:?}"
    );
    println!(
        "model-scan: {} sequences, {} steps, {} artifacts repaired, {} crashes",
        gone.sequences,
        gone.steps,
        gone.tally.of("repaired: ") + gone.tally.of("finished later"),
        gone.tally.of("crash: ")
    );
}
