//! Removing runs: what goes, what stays, and what is left where something goes wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runsync::datastore::faulty::Faulty;
use runsync::datastore::{Datastore, LocalRoot};
use runsync::ledger::record::ManifestState;
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{
    Consent, Ground, JournalState, NamedRoot, Outcome, Phase, Plan, RemovalError, Removing,
    Request, Requester, State,
};
use runsync_manifest::content::Content;
use runsync_manifest::name::DatasetId;
use support::{Manifest, OpenSite, TestSite, artifact, entry, rename, write};
use uuid::Uuid;

const RUN: &str = "u/test/run";
const OTHER: &str = "u/test/other";

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

fn request(runs: &[&str]) -> Request {
    Request {
        operation: Operation::RemoveRuns,
        runs: runs.iter().map(|name| name.parse().unwrap()).collect(),
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    }
}

/// Dataset `number`'s artifact.
fn bytes(number: u128) -> Vec<u8> {
    artifact(u64::try_from(number).unwrap(), 50)
}

fn run_of(site: &TestSite, run: &str, generation: &str, numbers: &[(u128, &str)]) -> Manifest {
    let entries = numbers.iter().map(|(number, path)| {
        let at = i64::try_from(*number % 10).unwrap();
        entry(*number, at, 0, path, &bytes(*number))
    });
    Manifest::new(site.repository, run, generation, Content::Additions)
        .with_dimensions(10)
        .with_entries(entries.collect::<Vec<_>>())
}

/// A site with a run of three artifacts and another run of one, all confirmed.
fn site() -> (TestSite, OpenSite) {
    let site = TestSite::new("size");
    for (number, path) in [(1, "a/1"), (2, "a/2"), (3, "b/3"), (14, "a/14")] {
        site.put(path, &bytes(number));
    }
    let numbers = [(1, "a/1"), (2, "a/2"), (3, "b/3")];
    site.place(&run_of(&site, RUN, "1-1", &numbers));
    site.place(&run_of(&site, OTHER, "1-1", &[(14, "a/14")]));
    let mut open = site.open();
    open.work();
    assert_eq!(open.confirm(), 4);
    (site, open)
}

/// What removes at this site, over another view of its root.
fn removing_over(site: &TestSite, open: &OpenSite, datastore: Arc<dyn Datastore>) -> Removing {
    Removing::new(ground_over(site, open, datastore))
}

fn ground_over(site: &TestSite, open: &OpenSite, datastore: Arc<dyn Datastore>) -> Ground {
    let parts = &open.assembly.parts;
    Ground {
        site: "SITE_A".parse().unwrap(),
        repository: site.repository,
        host: "here".to_owned(),
        caps: runsync_config::removal::Removal::default(),
        signing_key_file: site.site().signing_key_file,
        registry: Arc::clone(&parts.registry),
        ledger: Arc::clone(&parts.ledger),
        registration: runsync::assembly::registration_lock(&site.site()).unwrap(),
        roots: vec![NamedRoot {
            name: "main".parse().unwrap(),
            datastore,
            rse: None,
            deleter: runsync_config::root::Deleter::Runsync,
        }],
        rucio: None,
        peers: Arc::default(),
        clock: Arc::clone(&parts.clock),
    }
}

fn consent(plan: &Plan) -> Consent {
    Consent {
        plan: plan.id.clone(),
        approved: false,
    }
}

fn remove(removing: &Removing, runs: &[&str]) -> Result<Outcome, RemovalError> {
    let request = request(runs);
    let plan = removing.plan(&request)?;
    removing.remove(&request, &consent(&plan), &alice(), &mut go_on)
}

/// Commits a removal and does nothing else, as a process that is killed then.
fn begin(removing: &Removing, runs: &[&str]) -> Uuid {
    let (removal, request) = (Uuid::new_v4(), request(runs));
    let plan = removing.plan(&request).unwrap();
    removing
        .begin(removal, &request, &consent(&plan), &alice(), &mut go_on)
        .unwrap();
    removal
}

