//! Two sites do at random whatever changes what is here, and end as a model in set algebra says.
//!
//! The model knows nothing of how it is done. A run is a list of manifests: generation, content, set of
//! datasets. What a site knows is the fold by generation over those it has got, above its own floor:
//! additions are united, a snapshot is exactly what it names, a removal is nothing. What it stores is
//! that, less what it unstored or forgot. Kills and broken steps change neither.
//!
//! What timing may decide, and the model takes over as it is found, each named where that is done:
//! whether a removal took the run as a whole although something of it stays.
//!
//! Sequences: 48, or `PROPTEST_CASES`; `cargo xtask model-removal` runs at least 2,000.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pair.rs"]
mod pair;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pair::{copy_of, files_below};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use runsync::ingest::IngestError;
use runsync::ingest::following::{FollowError, FollowWorker};
use runsync::ledger::record::ManifestState;
use runsync::registry::RegistryError;
use runsync::registry::collection::{Actor, Chaining, Change, CollectionError, Datasets};
use runsync::registry::conflict::Conflict;
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Phase, RemovalError, RemovalWorker, Request, Requester};
use runsync::worker::Wake;
use runsync_manifest::content::Content;
use runsync_manifest::name::{CollectionName, DatasetId, RunKey};
use support::{Manifest, OpenSite, TestSite, artifact, calexp, entry};
use uuid::Uuid;

const A: usize = 0;
const B: usize = 1;
/// Two that the chain's name owns, and one beside.
const RUNS: [&str; 3] = ["c/20260101T000001Z", "c/20260101T000002Z", "other"];
/// Those that the chain's name owns.
const OWNED: [usize; 2] = [0, 1];
/// Of each run: 0 and 1 have artifacts of their own, 2 and 3 share one, and 4 shares one with those of
/// the other runs.
const DATASETS: u8 = 5;
/// Sequences that one pair of sites goes through: making sites costs more than a sequence.
const TOGETHER: u32 = 12;
const LATE: Duration = Duration::from_secs(5);

/// A dataset, and in which version of its artifact.
type Named = (u8, u8);

/// Where something is broken off, as a process that dies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Never,
    Journaling,
    Committing,
    /// After the commit.
    Committed,
    Deleting,
    Reaping,
}

/// What is done.
#[derive(Debug, Clone)]
enum Op {
    /// The origin publishes additions, and has the artifacts that the mask says.
    Publish {
        run: usize,
        set: Vec<Named>,
        have: u8,
    },
    Snapshot {
        run: usize,
        set: Vec<Named>,
        have: u8,
    },
    /// A manifest goes to the other site.
    Deliver {
        pick: u8,
    },
    /// An artifact comes, whether it is waited for or not.
    Bring {
        site: usize,
        pick: u8,
    },
    Work {
        site: usize,
        steps: Option<u8>,
    },
    Confirm {
        site: usize,
    },
    /// Removals of the origin are committed, and no more.
    Follow {
        site: usize,
        stop: Stop,
    },
    /// Works and follows until there is nothing to do.
    Settle {
        site: usize,
    },
    Remove {
        run: usize,
        stop: Stop,
    },
    DropCopy {
        run: usize,
        stop: Stop,
    },
    Purge {
        stop: Stop,
    },
    Cleanup {
        stop: Stop,
    },
    Unstore {
        site: usize,
        run: usize,
        kind: Option<usize>,
        stop: Stop,
    },
    Forget {
        site: usize,
        run: usize,
        kind: Option<usize>,
        stop: Stop,
    },
    Restore {
        site: usize,
        run: usize,
        kind: Option<usize>,
        stop: Stop,
    },
    /// Collections that people made go, and nothing that is in them.
    RemoveCollection {
        site: usize,
        what: usize,
    },
    /// The chain, or the one that has it in it, gets these members.
    Chain {
        site: usize,
        outer: bool,
        runs: Vec<usize>,
    },
    DropDeleted {
        site: usize,
    },
    Tag {
        site: usize,
        run: usize,
        mask: u8,
        tagged: bool,
    },
    Hide {
        site: usize,
        what: usize,
        hidden: bool,
    },
    Crash {
        site: usize,
    },
    /// A manifest comes again, under its own name or another.
    Replay {
        site: usize,
        pick: u8,
        renamed: bool,
    },
    /// Time passes: late arrivals are not waited for any more.
    Pass {
        site: usize,
    },
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        4 => Just(Stop::Never),
        1 => Just(Stop::Journaling),
        1 => Just(Stop::Committing),
        2 => Just(Stop::Committed),
        1 => Just(Stop::Deleting),
        1 => Just(Stop::Reaping),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let set = |least: usize| {
        prop::collection::btree_map(0..DATASETS, 0_u8..2, least..=usize::from(DATASETS))
            .prop_map(|set| set.into_iter().collect::<Vec<Named>>())
    };
    let run = || prop_oneof![3 => Just(0_usize), 2 => Just(1), 2 => Just(2)];
    let site = || 0_usize..2;
    let kind = || prop_oneof![2 => Just(None), 1 => Just(Some(0_usize)), 1 => Just(Some(1))];
    prop_oneof![
        5 => (run(), set(1), any::<u8>()).prop_map(|(run, set, have)| Op::Publish { run, set, have }),
        2 => (run(), set(0), any::<u8>()).prop_map(|(run, set, have)| Op::Snapshot { run, set, have }),
        7 => any::<u8>().prop_map(|pick| Op::Deliver { pick }),
        4 => (site(), any::<u8>()).prop_map(|(site, pick)| Op::Bring { site, pick }),
        3 => (site(), prop::option::weighted(0.3, 0_u8..4)).prop_map(|(site, steps)| Op::Work { site, steps }),
        4 => site().prop_map(|site| Op::Confirm { site }),
        1 => (site(), stop()).prop_map(|(site, stop)| Op::Follow { site, stop }),
        3 => site().prop_map(|site| Op::Settle { site }),
        3 => (run(), stop()).prop_map(|(run, stop)| Op::Remove { run, stop }),
        2 => (run(), stop()).prop_map(|(run, stop)| Op::DropCopy { run, stop }),
        2 => stop().prop_map(|stop| Op::Purge { stop }),
        2 => stop().prop_map(|stop| Op::Cleanup { stop }),
        2 => (site(), run(), kind(), stop()).prop_map(|(site, run, kind, stop)| Op::Unstore { site, run, kind, stop }),
        2 => (site(), run(), kind(), stop()).prop_map(|(site, run, kind, stop)| Op::Forget { site, run, kind, stop }),
        2 => (site(), run(), kind(), stop()).prop_map(|(site, run, kind, stop)| Op::Restore { site, run, kind, stop }),
        1 => (site(), 0_usize..3).prop_map(|(site, what)| Op::RemoveCollection { site, what }),
        4 => (site(), prop::bool::weighted(0.3), prop::collection::vec(0..RUNS.len(), 0..3))
            .prop_map(|(site, outer, runs)| Op::Chain { site, outer, runs }),
        1 => site().prop_map(|site| Op::DropDeleted { site }),
        2 => (site(), run(), any::<u8>(), prop::bool::weighted(0.8))
            .prop_map(|(site, run, mask, tagged)| Op::Tag { site, run, mask, tagged }),
        1 => (site(), 0..3 + RUNS.len(), prop::bool::weighted(0.7)).prop_map(|(site, what, hidden)| Op::Hide { site, what, hidden }),
        1 => site().prop_map(|site| Op::Crash { site }),
        1 => (site(), any::<u8>(), any::<bool>()).prop_map(|(site, pick, renamed)| Op::Replay { site, pick, renamed }),
        1 => site().prop_map(|site| Op::Pass { site }),
    ]
}

