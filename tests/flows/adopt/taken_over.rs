//! The run's owner speaks, and the adopted run gives way; a run that was removed here stays removed.

use std::fs;
use std::ops::ControlFlow;

use runsync::clock::Clock;
use runsync::datastore::manifest_path;
use runsync::ingest::flow::Progress;
use runsync::ingest::give_way::{ADOPTED_CONTRADICTED, ADOPTED_LEFT};
use runsync::ingest::settle::Settled;
use runsync::ledger::record::{HintKind, ManifestState};
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Request, Requester};
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;

use crate::pair::{carry_manifests, copy_of, files_below};
use crate::sender::{RSE, RUN, Sent, dimension_file, product, send};
use crate::site::{
    adopted_run, configured, findings, manifests_of, presence, row, take_all, waiting,
};
use crate::support::{Manifest, OpenSite, TestSite, entry, private, write};

const FIRST: Generation = Generation::FIRST;

/// The owner's manifest of the products of these numbers, as the sender has them.
fn manifest(owner: &TestSite, generation: &str, content: Content, numbers: &[u128]) -> Manifest {
    let entries: Vec<_> = numbers
        .iter()
        .map(|&number| {
            let Sent { path, bytes, .. } = product(number);
            entry(number, i64::try_from(number).unwrap(), 0, &path, &bytes)
        })
        .collect();
    Manifest::new(owner.repository, RUN, generation, content)
        .with_dimensions(30)
        .with_entries(entries)
}

/// An owner, and a site that adopts what it has not spoken for.
fn pair() -> (TestSite, TestSite) {
    let owner = TestSite::in_memory("size");
    let more = configured("");
    let site = copy_of(&owner, "apply", "");
    let peer = crate::pair::peer(&owner, "apply");
    site.configure("checksum", &format!("{more}{peer}"));
    (owner, site)
}

/// The site has adopted these products.
fn adopt(site: &TestSite, numbers: &[u128]) -> OpenSite {
    let mut open = site.open();
    let mut sent = vec![dimension_file(30)];
    sent.extend(numbers.iter().map(|&number| product(number)));
    send(site, &open, &sent);
    take_all(site, &mut open);
    open
}

/// What the root of a site holds, and the owner's key, at another.
fn bring(site: &TestSite, owner: &TestSite, again: &TestSite) {
    for file in files_below(site, "") {
        if file != "runsync/repository.json" {
            again.put(&file, &fs::read(site.root().join(&file)).unwrap());
        }
    }
    let key = format!("keys/trusted/{}.json", owner.key.public().id());
    let key_file = site.folder.path().join(&key);
    crate::support::write(
        &again.folder.path().join(&key),
        &fs::read(key_file).unwrap(),
    );
}

fn remove(open: &OpenSite, operation: Operation) -> Result<(), String> {
    let removing = &open.assembly.removing;
    let request = Request {
        operation,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    };
    let plan = removing.plan(&request).map_err(|error| error.to_string())?;
    let consent = Consent {
        plan: plan.id,
        approved: true,
    };
    let alice = Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: false,
        any: true,
    };
    let go_on = &mut |_| ControlFlow::Continue(());
    let outcome = removing.remove(&request, &consent, &alice, go_on);
    outcome.map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_owners_snapshot_takes_over_with_all_that_is_confirmed() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2, 3]);
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    // Nothing is looked at again: without their files they would not be confirmed anew.
    for number in 1..=3 {
        fs::remove_file(site.root().join(product(number).path)).unwrap();
    }
    owner.place(&manifest(&owner, "1-1", Content::Snapshot, &[1, 2, 3, 4]));
    carry_manifests(&owner, &site);
    open.work();
    open.confirm();
    let (yes, pending) = (Presence::Yes, Presence::Pending);
    assert_eq!(presence(&open, &[1, 2, 3, 4]), [yes, yes, yes, pending]);
    let run = row(&open, &owner.run(RUN)).unwrap();
    assert_eq!((run.datasets, run.waiting), (4, 1));
    let given = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!((given.datasets, given.claims, given.waiting), (0, 0, 0));
    assert!(findings(&open, ADOPTED_LEFT).is_empty());
    assert!(findings(&open, ADOPTED_CONTRADICTED).is_empty());

    // Messages, and the adopted manifests on another look, count for nothing from then on.
    let before = open.dump();
    send(&site, &open, &[dimension_file(30), product(1), product(7)]);
    take_all(&site, &mut open);
    assert_eq!(
        (presence(&open, &[7]), waiting(&open)),
        (vec![Presence::No], 0)
    );
    assert_eq!(open.dump(), before);
    // They are told on as what they are for the owner's run: files that have come.
    let arrived = open
        .ledger()
        .hints_due(HintKind::Arrived, site.clock.now(), 10)
        .unwrap();
    let names: Vec<_> = arrived.iter().map(|hint| hint.name.as_str()).collect();
    assert_eq!(names, [product(1).path, product(7).path]);
    drop(open);
    let mut open = site.open();
    open.work();
    assert_eq!(open.dump(), before);
}