fn presence(open: &OpenSite, numbers: &[u128]) -> Vec<Presence> {
    let datasets: Vec<DatasetId> = numbers
        .iter()
        .map(|number| DatasetId(Uuid::from_u128(*number)))
        .collect();
    let answers = open.registry().exists(&datasets).unwrap();
    answers.iter().map(|answer| answer.presence).collect()
}

fn journals(site: &TestSite) -> Vec<String> {
    let folder = site.root().join("runsync/journal");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

fn is_there(site: &TestSite, path: &str) -> bool {
    fs::exists(site.root().join(path)).unwrap()
}

/// Nothing of [`RUN`] is left, and all of [`OTHER`].
fn check_removed(site: &TestSite, open: &OpenSite) {
    let run = site.run(RUN);
    let registry = open.registry();
    assert_eq!(presence(open, &[1, 2, 3]), [Presence::No; 3]);
    assert_eq!(presence(open, &[14]), [Presence::Yes]);
    assert_eq!(registry.datasets(&run, None, None, 10).unwrap(), []);
    assert_eq!(registry.records(&run, None, 10).unwrap(), []);
    assert_eq!(registry.removals().unwrap(), []);
    assert_eq!(journals(site), [""; 0]);
    for path in ["a/1", "a/2", "b/3"] {
        assert!(!is_there(site, path), "{path}");
    }
    assert!(is_there(site, "a/14"));
    let row = registry.run(&run).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (0, 0, 0, 0)
    );
    let other = registry.run(&site.run(OTHER)).unwrap().unwrap();
    assert_eq!((other.datasets, other.confirmed()), (1, 1));
}

#[test]
fn a_removed_run_is_gone_with_its_artifacts_and_nothing_else() {
    let (site, open) = site();
    let outcome = remove(&open.assembly.removing, &[RUN]).unwrap();
    assert!(outcome.done);
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.bytes),
        (3, 150)
    );
    assert_eq!(outcome.deletions.total(), 3);
    check_removed(&site, &open);
}

#[test]
fn from_the_commit_on_nobody_sees_the_run() {
    let (site, mut open) = site();
    // Another artifact is waited for when the run is removed.
    site.place(&run_of(&site, RUN, "1-2", &[(5, "late/5")]));
    open.work();
    let removal = begin(&open.assembly.removing, &[RUN]);
    let (registry, run) = (open.registry(), site.run(RUN));
    assert_eq!(presence(&open, &[1, 2, 3, 5]), [Presence::No; 4]);
    assert_eq!(registry.datasets(&run, None, None, 10).unwrap(), []);
    assert_eq!(registry.records(&run, None, 10).unwrap(), []);
    assert_eq!(registry.waiting_runs().unwrap(), []);
    let waiting = registry.waiting_artifacts(&run, &"main".parse().unwrap(), (None, None), 10);
    assert_eq!(waiting.unwrap(), []);
    assert_eq!(registry.run(&run).unwrap().unwrap().datasets, 0);
    for path in ["a/1", "a/2", "b/3"] {
        assert!(is_there(&site, path), "{path}");
    }
    let outcome = open.assembly.removing.resume(removal, &mut go_on).unwrap();
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.absent),
        (3, 1)
    );
    assert!(outcome.late_until.is_some(), "it may still arrive");
    let given_up = removing_of(&open).give_up(removal, &alice(), None, &mut go_on);
    assert_eq!(given_up.unwrap(), 4);
    check_removed(&site, &open);
}

/// A site whose run was removed while another of its artifacts was waited for, at `late/5`.
fn site_with_late_arrival() -> (TestSite, OpenSite, Uuid) {
    let (site, mut open) = site();
    site.place(&run_of(&site, RUN, "1-2", &[(5, "late/5")]));
    open.work();
    let removal = begin(removing_of(&open), &[RUN]);
    let outcome = removing_of(&open).resume(removal, &mut go_on).unwrap();
    assert!(outcome.done);
    let standing = removing_of(&open).standing(removal).unwrap().unwrap();
    assert_eq!(standing.state, State::Late);
    (site, open, removal)
}

