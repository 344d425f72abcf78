//! The main job over a real root, registry and ledger: what arrives, in whichever way, is known.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use runsync::file_identity::FileIdentity;
use runsync::ingest::quarantine;
use runsync::ledger::record::{ManifestRow, ManifestState};
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;
use runsync_manifest::name::DatasetId;
use runsync_manifest::signature::SigningKey;
use runsync_manifest::writer::Packing;
use support::{Manifest, OpenSite, TestSite, artifact, entry, private, put, write};
use uuid::Uuid;

const RUN: &str = "u/test/run";

fn additions(site: &TestSite, generation: &str) -> Manifest {
    Manifest::new(site.repository, RUN, generation, Content::Additions)
}

/// Two datasets with their dimension records.
fn two(site: &TestSite) -> Manifest {
    additions(site, "1-1").with_dimensions(3).with_entries([
        entry(1, 1, 1, "a/one.fits", &artifact(1, 10)),
        entry(2, 2, 2, "a/two.fits", &artifact(2, 20)),
    ])
}

fn presence(open: &OpenSite, uuid: u128) -> Presence {
    let asked = [DatasetId(Uuid::from_u128(uuid))];
    open.registry().exists(&asked).unwrap()[0].presence
}

#[test]
fn a_manifest_before_its_artifacts_makes_its_datasets_pending() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Registered);
    assert_eq!(presence(&open, 1), Presence::Pending);
    site.put("a/one.fits", &artifact(1, 10));
    assert_eq!(open.confirm(), 1);
    assert_eq!(
        (presence(&open, 1), presence(&open, 2)),
        (Presence::Yes, Presence::Pending)
    );
    let run = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    assert_eq!((run.datasets, run.claims, run.waiting), (2, 2, 1));
}

#[test]
fn artifacts_before_their_manifest_are_confirmed_when_it_comes() {
    let site = TestSite::new("checksum");
    let mut open = site.open();
    site.put("a/one.fits", &artifact(1, 10));
    site.put("a/two.fits", &artifact(2, 20));
    site.place(&two(&site));
    open.work();
    assert_eq!(open.confirm(), 2);
    assert_eq!(presence(&open, 2), Presence::Yes);
}

#[test]
fn at_level_trust_records_follow_at_once() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    assert_eq!(presence(&open, 1), Presence::Yes);
}

#[test]
fn a_wrong_size_or_checksum_is_a_finding_and_heals() {
    let site = TestSite::new("checksum");
    let mut open = site.open();
    site.place(&two(&site));
    site.put("a/one.fits", &artifact(9, 10));
    site.put("a/two.fits", &artifact(2, 19));
    open.work();
    site.pass(Duration::from_secs(3600 * 24 * 365));
    assert_eq!(open.confirm(), 0);
    let findings = open.ledger().findings().unwrap();
    let details: Vec<_> = findings
        .iter()
        .map(|finding| finding.detail.as_str())
        .collect();
    assert_eq!(findings.len(), 2, "{details:?}");
    assert!(details[0].contains("its adler32 is"), "{details:?}");
    assert!(
        details[1].contains("its size is 19 bytes, expected 20"),
        "{details:?}"
    );
    site.put("a/one.fits", &artifact(1, 10));
    assert_eq!(open.confirm(), 1);
    assert_eq!(open.ledger().findings().unwrap().len(), 1);
    // Another process may have told of it.
    drop(open);
    let mut open = site.open();
    site.put("a/two.fits", &artifact(2, 20));
    assert_eq!(open.confirm(), 1);
    assert_eq!(open.ledger().findings().unwrap(), []);
}

#[test]
fn a_cut_manifest_is_waited_for_and_never_half_read() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let whole = two(&site).bytes(Some(&site.key));
    let path = site.place(&two(&site));
    for end in [0, 1, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
        put(&path, &whole[..end]);
        open.work();
        assert_eq!(open.manifests(), [], "cut at {end}");
        assert_eq!(open.registry().runs(None).unwrap(), [], "cut at {end}");
    }
    put(&path, &whole);
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Registered);
}

