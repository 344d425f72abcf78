//! What an origin removes goes at a site that holds a copy, too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pair.rs"]
mod pair;

use std::fs;
use std::ops::ControlFlow;

use pair::{carry_manifests, copy_of, files_below, manifests};
use runsync::ingest::following::{AskedState, FollowError};
use runsync::ledger::record::ManifestState;
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Phase, RemovalError, Request, Requester, State};
use runsync_manifest::content::Content;
use runsync_manifest::name::DatasetId;
use runsync_manifest::reader::Reader;
use support::{Manifest, OpenSite, TestSite, artifact, entry};
use uuid::Uuid;

const RUN: &str = "u/test/run";

fn go_on(_: Phase) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn alice() -> Requester {
    Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: false,
        any: false,
    }
}

fn bytes(number: u128) -> Vec<u8> {
    artifact(u64::try_from(number).unwrap(), 50)
}

fn path(number: u128) -> String {
    format!("a/{number}")
}

/// A manifest of [`RUN`] by its origin.
fn manifest(generation: &str, content: Content, numbers: &[u128]) -> Manifest {
    let origin = runsync_manifest::name::RepositoryId(Uuid::from_u128(0xA));
    let entries = numbers.iter().map(|&number| {
        let at = i64::try_from(number).unwrap();
        entry(number, at, 0, &path(number), &bytes(number))
    });
    let manifest = Manifest::new(origin, RUN, generation, content);
    if content == Content::Removal {
        return manifest;
    }
    manifest
        .with_dimensions(20)
        .with_entries(entries.collect::<Vec<_>>())
}

fn presence(open: &OpenSite, numbers: &[u128]) -> Vec<Presence> {
    let asked: Vec<_> = numbers
        .iter()
        .map(|&number| DatasetId(Uuid::from_u128(number)))
        .collect();
    let answers = open.registry().exists(&asked).unwrap();
    answers.into_iter().map(|answer| answer.presence).collect()
}

/// The states of the run's manifests, by path.
fn states(open: &OpenSite) -> Vec<ManifestState> {
    open.manifests().iter().map(|row| row.state).collect()
}

/// An origin with a run of three confirmed datasets.
fn origin() -> (TestSite, OpenSite) {
    let site = TestSite::in_memory("size");
    for number in 1..=3 {
        site.put(&path(number), &bytes(number));
    }
    site.place(&manifest("1-1", Content::Additions, &[1, 2, 3]));
    let mut open = site.open();
    open.work();
    open.confirm();
    (site, open)
}

/// A copy of it, complete.
fn copy(origin: &TestSite, policy: &str, more: &str) -> (TestSite, OpenSite) {
    let site = copy_of(origin, policy, more);
    carry_manifests(origin, &site);
    for file in files_below(origin, "a") {
        site.put(&file, &fs::read(origin.root().join(&file)).unwrap());
    }
    let mut open = site.open();
    open.work();
    open.confirm();
    (site, open)
}

fn remove(open: &OpenSite, operation: Operation) -> Uuid {
    let removing = &open.assembly.removing;
    let request = Request {
        operation,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    };
    let plan = removing.plan(&request).unwrap();
    let consent = Consent {
        plan: plan.id,
        approved: false,
    };
    let outcome = removing.remove(&request, &consent, &alice(), &mut go_on);
    outcome.unwrap().removal
}

#[test]
fn a_run_that_its_origin_removes_goes_at_every_site_that_has_a_copy() {
    let (a, mut at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "");
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::Yes; 3]);

    remove(&at_a, Operation::RemoveRuns);
    assert_eq!(at_a.registry().notices().unwrap(), []);
    let told = manifests(&a).pop().unwrap();
    assert!(told.ends_with("/u/test/run/1-2.manifest.jsonl"), "{told}");
    let header = Reader::new(
        fs::File::open(a.root().join(&told)).unwrap(),
        a.site().limits,
    );
    assert_eq!(header.unwrap().header().content, Content::Removal);
    // Its own manifest tells the origin nothing new.
    at_a.work();
    at_a.follow();
    assert_eq!(
        states(&at_a),
        [ManifestState::Superseded, ManifestState::Registered]
    );

    assert_eq!(carry_manifests(&a, &b), 1);
    at_b.work();
    assert_eq!(
        states(&at_b),
        [ManifestState::Superseded, ManifestState::Blocked]
    );
    at_b.follow();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::No; 3]);
    assert_eq!(files_below(&b, "a"), [""; 0]);
    assert_eq!(
        states(&at_b),
        [ManifestState::Superseded, ManifestState::Registered]
    );
    let row = at_b.registry().run(&a.run(RUN)).unwrap().unwrap();
    assert_eq!((row.datasets, row.claims, row.bytes), (0, 0, 0));
    assert_eq!(row.followed.unwrap().to_string(), "1-2");
    assert_eq!(at_b.registry().removals().unwrap(), []);

    // The origin may make it again.
    b.place(&manifest("1-1", Content::Additions, &[1, 2, 3]));
    let again = manifest("1-3", Content::Additions, &[1]);
    b.put(
        "runsync/manifests/again/1-3.manifest.jsonl",
        &again.bytes(Some(&a.key)),
    );
    b.put(&path(1), &bytes(1));
    at_b.work();
    at_b.confirm();
    assert_eq!(presence(&at_b, &[1, 2]), [Presence::Yes, Presence::No]);
}