/// Most begin with runs that both sites have.
fn sequence() -> impl Strategy<Value = (bool, Vec<Op>)> {
    let run = (0_usize..RUNS.len(), prop_oneof![Just(u8::MAX), any::<u8>()]);
    let begin = prop::collection::vec(run, 0..3).prop_map(|runs| {
        let mut ops = Vec::new();
        for (run, have) in runs {
            let set = vec![(0, 0), (2, 0), (3, 0), (4, 0)];
            ops.push(Op::Publish { run, set, have });
            ops.push(Op::Deliver { pick: 0 });
            ops.push(Op::Work {
                site: B,
                steps: None,
            });
        }
        if !ops.is_empty() {
            ops.push(Op::Work {
                site: A,
                steps: None,
            });
            ops.push(Op::Confirm { site: A });
        }
        ops
    });
    let ops = (begin, prop::collection::vec(op(), 4..28));
    let ops = ops.prop_map(|(mut begin, ops)| {
        begin.extend(ops);
        begin
    });
    (prop::bool::weighted(0.3), ops)
}

/// Operations that were committed.
static COMMITTED: [AtomicU32; Operation::ALL.len()] =
    [const { AtomicU32::new(0) }; Operation::ALL.len()];

/// Artifacts that came late and were deleted.
static LATE_DELETED: AtomicU32 = AtomicU32::new(0);

// The model.

/// A manifest as the model knows it; its generation is its place in the run's list, from 1.
#[derive(Debug, Clone)]
struct Said {
    content: Content,
    set: BTreeMap<u8, u8>,
}

/// A dataset that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// The highest generation that names it, and the version there.
    generation: usize,
    version: u8,
    /// The first generation of those since it was last removed.
    since: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Run(usize),
    Inner,
    Deleted,
}

/// A run as a site knows it.
#[derive(Debug, Clone, Default)]
struct Run {
    got: BTreeSet<usize>,
    /// Of the copy that was dropped.
    floor: usize,
    /// What was not wanted: a type, or all.
    unwanted: BTreeSet<Option<usize>>,
    /// With the generation that named it then.
    forgotten: BTreeMap<u8, usize>,
    /// Likewise.
    tags: BTreeMap<u8, usize>,
    /// What had been got when there was last nothing to do.
    settled: BTreeSet<usize>,
    /// Whether something of it has certainly been registered.
    read: bool,
}

/// What else a site has.
#[derive(Debug, Clone, Default)]
struct Here {
    runs: [Run; RUNS.len()],
    chain: Option<Vec<Place>>,
    outer: Option<Vec<Place>>,
    hidden: BTreeSet<String>,
    tagged: bool,
    /// Whether reaping was broken off since there was last nothing to do: only rows are left then.
    reaping: bool,
    /// Artifacts that lie here and are nobody's fault: that came and have had no record since, that were
    /// forgotten.
    excused: BTreeSet<String>,
    /// Artifacts that a removal waited for and that may come late: those are deleted.
    late: BTreeSet<String>,
    /// Manifests that came again under another name.
    copies: Vec<(String, usize, usize)>,
}

/// The type that a dataset is of.
const fn kind_of(dataset: u8) -> usize {
    if matches!(dataset, 2 | 3) { 1 } else { 0 }
}

impl Run {
    fn fold(&self, said: &[Said]) -> BTreeMap<u8, Known> {
        fold(&self.got, self.floor, said)
    }

    /// Whether it is to be stored here.
    fn is_wanted(&self, dataset: u8, known: Known) -> bool {
        let forgotten = self.forgotten.get(&dataset);
        !self.unwanted.contains(&None)
            && !self.unwanted.contains(&Some(kind_of(dataset)))
            && forgotten.is_none_or(|generation| *generation < known.generation)
    }

    /// From which generation on manifests count.
    fn overtaken(&self, said: &[Said]) -> usize {
        let of = |generation: &&usize| said[**generation - 1].content != Content::Additions;
        self.got.iter().filter(of).copied().max().unwrap_or(0)
    }
}

fn fold(got: &BTreeSet<usize>, floor: usize, said: &[Said]) -> BTreeMap<u8, Known> {
    let mut known = BTreeMap::<u8, Known>::new();
    for &generation in got.iter().filter(|generation| **generation > floor) {
        let Said { content, set } = &said[generation - 1];
        match content {
            Content::Removal => known.clear(),
            Content::Snapshot => known.retain(|dataset, _| set.contains_key(dataset)),
            Content::Additions | Content::Inventory => {}
        }
        for (&dataset, &version) in set {
            let since = known.get(&dataset).map_or(generation, |known| known.since);
            let now = Known {
                generation,
                version,
                since,
            };
            known.insert(dataset, now);
        }
    }
    known
}

// The sites.

struct Site {
    test: TestSite,
    open: Option<OpenSite>,
}

impl Site {
    fn open(&mut self) -> &mut OpenSite {
        self.open.as_mut().unwrap()
    }

    fn crash(&mut self) {
        self.open = None;
        self.open = Some(self.test.open());
    }
}

struct Pair {
    sites: [Site; 2],
    sequences: u32,
}

impl Pair {
    fn new() -> Self {
        let late = "[removal]\nlate_arrivals = \"1s\"\n";
        let a = TestSite::in_memory("size");
        let b = copy_of(&a, "apply", late);
        a.configure("size", late);
        let mut types =
            Manifest::new(a.repository, "u/types", "1-1", Content::Additions).with_dimensions(40);
        types.header.dataset_types.push(kind(1));
        for site in [&a, &b] {
            site.put(
                "runsync/manifests/types/1-1.manifest.jsonl",
                &types.bytes(Some(&a.key)),
            );
        }
        let sites = [a, b].map(|test| {
            let mut open = test.open();
            open.work();
            let open = Some(open);
            Site { test, open }
        });
        let sequences = 0;
        Self { sites, sequences }
    }
}

fn kind(number: usize) -> runsync_manifest::header::DatasetType {
    let mut kind = calexp();
    if number == 1 {
        kind.name = "src".parse().unwrap();
    }
    kind
}

/// A sequence under way.
struct World<'a> {
    sites: &'a mut [Site; 2],
    number: u32,
    /// Whether artifacts of dataset 1 in version 1 never come.
    lost: bool,
    said: [Vec<Said>; RUNS.len()],
    here: [Here; 2],
}

fn alice() -> Requester {
    Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: false,
        any: false,
    }
}

fn actor() -> Actor {
    alice().actor()
}