#[test]
fn a_manifest_that_stays_cut_for_a_minute_is_shown_until_it_is_whole() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let whole = two(&site).bytes(Some(&site.key));
    let path = site.place(&two(&site));
    put(&path, &whole[..whole.len() / 2]);
    open.work();
    assert_eq!(open.ledger().findings().unwrap(), []);
    site.pass(Duration::from_secs(61));
    open.work();
    let findings = open.ledger().findings().unwrap();
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].detail.contains("before its trailer"),
        "{findings:?}"
    );
    put(&path, &whole);
    open.work();
    assert_eq!(open.ledger().findings().unwrap(), []);
    assert_eq!(open.manifest().state, ManifestState::Registered);
}

#[test]
fn a_manifest_that_stays_cut_is_quarantined_after_the_deadline() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let whole = two(&site).bytes(Some(&site.key));
    let path = site.place(&two(&site));
    put(&path, &whole[..whole.len() / 2]);
    open.work();
    assert_eq!(open.manifests(), []);
    site.pass(Duration::from_secs(3600 * 24 * 365));
    open.work();
    let row = open.manifest();
    assert_eq!(row.state, ManifestState::Quarantined);
    assert!(row.reason.unwrap().contains("before its trailer"));
}

#[test]
fn a_bad_manifest_blocks_no_other_and_can_be_replaced() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let path = site
        .root()
        .join("runsync/manifests/x/bad/1-1.manifest.jsonl");
    write(&path, b"{\"kind\":\"header\",\"format\":true}\n");
    site.place(&two(&site));
    site.pass(Duration::from_secs(3600 * 24 * 365));
    open.work();
    let rows = open.manifests();
    assert_eq!(rows.len(), 2);
    let bad = rows
        .iter()
        .find(|row| row.location.path.contains("bad"))
        .unwrap();
    assert_eq!(bad.state, ManifestState::Quarantined);
    assert!(bad.reason.as_deref().unwrap().contains("line 1"), "{bad:?}");
    assert!(bad.hint.is_some());
    assert_eq!(presence(&open, 1), Presence::Pending);

    put(&path, &additions(&site, "1-2").bytes(Some(&site.key)));
    open.work();
    assert!(
        open.manifests()
            .iter()
            .all(|row| row.state == ManifestState::Registered)
    );
}

#[test]
fn quarantine_can_be_retried_and_dropped() {
    let site = TestSite::new("size");
    let mut open = site.open();
    write(
        &site.root().join("runsync/manifests/bad.manifest.jsonl"),
        b"no\n",
    );
    site.pass(Duration::from_secs(3600 * 24 * 365));
    open.work();
    let row = open.manifest();
    assert!(quarantine::retry(open.ledger(), &row.location).unwrap());
    assert!(!quarantine::retry(open.ledger(), &row.location).unwrap());
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Quarantined);
    assert!(quarantine::drop(open.ledger(), &row.location, row.decided_at).unwrap());
    open.work();
    assert_eq!(quarantine::list(open.ledger()).unwrap(), []);
    assert_eq!(open.manifest().state, ManifestState::Superseded);
}

#[test]
fn a_line_that_is_repeated_word_for_word_counts_once() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let one = || entry(1, 1, 1, "a/one.fits", &artifact(1, 10));
    site.place(
        &additions(&site, "1-1")
            .with_dimensions(3)
            .with_entries([one(), one()]),
    );
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Registered);
    let run = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    assert_eq!((run.datasets, run.claims, run.bytes), (1, 1, 10));
}

#[test]
fn a_manifest_that_was_kept_out_and_is_gone_is_forgotten() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let bad = site.root().join("runsync/manifests/bad.manifest.jsonl");
    write(&bad, b"no\n");
    let good = site.place(&two(&site));
    site.pass(Duration::from_secs(3600 * 24 * 365));
    open.work();
    assert_eq!(open.manifests().len(), 2);
    std::fs::remove_file(bad).unwrap();
    std::fs::remove_file(good).unwrap();
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Registered);
}

#[test]
fn a_second_file_of_the_same_manifest_changes_nothing() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let before = open.dump();
    let bytes = two(&site).bytes(Some(&site.key));
    site.put("runsync/manifests/copy/1-1.manifest.jsonl", &bytes);
    open.work();
    assert_eq!(open.dump(), before);
    assert!(
        open.manifests()
            .iter()
            .all(|row| row.state == ManifestState::Registered)
    );
}

/// Gives a file another time, as a restored backup or a copy does.
fn touch(path: &Path) {
    let file = File::open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(1))
        .unwrap();
}