#[test]
fn a_site_that_is_to_confirm_asks_and_one_that_is_to_report_keeps() {
    let (a, at_a) = origin();
    let (b, mut at_b) = copy(&a, "confirm", "");
    let (c, mut at_c) = copy(&a, "report", "");
    remove(&at_a, Operation::RemoveRuns);
    for (site, open, state) in [
        (&b, &mut at_b, AskedState::Waiting),
        (&c, &mut at_c, AskedState::Reported),
    ] {
        carry_manifests(&a, site);
        open.work();
        open.follow();
        assert_eq!(presence(open, &[1, 2, 3]), [Presence::Yes; 3]);
        let asked = open.assembly.following.list().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].state, asked[0].datasets), (state, 3));
    }
    let following = &at_b.assembly.following;
    let asked = following.list().unwrap().remove(0);
    let refused = following.refuse(asked.manifest, "bob").unwrap();
    assert_eq!(refused.state, AskedState::Refused);
    at_b.work();
    at_b.follow();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::Yes; 3]);

    // It can be confirmed all the same.
    let following = &at_b.assembly.following;
    let plan = following.plan(asked.manifest).unwrap();
    assert_eq!(
        (plan.operation, plan.total.datasets),
        (Operation::Follow, 3)
    );
    let consent = Consent {
        plan: plan.id,
        approved: false,
    };
    let removal = Uuid::new_v4();
    let confirmed = following.confirm(removal, asked.manifest, &consent, &alice(), &mut go_on);
    confirmed.unwrap();
    at_b.follow();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::No; 3]);
    assert_eq!(at_b.assembly.following.list().unwrap(), []);
    let gone = at_b.assembly.following.plan(asked.manifest).unwrap_err();
    assert!(matches!(gone, FollowError::Missing { .. }), "{gone}");
}

#[test]
fn a_removal_above_the_caps_waits_for_approval_at_the_receiving_site() {
    let (a, at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "[removal]\ndatasets_max = 2\n");
    remove(&at_a, Operation::RemoveRuns);
    carry_manifests(&a, &b);
    at_b.work();
    at_b.follow();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::Yes; 3]);
    let following = &at_b.assembly.following;
    let asked = following.list().unwrap().remove(0);
    assert_eq!(asked.state, AskedState::Waiting);
    assert!(asked.reason.unwrap().contains("3 datasets (at most 2)"));
    let plan = following.plan(asked.manifest).unwrap();
    let mut consent = Consent {
        plan: plan.id,
        approved: false,
    };
    let confirm = |consent: &Consent| {
        following.confirm(
            Uuid::new_v4(),
            asked.manifest,
            consent,
            &alice(),
            &mut go_on,
        )
    };
    let refused = confirm(&consent).unwrap_err();
    assert!(matches!(
        refused,
        FollowError::Removal(RemovalError::NotApproved { .. })
    ));
    consent.approved = true;
    confirm(&consent).unwrap();
    at_b.follow();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::No; 3]);
}