fn removing_of(open: &OpenSite) -> &Removing {
    &open.assembly.removing
}

#[test]
fn what_arrives_after_its_run_was_removed_is_deleted_until_a_grace_time_is_over() {
    let (site, open, removal) = site_with_late_arrival();
    // Rows are reaped at once, and the run may come again.
    assert_eq!(open.registry().removals().unwrap()[0].parts, []);
    assert_eq!(journals(&site).len(), 1);
    // Nothing of the removed run: it stays, whatever its path.
    site.put("late/5", &artifact(6, 50));
    let outcome = removing_of(&open).resume(removal, &mut go_on).unwrap();
    assert_eq!(outcome.deletions.deleted, 0);
    assert!(is_there(&site, "late/5"));
    fs::remove_file(site.root().join("late/5")).unwrap();
    site.put("late/5", &bytes(5));
    let outcome = removing_of(&open).resume(removal, &mut go_on).unwrap();
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.bytes),
        (1, 50)
    );
    assert!(!is_there(&site, "late/5"));
    let standing = removing_of(&open).standing(removal).unwrap().unwrap();
    assert_eq!(standing.deletions.deleted, 4);
    site.clock.advance(Duration::from_secs(25 * 3600));
    let outcome = removing_of(&open).resume(removal, &mut go_on).unwrap();
    assert_eq!(outcome.late_until, None);
    check_removed(&site, &open);
}

#[test]
fn what_arrives_late_stays_where_it_is_claimed_again_or_may_be() {
    let (site, mut open, removal) = site_with_late_arrival();
    site.put("late/5", &bytes(5));
    // Dimension records are missing: it waits, and names the artifact.
    let mut again = run_of(&site, RUN, "1-4", &[(5, "late/5")]);
    again.entries[0].data_id = entry(5, 77, 0, "late/5", &bytes(5)).data_id;
    site.place(&again);
    open.work();
    let resume = |open: &OpenSite| removing_of(open).resume(removal, &mut go_on).unwrap();
    assert_eq!(resume(&open).deletions.deleted, 0);
    site.place(
        &Manifest::new(site.repository, OTHER, "1-5", Content::Additions).with_dimensions(80),
    );
    open.work();
    assert_eq!(presence(&open, &[5]), [Presence::Pending]);
    assert_eq!(resume(&open).deletions.deleted, 0);
    open.confirm();
    assert_eq!(presence(&open, &[5]), [Presence::Yes]);
    site.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(resume(&open).late_until, None);
    assert!(is_there(&site, "late/5"));
    assert_eq!(open.registry().removals().unwrap(), []);
}

#[test]
fn a_removal_that_was_broken_off_after_its_commit_is_seen_through() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    // One of three is deleted when the process dies.
    fs::remove_file(site.root().join("a/2")).unwrap();
    drop(open);
    let open = site.open();
    let removing = &open.assembly.removing;
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 0);
    let rows = removing.journals().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].state, JournalState::Committed);
    let outcome = removing.resume(removal, &mut go_on).unwrap();
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.absent),
        (2, 1)
    );
    check_removed(&site, &open);
    let again = removing.resume(removal, &mut go_on).unwrap_err();
    assert!(matches!(again, RemovalError::Gone { .. }));
}

