//! `kill -9` at any moment: the daemon, or an operator's `ingest`, is killed again and again while
//! manifests and artifacts arrive; in the end everything is as if nobody had been killed.
//!
//! Moments are drawn from a seed, `RUNSYNC_CRASH_SEED` or a fixed one, which a failure shows.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and tells its seed"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use process::{Daemon, until};
use runsync::datastore::manifest_path;
use runsync::ledger::record::ManifestState;
use runsync_manifest::content::Content;
use runsync_manifest::writer::Packing;
use support::{Manifest, TestSite, artifact, entry};

/// Takes several commits to register.
const LARGE: i64 = 100_000;
/// How often the daemon is killed at a moment that the seed draws.
const RANDOM_KILLS: u64 = 16;
/// How often it is killed between two commits of the large manifest.
const KILLS_BETWEEN_COMMITS: usize = 4;
const RUNS: u128 = 6;
const DATASETS: u128 = 8;

/// Something that arrives, by rename.
struct Arrival {
    path: String,
    bytes: Vec<u8>,
}

/// SplitMix64: the moments depend on the seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap();
            all.swap(last, other);
        }
    }
}

fn seed() -> u64 {
    let seed = std::env::var("RUNSYNC_CRASH_SEED").map_or(20_261_122, |text| text.parse().unwrap());
    eprintln!("RUNSYNC_CRASH_SEED={seed}");
    seed
}

fn site() -> TestSite {
    let site = TestSite::new("size");
    site.configure_daemon("size", "settle = \"1ms\"", "");
    site
}

fn path_of(manifest: &Manifest) -> String {
    let header = &manifest.header;
    let packed = manifest.packing != Packing::Plain;
    manifest_path(
        header.origin.repository,
        &header.run,
        header.generation,
        packed,
    )
}

fn large(site: &TestSite, run: &str, first: u128, datasets: i64) -> Manifest {
    Manifest::new(site.repository, run, "1-1", Content::Additions).with_many(first, datasets)
}

/// Runs of several generations, each newer one with other artifacts; a removal; a bad file;
/// a manifest twice; one that takes several commits; and all artifacts but one.
fn arrivals(site: &TestSite) -> Vec<Arrival> {
    let mut all = Vec::new();
    let large = large(site, "u/crash/large", 1 << 80, LARGE);
    for entry in large.entries.iter().step_by(997) {
        all.push(Arrival {
            path: entry.path.to_string(),
            bytes: b"SIMPLE  =".to_vec(),
        });
    }
    all.push(Arrival {
        path: path_of(&large),
        bytes: large.bytes(Some(&site.key)),
    });
    for run in 1..=RUNS {
        for generation in 1..=3_u128 {
            let name = format!("u/crash/run{run}");
            let content = if run == RUNS && generation == 2 {
                Content::Removal
            } else {
                Content::Additions
            };
            let mut manifest =
                Manifest::new(site.repository, &name, &format!("1-{generation}"), content);
            if content == Content::Additions {
                let entries = (0..DATASETS).map(|number| {
                    let path = format!("crash/{run}/{generation}/{number}.fits");
                    let seed = u64::try_from(run * 100 + generation * 10 + number).unwrap();
                    let bytes = artifact(seed, 50 + usize::try_from(generation).unwrap());
                    let entry = entry(
                        run * 1000 + number,
                        i64::try_from(number).unwrap(),
                        0,
                        &path,
                        &bytes,
                    );
                    all.push(Arrival { path, bytes });
                    entry
                });
                let entries: Vec<_> = entries.collect();
                manifest = manifest.with_dimensions(8).with_entries(entries);
            }
            if generation == 2 {
                manifest.packing = Packing::Zstd(3);
            }
            let bytes = manifest.bytes(Some(&site.key));
            if run == 1 {
                let path = format!("runsync/manifests/again/{generation}.manifest.jsonl");
                let path = if generation == 2 {
                    format!("{path}.zst")
                } else {
                    path
                };
                all.push(Arrival {
                    path,
                    bytes: bytes.clone(),
                });
            }
            all.push(Arrival {
                path: path_of(&manifest),
                bytes,
            });
        }
    }
    all.push(Arrival {
        path: "runsync/manifests/bad.manifest.jsonl".into(),
        bytes: b"no\n".to_vec(),
    });
    all.retain(|arrival| arrival.path != "crash/2/3/5.fits");
    all
}

/// What a site has come to that can be compared with another: all but times and inodes.
#[derive(PartialEq)]
struct EndState {
    dump: String,
    manifests: Vec<String>,
    counts: Vec<(String, u64, u64)>,
}

impl EndState {
    fn of(site: &TestSite) -> Self {
        let seen = site.watch();
        let manifests = seen
            .manifests()
            .iter()
            .map(|row| format!("{} {} {:?}", row.location.path, row.state, row.reason))
            .collect();
        Self {
            dump: seen.dump(),
            manifests,
            counts: seen.counts(),
        }
    }
}

