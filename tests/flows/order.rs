//! The order in which manifests and artifacts arrive does not matter, nor do repetition and restarts.
//!
//! The same manifests (additions of several generations, duplicates under other names, held
//! removals and snapshots) and the same artifacts are brought in two random orders, the site being
//! closed and opened at random in between. The registry's dump is the same. Forks and conflicts that
//! nothing can resolve are left out: of those, the first to come wins.
//!
//! Cases: 64, or `PROPTEST_CASES`; `cargo xtask order` runs at least 500.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use runsync_manifest::content::Content;
use runsync_manifest::writer::Packing;
use support::{Manifest, TestSite, artifact, entry};

/// Cases that have passed.
static GONE_THROUGH: AtomicU32 = AtomicU32::new(0);
/// Runs, generations and datasets are few, so that they meet often.
const RUNS: usize = 3;
const DATASETS: u8 = 6;

/// One thing that arrives.
#[derive(Debug, Clone)]
enum Arrival {
    /// A manifest under a name.
    Manifest { name: String, bytes: Vec<u8> },
    /// An artifact.
    Artifact { path: String, bytes: Vec<u8> },
}

/// What happens beside the arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Work,
    Confirm,
    Follow,
    Restart,
}

/// One generation of a run: which datasets it names, each in which version of its artifact.
#[derive(Debug, Clone)]
struct Generation {
    content: Content,
    datasets: Vec<(u8, u8)>,
    brings_dimensions: bool,
    packed: bool,
    doubled: bool,
}

fn generation() -> impl Strategy<Value = Generation> {
    let content = prop_oneof![
        6 => Just(Content::Additions),
        1 => Just(Content::Removal),
        1 => Just(Content::Snapshot),
    ];
    let datasets = prop::collection::btree_map(0..DATASETS, 0_u8..2, 0..usize::from(DATASETS));
    (
        content,
        datasets,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(content, datasets, brings_dimensions, packed, doubled)| Generation {
                content,
                datasets: datasets.into_iter().collect(),
                brings_dimensions,
                packed,
                doubled,
            },
        )
}

fn path(run: usize, dataset: u8, version: u8) -> String {
    format!("run{run}/v{version}/calexp_{dataset}.fits")
}

fn bytes(run: usize, dataset: u8, version: u8) -> Vec<u8> {
    let seed = run as u64 * 100 + u64::from(dataset) * 10 + u64::from(version);
    artifact(seed, 20 + usize::from(dataset) + 50 * usize::from(version))
}

fn manifest(site: &TestSite, run: usize, number: usize, generation: &Generation) -> Manifest {
    let name = format!("u/test/run{run}");
    let mut manifest = Manifest::new(
        site.repository,
        &name,
        &format!("1-{number}"),
        generation.content,
    );
    if generation.packed {
        manifest.packing = Packing::Zstd(3);
    }
    if generation.content == Content::Removal {
        return manifest;
    }
    if generation.brings_dimensions {
        manifest = manifest.with_dimensions(i64::from(DATASETS));
    }
    let entries = generation.datasets.iter().map(|(dataset, version)| {
        let uuid = (run as u128 + 1) << 64 | u128::from(*dataset);
        let (visit, detector) = (i64::from(*dataset), i64::from(*dataset));
        let path = path(run, *dataset, *version);
        entry(
            uuid,
            visit,
            detector,
            &path,
            &bytes(run, *dataset, *version),
        )
    });
    manifest.with_entries(entries)
}

/// Everything that arrives: the manifests of all runs, some doubled, one that brings all
/// dimension records, and those artifacts that are not lost on the way.
fn arrivals(site: &TestSite, runs: &[Vec<Generation>], lost: &[bool]) -> Vec<Arrival> {
    let dimensions = Manifest::new(site.repository, "u/test/dims", "1-1", Content::Additions)
        .with_dimensions(i64::from(DATASETS));
    let mut arrivals = vec![arrival(site, &dimensions, "")];
    for (run, generations) in runs.iter().enumerate() {
        for (number, generation) in (1..).zip(generations) {
            let manifest = manifest(site, run, number, generation);
            arrivals.push(arrival(site, &manifest, ""));
            if generation.doubled {
                arrivals.push(arrival(site, &manifest, "again/"));
            }
        }
        for dataset in 0..DATASETS {
            for version in 0..2 {
                let at = (run * usize::from(DATASETS) + usize::from(dataset)) * 2;
                if !lost[(at + usize::from(version)) % lost.len()] {
                    arrivals.push(Arrival::Artifact {
                        path: path(run, dataset, version),
                        bytes: bytes(run, dataset, version),
                    });
                }
            }
        }
    }
    arrivals
}