#[test]
fn an_owner_that_only_adds_takes_over_what_it_names() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2, 3, 4]);
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2]));
    carry_manifests(&owner, &site);
    open.work();
    assert_eq!(row(&open, &owner.run(RUN)).unwrap().datasets, 2);
    assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 2);
    assert_eq!(presence(&open, &[1, 2, 3, 4]), [Presence::Yes; 4]);
    assert_eq!(findings(&open, ADOPTED_LEFT).len(), 1);
    // What it names later goes over, too, and then nothing is left to tell.
    owner.place(&manifest(&owner, "1-2", Content::Additions, &[3, 4]));
    carry_manifests(&owner, &site);
    open.work();
    assert_eq!(row(&open, &owner.run(RUN)).unwrap().datasets, 4);
    assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 0);
    assert_eq!(presence(&open, &[1, 2, 3, 4]), [Presence::Yes; 4]);
    assert!(findings(&open, ADOPTED_LEFT).is_empty());
}

#[test]
fn an_owner_that_is_kept_out_takes_nothing_over() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2, 3]);
    // One of its datasets has no dimension records here: the whole manifest is blocked.
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2, 40]));
    carry_manifests(&owner, &site);
    open.work();
    let given = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!((given.datasets, given.floor), (3, None));
    assert!(row(&open, &owner.run(RUN)).is_none_or(|run| run.datasets == 0));
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    // Messages of the run are taken all the same.
    send(&site, &open, &[product(4)]);
    take_all(&site, &mut open);
    assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 4);

    let records = Manifest::new(owner.repository, "u/records", "1-1", Content::Additions);
    owner.place(&records.with_dimensions(41));
    carry_manifests(&owner, &site);
    open.work();
    open.work();
    assert_eq!(row(&open, &owner.run(RUN)).unwrap().datasets, 3);
    assert_eq!(presence(&open, &[1, 2, 3, 4]), [Presence::Yes; 4]);
    let given = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!((given.datasets, given.floor), (2, None));
}

#[test]
fn a_take_over_that_was_cut_short_is_ended_by_the_next_look() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2]);
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2]));
    carry_manifests(&owner, &site);
    let path = manifest_path(owner.repository, &RUN.parse().unwrap(), FIRST, false);
    let settled = Settled::by_operator(path, site.clock.now());
    // Stopped once the datasets have changed hands, before the manifest is registered.
    let decided = open
        .flow()
        .decide(vec![settled], false, &mut |progress| match progress {
            Progress::Compared { .. } => ControlFlow::Break(()),
            Progress::Read { .. } | Progress::Waiting | Progress::Registered { .. } => {
                ControlFlow::Continue(())
            }
        });
    assert!(decided.is_err(), "{decided:?}");
    let given = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!((given.datasets, given.floor), (0, None));
    assert_eq!(presence(&open, &[1, 2]), [Presence::Yes; 2]);
    open.work();
    let given = row(&open, &adopted_run(RUN)).unwrap();
    assert_eq!(given.floor, given.generation);
    let run = row(&open, &owner.run(RUN)).unwrap();
    assert_eq!((run.datasets, run.generation), (2, Some(FIRST)));
    assert_eq!(presence(&open, &[1, 2]), [Presence::Yes; 2]);
}