#[test]
fn what_a_snapshot_leaves_out_goes_and_what_it_names_stays() {
    let (a, mut at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "");
    // Dataset 4 has the data ID of dataset 1, which goes.
    let mut snapshot = manifest("1-2", Content::Snapshot, &[2, 3]);
    snapshot.entries.push(entry(4, 1, 0, "a/4", &bytes(4)));
    a.put("a/4", &bytes(4));
    a.place(&snapshot);
    for (open, name) in [(&mut at_a, "the origin"), (&mut at_b, "the copy")] {
        carry_manifests(&a, &b);
        open.work();
        open.follow();
        b.put("a/4", &bytes(4));
        open.confirm();
        assert_eq!(
            presence(open, &[1, 2, 3, 4]),
            [Presence::No, Presence::Yes, Presence::Yes, Presence::Yes],
            "{name}"
        );
        assert_eq!(
            states(open),
            [ManifestState::Superseded, ManifestState::Registered]
        );
        let row = open.registry().run(&a.run(RUN)).unwrap().unwrap();
        assert_eq!(
            (row.datasets, row.claims, row.waiting, row.bytes),
            (3, 3, 0, 150)
        );
    }
    for site in [&a, &b] {
        assert_eq!(files_below(site, "a"), ["a/2", "a/3", "a/4"]);
    }
    // An older manifest brings nothing back.
    b.put(
        "runsync/manifests/old/1-1.manifest.jsonl",
        &manifest("1-1", Content::Additions, &[1, 2, 3]).bytes(Some(&a.key)),
    );
    at_b.work();
    assert_eq!(presence(&at_b, &[1]), [Presence::No]);
}

#[test]
fn a_removal_that_comes_late_leaves_what_came_after_it() {
    let (a, _at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "");
    let later = manifest("1-3", Content::Additions, &[3, 5]);
    b.put(
        "runsync/manifests/later/1-3.manifest.jsonl",
        &later.bytes(Some(&a.key)),
    );
    b.put(&path(5), &bytes(5));
    at_b.work();
    at_b.confirm();
    let removal = manifest("1-2", Content::Removal, &[]);
    b.put(
        "runsync/manifests/x/1-2.manifest.jsonl",
        &removal.bytes(Some(&a.key)),
    );
    at_b.work();
    at_b.follow();
    assert_eq!(
        presence(&at_b, &[1, 2, 3, 5]),
        [Presence::No, Presence::No, Presence::Yes, Presence::Yes]
    );
    assert_eq!(files_below(&b, "a"), ["a/3", "a/5"]);
    let row = at_b.registry().run(&a.run(RUN)).unwrap().unwrap();
    assert_eq!((row.datasets, row.claims, row.bytes), (2, 2, 100));
}

#[test]
fn a_site_that_reports_registers_what_a_snapshot_brings() {
    let (a, _at_a) = origin();
    let (b, mut at_b) = copy(&a, "report", "");
    let snapshot = manifest("1-2", Content::Snapshot, &[2, 6]);
    b.put(
        "runsync/manifests/x/1-2.manifest.jsonl",
        &snapshot.bytes(Some(&a.key)),
    );
    b.put(&path(6), &bytes(6));
    at_b.work();
    at_b.follow();
    at_b.confirm();
    assert_eq!(presence(&at_b, &[1, 2, 3, 6]), [Presence::Yes; 4]);
    let following = &at_b.assembly.following;
    let asked = following.list().unwrap().remove(0);
    assert_eq!((asked.state, asked.datasets), (AskedState::Reported, 2));
    let consent = Consent {
        plan: following.plan(asked.manifest).unwrap().id,
        approved: false,
    };
    following
        .confirm(
            Uuid::new_v4(),
            asked.manifest,
            &consent,
            &alice(),
            &mut go_on,
        )
        .unwrap();
    at_b.follow();
    assert_eq!(
        presence(&at_b, &[1, 2, 3, 6]),
        [Presence::No, Presence::Yes, Presence::No, Presence::Yes]
    );
    assert_eq!(at_b.assembly.following.list().unwrap(), []);
}

#[test]
fn a_copy_that_is_dropped_is_told_to_nobody_and_stays_away() {
    let (a, _at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "");
    remove(&at_b, Operation::DropCopy);
    assert_eq!(at_b.registry().notices().unwrap(), []);
    assert_eq!(manifests(&b).len(), 1);
    assert_eq!(states(&at_b), [ManifestState::Superseded]);
    at_b.work();
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::No; 3]);
}

