//! The way that all sources go: one site, one daemon, and everything that can come by.

use std::collections::BTreeSet;
use std::fs;

use runsync::adopted;
use runsync::ledger::record::HintKind;
use runsync::registry::record::{Presence, RunRow};
use runsync_config::key_file::PublicKeyFile;
use runsync_manifest::content::Content;
use runsync_manifest::name::RepositoryId;

use crate::ingestd::{Ingested, Topic, ingested};
use crate::pair::{carry_manifests, manifests, peer};
use crate::process::{Daemon, Onlooker};
use crate::proof::shown;
use crate::sender::{RSE, RUN, Sent, product_of};
use crate::support::{Manifest, TestSite, entry, write};
use crate::traffic::{
    FIRST, OTHER_RUN, RUCIO_PREFIX, SECOND, arriving, dimensions, good, message, wrong,
};

/// Kind of the findings about messages that nothing can be made of.
const SET_ASIDE: &str = "adopt_set_aside";

/// Datasets that mark the end of what was sent before them: two at a time, as Kafka's topic has two partitions.
const MARKERS: [[u128; 2]; 2] = [[200, 201], [202, 203]];

/// How messages reach the daemon.
pub(crate) trait Carrier {
    /// What it is called in the table of cases.
    fn name(&self) -> &'static str;
    /// TOML of `[[event_source]]`.
    fn toml(&self) -> String;
    /// Sends messages, and returns when the broker has them.
    fn send(&self, messages: &[Vec<u8>]);
    /// Has the daemon hear everything again: a change of its configuration, or by sending it.
    fn again(&mut self, all: &[Vec<u8>]);
}

/// A site that hears messages, and the owner of the runs that they tell of.
struct Ground {
    site: TestSite,
    owner: TestSite,
}

impl Ground {
    fn new() -> Self {
        let owner = TestSite::in_memory("size");
        let site = TestSite::in_memory_as("SITE_B", 0xC, "checksum");
        let key = PublicKeyFile {
            site: "SITE_A".parse().unwrap(),
            repository: owner.repository,
            public_key: owner.key.public(),
            revoked: false,
        };
        let file = format!("keys/trusted/{}.json", key.public_key.id());
        let file = site.folder.path().join(file);
        write(&file, &serde_json::to_vec(&key).unwrap());
        Self { site, owner }
    }

    fn configure(&self, carrier: &dyn Carrier) {
        let root =
            format!("rse = \"{RSE}\"\npfn_prefix = \"{RUCIO_PREFIX}\"\nsweep_interval = \"1s\"");
        let peer = peer(&self.owner, "apply");
        let adopt = format!("[adopt]\nrses = [\"{RSE}\"]\nbatch_age = \"1s\"");
        let source = carrier.toml();
        let more = format!("{adopt}\n{source}\n{peer}");
        self.site.configure_daemon("checksum", &root, &more);
    }

    fn start(&self) -> Daemon {
        let daemon = Daemon::start(&self.site)
            .expecting("message about a file is set aside")
            .expecting("messages that cannot be read are set aside")
            .expecting("adopted run differs from its owner's");
        // The broker drops what comes before.
        daemon.until_logged("\"listening\",\"source\"", 0);
        daemon
    }
}

fn origin() -> RepositoryId {
    adopted::origin_of(&RSE.parse().unwrap())
}

fn runs(seen: &Onlooker, origin: RepositoryId) -> Vec<RunRow> {
    let runs = seen.0.registry.runs(None).unwrap().into_iter();
    runs.filter(|run| run.key.origin == origin).collect()
}

fn have_come(seen: &Onlooker, numbers: impl IntoIterator<Item = u128>) -> bool {
    numbers
        .into_iter()
        .all(|number| seen.presence(number) == Presence::Yes)
}

/// Nothing waits to be looked into.
fn is_quiet(seen: &Onlooker) -> bool {
    let counts = seen.0.ledger.hint_counts().unwrap();
    let mut of_kind = counts.iter().filter(|(kind, _)| *kind == HintKind::PerFile);
    of_kind.all(|(_, count)| *count == 0)
}

fn aside(seen: &Onlooker, why: &str) -> u64 {
    let subject = format!("adopted:{RSE} {why}");
    let findings = seen.findings();
    let mut found = findings
        .iter()
        .filter(|finding| finding.kind == SET_ASIDE && finding.subject == subject);
    found.next().map_or(0, |finding| finding.times)
}