/// A removal has a journal of one name in each root that it concerns.
#[test]
fn a_journal_is_missed_in_one_root_though_another_has_one_of_its_name() {
    let (site, open) = site();
    begin(&open.assembly.removing, &[RUN]);
    let second = site.folder.path().join("second");
    let identity = fs::read(site.root().join("runsync/repository.json")).unwrap();
    write(&second.join("runsync/repository.json"), &identity);
    // As of a removal that has artifacts there, too.
    let registry = site.site().state_directory.join("registry.sqlite3");
    rusqlite::Connection::open(registry)
        .unwrap()
        .execute_batch(
            "INSERT INTO root (name) VALUES ('second');
             INSERT INTO removal_journal (removal_id, root_id, digest)
                 SELECT removal_id, (SELECT root_id FROM root WHERE name = 'second'), digest
                 FROM removal_journal;",
        )
        .unwrap();
    let main = Arc::new(LocalRoot::open(&site.root()).unwrap());
    let mut ground = ground_over(&site, &open, main);
    ground.roots.push(NamedRoot {
        name: "second".parse().unwrap(),
        datastore: Arc::new(LocalRoot::open(&second).unwrap()),
        rse: None,
        deleter: runsync_config::root::Deleter::Runsync,
    });
    let rows = Removing::new(ground).journals().unwrap();
    let told: Vec<_> = (rows.iter())
        .map(|row| (row.root.as_ref().unwrap().to_string(), row.state))
        .collect();
    let expected = [
        ("main".to_owned(), JournalState::Committed),
        ("second".to_owned(), JournalState::Unusable),
    ];
    assert_eq!(told, expected);
}

#[test]
fn journals_of_committed_removals_are_not_read_to_find_those_that_are_not() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    let faulty = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let removing = removing_over(&site, &open, Arc::clone(&faulty) as Arc<dyn Datastore>);
    // The root is looked at, the folder listed, and that is all.
    faulty.fail_after(2, 1);
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 0);
    assert_eq!(faulty.failures_left(), 1);
    faulty.heal();
    // Whose a removal is its journal's beginning tells, also where the rest is lost.
    let file = site
        .root()
        .join("runsync/journal")
        .join(journals(&site).remove(0));
    let text = fs::read_to_string(&file).unwrap();
    write(&file, &text.as_bytes()[..text.len() / 2]);
    let requesters = removing.requesters();
    assert_eq!(requesters.get(&removal), Some(&alice()));
    assert_eq!(
        removing.journals().unwrap()[0].state,
        JournalState::Unusable
    );
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 0);
}

#[test]
fn a_journal_without_a_commit_is_dropped_and_nothing_is_deleted() {
    let (site, open) = site();
    begin(&open.assembly.removing, &[RUN]);
    let name = journals(&site).remove(0);
    let journal = fs::read(site.root().join("runsync/journal").join(&name)).unwrap();
    drop(open);
    // The same site, as it is where the process dies before the commit.
    let (site, open) = self::site();
    let text = String::from_utf8(journal).unwrap();
    site.put(&format!("runsync/journal/{name}"), text.as_bytes());
    let removing = &open.assembly.removing;
    assert_eq!(
        removing.journals().unwrap()[0].state,
        JournalState::Uncommitted
    );
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 1);
    assert_eq!(journals(&site), [""; 0]);
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    assert!(is_there(&site, "a/1"));
}

#[test]
fn an_artifact_that_cannot_be_deleted_stays_in_the_journal_until_it_can() {
    let (site, open) = site();
    let faulty = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let removing = removing_over(&site, &open, Arc::clone(&faulty) as _);
    let removal = begin(&removing, &[RUN]);
    faulty.fail_at("a/2");
    let outcome = removing.resume(removal, &mut go_on).unwrap();
    assert!(!outcome.done);
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.failed),
        (2, 1)
    );
    assert_eq!(journals(&site).len(), 1);
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::No; 3]);
    let standing = removing.standing(removal).unwrap().unwrap();
    assert_eq!(
        (standing.state, standing.deletions.failed),
        (State::Failed, 1)
    );
    faulty.heal();
    let outcome = removing.resume(removal, &mut go_on).unwrap();
    assert!(outcome.done);
    assert_eq!(
        (outcome.deletions.deleted, outcome.deletions.absent),
        (1, 2)
    );
    check_removed(&site, &open);
}

#[test]
fn where_the_journal_cannot_be_written_nothing_is_removed() {
    let (site, open) = site();
    let faulty = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    faulty.fail_at("runsync/journal");
    let removing = removing_over(&site, &open, Arc::clone(&faulty) as _);
    let error = remove(&removing, &[RUN]).unwrap_err();
    assert!(matches!(error, RemovalError::Journal(_)), "{error}");
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    assert_eq!(open.registry().removals().unwrap(), []);
    faulty.heal();
    assert!(remove(&removing, &[RUN]).unwrap().done);
    check_removed(&site, &open);
}