#[test]
fn what_was_adopted_stays_and_gives_way_once_nothing_is_adopted_any_more() {
    let (owner, site) = pair();
    drop(adopt(&site, &[1, 2, 3]));
    let more = format!("rse = \"{RSE}\"\n{}", crate::pair::peer(&owner, "apply"));
    // The same registry, and one that is made of what the root holds.
    let (_, again) = pair();
    bring(&site, &owner, &again);
    for site in [&site, &again] {
        site.configure("checksum", &more);
        let mut open = site.open();
        open.work();
        open.confirm();
        assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 3);
        assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    }
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2, 3]));
    for site in [&site, &again] {
        carry_manifests(&owner, site);
        let mut open = site.open();
        open.work();
        assert_eq!(row(&open, &owner.run(RUN)).unwrap().datasets, 3);
        assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 0);
        assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    }
}

#[test]
fn the_registry_ends_alike_whoever_comes_first() {
    let numbers = [1, 2, 3, 4, 5];
    let mut ends = Vec::new();
    for owner_comes in 0..=2 {
        let (owner, site) = pair();
        let mut open = site.open();
        let place = |generation: &str, content, numbers: &[u128]| {
            owner.place(&manifest(&owner, generation, content, numbers));
            carry_manifests(&owner, &site);
        };
        let mut sent = vec![dimension_file(30)];
        sent.extend(numbers.iter().map(|&number| product(number)));
        for (step, sent) in sent.chunks(2).enumerate() {
            if step == owner_comes {
                place("1-1", Content::Additions, &[1, 2, 3]);
                open.work();
            }
            send(&site, &open, sent);
            take_all(&site, &mut open);
        }
        place("1-2", Content::Snapshot, &numbers);
        for number in numbers {
            product(number).arrives(&site);
        }
        open.work();
        open.confirm();
        assert_eq!(presence(&open, &numbers), [Presence::Yes; 5]);
        let of_owner = row(&open, &owner.run(RUN)).unwrap();
        assert_eq!(
            (of_owner.datasets, of_owner.waiting),
            (5, 0),
            "{owner_comes}"
        );
        ends.push((
            of_owner.datasets,
            of_owner.claims,
            of_owner.bytes,
            of_owner.generation,
        ));
        // What the root holds makes the same registry, from nothing.
        drop(open);
        let (_, again) = pair();
        bring(&site, &owner, &again);
        let mut open = again.open();
        open.work();
        open.confirm();
        open.work();
        assert_eq!(presence(&open, &numbers), [Presence::Yes; 5]);
        let of_owner = row(&open, &owner.run(RUN)).unwrap();
        ends.push((
            of_owner.datasets,
            of_owner.claims,
            of_owner.bytes,
            of_owner.generation,
        ));
    }
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
}

#[test]
fn where_messages_contradict_the_owner_the_owner_is_right() {
    let (owner, site) = pair();
    let mut open = site.open();
    let mut renamed = product(1);
    renamed.sidecar = renamed.sidecar.replace("\"visit\":1}", "\"visit\":11}");
    let mut bytes = product(2);
    bytes.bytes.push(1);
    send(
        &site,
        &open,
        &[dimension_file(30), renamed, bytes, product(3), product(4)],
    );
    take_all(&site, &mut open);
    assert_eq!(row(&open, &adopted_run(RUN)).unwrap().datasets, 4);
    owner.place(&manifest(&owner, "1-1", Content::Snapshot, &[1, 2, 3]));
    carry_manifests(&owner, &site);
    open.work();
    open.confirm();
    let run = row(&open, &owner.run(RUN)).unwrap();
    assert_eq!(run.datasets, 3);
    let told = findings(&open, ADOPTED_CONTRADICTED);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].detail.contains("1 datasets of messages"),
        "{told:?}"
    );
    // What it says of the bytes counts, and is looked at again.
    let (yes, pending) = (Presence::Yes, Presence::Pending);
    assert_eq!(presence(&open, &[1, 2, 3, 4])[1..], [pending, yes, yes]);
    let left = findings(&open, ADOPTED_LEFT);
    assert_eq!(left.len(), 1);
    assert!(
        left[0].subject.starts_with("adopted:SITE_B_DISK/"),
        "{left:?}"
    );
}