fn arrival(site: &TestSite, manifest: &Manifest, below: &str) -> Arrival {
    let header = &manifest.header;
    let packed = manifest.packing != Packing::Plain;
    let name = runsync::datastore::manifest_path(
        header.origin.repository,
        &header.run,
        header.generation,
        packed,
    );
    let name = name.replace("runsync/manifests/", &format!("runsync/manifests/{below}"));
    Arrival::Manifest {
        name,
        bytes: manifest.bytes(Some(&site.key)),
    }
}

fn end_state(site: &TestSite, arrivals: &[&Arrival], then: &[Then]) -> (String, String) {
    let mut open = site.open();
    for (arrival, then) in arrivals.iter().zip(then.iter().cycle()) {
        match arrival {
            Arrival::Manifest { name, bytes } => site.put(name, bytes),
            Arrival::Artifact { path, bytes } => site.put(path, bytes),
        }
        match then {
            Then::Nothing => {}
            Then::Work => open.work(),
            Then::Confirm => {
                open.confirm();
            }
            Then::Follow => open.follow(),
            Then::Restart => {
                drop(open);
                open = site.open();
            }
        }
    }
    open.work();
    open.follow();
    // What a removal has deleted and a later generation names again is carried here again.
    for arrival in arrivals {
        if let Arrival::Artifact { path, bytes } = arrival {
            site.put(path, bytes);
        }
    }
    open.confirm();
    let states = open
        .manifests()
        .iter()
        // Which of several floors overtook a manifest depends on the order; that one did does not.
        .map(|row| format!("{} {}", row.location.path, row.state))
        .collect::<Vec<_>>()
        .join("\n");
    (open.dump(), states)
}

fn then() -> impl Strategy<Value = Vec<Then>> {
    let one = prop_oneof![
        6 => Just(Then::Nothing),
        3 => Just(Then::Work),
        1 => Just(Then::Confirm),
        1 => Just(Then::Follow),
        1 => Just(Then::Restart),
    ];
    prop::collection::vec(one, 1..40)
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_arrivals_ends_in_the_same_registry(
        runs in prop::collection::vec(prop::collection::vec(generation(), 0..5), RUNS),
        lost in prop::collection::vec(prop::bool::weighted(0.2), 8),
        (first, second) in (any::<u64>(), any::<u64>()),
        (then_first, then_second) in (then(), then()),
    ) {
        let mut ends = Vec::new();
        for (seed, then) in [(first, then_first), (second, then_second)] {
            let site = TestSite::in_memory("size");
            let all = arrivals(&site, &runs, &lost);
            ends.push(end_state(&site, &shuffled(&all, seed), &then));
        }
        for (what, first, second) in
            [("registry", &ends[0].0, &ends[1].0), ("ledger", &ends[0].1, &ends[1].1)]
        {
            prop_assert!(first == second, "{what}:\n{}", differing(first, second));
        }
        prop_assert!(ends[0].0.contains("HSC"), "the dump is not empty");
        // `cargo xtask order` counts only the cases that were gone through.
        let gone_through = GONE_THROUGH.fetch_add(1, Ordering::Relaxed) + 1;
        if gone_through == cases() {
            println!("order: {gone_through} cases");
        }
    }
}

/// The lines that only one of two texts has.
fn differing(first: &str, second: &str) -> String {
    let only = |here: &str, there: &str, mark: &str| -> String {
        let there: std::collections::HashSet<_> = there.lines().collect();
        here.lines()
            .filter(|line| !there.contains(line))
            .map(|line| format!("{mark} {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    [only(first, second, "-"), only(second, first, "+")].join("\n")
}

/// Fisher-Yates with a small linear congruential generator (Knuth's MMIX constants): the order
/// must depend on the seed alone, so that a failed case can be run again.
fn shuffled(all: &[Arrival], seed: u64) -> Vec<&Arrival> {
    let mut order: Vec<&Arrival> = all.iter().collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (state >> 33) as usize % (last + 1));
    }
    order
}