#[test]
fn another_file_in_the_place_of_a_journaled_one_stays() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    site.put("a/2", b"somebody else's");
    let outcome = open.assembly.removing.resume(removal, &mut go_on).unwrap();
    assert_eq!((outcome.deletions.deleted, outcome.deletions.other), (2, 1));
    assert!(outcome.done);
    assert_eq!(
        fs::read(site.root().join("a/2")).unwrap(),
        b"somebody else's"
    );
}

#[test]
fn nothing_outside_the_root_and_no_link_is_followed() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("3"), &bytes(3));
    rename(&site.root().join("b"), &site.root().join("moved"));
    std::os::unix::fs::symlink(outside.path(), site.root().join("b")).unwrap();
    let outcome = open.assembly.removing.resume(removal, &mut go_on).unwrap();
    assert_eq!((outcome.deletions.deleted, outcome.deletions.other), (2, 1));
    assert!(fs::exists(outside.path().join("3")).unwrap());
    assert!(is_there(&site, "moved/3"));
}

#[test]
fn an_artifact_of_several_datasets_goes_with_the_last() {
    let (site, mut open) = site();
    // The other run names an artifact of the first one too.
    let mut shared = run_of(&site, OTHER, "1-2", &[(16, "a/1")]);
    shared.entries[0].size = 50;
    shared.entries[0].checksums = run_of(&site, RUN, "1-1", &[(1, "a/1")]).entries[0].checksums;
    site.place(&shared);
    open.work();
    open.confirm();
    assert_eq!(presence(&open, &[1, 16]), [Presence::Yes; 2]);
    let outcome = remove(&open.assembly.removing, &[RUN]).unwrap();
    assert_eq!(outcome.deletions.deleted, 2);
    assert!(is_there(&site, "a/1"));
    assert_eq!(presence(&open, &[1, 16]), [Presence::No, Presence::Yes]);
    let outcome = remove(&open.assembly.removing, &[OTHER]).unwrap();
    assert_eq!(outcome.deletions.deleted, 2);
    assert!(!is_there(&site, "a/1"));
}

#[test]
fn runs_removed_together_take_what_they_share_along() {
    let (site, mut open) = site();
    let mut shared = run_of(&site, OTHER, "1-2", &[(16, "a/1")]);
    shared.entries[0].size = 50;
    shared.entries[0].checksums = run_of(&site, RUN, "1-1", &[(1, "a/1")]).entries[0].checksums;
    site.place(&shared);
    open.work();
    let outcome = remove(&open.assembly.removing, &[RUN, OTHER]).unwrap();
    assert_eq!(outcome.runs, 2);
    assert_eq!(outcome.deletions.deleted, 4);
    assert!(!is_there(&site, "a/1") && !is_there(&site, "a/14"));
    assert_eq!(presence(&open, &[1, 2, 3, 14, 16]), [Presence::No; 5]);
}

#[test]
fn an_older_manifest_does_not_bring_a_removed_run_back_and_a_newer_one_does() {
    let (site, mut open) = site();
    remove(&open.assembly.removing, &[RUN]).unwrap();
    // The same file once more, under another name.
    let old = run_of(&site, RUN, "1-1", &[(1, "a/1"), (2, "a/2"), (3, "b/3")]);
    site.put(
        "runsync/manifests/again.manifest.jsonl",
        &old.bytes(Some(&site.key)),
    );
    site.put("a/1", &bytes(1));
    open.work();
    assert_eq!(presence(&open, &[1]), [Presence::No]);
    site.place(&run_of(&site, RUN, "1-3", &[(1, "a/1")]));
    open.work();
    open.confirm();
    assert_eq!(presence(&open, &[1, 2]), [Presence::Yes, Presence::No]);
    let row = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    assert_eq!((row.datasets, row.confirmed(), row.bytes), (1, 1, 50));
}