/// The one row of the ledger without what may change when its file is seen again.
fn row_apart_from_file(open: &OpenSite) -> ManifestRow {
    let file = FileIdentity {
        size: 0,
        modified_ns: 0,
        inode: 0,
    };
    ManifestRow {
        file,
        ..open.manifest()
    }
}

#[test]
fn a_registered_manifest_that_was_touched_is_known_again_by_its_bytes() {
    for packing in [Packing::Plain, Packing::Zstd(3)] {
        let site = TestSite::new("size");
        let file = site.place(&Manifest {
            packing,
            ..two(&site)
        });
        let mut open = site.open();
        open.work();
        let before = (open.manifest(), open.dump());
        touch(&file);
        site.pass(Duration::from_secs(60));
        assert_eq!(open.arrivals.sweep().unwrap().new, 1);
        let stepped = open.arrivals.step(&mut |_| ControlFlow::Continue(()));
        assert_eq!(stepped.unwrap().decided, 0, "nothing is decided anew");
        let after = (open.manifest(), open.dump());
        assert_ne!(after.0.file, before.0.file);
        assert_eq!(
            ManifestRow {
                file: before.0.file,
                ..after.0
            },
            before.0
        );
        assert_eq!(after.1, before.1);
        assert_eq!(open.arrivals.sweep().unwrap().new, 0);
    }
}

#[test]
fn a_registered_manifest_that_was_changed_in_one_byte_is_judged_anew() {
    let site = TestSite::new("size");
    let file = site.place(&two(&site));
    let mut open = site.open();
    open.work();
    let before = open.dump();
    let text = std::fs::read_to_string(&file).unwrap();
    for changed in [
        text.replacen("HSC", "HSD", 1),
        text.replacen("\"total_bytes\":", "\"total_bytes\": 1", 1),
        text.clone() + "\n",
    ] {
        put(&file, changed.as_bytes());
        open.work();
        site.pass(Duration::from_secs(3600));
        open.work();
        assert_eq!(
            open.manifest().state,
            ManifestState::Quarantined,
            "{changed}"
        );
        put(&file, text.as_bytes());
        site.pass(Duration::from_secs(3600));
        open.work();
        assert_eq!(open.manifest().state, ManifestState::Registered);
    }
    assert_eq!(open.dump(), before);
}

#[test]
fn a_registered_manifest_whose_key_is_trusted_no_more_is_judged_anew_when_it_is_touched() {
    let site = TestSite::new("size");
    let file = site.place(&two(&site));
    site.open().work();
    let before = row_apart_from_file(&site.open());
    let other = SigningKey::from_seed(&[9; 32]);
    put(
        &site.folder.path().join("keys/signing.pem"),
        other.to_pem().unwrap().as_bytes(),
    );
    private(&site.folder.path().join("keys/signing.pem"));
    let mut open = site.open();
    open.work();
    assert_eq!(
        row_apart_from_file(&open),
        before,
        "what was registered stays"
    );
    touch(&file);
    open.work();
    assert_eq!(open.manifest().state, ManifestState::Untrusted);
}

#[test]
fn two_manifests_of_one_generation_fork_the_run_and_freeze_it() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let before = open.dump();
    let other = additions(&site, "1-1").bytes(Some(&site.key));
    site.put("runsync/manifests/other/1-1.manifest.jsonl", &other);
    open.work();
    site.place(&additions(&site, "1-2"));
    open.work();
    let states: Vec<_> = open.manifests().iter().map(|row| row.state).collect();
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == ManifestState::Blocked)
            .count(),
        2
    );
    assert_eq!(open.dump(), before);
}

#[test]
fn a_manifest_replaced_in_place_by_another_is_a_fork_too() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let path = site.place(&two(&site));
    open.work();
    let before = open.dump();
    put(&path, &additions(&site, "1-1").bytes(Some(&site.key)));
    open.work();
    let row = open.manifest();
    assert_eq!(row.state, ManifestState::Blocked);
    assert!(row.reason.unwrap().contains("forked"));
    assert_eq!(open.dump(), before);
}

#[test]
fn a_missing_dimension_record_blocks_until_another_manifest_brings_it() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let mut without = two(&site);
    without.dimensions.clear();
    site.place(&without);
    open.work();
    let row = open.manifest();
    assert_eq!(row.state, ManifestState::Blocked);
    assert!(row.reason.unwrap().contains("there is no detector record"));
    assert_eq!(presence(&open, 1), Presence::No);

    let dimensions = Manifest::new(site.repository, "u/test/dims", "1-1", Content::Additions);
    site.place(&dimensions.with_dimensions(3));
    open.work();
    assert_eq!(presence(&open, 1), Presence::Yes);
}