/// Breaks off where `stop` says.
fn until(stop: Stop) -> impl FnMut(Phase) -> ControlFlow<()> {
    move |phase| {
        let is_there = match phase {
            Phase::Waiting => false,
            Phase::Journaling(_) => stop == Stop::Journaling,
            Phase::Committing => stop == Stop::Committing,
            Phase::Deleting(_) => stop == Stop::Deleting,
            Phase::Reaping => stop == Stop::Reaping,
        };
        if is_there {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl World<'_> {
    fn run_name(&self, run: usize) -> String {
        format!("u/s{}/{}", self.number, RUNS[run])
    }

    fn key(&self, run: usize) -> RunKey {
        self.sites[A].test.run(&self.run_name(run))
    }

    fn named(&self, name: &str) -> CollectionName {
        format!("u/s{}/{name}", self.number).parse().unwrap()
    }

    fn folder(&self) -> String {
        format!("f/{}", self.number)
    }

    fn path(&self, run: usize, dataset: u8, version: u8) -> String {
        let folder = self.folder();
        match dataset {
            0 | 1 => format!("{folder}/r{run}/v{version}/{dataset}"),
            2 | 3 => format!("{folder}/r{run}/v{version}/pair"),
            _ => format!("{folder}/common"),
        }
    }

    fn bytes(path: &str) -> Vec<u8> {
        // Runs share an artifact of the same path, so what is in it depends on nothing else.
        let seed = path.bytes().skip_while(|byte| *byte != b'/').skip(1);
        let seed = seed
            .skip_while(|byte| *byte != b'/')
            .fold(7_u64, |sum, byte| sum * 31 % 65_521 + u64::from(byte));
        artifact(seed, 10 + seed as usize % 40)
    }

    fn uuid(&self, run: usize, dataset: u8) -> DatasetId {
        let number = u128::from(self.number + 1) << 64 | (run as u128) << 8 | u128::from(dataset);
        DatasetId(Uuid::from_u128(number))
    }

    fn is_lost(&self, dataset: u8, version: u8) -> bool {
        self.lost && (dataset, version) == (1, 1)
    }

    /// Where a manifest lies where its origin put it.
    fn manifest_path(&self, run: usize, generation: usize) -> String {
        let generation = format!("1-{generation}").parse().unwrap();
        let key = self.key(run);
        runsync::datastore::manifest_path(key.origin, &key.name, generation, false)
    }

    /// All artifacts that any manifest has named.
    fn artifacts(&self) -> Vec<String> {
        let mut paths = BTreeSet::new();
        for (run, said) in self.said.iter().enumerate() {
            for (&dataset, &version) in said.iter().flat_map(|said| &said.set) {
                if !self.is_lost(dataset, version) {
                    paths.insert(self.path(run, dataset, version));
                }
            }
        }
        paths.into_iter().collect()
    }

    fn put_artifact(&mut self, site: usize, path: &str) {
        self.sites[site].test.put(path, &Self::bytes(path));
        if self.here[site].late.contains(path) {
            self.resume(site);
            let there = fs::exists(self.sites[site].test.root().join(path)).unwrap();
            assert!(!there, "site {site}: {path} came late and is left");
            LATE_DELETED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.here[site].excused.insert(path.to_owned());
    }

    fn publish(&mut self, run: usize, content: Content, set: &[Named], have: u8) {
        let set: BTreeMap<u8, u8> = set.iter().copied().collect();
        // What comes for it is wanted from here on.
        self.here[A].late.clear();
        // One dataset's artifact that all runs share has no second version.
        let generation = self.said[run].len() + 1;
        let origin = self.sites[A].test.repository;
        let mut manifest = Manifest::new(
            origin,
            &self.run_name(run),
            &format!("1-{generation}"),
            content,
        );
        manifest.header.dataset_types.push(kind(1));
        for (&dataset, &version) in &set {
            let path = self.path(run, dataset, version);
            let at = i64::try_from(run).unwrap() * 10 + i64::from(dataset);
            let mut entry = entry(
                self.uuid(run, dataset).0.as_u128(),
                at,
                0,
                &path,
                &Self::bytes(&path),
            );
            if kind_of(dataset) == 1 {
                entry.dataset_type = "src".into();
            }
            manifest.entries.push(entry);
        }
        for (&dataset, &version) in &set {
            if have >> dataset & 1 == 1 && !self.is_lost(dataset, version) {
                let path = self.path(run, dataset, version);
                self.put_artifact(A, &path);
            }
        }
        self.sites[A].test.place(&manifest);
        self.said[run].push(Said { content, set });
        self.here[A].runs[run].got.insert(generation);
    }

    /// Brings manifests to the other site.
    fn deliver(&mut self, pick: Option<u8>) -> bool {
        let missing = (0..RUNS.len()).flat_map(|run| {
            let got = &self.here[B].runs[run].got;
            (1..=self.said[run].len())
                .filter(|one| !got.contains(one))
                .map(move |one| (run, one))
        });
        let mut missing: Vec<(usize, usize)> = missing.collect();
        if missing.is_empty() {
            return false;
        }
        self.here[B].late.clear();
        if let Some(pick) = pick {
            missing = vec![missing[usize::from(pick) % missing.len()]];
        }
        for (run, generation) in missing {
            let path = self.manifest_path(run, generation);
            let bytes = fs::read(self.sites[A].test.root().join(&path)).unwrap();
            self.sites[B].test.put(&path, &bytes);
            self.here[B].runs[run].got.insert(generation);
        }
        true
    }

    fn work(&mut self, site: usize, steps: Option<u8>) {
        let Some(steps) = steps else {
            return self.sites[site].open().work();
        };
        let mut left = steps;
        let mut progress = |_| {
            left = left.saturating_sub(1);
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let open = self.sites[site].open();
        open.arrivals.sweep().unwrap();
        let stepped = open.arrivals.step(&mut progress);
        assert!(
            stepped
                .as_ref()
                .err()
                .is_none_or(IngestError::is_interruption),
            "{stepped:?}"
        );
        self.sites[site].crash();
        self.sites[site].open().work();
    }

    fn settle(&mut self, site: usize) {
        let open = self.sites[site].open();
        let removing = Arc::clone(&open.assembly.removing);
        // What a loop does whatever it was asked for: this drops journals without a commit, and reaps.
        let mut worker = RemovalWorker::new(removing);
        worker.work(&mut until(Stop::Never)).unwrap();
        open.work();
        open.follow();
        self.here[site].reaping = false;
        for run in 0..RUNS.len() {
            self.settle_run(site, run);
        }
    }

    /// What becomes of the links and marks of a run by what has been got since.
    fn settle_run(&mut self, site: usize, run: usize) {
        let said = &self.said[run];
        let state = &mut self.here[site].runs[run];
        let known = state.fold(said);
        let before = fold(&state.settled, state.floor, said);
        let new: Vec<usize> = state.got.difference(&state.settled).copied().collect();
        state.settled = state.got.clone();
        state.read |= !state.got.is_empty();
        // A tag goes with its dataset; one that is known again may be the same or another, by the order
        // in which the manifests were taken up.
        state.tags.retain(|dataset, _| known.contains_key(dataset));
        let unclear: Vec<u8> = state
            .tags
            .iter()
            .filter(|(dataset, then)| known[dataset].since > **then)
            .map(|(dataset, _)| *dataset)
            .collect();
        for dataset in &unclear {
            state.tags.remove(dataset);
        }
        let removals = new
            .iter()
            .filter(|one| **one > state.floor && said[**one - 1].content == Content::Removal);
        let removal = removals.max().copied();
        let is_last = removal.is_some() && removal == state.got.last().copied();
        let is_plain = !new
            .iter()
            .any(|one| said[*one - 1].content == Content::Snapshot);
        if !unclear.is_empty() {
            self.tag(site, run, &unclear, false).unwrap();
        }
        match removal {
            None => {}
            Some(_) if is_last && is_plain && !before.is_empty() => self.end(site, run),
            // Something of the run came first that stays, or nothing was left of it: whether the removal
            // took it as a whole depends on the order.
            Some(_) => self.take_over(site, run),
        }
    }

    /// A run has gone as a whole.
    fn end(&mut self, site: usize, run: usize) {
        let here = &mut self.here[site];
        here.runs[run].unwanted.clear();
        here.runs[run].tags.clear();
        for chain in [&mut here.chain, &mut here.outer] {
            for place in chain.iter_mut().flatten() {
                if *place == Place::Run(run) {
                    *place = Place::Deleted;
                }
            }
        }
    }

    /// Takes over whether a run has gone as a whole.
    fn take_over(&mut self, site: usize, run: usize) {
        let key = self.key(run);
        let registry = self.sites[site].open.as_ref().unwrap().registry();
        let marks = registry.unwanted().unwrap();
        if !marks.iter().any(|mark| mark.run == key) {
            self.here[site].runs[run].unwanted.clear();
        }
        for (name, outer) in [("c", false), ("all", true)] {
            let Some(found) = registry.collection(&self.named(name)).unwrap() else {
                continue;
            };
            let here = &mut self.here[site];
            let places = if outer {
                &mut here.outer
            } else {
                &mut here.chain
            };
            for (place, found) in places.iter_mut().flatten().zip(found.places) {
                if *place == Place::Run(run) && found.kind.is_none() {
                    *place = Place::Deleted;
                }
            }
        }
    }

    /// What a removal of a run begun now waits for: nothing of it is on its way, and nobody else has a
    /// claim to it.
    fn late_of(&mut self, site: usize, run: usize, stop: Stop) -> BTreeSet<String> {
        let state = &self.here[site].runs[run];
        let removals = self.sites[site]
            .open
            .as_ref()
            .unwrap()
            .registry()
            .removals();
        if stop != Stop::Never || state.got != state.settled || !removals.unwrap().is_empty() {
            return BTreeSet::new();
        }
        let root = self.sites[site].test.root();
        let known = self.known(site, run).into_iter();
        let own =
            known.filter(|(dataset, known)| *dataset < 4 && state.is_wanted(*dataset, *known));
        let paths = own.map(|(dataset, known)| self.path(run, dataset, known.version));
        paths
            .filter(|path| !fs::exists(root.join(path)).unwrap())
            .collect()
    }

    fn known(&self, site: usize, run: usize) -> BTreeMap<u8, Known> {
        self.here[site].runs[run].fold(&self.said[run])
    }

    /// Asks for an operation; whether it was committed.
    fn ask(&mut self, site: usize, request: &Request, stop: Stop) -> Result<bool, RemovalError> {
        let removing = Arc::clone(&self.sites[site].open().assembly.removing);
        let plan = removing.plan(request)?;
        if plan.is_empty() {
            return Ok(false);
        }
        let consent = Consent {
            plan: plan.id,
            approved: false,
        };
        let removal = Uuid::new_v4();
        match removing.begin(removal, request, &consent, &alice(), &mut until(stop)) {
            Ok(()) => {
                let number = Operation::ALL
                    .iter()
                    .position(|one| *one == request.operation);
                COMMITTED[number.unwrap()].fetch_add(1, Ordering::Relaxed);
            }
            Err(RemovalError::Interrupted) => {
                drop(removing);
                self.sites[site].crash();
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if stop == Stop::Committed {
            drop(removing);
            self.sites[site].crash();
            return Ok(true);
        }
        match removing.resume(removal, &mut until(stop)) {
            Ok(outcome) => assert!(outcome.done, "{outcome:?}"),
            Err(RemovalError::Interrupted) => {
                self.here[site].reaping |= stop == Stop::Reaping;
                drop(removing);
                self.sites[site].crash();
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn request(&self, operation: Operation, run: usize, kind_number: Option<usize>) -> Request {
        Request {
            operation,
            runs: vec![self.run_name(run).parse().unwrap()],
            chain: None,
            origin: None,
            dataset_type: kind_number.map(|number| kind(number).name),
            now: false,
        }
    }

    /// The same for one run, where a refusal has to have its reason.
    fn ask_for_run(&mut self, site: usize, request: &Request, run: usize, stop: Stop) -> bool {
        match self.ask(site, request, stop) {
            Ok(committed) => committed,
            Err(RemovalError::NoRun { .. }) => {
                assert!(
                    !self.here[site].runs[run].read,
                    "{request:?}: there is no such run"
                );
                false
            }
            Err(RemovalError::Registry(RegistryError::RemovalUnderWay { .. })) => {
                let removals = self.sites[site].open().registry().removals().unwrap();
                let deleting = removals.iter().any(|removal| !removal.is_late());
                assert!(deleting || self.here[site].reaping, "nothing is under way");
                false
            }
            Err(RemovalError::Removed { .. }) => {
                let open = self.sites[site].open();
                let key = request.runs.first().map(|name| RunKey {
                    origin: runsync_manifest::name::RepositoryId(Uuid::from_u128(0xA)),
                    name: name.clone(),
                });
                let row = open.registry().run(&key.unwrap()).unwrap().unwrap();
                assert_eq!(row.datasets, 0, "{request:?}");
                false
            }
            Err(RemovalError::Registry(RegistryError::Restoring { .. })) => {
                assert!(self.here[site].reaping, "nothing is being restored");
                false
            }
            Err(error) => panic!("{request:?}: {error:?}"),
        }
    }

    /// The origin has removed a run.
    fn removed(&mut self, run: usize) {
        let generation = self.said[run].len() + 1;
        let path = self.manifest_path(run, generation);
        let told = fs::exists(self.sites[A].test.root().join(&path)).unwrap();
        assert!(told, "there is no {path}");
        let set = BTreeMap::new();
        self.said[run].push(Said {
            content: Content::Removal,
            set,
        });
        let state = &mut self.here[A].runs[run];
        state.got.insert(generation);
        state.settled = state.got.clone();
        self.end(A, run);
    }

    fn of_chain(&mut self, operation: Operation, stop: Stop) {
        self.settle(A);
        let request = Request::of_chain(operation, self.named("c"));
        let members = |chain: &Option<Vec<Place>>, run| {
            chain
                .iter()
                .flatten()
                .any(|place| *place == Place::Run(run))
        };
        let here = &self.here[A];
        let of_chain = OWNED
            .into_iter()
            .filter(|run| !self.known(A, *run).is_empty());
        let goes =
            of_chain.filter(|run| operation == Operation::Purge || !members(&here.chain, *run));
        let goes: Vec<usize> = goes.collect();
        let referenced = goes.iter().any(|run| members(&here.outer, *run));
        let there_is = here.chain.is_some();
        match self.ask(A, &request, stop) {
            Ok(committed) => {
                assert!(there_is && !referenced, "{operation} is not refused");
                if committed {
                    for run in goes {
                        self.removed(run);
                    }
                    if operation == Operation::Purge {
                        self.lose_chain(A);
                    }
                }
            }
            Err(RemovalError::Registry(RegistryError::Collection(CollectionError::Missing {
                ..
            }))) => assert!(!there_is),
            Err(RemovalError::Registry(RegistryError::Collection(
                CollectionError::Referenced { .. },
            ))) => assert!(referenced),
            Err(error) => panic!("{operation}: {error:?}"),
        }
    }

    fn remove_collection(&mut self, site: usize, what: usize) {
        self.settle(site);
        let here = &mut self.here[site];
        let (name, there_is) = match what {
            0 => ("c", here.chain.is_some()),
            1 => ("all", here.outer.take().is_some()),
            _ => ("t", std::mem::take(&mut here.tagged)),
        };
        if !there_is {
            return;
        }
        let names = [self.named(name)];
        let registry = self.sites[site].open().registry();
        let plan = registry.plan_collections(&names).unwrap();
        registry
            .remove_collections(&names, &plan.id, &actor())
            .unwrap();
        let here = &mut self.here[site];
        here.hidden.remove(names[0].as_str());
        match what {
            0 => self.lose_chain(site),
            1 => {}
            _ => here.runs.iter_mut().for_each(|run| run.tags.clear()),
        }
    }

    fn lose_chain(&mut self, site: usize) {
        let name = self.named("c").to_string();
        let here = &mut self.here[site];
        here.chain = None;
        here.hidden.remove(&name);
        for place in here.outer.iter_mut().flatten() {
            if *place == Place::Inner {
                *place = Place::Deleted;
            }
        }
    }

    fn tag(
        &mut self,
        site: usize,
        run: usize,
        datasets: &[u8],
        tagged: bool,
    ) -> Result<u64, RegistryError> {
        let uuids = datasets
            .iter()
            .map(|dataset| self.uuid(run, *dataset))
            .collect();
        let datasets = Datasets::Uuids(uuids);
        let change = if tagged {
            Change::Associate { datasets }
        } else {
            Change::Disassociate { datasets }
        };
        let name = self.named("t");
        self.sites[site]
            .open()
            .registry()
            .change_collection(&name, &change, &actor())
    }

    fn change(&mut self, site: usize, name: &CollectionName, change: &Change) {
        let registry = self.sites[site].open().registry();
        // Runs are owned by nobody of the site.
        let root = Actor {
            any: true,
            ..actor()
        };
        registry.change_collection(name, change, &root).unwrap();
    }

    fn chain(&mut self, site: usize, outer: bool, runs: &[usize]) {
        self.settle(site);
        let mut places: Vec<Place> = Vec::new();
        let mut members = Vec::new();
        for &run in runs {
            if !self.known(site, run).is_empty() && !places.contains(&Place::Run(run)) {
                places.push(Place::Run(run));
                members.push(self.run_name(run).parse().unwrap());
            }
        }
        if outer && self.here[site].chain.is_some() {
            places.push(Place::Inner);
            members.push(self.named("c"));
        }
        let name = self.named(if outer { "all" } else { "c" });
        let how = Chaining::Set;
        self.change(site, &name, &Change::Chain { members, how });
        let here = &mut self.here[site];
        *(if outer {
            &mut here.outer
        } else {
            &mut here.chain
        }) = Some(places);
    }

    fn hide(&mut self, site: usize, what: usize, hidden: bool) {
        self.settle(site);
        let change = if hidden { Change::Hide } else { Change::Unhide };
        let here = &self.here[site];
        let (name, there_is) = match what {
            0 => ("c", here.chain.is_some()),
            1 => ("all", here.outer.is_some()),
            2 => ("t", here.tagged),
            // A run's flag is its own, and stays where it comes again.
            _ => (RUNS[what - 3], !self.known(site, what - 3).is_empty()),
        };
        if !there_is {
            return;
        }
        let name = self.named(name);
        self.change(site, &name, &change);
        if hidden {
            self.here[site].hidden.insert(name.to_string());
        } else {
            self.here[site].hidden.remove(name.as_str());
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Publish { run, set, have } => self.publish(*run, Content::Additions, set, *have),
            Op::Snapshot { run, set, have } => self.publish(*run, Content::Snapshot, set, *have),
            Op::Deliver { pick } => {
                self.deliver(Some(*pick));
            }
            Op::Bring { site, pick } => {
                let artifacts = self.artifacts();
                if let Some(path) = artifacts.get(usize::from(*pick) % artifacts.len().max(1)) {
                    self.put_artifact(*site, path);
                }
            }
            Op::Work { site, steps } => self.work(*site, *steps),
            Op::Confirm { site } => {
                self.sites[*site].open().confirm();
            }
            Op::Follow { site, stop } => self.follow(*site, *stop),
            Op::Settle { site } => self.settle(*site),
            Op::Remove { run, stop } => {
                let request = self.request(Operation::RemoveRuns, *run, None);
                let late = self.late_of(A, *run, *stop);
                if self.ask_for_run(A, &request, *run, *stop) {
                    self.removed(*run);
                    self.here[A].late.extend(late);
                }
            }
            Op::DropCopy { run, stop } => self.drop_copy(*run, *stop),
            Op::Purge { stop } => self.of_chain(Operation::Purge, *stop),
            Op::Cleanup { stop } => self.of_chain(Operation::Cleanup, *stop),
            Op::Unstore {
                site,
                run,
                kind,
                stop,
            } => self.unstore(*site, *run, *kind, *stop),
            Op::Forget {
                site,
                run,
                kind,
                stop,
            } => self.forget(*site, *run, *kind, *stop),
            Op::Restore {
                site,
                run,
                kind,
                stop,
            } => self.restore(*site, *run, *kind, *stop),
            Op::RemoveCollection { site, what } => self.remove_collection(*site, *what),
            Op::Chain { site, outer, runs } => self.chain(*site, *outer, runs),
            Op::DropDeleted { site } => self.drop_deleted(*site),
            Op::Tag {
                site,
                run,
                mask,
                tagged,
            } => self.change_tags(*site, *run, *mask, *tagged),
            Op::Hide { site, what, hidden } => self.hide(*site, *what, *hidden),
            Op::Crash { site } => self.sites[*site].crash(),
            Op::Replay {
                site,
                pick,
                renamed,
            } => self.replay(*site, *pick, *renamed),
            Op::Pass { site } => self.pass(*site),
        }
    }

    fn drop_copy(&mut self, run: usize, stop: Stop) {
        let request = self.request(Operation::DropCopy, run, None);
        let late = self.late_of(B, run, stop);
        if self.ask_for_run(B, &request, run, stop) {
            self.here[B].late.extend(late);
            let state = &mut self.here[B].runs[run];
            state.floor = state.floor.max(state.got.last().copied().unwrap_or(0));
            state.settled = state.got.clone();
            self.end(B, run);
        }
    }

    fn unstore(&mut self, site: usize, run: usize, kind: Option<usize>, stop: Stop) {
        // A removal that is still to be followed takes the mark away, and one that was followed does not.
        let state = &self.here[site].runs[run];
        if state.got != state.settled {
            self.settle(site);
        }
        let request = self.request(Operation::Unstore, run, kind);
        if self.ask_for_run(site, &request, run, stop) {
            self.here[site].runs[run].unwanted.insert(kind);
        }
    }

    fn drop_deleted(&mut self, site: usize) {
        let name = self.named("c");
        self.settle(site);
        if self.here[site].chain.is_some() {
            self.change(site, &name, &Change::DropDeleted);
            let places = self.here[site].chain.iter_mut();
            places.for_each(|places| places.retain(|place| *place != Place::Deleted));
        }
    }

    fn change_tags(&mut self, site: usize, run: usize, mask: u8, tagged: bool) {
        self.settle(site);
        let known = self.known(site, run);
        // With the highest bit also of what is not known, which is refused.
        let may_be = |one: &u8| !tagged || mask >> 7 == 1 || known.contains_key(one);
        let datasets = (0..DATASETS).filter(|one| mask >> one & 1 == 1 && may_be(one));
        let datasets: Vec<u8> = datasets.collect();
        if datasets.is_empty() || !tagged && !self.here[site].tagged {
            return;
        }
        match self.tag(site, run, &datasets, tagged) {
            Ok(_) => {}
            Err(RegistryError::Collection(CollectionError::NoDataset { .. })) if tagged => {
                assert!(datasets.iter().any(|one| !known.contains_key(one)));
                return;
            }
            Err(error) => panic!("{error:?}"),
        }
        let here = &mut self.here[site];
        here.tagged |= tagged;
        let tags = &mut here.runs[run].tags;
        for dataset in datasets {
            if tagged {
                tags.insert(dataset, known[&dataset].generation);
            } else {
                tags.remove(&dataset);
            }
        }
    }

    /// Sees all removals through, also those that wait for late arrivals.
    fn resume(&mut self, site: usize) {
        let open = self.sites[site].open();
        for removal in open.registry().removals().unwrap() {
            let resumed = open
                .assembly
                .removing
                .resume(removal.id, &mut until(Stop::Never));
            resumed.unwrap();
        }
    }

    fn pass(&mut self, site: usize) {
        self.here[site].late.clear();
        self.sites[site].test.pass(LATE);
        self.resume(site);
    }

    fn follow(&mut self, site: usize, stop: Stop) {
        let open = self.sites[site].open();
        let mut follower = FollowWorker::new(Arc::clone(&open.assembly.following), Wake::new());
        // Which removals are committed, and which are not, the model does not ask.
        let outcome = follower.follow_due(&mut until(stop));
        match outcome {
            Ok(_) => {}
            Err(FollowError::Removal(error)) if error.is_interruption() => {}
            Err(error) => panic!("{error:?}"),
        }
        drop(follower);
        self.sites[site].crash();
    }

    fn forget(&mut self, site: usize, run: usize, kind: Option<usize>, stop: Stop) {
        self.settle(site);
        let known = self.known(site, run);
        let request = self.request(Operation::Forget, run, kind);
        if known.is_empty() || !self.ask_for_run(site, &request, run, stop) {
            return;
        }
        for (dataset, known) in known {
            if kind.is_none_or(|kind| kind == kind_of(dataset)) {
                let path = self.path(run, dataset, known.version);
                let here = &mut self.here[site];
                here.runs[run].forgotten.insert(dataset, known.generation);
                here.excused.insert(path);
            }
        }
    }

    fn restore(&mut self, site: usize, run: usize, kind_number: Option<usize>, stop: Stop) {
        self.settle(site);
        if !self.here[site].runs[run].read {
            return;
        }
        let names = [self.run_name(run).parse().unwrap()];
        let type_name = kind_number.map(|number| kind(number).name);
        let removing = Arc::clone(&self.sites[site].open().assembly.removing);
        let restored = removing.restore(&names, None, type_name.as_ref(), &mut until(stop));
        drop(removing);
        if matches!(restored, Err(RemovalError::Interrupted)) {
            self.here[site].reaping = true;
            self.sites[site].crash();
        }
        let state = &mut self.here[site].runs[run];
        match restored {
            // It is committed, and goes on later.
            Ok(_) | Err(RemovalError::Interrupted) => {}
            Err(RemovalError::Registry(RegistryError::UnwantedWhole { .. })) => {
                assert!(kind_number.is_some() && state.unwanted.contains(&None));
                return;
            }
            Err(error) => panic!("{error:?}"),
        }
        let concerns = |one: usize| kind_number.is_none_or(|number| number == one);
        state
            .forgotten
            .retain(|dataset, _| !concerns(kind_of(*dataset)));
        state
            .unwanted
            .retain(|mark| kind_number.is_some() && *mark != kind_number);
    }

    fn replay(&mut self, site: usize, pick: u8, renamed: bool) {
        let got = self.here[site].runs.iter().enumerate();
        let got: Vec<(usize, usize)> = got
            .flat_map(|(run, state)| state.got.iter().map(move |one| (run, *one)))
            .collect();
        if got.is_empty() {
            return;
        }
        let (run, generation) = got[usize::from(pick) % got.len()];
        let path = self.manifest_path(run, generation);
        let bytes = fs::read(self.sites[site].test.root().join(&path)).unwrap();
        let here = &mut self.here[site];
        // Until it has been read again nobody knows that it names nothing.
        here.late.clear();
        let path = if renamed {
            let path = format!(
                "runsync/manifests/again/{}-{}.manifest.jsonl",
                self.number,
                here.copies.len()
            );
            here.copies.push((path.clone(), run, generation));
            path
        } else {
            path
        };
        self.sites[site].test.put(&path, &bytes);
    }

    // What holds.

    /// After every step.
    fn check_always(&mut self) {
        for site in [A, B] {
            let root = self.sites[site].test.root();
            for run in 0..RUNS.len() {
                let key = self.key(run);
                let registry = self.sites[site].open.as_ref().unwrap().registry();
                let records = registry.records(&key, None, 100).unwrap();
                let mut counted = (0, 0, 0);
                for record in &records {
                    counted.0 += 1;
                    counted.1 += u64::from(!record.confirmed);
                    counted.2 += record.size;
                    if record.confirmed {
                        let path = record.path.as_str();
                        assert!(
                            fs::exists(root.join(path)).unwrap(),
                            "site {site}: {path} has a record and is not there"
                        );
                        self.here[site].excused.remove(path);
                    }
                }
                let datasets = registry.datasets(&key, None, None, 100).unwrap().len() as u64;
                let row = registry.run(&key).unwrap();
                let row = row.map(|row| (row.datasets, (row.claims, row.waiting, row.bytes)));
                assert_eq!(
                    row.unwrap_or_default(),
                    (datasets, counted),
                    "site {site}: {key:?}: counters and rows"
                );
                let uuids: Vec<_> = (0..DATASETS)
                    .map(|dataset| self.uuid(run, dataset))
                    .collect();
                for answer in registry.exists(&uuids).unwrap() {
                    let mut of = records.iter().filter(|record| record.uuid == answer.uuid);
                    let expected = match of.next() {
                        None => Presence::No,
                        Some(record) if record.confirmed => Presence::Yes,
                        Some(_) => Presence::Pending,
                    };
                    assert_eq!(answer.presence, expected);
                }
            }
        }
    }

    /// What a site waits for, and a courier brings.
    fn awaited(&self, site: usize) -> BTreeSet<String> {
        let root = self.sites[site].test.root();
        let mut awaited = BTreeSet::new();
        for run in 0..RUNS.len() {
            for (dataset, known) in self.known(site, run) {
                let path = self.path(run, dataset, known.version);
                let wanted = self.here[site].runs[run].is_wanted(dataset, known);
                if wanted
                    && !self.is_lost(dataset, known.version)
                    && !fs::exists(root.join(&path)).unwrap()
                {
                    awaited.insert(path);
                }
            }
        }
        awaited
    }

    /// Everything arrives, and is worked off.
    fn quiesce(&mut self) {
        self.deliver(None);
        for _ in 0..2 {
            for site in [A, B] {
                self.settle(site);
                self.pass(site);
            }
        }
        for site in [A, B] {
            for path in self.awaited(site) {
                self.put_artifact(site, &path);
            }
            self.sites[site].open().confirm();
        }
        self.check_always();
    }

    /// In the end.
    fn check_site(&mut self, site: usize) {
        let mut may_lie_here = self.here[site].excused.clone();
        for run in 0..RUNS.len() {
            self.check_datasets(site, run, &mut may_lie_here);
            self.check_marks(site, run);
            // A path that a later generation has replaced is nobody's; what was there stays.
            let state = &self.here[site].runs[run];
            for dataset in 0..DATASETS {
                let got = state.got.iter();
                let versions = got.filter_map(|one| self.said[run][*one - 1].set.get(&dataset));
                let versions: BTreeSet<u8> = versions.copied().collect();
                if versions.len() > 1 {
                    let paths = versions
                        .iter()
                        .map(|version| self.path(run, dataset, *version));
                    may_lie_here.extend(paths);
                }
            }
        }
        for path in files_below(&self.sites[site].test, &self.folder()) {
            assert!(may_lie_here.contains(&path), "site {site}: {path} is left");
        }
        self.check_collections(site);
        self.check_ledger(site);
        let registry = self.sites[site].open.as_ref().unwrap().registry();
        assert_eq!(registry.removals().unwrap(), [], "site {site}");
        assert_eq!(registry.notices().unwrap(), [], "site {site}");
        assert_eq!(registry.registering().unwrap(), [], "site {site}");
        let journals = files_below(&self.sites[site].test, "runsync/journal");
        assert_eq!(journals, [""; 0], "site {site}");
    }

    /// Datasets, what is answered of them, and counters; `stored` takes the artifacts that are here.
    fn check_datasets(&self, site: usize, run: usize, stored: &mut BTreeSet<String>) {
        let known = self.known(site, run);
        let state = &self.here[site].runs[run];
        let key = self.key(run);
        let registry = self.sites[site].open.as_ref().unwrap().registry();
        let found = registry.datasets(&key, None, None, 100).unwrap();
        let found = found.iter();
        let found = found.map(|row| (row.uuid, row.generation.sequence as usize));
        let expected = known.iter();
        let expected = expected.map(|(one, known)| (self.uuid(run, *one), known.generation));
        let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
        assert_eq!(found, expected, "site {site}: datasets of {key:?}");
        let (mut claims, mut waiting, mut bytes) = (0, 0, 0);
        let mut presence = Vec::new();
        for dataset in 0..DATASETS {
            let wanted = known.get(&dataset);
            let wanted = wanted.filter(|known| state.is_wanted(dataset, **known));
            let Some(one) = wanted else {
                presence.push(Presence::No);
                continue;
            };
            let path = self.path(run, dataset, one.version);
            claims += 1;
            bytes += Self::bytes(&path).len() as u64;
            if self.is_lost(dataset, one.version) {
                waiting += 1;
                presence.push(Presence::Pending);
            } else {
                presence.push(Presence::Yes);
                stored.insert(path);
            }
        }
        let uuids = (0..DATASETS).map(|dataset| self.uuid(run, dataset));
        let uuids: Vec<_> = uuids.collect();
        let answers = registry.exists(&uuids).unwrap();
        let answers: Vec<_> = answers.iter().map(|answer| answer.presence).collect();
        assert_eq!(answers, presence, "site {site}: presence in {key:?}");
        let row = registry.run(&key).unwrap();
        let row = row.map(|row| (row.datasets, row.claims, row.waiting, row.bytes));
        let expected = (known.len() as u64, claims, waiting, bytes);
        assert_eq!(
            row.unwrap_or_default(),
            expected,
            "site {site}: counters of {key:?}"
        );
    }

    /// Tags, what is unwanted, and that nothing is under way.
    fn check_marks(&self, site: usize, run: usize) {
        let state = &self.here[site].runs[run];
        let key = self.key(run);
        let registry = self.sites[site].open.as_ref().unwrap().registry();
        let tags = registry.links(&key).unwrap().tags;
        assert_eq!(
            tags,
            state.tags.len() as u64,
            "site {site}: tags of {key:?}"
        );
        let marks = registry.unwanted().unwrap().into_iter();
        let marks = marks
            .filter(|mark| mark.run == key)
            .map(|mark| mark.dataset_type);
        let marks: BTreeSet<_> = marks.collect();
        let expected = state.unwanted.iter();
        let expected = expected.map(|mark| mark.map(|number| kind(number).name));
        assert_eq!(
            marks,
            expected.collect(),
            "site {site}: what is unwanted of {key:?}"
        );
        let hidden = registry.still_stands(&Conflict::RemovalUnderWay { run: key });
        assert!(!hidden.unwrap(), "site {site}: run {run} has hidden rows");
    }

    fn check_collections(&self, site: usize) {
        let here = &self.here[site];
        let registry = self.sites[site].open.as_ref().unwrap().registry();
        for (name, places) in [("c", &here.chain), ("all", &here.outer)] {
            let name = self.named(name);
            let found = registry.collection(&name).unwrap();
            let Some(places) = places else {
                assert_eq!(found, None);
                continue;
            };
            let found = found.unwrap();
            let is = found
                .places
                .iter()
                .map(|place| place.kind.map(|_| place.name.to_string()));
            let expected = places.iter().map(|place| match place {
                Place::Run(run) => Some(self.run_name(*run)),
                Place::Inner => Some(self.named("c").to_string()),
                Place::Deleted => None,
            });
            let (is, expected): (Vec<_>, Vec<_>) = (is.collect(), expected.collect());
            assert_eq!(is, expected, "site {site}: {name}");
            assert_eq!(
                found.row.hidden,
                here.hidden.contains(name.as_str()),
                "site {site}: {name}"
            );
        }
        for run in (0..RUNS.len()).filter(|run| !self.known(site, *run).is_empty()) {
            let name: CollectionName = self.run_name(run).parse().unwrap();
            let found = registry.collection(&name).unwrap().unwrap();
            let hidden = here.hidden.contains(name.as_str());
            assert_eq!(found.row.hidden, hidden, "site {site}: {name}");
        }
        let prefix = format!("u/s{}", self.number);
        let listed = registry
            .collections_after(Some(&prefix), false, None, 100)
            .unwrap();
        let shown = listed
            .iter()
            .filter(|row| here.hidden.contains(row.name.as_str()));
        assert_eq!(shown.count(), 0, "site {site}: what is hidden is listed");
        let name = self.named("t");
        let found = registry.collection(&name).unwrap();
        assert_eq!(found.is_some(), here.tagged);
        if let Some(found) = found {
            let tags: usize = here.runs.iter().map(|run| run.tags.len()).sum();
            assert_eq!(found.row.members, tags as u64, "site {site}: tags");
            assert_eq!(
                found.row.hidden,
                here.hidden.contains(name.as_str()),
                "site {site}: {name}"
            );
        }
    }

    fn check_ledger(&self, site: usize) {
        let rows = self.sites[site].open.as_ref().unwrap().manifests();
        let states: BTreeMap<&str, ManifestState> = rows
            .iter()
            .map(|row| (row.location.path.as_str(), row.state))
            .collect();
        let here = &self.here[site];
        let mut files = here.copies.clone();
        for (run, state) in here.runs.iter().enumerate() {
            files.extend(
                state
                    .got
                    .iter()
                    .map(|one| (self.manifest_path(run, *one), run, *one)),
            );
        }
        for (path, run, generation) in files {
            let state = &here.runs[run];
            let overtaken =
                generation <= state.floor || generation < state.overtaken(&self.said[run]);
            let expected = if overtaken {
                ManifestState::Superseded
            } else {
                ManifestState::Registered
            };
            let row = rows.iter().find(|row| row.location.path == path);
            assert_eq!(
                states.get(path.as_str()),
                Some(&expected),
                "site {site}: {row:?}"
            );
        }
    }
}

/// Goes through a sequence at sites of its own.
fn replay(ops: &[Op]) {
    go_through(&mut Pair::new(), false, ops);
}

/// Goes through a sequence at a pair of sites.
fn go_through(pair: &mut Pair, lost: bool, ops: &[Op]) {
    let number = pair.sequences;
    pair.sequences += 1;
    let mut world = World {
        sites: &mut pair.sites,
        number,
        lost,
        said: Default::default(),
        here: Default::default(),
    };
    for op in ops {
        world.step(op);
        world.check_always();
    }
    world.quiesce();
    for site in [A, B] {
        world.check_site(site);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(48)
}

/// Goes through so many random sequences; how many were gone through.
fn search(cases: u32) -> u32 {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..ProptestConfig::default()
    };
    let pair = RefCell::new(None);
    let gone_through = RefCell::new(0);
    let outcome = TestRunner::new(config).run(&sequence(), |(lost, ops)| {
        // One that fails takes its sites along.
        let taken = pair.borrow_mut().take();
        let mut taken = taken
            .filter(|pair: &Pair| pair.sequences < TOGETHER)
            .unwrap_or_else(Pair::new);
        go_through(&mut taken, lost, &ops);
        *pair.borrow_mut() = Some(taken);
        *gone_through.borrow_mut() += 1;
        Ok(())
    });
    match outcome {
        Ok(()) => gone_through.into_inner(),
        Err(TestError::Fail(reason, (lost, ops))) => panic!("{reason}\nlost: {lost}\n{ops:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[test]
fn random_sequences_at_two_sites_end_as_set_algebra_says() {
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let threads = threads.min(cases());
    let searches = (0..threads).map(|number| {
        let share = cases() / threads + u32::from(number < cases() % threads);
        thread::spawn(move || search(share))
    });
    let searches: Vec<_> = searches.collect();
    let mut gone_through = 0;
    for search in searches {
        match search.join() {
            Ok(count) => gone_through += count,
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    }
    for (operation, committed) in Operation::ALL.iter().zip(&COMMITTED) {
        // What origins remove nobody asks for.
        if *operation == Operation::Follow {
            continue;
        }
        let committed = committed.load(Ordering::Relaxed);
        assert!(
            committed > 0 || cases() < 500,
            "no {operation} was committed"
        );
        println!("{operation}: {committed} asked for and committed");
    }
    let late = LATE_DELETED.load(Ordering::Relaxed);
    println!("late arrivals: {late} deleted");
    println!("model-removal: {gone_through} sequences");
}

// Found by the search, and shrunk.

#[test]
fn a_snapshot_that_was_not_read_when_the_copy_was_dropped_brings_nothing_back() {
    replay(&[
        Op::Publish {
            run: 0,
            set: vec![(0, 0)],
            have: 0,
        },
        Op::Deliver { pick: 0 },
        Op::Settle { site: B },
        Op::Snapshot {
            run: 0,
            set: vec![(0, 0)],
            have: 0,
        },
        Op::Deliver { pick: 0 },
        Op::DropCopy {
            run: 0,
            stop: Stop::Committed,
        },
    ]);
}

#[test]
fn a_snapshot_that_waits_when_the_copy_is_dropped_brings_nothing_back() {
    replay(&[
        Op::Publish {
            run: 0,
            set: vec![(0, 0), (1, 0)],
            have: u8::MAX,
        },
        Op::Deliver { pick: 0 },
        Op::Settle { site: B },
        Op::Snapshot {
            run: 0,
            set: vec![(0, 0)],
            have: 0,
        },
        Op::Deliver { pick: 0 },
        // It is blocked: what it leaves out is still here.
        Op::Work {
            site: B,
            steps: None,
        },
        Op::DropCopy {
            run: 0,
            stop: Stop::Never,
        },
        Op::Replay {
            site: B,
            pick: 1,
            renamed: true,
        },
    ]);
}

// Written down by hand.

#[test]
fn what_comes_late_is_deleted_and_what_comes_later_is_not() {
    replay(&[
        Op::Publish {
            run: 0,
            set: vec![(0, 0), (1, 0)],
            have: 1,
        },
        Op::Deliver { pick: 0 },
        Op::Settle { site: A },
        Op::Confirm { site: A },
        Op::Remove {
            run: 0,
            stop: Stop::Never,
        },
        Op::Settle { site: A },
        Op::Bring { site: A, pick: 1 },
        Op::Settle { site: B },
        Op::DropCopy {
            run: 0,
            stop: Stop::Never,
        },
        Op::Bring { site: B, pick: 0 },
        Op::Pass { site: B },
        Op::Bring { site: B, pick: 1 },
    ]);
    assert!(
        LATE_DELETED.load(Ordering::Relaxed) > 0,
        "nothing came late"
    );
}

#[test]
fn a_snapshot_that_comes_again_after_the_copy_was_dropped_brings_nothing_back() {
    replay(&[
        Op::Snapshot {
            run: 0,
            set: vec![(0, 0), (1, 0)],
            have: u8::MAX,
        },
        Op::Deliver { pick: 0 },
        Op::Settle { site: B },
        Op::DropCopy {
            run: 0,
            stop: Stop::Never,
        },
        Op::Replay {
            site: B,
            pick: 0,
            renamed: true,
        },
        Op::Settle { site: B },
    ]);
}