fn poison(seen: &Onlooker) -> u64 {
    seen.0.ledger.poison_before(None, 1000).unwrap().len() as u64
}

/// What is registered, in the words of ingestd.
fn registered(ground: &Ground, seen: &Onlooker, origin: RepositoryId) -> BTreeSet<Ingested> {
    let registry = &seen.0.registry;
    let root = ground.site.root();
    let mut all = BTreeSet::new();
    for run in runs(seen, origin) {
        let datasets = registry.datasets(&run.key, None, None, 1000).unwrap();
        let records = registry.records(&run.key, None, 1000).unwrap();
        assert_eq!(datasets.len(), records.len());
        all.extend(
            datasets
                .iter()
                .zip(&records)
                .map(|(dataset, record)| Ingested {
                    uuid: dataset.uuid.to_string(),
                    run: run.key.name.to_string(),
                    dataset_type: dataset.dataset_type.to_string(),
                    file: root.join(record.path.as_str()).to_str().unwrap().to_owned(),
                }),
        );
    }
    all
}

/// Every second one first, and each twice.
fn disordered(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let halves = [1, 0].map(|first| messages.iter().skip(first).step_by(2));
    let all: Vec<_> = halves.into_iter().flatten().cloned().collect();
    [all.clone(), all.into_iter().rev().collect()].concat()
}

/// Goes the whole way.
pub(crate) fn go(carrier: &mut dyn Carrier) {
    let ground = Ground::new();
    ground.configure(carrier);
    let site = &ground.site;
    let seen = site.watch();
    let name = carrier.name();
    let tell = |case: &str, outcome: &str| shown(&format!("{name}: {case}"), outcome);
    let mut daemon = ground.start();

    let first: Vec<Sent> = FIRST.map(good).collect();
    let mut all = arriving(site, &[vec![dimensions()], first].concat());
    let wrong = wrong(site);
    all.extend(wrong.messages.iter().cloned());
    carrier.send(&all);
    daemon.until("all good ones are confirmed", || have_come(&seen, FIRST));
    let adopted = runs(&seen, origin());
    let names: Vec<_> = adopted.iter().map(|run| run.key.name.as_str()).collect();
    assert_eq!(names, ["adopted-dimensions", OTHER_RUN, RUN]);
    tell(
        "good messages",
        "every file registered in its run, and confirmed by checksum",
    );

    daemon.until("every wrong one is counted", || {
        poison(&seen) == wrong.poison
            && wrong
                .aside
                .iter()
                .all(|(why, count)| aside(&seen, why) == *count)
            && is_quiet(&seen)
    });
    assert!(daemon.is_running());
    let of_ours = product_of(RUN, 400);
    assert_eq!(seen.presence(400), Presence::No, "{}", of_ours.path);
    for (why, count) in &wrong.aside {
        tell(
            &format!("wrong messages: {why}"),
            &format!("{count} counted, none registered"),
        );
    }
    tell(
        "no messages at all",
        &format!("{} kept as poison", wrong.poison),
    );

    let topic = Topic {
        rucio_prefix: RUCIO_PREFIX.to_owned(),
        fs_prefix: format!("file://{}/", site.root().display()),
    };
    let by_ingestd = ingested(&topic, &all);
    let by_us = registered(&ground, &seen, origin());
    let more: Vec<_> = by_ingestd.difference(&by_us).collect();
    // It would have ingested dataset 400 from wherever the prefix comes to, also from outside of the root.
    let wrong_uuid = crate::sender::uuid(400).to_string();
    assert!(more.iter().all(|one| one.uuid == wrong_uuid), "{more:?}");
    assert_eq!(by_us.difference(&by_ingestd).count(), 0);
    let of_wrong = more.len();
    tell(
        "beside ctrl_ingestd",
        &format!(
            "the same {} datasets, files and runs; none of its {of_wrong} from wrong places",
            by_us.len()
        ),
    );

    let before = (seen.dump(), manifests(site));
    let again = disordered(&all[..=FIRST.count()]);
    carrier.send(&again);
    mark(&ground, carrier, &daemon, &seen, MARKERS[0]);
    assert_eq!(unmarked(&ground, &seen), before);
    tell("each twice, out of order", "nothing changed");

    let second: Vec<Sent> = SECOND.map(good).collect();
    let messages = arriving(site, &second);
    let (early, late) = messages.split_at(messages.len() / 2);
    carrier.send(early);
    daemon.until("some have come", || {
        SECOND
            .clone()
            .any(|number| seen.presence(number) != Presence::No)
    });
    carrier.send(late);
    daemon.kill();
    let daemon = ground.start();
    daemon.until("none is lost", || {
        have_come(&seen, SECOND) && is_quiet(&seen)
    });
    tell("kill -9 while messages come", "none lost, none doubled");
    all.extend(messages);

    let before = (unmarked(&ground, &seen).0, manifests(site));
    daemon.stop();
    carrier.again(&all);
    ground.configure(carrier);
    let daemon = ground.start();
    mark(&ground, carrier, &daemon, &seen, MARKERS[1]);
    daemon.until("all is looked into", || is_quiet(&seen));
    let after = unmarked(&ground, &seen);
    assert_eq!(after.0, before.0);
    tell("the topic read from its beginning", "nothing changed");

    take_over(&ground, &daemon, &seen, carrier);
    tell(
        "the owner's snapshot",
        "it has the run, with all UUIDs and all that was confirmed",
    );
    daemon.stop();
}