#[test]
fn a_uuid_that_another_run_holds_blocks() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let before = open.dump();
    let other = Manifest::new(site.repository, "u/test/other", "1-1", Content::Additions);
    site.place(&other.with_entries([entry(1, 1, 1, "b/one.fits", &artifact(1, 10))]));
    open.work();
    let blocked: Vec<_> = open
        .manifests()
        .into_iter()
        .filter(|row| row.state == ManifestState::Blocked)
        .collect();
    assert_eq!(blocked.len(), 1);
    assert!(
        blocked[0]
            .reason
            .as_deref()
            .unwrap()
            .contains("is registered as calexp")
    );
    let left = open.dump();
    assert_eq!(left, before, "a blocked manifest leaves nothing");
}

#[test]
fn a_self_contradiction_is_quarantined_with_both_lines_named() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let twice = additions(&site, "1-1").with_dimensions(3).with_entries([
        entry(1, 1, 1, "a/one.fits", &artifact(1, 10)),
        entry(2, 1, 1, "a/two.fits", &artifact(2, 20)),
    ]);
    site.place(&twice);
    open.work();
    let row = open.manifest();
    assert_eq!(row.state, ManifestState::Quarantined);
    assert!(row.reason.unwrap().contains("both are calexp"));
    assert_eq!(open.registry().runs(None).unwrap(), []);
}

#[test]
fn an_unsigned_manifest_and_one_of_an_unknown_key_are_kept_out() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let unsigned = two(&site).bytes(None);
    site.put("runsync/manifests/u/1-1.manifest.jsonl", &unsigned);
    let stranger = two(&site).bytes(Some(&SigningKey::from_seed(&[9; 32])));
    site.put("runsync/manifests/v/1-1.manifest.jsonl", &stranger);
    open.work();
    let states: Vec<_> = open.manifests().iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [ManifestState::Quarantined, ManifestState::Untrusted]
    );
    assert_eq!(open.registry().runs(None).unwrap(), []);
}

#[test]
fn a_later_generation_wins_whichever_comes_first() {
    let orders = [["1-1", "1-2"], ["1-2", "1-1"]];
    let dumps = orders.map(|order| {
        let site = TestSite::new("size");
        let mut open = site.open();
        for generation in order {
            let length = if generation == "1-1" { 10 } else { 12 };
            let path = format!("a/{generation}.fits");
            site.put(&path, &artifact(1, length));
            let entries = [entry(1, 1, 1, &path, &artifact(1, length))];
            site.place(
                &additions(&site, generation)
                    .with_dimensions(3)
                    .with_entries(entries),
            );
            open.work();
            open.confirm();
        }
        open.dump()
    });
    assert_eq!(dumps[0], dumps[1]);
    assert!(dumps[0].contains("a/1-2.fits"), "{}", dumps[0]);
    assert!(!dumps[0].contains("a/1-1.fits"), "{}", dumps[0]);
}

#[test]
fn a_removal_that_comes_first_keeps_older_additions_out() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&Manifest::new(
        site.repository,
        RUN,
        "1-5",
        Content::Removal,
    ));
    open.work();
    site.place(&two(&site));
    open.work();
    let states: Vec<_> = open.manifests().iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [ManifestState::Superseded, ManifestState::Registered]
    );
    assert_eq!(presence(&open, 1), Presence::No);
    let run = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    assert_eq!(run.floor.unwrap().to_string(), "1-5");

    let again = additions(&site, "1-6").with_dimensions(3);
    site.place(&again.with_entries([entry(1, 1, 1, "a/one.fits", &artifact(1, 10))]));
    open.work();
    assert_eq!(presence(&open, 1), Presence::Pending);
}

#[test]
fn confirming_can_be_broken_off_at_every_question_and_goes_on() {
    let site = TestSite::new("checksum");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    site.put("a/one.fits", &artifact(1, 10));
    site.put("a/two.fits", &artifact(2, 20));
    let run = open.registry().waiting_runs().unwrap().remove(0).run;
    for answers in 0.. {
        let mut left = answers;
        let mut go_on = || {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        };
        match open.confirming.confirm_run(&run, &mut go_on) {
            Err(error) => assert!(error.is_interruption(), "{error}"),
            Ok(_) => break,
        }
        assert!(answers < 100, "it never ends");
    }
    let row = open.registry().run(&run).unwrap().unwrap();
    assert_eq!((row.claims, row.waiting), (2, 0));
}