#[test]
fn an_adopted_run_is_removed_here_alone_and_stays_away() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2, 3]);
    let refused = remove(&open, Operation::RemoveRuns);
    assert!(refused.is_err(), "it is nobody's to remove everywhere");
    let manifests = manifests_of(&site, &adopted_run(RUN));
    remove(&open, Operation::DropCopy).unwrap();
    open.follow();
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::No; 3]);
    assert_eq!(files_below(&site, "u"), [""; 0]);
    assert_eq!(
        manifests_of(&site, &adopted_run(RUN)),
        manifests,
        "nothing is told"
    );
    assert_eq!(open.registry().notices().unwrap(), []);
    send(&site, &open, &[product(1)]);
    take_all(&site, &mut open);
    open.work();
    assert_eq!(
        (presence(&open, &[1]), waiting(&open)),
        (vec![Presence::No], 0)
    );
    // Its owner may bring it all the same.
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2]));
    carry_manifests(&owner, &site);
    open.work();
    assert_eq!(row(&open, &owner.run(RUN)).unwrap().datasets, 2);
    let registered = open
        .manifests()
        .iter()
        .filter(|row| row.state == ManifestState::Registered)
        .count();
    assert_eq!(registered, 2, "the owner's, and the dimension records'");
}

#[test]
fn what_rucio_deletes_is_not_removed_where_it_was_adopted() {
    let (_owner, site) = pair();
    drop(adopt(&site, &[1, 2]));
    let more = configured("").replacen('\n', "\ndeleter = \"rucio\"\n", 1);
    // Nobody is asked.
    let rucio = "[rucio]\nurl = \"http://127.0.0.1:9\"\naccount = \"runsync\"\nscope = \"hsc\"\n\
         [rucio.userpass]\nusername = \"runsync\"\npassword_file = \"keys/rucio.password\"\n";
    site.configure("checksum", &format!("{more}{rucio}"));
    let password = site.folder.path().join("keys/rucio.password");
    write(&password, b"secret");
    private(&password);
    let open = site.open();
    let before = files_below(&site, "u");
    for operation in [Operation::DropCopy, Operation::Unstore] {
        let refused = remove(&open, operation).unwrap_err();
        assert!(refused.contains("was adopted"), "{refused}");
    }
    assert_eq!(presence(&open, &[1, 2]), [Presence::Yes; 2]);
    assert_eq!(files_below(&site, "u"), before);
    assert!(!before.is_empty());
}

#[test]
fn an_owner_that_removes_the_run_removes_what_messages_told_of() {
    let (owner, site) = pair();
    let mut open = adopt(&site, &[1, 2]);
    owner.place(&manifest(&owner, "1-1", Content::Additions, &[1, 2]));
    owner.place(&Manifest::new(
        owner.repository,
        RUN,
        "1-2",
        Content::Removal,
    ));
    carry_manifests(&owner, &site);
    open.work();
    open.follow();
    assert_eq!(presence(&open, &[1, 2]), [Presence::No; 2]);
    send(&site, &open, &[product(1)]);
    take_all(&site, &mut open);
    assert_eq!(
        (presence(&open, &[1]), waiting(&open)),
        (vec![Presence::No], 0)
    );
}
