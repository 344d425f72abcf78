//! Messages become runs, and replays change nothing.

use std::time::Duration;

use runsync::adopted::DIMENSIONS_RUN;
use runsync::ledger::record::ManifestState;
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;
use runsync_manifest::reader::Reader;

use crate::sender::{RUN, dimension_file, product, product_of, send};
use crate::site::{
    BATCH_AGE, adopted_run, adopting, manifests_of, presence, row, take_all, take_due, waiting,
};
use crate::support::OpenSite;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn states(open: &OpenSite) -> Vec<ManifestState> {
    open.manifests().iter().map(|row| row.state).collect()
}

#[test]
fn messages_become_a_run_whose_files_are_confirmed() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(10)]);
    let products: Vec<_> = (1..=5).map(product).collect();
    send(&site, &open, &products);
    // The dimension records go in at once; the files of a run are gathered for a while.
    take_due(&site, &open);
    assert_eq!(waiting(&open), 5);
    assert_eq!(row(&open, &adopted_run(RUN)), None);
    take_all(&site, &mut open);
    assert_eq!(waiting(&open), 0);
    assert_eq!(presence(&open, &[1, 2, 3, 4, 5, 6]), {
        let mut all = [Presence::Yes; 6];
        all[5] = Presence::No;
        all
    });
    let run = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!((run.datasets, run.claims, run.waiting), (5, 5, 0));
    assert_eq!(states(&open), [ManifestState::Registered; 2]);

    // It is a manifest of this site's own hand, in its own root, under the origin of the RSE.
    let manifests = manifests_of(&site, &adopted_run(RUN));
    assert_eq!(manifests.len(), 1);
    let file = std::fs::File::open(site.root().join(&manifests[0])).unwrap();
    let reader = Reader::new(file, site.site().limits).unwrap();
    let header = reader.header();
    assert_eq!(
        (header.content, &header.run),
        (Content::Additions, &adopted_run(RUN).name)
    );
    assert_eq!(header.origin.site.as_str(), "SITE_B");
    assert_eq!(header.scope, None);
    assert_eq!(header.provenance["adopted_at"], "SITE_B_DISK");
}

#[test]
fn a_topic_that_is_read_again_from_its_beginning_changes_nothing() {
    let site = adopting("");
    let mut open = site.open();
    let mut all = vec![dimension_file(10)];
    all.extend((1..=5).map(product));
    all.extend((6..=8).map(|number| product_of("u/test/other", number)));
    send(&site, &open, &all);
    take_all(&site, &mut open);
    let (before, manifests) = (open.dump(), open.manifests().len());
    assert_eq!(manifests, 3);
    for order in [false, true] {
        if order {
            all.reverse();
        }
        for one in all.chunks(2) {
            send(&site, &open, one);
            take_all(&site, &mut open);
        }
        assert_eq!(open.dump(), before);
        assert_eq!(open.manifests().len(), manifests);
    }
    // So does the sweep of a daemon that starts anew, and messages after that.
    drop(open);
    let mut open = site.open();
    open.work();
    send(&site, &open, &all);
    take_all(&site, &mut open);
    assert_eq!(open.dump(), before);
    assert_eq!((open.manifests().len(), waiting(&open)), (manifests, 0));
}

#[test]
fn what_was_written_when_the_daemon_was_killed_is_written_once() {
    let site = adopting("");
    let mut open = site.open();
    let mut all = vec![dimension_file(10)];
    all.extend((1..=5).map(product));
    send(&site, &open, &all);
    take_all(&site, &mut open);
    let before = open.dump();
    let manifests = manifests_of(&site, &adopted_run(RUN));
    // As it is where the manifests lie in the root, and neither registry, ledger nor broker have heard of it.
    drop(open);
    let other = adopting("");
    for file in crate::pair::files_below(&site, "") {
        if file != "runsync/repository.json" {
            other.put(&file, &std::fs::read(site.root().join(&file)).unwrap());
        }
    }
    let mut open = other.open();
    send(&other, &open, &all);
    open.work();
    take_all(&other, &mut open);
    assert_eq!(open.dump(), before);
    assert_eq!(manifests_of(&other, &adopted_run(RUN)), manifests);
}

#[test]
fn full_batches_wait_for_nothing_and_late_files_come_together() {
    let site = adopting("batch_files = 4");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(20)]);
    take_all(&site, &mut open);
    send(&site, &open, &(1..=4).map(product).collect::<Vec<_>>());
    take_due(&site, &open);
    assert_eq!(manifests_of(&site, &adopted_run(RUN)).len(), 1);
    // One at a time: they come due together.
    for number in 5..=7 {
        send(&site, &open, &[product(number)]);
        take_due(&site, &open);
        site.pass(Duration::from_secs(1));
    }
    assert_eq!(manifests_of(&site, &adopted_run(RUN)).len(), 1);
    take_all(&site, &mut open);
    assert_eq!(manifests_of(&site, &adopted_run(RUN)).len(), 2);
    assert_eq!(presence(&open, &[1, 2, 3, 4, 5, 6, 7]), [Presence::Yes; 7]);
}