#[test]
fn a_directory_that_changed_is_looked_at() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let step = open.confirming.step(&mut || ControlFlow::Continue(()));
    assert_eq!(step.unwrap().artifacts, 0);
    site.put("a/one.fits", &artifact(1, 10));
    let mut changed = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let go_on = &mut || ControlFlow::Continue(());
        open.confirming.changed(&names, go_on).unwrap()
    };
    let other = changed(&["b"]);
    assert_eq!((other.artifacts, other.next), (0, None));
    let one = changed(&["a"]);
    assert_eq!((one.artifacts, one.next), (1, None));
}

#[test]
fn a_run_past_its_deadline_is_reported_until_it_is_complete() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    open.confirming
        .step(&mut || ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(open.ledger().findings().unwrap(), []);
    site.pass(Duration::from_secs(3600 * 25));
    open.confirming
        .step(&mut || ControlFlow::Continue(()))
        .unwrap();
    let findings = open.ledger().findings().unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, "run_overdue");
    site.put("a/one.fits", &artifact(1, 10));
    site.put("a/two.fits", &artifact(2, 20));
    site.pass(Duration::from_secs(3600));
    open.confirming
        .step(&mut || ControlFlow::Continue(()))
        .unwrap();
    site.pass(Duration::from_secs(3600));
    open.confirming
        .step(&mut || ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(open.ledger().findings().unwrap(), []);
}

#[test]
fn a_restart_forgets_nothing() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let (dump, rows) = (open.dump(), open.manifests());
    drop(open);
    let mut open = site.open();
    open.work();
    assert_eq!((open.dump(), open.manifests()), (dump, rows));
}

#[test]
fn a_root_that_is_not_the_one_opened_is_left_alone() {
    let site = TestSite::new("size");
    let mut open = site.open();
    site.place(&two(&site));
    open.work();
    let away = site.folder.path().join("away");
    support::rename(&site.root(), &away);
    assert!(open.arrivals.sweep().is_err());
    std::fs::create_dir(site.root()).unwrap();
    assert!(
        open.arrivals.sweep().is_err(),
        "an empty folder is not the root"
    );
    std::fs::remove_dir(site.root()).unwrap();
    support::rename(&away, &site.root());
    open.arrivals.sweep().unwrap();
    assert_eq!(open.manifest().state, ManifestState::Registered);
}

#[test]
fn every_manifest_that_was_sighted_is_accounted_for_at_any_time() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // What of the metric's lines holds this label, summed up.
    let count = |metric: &str, label: &str| -> f64 {
        let text = handle.render();
        let lines = text.lines().filter(|line| line.starts_with(metric));
        let values = lines.filter(|line| line.contains(label));
        let values = values.filter_map(|line| line.rsplit_once(' '));
        values.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    };
    let sums_up = |sighted: f64, pending: f64| {
        assert_eq!(count("runsync_ingest_watch_total", "sighted"), sighted);
        assert_eq!(count("runsync_ingest_pending", "main"), pending);
        let decided = count("runsync_ingest_acknowledge_total", "outcome");
        assert_eq!(decided + pending, sighted);
    };
    let registered = || count("runsync_ingest_acknowledge_total", "registered");
    metrics::with_local_recorder(&recorder, || {
        let site = TestSite::new("trust");
        let mut open = site.open();
        sums_up(0.0, 0.0);
        let whole =
            Manifest::new(site.repository, "u/a", "1-1", Content::Additions).with_many(1, 1);
        let path = site.place(&whole);
        site.put("runsync/manifests/x/u/1-1.manifest.jsonl", b"{\"cut\":");
        open.work();
        sums_up(2.0, 1.0);
        // The same bytes in another file are known again.
        put(&path, &whole.bytes(Some(&site.key)));
        open.work();
        sums_up(3.0, 1.0);
        assert_eq!(registered(), 2.0);
        // A removal overtakes what was decided before.
        let removal = Manifest::new(site.repository, "u/a", "1-2", Content::Removal);
        site.place(&removal);
        open.work();
        sums_up(4.0, 1.0);
        drop(open);
        sums_up(4.0, 0.0);
        let mut open = site.open();
        open.work();
        sums_up(5.0, 1.0);
    });
}