#[test]
fn while_a_run_is_being_removed_neither_it_nor_its_paths_are_registered() {
    let (site, mut open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    site.place(&run_of(&site, RUN, "1-3", &[(1, "a/1")]));
    let mut same = run_of(&site, OTHER, "1-3", &[(16, "a/2")]);
    same.entries[0].checksums = run_of(&site, RUN, "1-1", &[(2, "a/2")]).entries[0].checksums;
    site.place(&same);
    open.work();
    let state = |open: &OpenSite, name: &str| {
        let rows = open.manifests();
        let mut rows = rows
            .iter()
            .filter(|row| row.location.path.contains(name) && row.location.path.contains("1-3"));
        rows.next().unwrap().state
    };
    assert_eq!(state(&open, RUN), ManifestState::Blocked);
    assert_eq!(state(&open, OTHER), ManifestState::Blocked);
    open.assembly.removing.resume(removal, &mut go_on).unwrap();
    open.work();
    assert_eq!(state(&open, RUN), ManifestState::Registered);
    assert_eq!(state(&open, OTHER), ManifestState::Registered);
    assert_eq!(
        presence(&open, &[1, 2, 16]),
        [Presence::Pending, Presence::No, Presence::Pending]
    );
}

#[test]
fn a_journal_that_somebody_has_changed_is_not_followed() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    let file = site
        .root()
        .join("runsync/journal")
        .join(journals(&site).remove(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"a/1\""));
    forge(&file, &text.replace("\"a/1\"", "\"a/14\""));
    let error = open
        .assembly
        .removing
        .resume(removal, &mut go_on)
        .unwrap_err();
    assert!(matches!(error, RemovalError::Journal(_)), "{error}");
    assert!(is_there(&site, "a/14") && is_there(&site, "a/1"));
    assert_eq!(
        open.assembly.removing.journals().unwrap()[0].state,
        JournalState::Unusable
    );
    write(&file, text.as_ref());
    assert!(
        open.assembly
            .removing
            .resume(removal, &mut go_on)
            .unwrap()
            .done
    );
    check_removed(&site, &open);
}

/// Writes a journal whose own digest is right.
fn forge(file: &Path, text: &str) {
    use sha2::{Digest, Sha256};
    let end = text.rfind("{\"kind\":\"end\"").unwrap();
    let (before, _) = text.split_at(end);
    let artifacts = before.matches("\"kind\":\"artifact\"").count();
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(before.as_bytes()));
    let line = format!("{{\"kind\":\"end\",\"artifacts\":{artifacts},\"sha256\":\"{digest}\"}}\n");
    write(file, format!("{before}{line}").as_bytes());
}

#[test]
fn a_torn_journal_is_unusable_and_a_missing_one_keeps_the_rows() {
    let (site, open) = site();
    let removal = begin(&open.assembly.removing, &[RUN]);
    let file = site
        .root()
        .join("runsync/journal")
        .join(journals(&site).remove(0));
    let text = fs::read(&file).unwrap();
    for end in [0, 1, text.len() / 2, text.len() - 1] {
        write(&file, &text[..end]);
        let error = open
            .assembly
            .removing
            .resume(removal, &mut go_on)
            .unwrap_err();
        assert!(error.to_string().contains("not whole"), "{end}: {error}");
    }
    fs::remove_file(&file).unwrap();
    let error = open
        .assembly
        .removing
        .resume(removal, &mut go_on)
        .unwrap_err();
    assert!(error.to_string().contains("there is no journal"), "{error}");
    open.assembly.removing.reap(&mut go_on).unwrap();
    assert_eq!(open.registry().removals().unwrap().len(), 1);
    write(&file, text.as_ref());
    assert!(
        open.assembly
            .removing
            .resume(removal, &mut go_on)
            .unwrap()
            .done
    );
    check_removed(&site, &open);
}