#[test]
fn a_notice_that_cannot_be_written_is_kept_and_written_later() {
    let (a, mut at_a) = origin();
    // Somebody's file lies where the removal manifest belongs, and nothing tells of it before.
    let request = Request {
        operation: Operation::RemoveRuns,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    };
    let removing = &at_a.assembly.removing;
    let plan = removing.plan(&request).unwrap();
    let consent = Consent {
        plan: plan.id,
        approved: false,
    };
    let key = a.folder.path().join("keys/signing.pem");
    let away = a.folder.path().join("keys/away.pem");
    support::rename(&key, &away);
    let outcome = removing
        .remove(&request, &consent, &alice(), &mut go_on)
        .unwrap();
    assert!(outcome.done);
    let standing = removing.standing(outcome.removal).unwrap().unwrap();
    assert_eq!(standing.state, State::Done);
    assert!(standing.untold.unwrap().contains("signing key"));
    assert_eq!(at_a.registry().notices().unwrap().len(), 1);
    assert_eq!(manifests(&a).len(), 1);
    support::rename(&away, &key);
    // The loop of removals does it, also after a restart.
    drop(at_a);
    at_a = a.open();
    let mut worker = runsync::removal::RemovalWorker::new(at_a.assembly.removing.clone());
    worker.work(&mut go_on).unwrap();
    assert_eq!(at_a.registry().notices().unwrap(), []);
    assert_eq!(manifests(&a).len(), 2);
    at_a.work();
    assert_eq!(
        states(&at_a),
        [ManifestState::Superseded, ManifestState::Registered]
    );
}

fn change(open: &OpenSite, operation: Operation, dataset_type: Option<&str>) {
    let removing = &open.assembly.removing;
    let request = Request {
        operation,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: dataset_type.map(|name| name.parse().unwrap()),
        now: false,
    };
    let consent = Consent {
        plan: removing.plan(&request).unwrap().id,
        approved: false,
    };
    let outcome = removing.remove(&request, &consent, &alice(), &mut go_on);
    assert!(outcome.unwrap().done);
}

#[test]
fn what_is_unstored_stays_known_and_unwanted_until_it_is_restored() {
    let (a, _at_a) = origin();
    let (b, mut at_b) = copy(&a, "apply", "");
    change(&at_b, Operation::Unstore, None);
    assert_eq!(presence(&at_b, &[1, 2, 3]), [Presence::No; 3]);
    assert_eq!(files_below(&b, "a"), [""; 0]);
    let run = a.run(RUN);
    let row = at_b.registry().run(&run).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (3, 0, 0, 0)
    );
    assert_eq!(at_b.registry().unwanted().unwrap().len(), 1);

    // A newer manifest makes datasets known, and nothing is waited for.
    let more = manifest("1-2", Content::Additions, &[3, 7]);
    b.put(
        "runsync/manifests/x/1-2.manifest.jsonl",
        &more.bytes(Some(&a.key)),
    );
    at_b.work();
    let row = at_b.registry().run(&run).unwrap().unwrap();
    assert_eq!((row.datasets, row.claims, row.waiting), (4, 0, 0));
    assert_eq!(at_b.registry().waiting_runs().unwrap(), []);
    for number in [1, 2, 3, 7] {
        b.put(&path(number), &bytes(number));
    }
    at_b.confirm();
    assert_eq!(presence(&at_b, &[1, 7]), [Presence::No; 2]);

    let names = [RUN.parse().unwrap()];
    let restored = at_b
        .assembly
        .removing
        .restore(&names, None, None, &mut go_on);
    assert_eq!(restored.unwrap(), 1);
    assert_eq!(presence(&at_b, &[1, 2, 3, 7]), [Presence::Pending; 4]);
    at_b.confirm();
    assert_eq!(presence(&at_b, &[1, 2, 3, 7]), [Presence::Yes; 4]);
    let row = at_b.registry().run(&run).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (4, 4, 0, 200)
    );
    assert_eq!(at_b.registry().unwanted().unwrap(), []);
}

#[test]
fn what_is_forgotten_keeps_its_artifact_and_waits_again_when_it_is_restored() {
    let (a, mut at_a) = origin();
    change(&at_a, Operation::Forget, Some("calexp"));
    assert_eq!(presence(&at_a, &[1, 2, 3]), [Presence::No; 3]);
    let run = a.run(RUN);
    let row = at_a.registry().run(&run).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (3, 0, 0, 0)
    );
    assert_eq!(files_below(&a, "a").len(), 3);
    assert_eq!(at_a.registry().unwanted().unwrap(), []);
    // A dataset that a newer generation names is waited for.
    a.place(&manifest("1-2", Content::Additions, &[2]));
    at_a.work();
    at_a.confirm();
    assert_eq!(
        presence(&at_a, &[1, 2, 3]),
        [Presence::No, Presence::Yes, Presence::No]
    );
    let names = [RUN.parse().unwrap()];
    let removing = &at_a.assembly.removing;
    removing.restore(&names, None, None, &mut go_on).unwrap();
    at_a.confirm();
    assert_eq!(presence(&at_a, &[1, 2, 3]), [Presence::Yes; 3]);
    let row = at_a.registry().run(&run).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (3, 3, 0, 150)
    );
}