/// The same arrivals with nobody killed: what each later end is compared with.
fn uninterrupted(arrivals: &[Arrival]) -> EndState {
    let site = site();
    for arrival in arrivals {
        site.put(&arrival.path, &arrival.bytes);
    }
    let mut open = site.open();
    // The site's clock stands still, and the bad file counts as young until it has moved on.
    site.clock.advance(Duration::from_secs(3600 * 24 * 3650));
    open.work();
    open.follow();
    open.confirm();
    drop(open);
    EndState::of(&site)
}

fn nothing_is_left_behind(site: &TestSite) {
    let scratch: Vec<_> = fs::read_dir(site.folder.path().join("state/scratch"))
        .unwrap()
        .collect();
    assert!(scratch.is_empty(), "{scratch:?}");
    let mut folders = vec![site.root()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = found.file_name().into_string().unwrap();
            assert!(
                !name.starts_with('.') && !name.contains("tmp"),
                "{}",
                found.path().display()
            );
            if found.file_type().unwrap().is_dir() {
                folders.push(found.path());
            }
        }
    }
    for file in ["registry.sqlite3", "ledger.sqlite3"] {
        assert_eq!(
            integrity(&site.folder.path().join("state").join(file)),
            "ok",
            "{file}"
        );
    }
}

fn integrity(file: &Path) -> String {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_daemon_killed_at_any_moment_ends_where_one_that_was_not_does() {
    let mut random = Random(seed());
    let site = site();
    let mut arriving = arrivals(&site);
    let expected = uninterrupted(&arriving);
    random.shuffle(&mut arriving);
    let each = arriving
        .len()
        .div_ceil(usize::try_from(RANDOM_KILLS).unwrap());
    let mut arriving = arriving.into_iter();

    for _ in 0..RANDOM_KILLS {
        let daemon = killable(&site);
        for arrival in arriving.by_ref().take(each) {
            site.put(&arrival.path, &arrival.bytes);
        }
        // The fault itself, not a wait for anything.
        std::thread::sleep(Duration::from_millis(random.below(400)));
        daemon.kill();
    }
    assert_eq!(arriving.len(), 0);
    let seen = site.watch();
    let mut done = 0;
    for _ in 0..KILLS_BETWEEN_COMMITS {
        let daemon = killable(&site);
        let mut progress = done;
        daemon.until("another commit of the large manifest", || {
            let registering = seen.0.registry.registering().unwrap();
            progress = registering.first().map_or(progress, |it| it.done);
            progress > done
                || seen
                    .run("u/crash/large")
                    .is_some_and(|run| run.generation.is_some())
        });
        std::thread::sleep(Duration::from_millis(random.below(50)));
        daemon.kill();
        done = progress;
    }
    assert!(
        done > 0,
        "the large manifest was never caught between two commits"
    );

    let daemon = killable(&site);
    daemon.until(
        "as much is known and confirmed as in the uninterrupted run",
        || seen.manifests().len() == expected.manifests.len() && seen.counts() == expected.counts,
    );
    daemon.stop();
    assert!(
        EndState::of(&site) == expected,
        "the end differs from that of the uninterrupted run"
    );
    nothing_is_left_behind(&site);
}

fn killable(site: &TestSite) -> Daemon {
    Daemon::spawn(&mut site.command(&["daemon"])).expecting("manifest quarantined")
}

#[test]
fn an_operators_ingest_killed_at_any_moment_can_be_repeated() {
    let mut random = Random(seed());
    let site = site();
    let manifest = large(&site, "u/crash/by_hand", 1, 60_000);
    let file = site.folder.path().join("outside.manifest.jsonl");
    support::write(&file, &manifest.bytes(Some(&site.key)));
    let file = file.to_str().unwrap();
    let seen = site.watch();

    let mut command = site.command(&["ingest", "--direct", file]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for round in 0..12 {
        let mut ingest = command.spawn().unwrap();
        if round == 8 {
            until("a first commit", || {
                !seen.0.registry.registering().unwrap().is_empty() || !seen.manifests().is_empty()
            });
        }
        std::thread::sleep(Duration::from_millis(random.below(if round < 6 {
            40
        } else {
            1500
        })));
        ingest.kill().unwrap();
        ingest.wait().unwrap();
    }
    let said = site.directly(&["ingest", "--json", file]);
    assert!(said.contains("\"registered\""), "{said}");
    assert_eq!(seen.states(), [ManifestState::Registered]);
    assert_eq!(seen.0.registry.registering().unwrap(), []);
    nothing_is_left_behind(&site);

    let other = self::site();
    other.place(&manifest);
    other.open().work();
    assert_eq!(seen.dump(), other.watch().dump());
}