#[test]
fn files_wait_for_their_dimension_records() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[product(1), product(15)]);
    take_all(&site, &mut open);
    assert_eq!(presence(&open, &[1, 15]), [Presence::No; 2]);
    assert_eq!(waiting(&open), 2);
    // Those of visit 1 come, and those of visit 15 do not.
    send(&site, &open, &[dimension_file(10)]);
    site.pass(BATCH_AGE);
    take_all(&site, &mut open);
    site.pass(Duration::from_secs(600));
    take_all(&site, &mut open);
    assert_eq!(presence(&open, &[1, 15]), [Presence::Yes, Presence::No]);
    assert_eq!(waiting(&open), 1);
    // Past all patience it is in a manifest that is blocked, for all to see, and message or not it comes true.
    site.pass(HOUR);
    take_all(&site, &mut open);
    assert_eq!(waiting(&open), 0);
    let blocked = |open: &OpenSite| {
        let rows = open.manifests();
        rows.iter()
            .filter(|row| row.state == ManifestState::Blocked)
            .count()
    };
    assert_eq!(blocked(&open), 1);
    send(&site, &open, &[dimension_file(20)]);
    take_all(&site, &mut open);
    open.work();
    open.confirm();
    assert_eq!(presence(&open, &[1, 15]), [Presence::Yes; 2]);
    assert_eq!(blocked(&open), 0);
}

#[test]
fn a_file_that_is_not_there_yet_is_known_and_confirmed_when_it_comes() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(10)]);
    let late = product(1);
    open.ledger()
        .note_hints(&[crate::sender::hint(&site, &late)])
        .unwrap();
    take_all(&site, &mut open);
    assert_eq!(presence(&open, &[1]), [Presence::Pending]);
    // Other bytes of that size confirm nothing: the message told their checksum.
    site.put(&late.path, &vec![0; late.bytes.len()]);
    open.confirm();
    assert_eq!(presence(&open, &[1]), [Presence::Pending]);
    late.arrives(&site);
    open.confirm();
    assert_eq!(presence(&open, &[1]), [Presence::Yes]);
}

#[test]
fn formatters_come_from_the_configuration() {
    let rule = "[[adopt.formatter]]\nstorage_class = \"ExposureF\"\nformatter = \"x.y.Z\"\n";
    let site = adopting(rule);
    let mut open = site.open();
    send(&site, &open, &[dimension_file(10), product(1)]);
    take_all(&site, &mut open);
    let records = open
        .registry()
        .records(&adopted_run(RUN), None, 10)
        .unwrap();
    assert_eq!(records[0].formatter.as_deref(), Some("x.y.Z"));
}

#[test]
fn files_of_dimension_records_leave_few_manifests() {
    let site = adopting("manifests_max = 4\n");
    let mut open = site.open();
    let run = adopted_run(DIMENSIONS_RUN);
    let mut most = 0;
    for visits in 1..=11 {
        send(&site, &open, &[dimension_file(visits)]);
        take_all(&site, &mut open);
        most = most.max(manifests_of(&site, &run).len());
    }
    assert!(most <= 4, "{most}");
    let before = open.registry().dimension_records().unwrap();
    // What was superseded is known by its records.
    let manifests = manifests_of(&site, &run);
    send(&site, &open, &[dimension_file(2), dimension_file(5)]);
    take_all(&site, &mut open);
    assert_eq!(manifests_of(&site, &run), manifests);
    assert_eq!(open.registry().dimension_records().unwrap(), before);
    // What is left makes the same records, from nothing.
    drop(open);
    let other = adopting("manifests_max = 4\n");
    for file in manifests {
        other.put(&file, &std::fs::read(site.root().join(&file)).unwrap());
    }
    let mut open = other.open();
    open.work();
    assert_eq!(open.registry().dimension_records().unwrap(), before);
    assert!(open.ledger().findings().unwrap().is_empty());
    send(&other, &open, &[product(3)]);
    take_all(&other, &mut open);
    assert_eq!(presence(&open, &[3]), [Presence::Yes]);
}

#[test]
fn files_that_come_one_by_one_leave_few_manifests() {
    let site = adopting("manifests_max = 4\n");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(40)]);
    take_all(&site, &mut open);
    let mut most = 0;
    for number in 1..=22 {
        send(&site, &open, &[product(number)]);
        take_all(&site, &mut open);
        most = most.max(manifests_of(&site, &adopted_run(RUN)).len());
    }
    assert!(most <= 4, "{most}");
    let all: Vec<u128> = (1..=22).collect();
    assert_eq!(presence(&open, &all), vec![Presence::Yes; 22]);
    let states = states(&open);
    assert!(
        states
            .iter()
            .all(|state| *state == ManifestState::Registered),
        "{states:?}"
    );
    // What is left makes the same registry, from nothing.
    let before = row(&open, &adopted_run(RUN)).unwrap();
    drop(open);
    let other = adopting("manifests_max = 4\n");
    for file in crate::pair::files_below(&site, "") {
        if file != "runsync/repository.json" {
            other.put(&file, &std::fs::read(site.root().join(&file)).unwrap());
        }
    }
    let mut open = other.open();
    open.work();
    open.confirm();
    let after = row(&open, &adopted_run(RUN)).unwrap();
    let sums = |row: &runsync::registry::record::RunRow| {
        (
            row.datasets,
            row.claims,
            row.waiting,
            row.bytes,
            row.generation,
        )
    };
    assert_eq!(sums(&after), sums(&before));
    // One that waits for dimension records in a manifest of its own is not overtaken.
    send(&other, &open, &[product(41)]);
    other.pass(2 * HOUR);
    for number in 23..=34 {
        send(&other, &open, &[product(number)]);
        take_all(&other, &mut open);
    }
    send(&other, &open, &[dimension_file(42)]);
    take_all(&other, &mut open);
    open.work();
    open.confirm();
    assert_eq!(presence(&open, &[34, 41]), [Presence::Yes; 2]);
}