/// Sends messages about a run of its own, and waits until all is looked into.
fn mark(
    ground: &Ground,
    carrier: &dyn Carrier,
    daemon: &Daemon,
    seen: &Onlooker,
    numbers: [u128; 2],
) {
    let run = format!("marker/{}", numbers[0]);
    let sent = numbers.map(|number| product_of(&run, number));
    carrier.send(&arriving(&ground.site, &sent));
    daemon.until("the markers have come", || {
        have_come(seen, numbers) && is_quiet(seen)
    });
}

/// Registry and manifests, without what marks the time.
fn unmarked(ground: &Ground, seen: &Onlooker) -> (String, Vec<String>) {
    let marks = MARKERS.as_flattened().iter();
    let marks: Vec<_> = marks
        .map(|number| crate::sender::uuid(*number).to_string())
        .collect();
    let is_mark = |line: &str| {
        line.contains("marker/") || marks.iter().any(|mark| line.contains(mark.as_str()))
    };
    let lines: Vec<String> = seen
        .dump()
        .lines()
        .filter(|line| !is_mark(line))
        .map(str::to_owned)
        .collect();
    let manifests = manifests(&ground.site).into_iter();
    let manifests = manifests
        .filter(|path| !path.contains("/marker/"))
        .collect();
    (lines.join("\n") + "\n", manifests)
}

/// The owner publishes the whole run, with one dataset that no message told of.
fn take_over(ground: &Ground, daemon: &Daemon, seen: &Onlooker, carrier: &dyn Carrier) {
    let numbers: Vec<u128> = FIRST
        .chain(SECOND)
        .filter(|number| number % 4 != 0)
        .collect();
    let entries = numbers.iter().chain([&301]).map(|&number| {
        let Sent { path, bytes, .. } = good(number);
        entry(number, i64::try_from(number).unwrap(), 0, &path, &bytes)
    });
    let owner = &ground.owner;
    let manifest = Manifest::new(owner.repository, RUN, "1-1", Content::Snapshot)
        .with_dimensions(500)
        .with_entries(entries.collect::<Vec<_>>());
    owner.place(&manifest);
    carry_manifests(owner, &ground.site);
    daemon.until("the owner has the run", || {
        let runs = runs(seen, owner.repository);
        runs.first()
            .is_some_and(|run| run.datasets == numbers.len() as u64 + 1 && run.waiting == 1)
    });
    assert!(have_come(seen, numbers.iter().copied()));
    let left = runs(seen, origin());
    let left: Vec<_> = left
        .iter()
        .filter(|run| run.key.name.as_str() == RUN)
        .map(|run| run.datasets)
        .collect();
    assert_eq!(left, [0]);
    // A late message about it is no news; what it tells of has come, and is confirmed.
    let late = good(301);
    late.arrives(&ground.site);
    carrier.send(&[message(&ground.site, &late)]);
    daemon.until("the late file is confirmed", || have_come(seen, [301]));
    assert!(fs::exists(ground.site.root().join(&late.path)).unwrap());
}