#[test]
fn a_plan_that_would_do_something_else_by_now_is_refused() {
    let (site, mut open) = site();
    let request = request(&[RUN]);
    let plan = open.assembly.removing.plan(&request).unwrap();
    assert_eq!((plan.total.datasets, plan.total.bytes), (3, 150));
    site.place(&run_of(&site, OTHER, "1-2", &[(15, "c/5")]));
    open.work();
    assert_eq!(open.assembly.removing.plan(&request).unwrap().id, plan.id);
    site.place(&run_of(&site, RUN, "1-2", &[(6, "c/6")]));
    open.work();
    let removed = open
        .assembly
        .removing
        .remove(&request, &consent(&plan), &alice(), &mut go_on);
    assert!(matches!(removed, Err(RemovalError::PlanChanged { .. })));
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    assert_eq!(journals(&site), [""; 0]);
}

#[test]
fn runs_that_are_not_there_or_not_ours_are_refused() {
    let (_site, open) = site();
    let removing = &open.assembly.removing;
    let missing = removing.plan(&request(&["u/test"])).unwrap_err();
    assert!(matches!(missing, RemovalError::NoRun { .. }), "{missing}");
    let own = Request {
        operation: Operation::DropCopy,
        ..request(&[RUN])
    };
    let own = removing.plan(&own).unwrap_err();
    assert!(matches!(own, RemovalError::Own { .. }), "{own}");
    begin(removing, &[RUN]);
    let twice = remove(removing, &[RUN]).unwrap_err();
    assert!(
        twice.to_string().contains("being removed already"),
        "{twice}"
    );
}

#[test]
fn another_account_continues_a_removal_only_by_its_owners_name() {
    let (_site, open) = site();
    let removing = &open.assembly.removing;
    let removal = begin(removing, &[RUN]);
    let bob = Requester {
        account: "bob".to_owned(),
        uid: Some(1001),
        daemon: false,
        any: false,
    };
    let refused = removing.allow(removal, &bob, None).unwrap_err();
    assert!(matches!(&refused, RemovalError::NotYours { owner, .. } if owner == "alice"));
    removing.allow(removal, &bob, Some("carol")).unwrap_err();
    // A name alone is no account.
    let impostor = Requester {
        uid: Some(1001),
        ..alice()
    };
    removing.allow(removal, &impostor, None).unwrap_err();
    assert!(!removing.take_allowed(removal));
    removing.allow(removal, &alice(), None).unwrap();
    assert!(removing.take_allowed(removal));
    removing.allow(removal, &bob, Some("alice")).unwrap();
    assert!(removing.take_allowed(removal));
}

#[test]
fn a_removal_can_be_broken_off_before_its_commit() {
    let (site, open) = site();
    let removing = &open.assembly.removing;
    let request = request(&[RUN]);
    let plan = removing.plan(&request).unwrap();
    let _turn = open
        .assembly
        .parts
        .registration
        .acquire(&mut || ControlFlow::Continue(()))
        .unwrap();
    let stop = &mut |_| ControlFlow::Break(());
    let error = removing
        .remove(&request, &consent(&plan), &alice(), stop)
        .unwrap_err();
    assert!(error.is_interruption(), "{error}");
    assert_eq!(journals(&site), [""; 0]);
    assert_eq!(presence(&open, &[1]), [Presence::Yes]);
}

#[test]
fn a_removal_above_the_caps_needs_the_number_of_its_plan() {
    let (site, open) = site();
    let root = Arc::new(LocalRoot::open(&site.root()).unwrap());
    let mut ground = ground_over(&site, &open, root);
    ground.caps.datasets_max = 2;
    ground.caps.bytes_max = 10;
    let removing = Removing::new(ground);
    let request = request(&[RUN]);
    let plan = removing.plan(&request).unwrap();
    let above = ["3 datasets (at most 2)", "150 bytes (at most 10)"];
    assert_eq!(plan.above, above);
    let error = remove(&removing, &[RUN]).unwrap_err();
    assert!(matches!(error, RemovalError::NotApproved { .. }), "{error}");
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
    let approved = Consent {
        approved: true,
        ..consent(&plan)
    };
    let outcome = removing.remove(&request, &approved, &alice(), &mut go_on);
    assert!(outcome.unwrap().done);
    check_removed(&site, &open);
}

#[test]
fn what_was_given_up_is_never_deleted_although_its_journal_could_not_be_removed() {
    let (site, mut open) = site();
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let removing = removing_over(&site, &open, Arc::clone(&root) as Arc<dyn Datastore>);
    let removal = begin(&removing, &[RUN]);
    let journal = journals(&site).remove(0);
    root.fail_at(&format!("runsync/journal/{journal}"));
    let refused = removing.give_up(removal, &alice(), None, &mut go_on);
    assert!(
        matches!(refused, Err(RemovalError::Root { .. })),
        "{refused:?}"
    );
    // Its rows guard its paths as long as its journal is there.
    removing.reap(&mut go_on).unwrap();
    let mut same = run_of(&site, OTHER, "1-2", &[(16, "a/2")]);
    same.entries[0].checksums = run_of(&site, RUN, "1-1", &[(2, "a/2")]).entries[0].checksums;
    site.place(&same);
    open.work();
    assert_eq!(presence(&open, &[16]), [Presence::No]);
    root.heal();
    let outcome = removing.resume(removal, &mut go_on).unwrap();
    assert_eq!(outcome.deletions.total(), 0);
    for path in ["a/1", "a/2", "b/3"] {
        assert!(is_there(&site, path), "{path}");
    }
    assert_eq!(journals(&site), [""; 0]);
    open.work();
    open.confirm();
    assert_eq!(presence(&open, &[16]), [Presence::Yes]);
}

#[test]
fn a_removal_that_is_given_up_leaves_its_artifacts_and_nothing_else() {
    let (site, open) = site();
    let removing = &open.assembly.removing;
    let removal = begin(removing, &[RUN]);
    let bob = Requester {
        account: "bob".to_owned(),
        ..alice()
    };
    let refused = removing.give_up(removal, &bob, None, &mut go_on);
    assert!(matches!(refused, Err(RemovalError::NotYours { .. })));
    let named = removing.give_up(removal, &alice(), None, &mut go_on);
    assert_eq!(named.unwrap(), 3);
    assert_eq!(journals(&site), [""; 0]);
    assert_eq!(open.registry().removals().unwrap(), []);
    assert_eq!(
        presence(&open, &[1, 2, 3, 14]),
        [Presence::No, Presence::No, Presence::No, Presence::Yes]
    );
    for path in ["a/1", "a/2", "b/3"] {
        assert!(is_there(&site, path), "{path}");
    }
    let again = removing.give_up(removal, &alice(), None, &mut go_on);
    assert!(matches!(again, Err(RemovalError::Gone { .. })));
}

#[test]
fn a_journal_that_the_registry_knows_nothing_of_is_kept_until_it_is_dropped() {
    let (site, open) = site();
    let removing = &open.assembly.removing;
    let removal = begin(removing, &[RUN]);
    let name = journals(&site).remove(0);
    let file = site.root().join("runsync/journal").join(&name);
    // It is marked as committed before the first deletion.
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"kind\":\"committed\",\"at\":\"2026-11-27T10:20:44Z\"}\n");
    drop(open);
    // A registry from before the removal.
    let (site, open) = self::site();
    site.put(&format!("runsync/journal/{name}"), text.as_bytes());
    let removing = &open.assembly.removing;
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 0);
    let rows = removing.journals().unwrap();
    assert_eq!(rows[0].state, JournalState::Unknown);
    assert!(is_there(&site, "a/1"));
    // A name alone is no account.
    let impostor = Requester {
        uid: Some(1001),
        ..alice()
    };
    let refused = removing.give_up(removal, &impostor, None, &mut go_on);
    assert!(matches!(refused, Err(RemovalError::NotYours { .. })));
    assert_eq!(
        removing
            .give_up(removal, &alice(), None, &mut go_on)
            .unwrap(),
        3
    );
    assert_eq!(journals(&site), [""; 0]);
    assert_eq!(presence(&open, &[1, 2, 3]), [Presence::Yes; 3]);
}
