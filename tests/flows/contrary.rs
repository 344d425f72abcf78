//! What comes at the wrong moment or says the wrong thing: contrary arrivals between the halves of a
//! registration, forks above and below a floor, sizes that overflow, runs registered during a look
//! at others.

#![expect(
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and its numbers are small"
)]

#[path = "../support/mod.rs"]
mod support;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use runsync::datastore::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, Look, ManifestFile, Moved,
    RepositoryFile, Sight, ToDelete, Walk,
};
use runsync::file_identity::FileIdentity;
use runsync::ingest::flow::{Flow, Progress};
use runsync::ingest::workers::{ConfirmWorker, Requests};
use runsync::ledger::record::ManifestState;
use runsync::registry::record::Presence;
use runsync::worker::{Driver, Wake};
use runsync_manifest::content::Content;
use runsync_manifest::name::{ArtifactPath, DatasetId, RepositoryId};
use runsync_manifest::signature::SigningKey;
use support::{Manifest, TestSite, artifact, entry};
use uuid::Uuid;

const RUN: &str = "u/test/run";

/// A fork at 1-2 that the origin resolved by a snapshot 2-1 (higher epoch), then additions 2-2.
fn forked(snapshot_first: bool) -> String {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let one = |generation: &str, uuid: u128| {
        Manifest::new(site.repository, RUN, generation, Content::Additions)
            .with_dimensions(5)
            .with_entries([entry(
                uuid,
                uuid as i64,
                1,
                &format!("a/{uuid}"),
                &artifact(1, 10),
            )])
    };
    let a = one("1-2", 1).bytes(Some(&site.key));
    let b = one("1-2", 2).bytes(Some(&site.key));
    let snapshot = Manifest::new(site.repository, RUN, "2-1", Content::Snapshot);
    let base = format!("runsync/manifests/{}/{RUN}", site.repository);
    if snapshot_first {
        site.place(&snapshot);
        open.work();
    }
    site.put(&format!("{base}/1-2.manifest.jsonl"), &a);
    open.work();
    site.put(&format!("{base}/again/1-2.manifest.jsonl"), &b);
    open.work();
    if !snapshot_first {
        site.place(&snapshot);
        open.work();
    }
    site.place(&one("2-2", 3));
    open.work();
    open.manifests()
        .iter()
        .map(|row| format!("{} {} {:?}\n", row.location.path, row.state, row.reason))
        .collect()
}

#[test]
fn a_fork_below_the_floor_does_not_freeze_the_run() {
    let after = forked(false);
    assert!(after.contains("2-2.manifest.jsonl registered"), "{after}");
    let before = forked(true);
    assert!(before.contains("2-2.manifest.jsonl registered"), "{before}");
}

#[test]
fn sizes_that_overflow_a_runs_counter_stop_nobody() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let huge = |generation: &str, uuid: u128, size: u64| {
        let mut one = entry(uuid, uuid as i64, 1, &format!("a/{uuid}"), &artifact(1, 10));
        one.size = size;
        Manifest::new(site.repository, RUN, generation, Content::Additions)
            .with_dimensions(5)
            .with_entries([one])
    };
    let most = i64::MAX as u64;
    for (generation, uuid, size) in [
        ("1-1", 1, most),
        ("1-2", 2, most),
        ("1-3", 1, 0),
        ("1-4", 2, 0),
    ] {
        site.place(&huge(generation, uuid, size));
        open.work();
    }
    let runs = open.registry().runs(None);
    assert!(runs.is_ok(), "{runs:?}");
}

#[test]
fn a_manifest_whose_run_cannot_be_read_blocks_no_other() {
    let site = TestSite::new("size");
    let mut open = site.open();
    let huge = |run: &str, generation: &str, uuid: u128, size: u64| {
        let mut one = entry(uuid, uuid as i64, 1, &format!("a/{uuid}"), &artifact(1, 10));
        one.size = size;
        Manifest::new(site.repository, run, generation, Content::Additions)
            .with_dimensions(9)
            .with_entries([one])
    };
    let most = i64::MAX as u64;
    for (generation, uuid, size) in [
        ("1-1", 1, most),
        ("1-2", 2, most),
        ("1-3", 1, 0),
        ("1-4", 2, 0),
    ] {
        site.place(&huge(RUN, generation, uuid, size));
        open.work();
    }
    // The hostile run's next manifest, and an honest one of another run.
    site.place(&huge(RUN, "1-5", 3, 1));
    site.place(&huge("u/test/another", "1-1", 7, 10));
    open.arrivals.sweep().unwrap();
    let mut last = None;
    for _ in 0..5 {
        last = Some(open.arrivals.step(&mut |_| ControlFlow::Continue(())));
    }
    let registered = open
        .manifests()
        .iter()
        .any(|row| row.location.path.contains("another") && row.state == ManifestState::Registered);
    assert!(registered, "{last:?}");
}

/// A large manifest is interrupted in the middle of its datasets; then something comes that keeps
/// it out for good.
fn half(then: impl FnOnce(&TestSite)) -> (String, usize, usize) {
    const MANY: u128 = 60_000;
    let site = TestSite::new("size");
    let mut open = site.open();
    let entries = (1..=MANY).map(|uuid| {
        entry(
            uuid,
            uuid as i64 % 300,
            uuid as i64 / 300,
            &format!("a/{uuid:06}"),
            b"x",
        )
    });
    let manifest = Manifest::new(site.repository, RUN, "1-2", Content::Additions)
        .with_dimensions(301)
        .with_entries(entries);
    site.place(&manifest);
    open.arrivals.sweep().unwrap();
    let mut commits = 0;
    let stopped = open.arrivals.step(&mut |progress| {
        if let Progress::Registered { .. } = progress {
            commits += 1;
        }
        // data IDs: 2 commits, paths: 2, datasets: 2
        if commits > 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(stopped.is_err(), "{stopped:?}");
    drop(open);
    then(&site);
    let mut open = site.open();
    open.work();
    let asked: Vec<_> = (1..=MANY)
        .map(|uuid| DatasetId(Uuid::from_u128(uuid)))
        .collect();
    let known = open
        .registry()
        .exists(&asked)
        .unwrap()
        .iter()
        .filter(|found| found.presence != Presence::No)
        .count();
    let states = open
        .manifests()
        .iter()
        .map(|row| format!("{} {} {:?}\n", row.location.path, row.state, row.reason))
        .collect();
    (states, known, open.registry().registering().unwrap().len())
}

#[test]
fn a_manifest_interrupted_and_then_kept_out_by_a_conflict_is_whole_or_absent() {
    let (states, known, registering) = half(|site| {
        let other = Manifest::new(site.repository, "u/test/another", "1-1", Content::Additions)
            .with_dimensions(5)
            .with_entries([entry(1_000_000, 1, 1, "a/059999", b"other")]);
        site.place(&other);
    });
    assert!(
        (known == 0 || known == 60_000) && registering == 0,
        "{known} known, {registering} registering\n{states}"
    );
}

#[test]
fn a_manifest_interrupted_and_then_overtaken_is_whole_or_absent() {
    let (states, known, registering) = half(|site| {
        site.place(&Manifest::new(
            site.repository,
            RUN,
            "1-10",
            Content::Removal,
        ));
    });
    assert!(
        (known == 0 || known == 60_000) && registering == 0,
        "{known} known, {registering} registering\n{states}"
    );
}

#[test]
fn a_frozen_run_takes_nothing() {
    let site = TestSite::new("trust");
    let mut open = site.open();
    let one = |uuid: u128| {
        Manifest::new(site.repository, RUN, "1-2", Content::Additions).with_entries([entry(
            uuid,
            uuid as i64,
            1,
            &format!("a/{uuid}"),
            &artifact(1, 10),
        )])
    };
    let base = format!("runsync/manifests/{}/{RUN}", site.repository);
    site.put(
        &format!("{base}/1-2.manifest.jsonl"),
        &one(1).bytes(Some(&site.key)),
    );
    open.work();
    site.put(
        &format!("{base}/again/1-2.manifest.jsonl"),
        &one(2).bytes(Some(&site.key)),
    );
    open.work();
    site.place(
        &Manifest::new(site.repository, "u/test/dims", "1-1", Content::Additions)
            .with_dimensions(5),
    );
    open.work();
    let states: Vec<_> = open
        .manifests()
        .iter()
        .map(|row| format!("{} {} {:?}", row.location.path, row.state, row.reason))
        .collect();
    assert!(
        open.registry()
            .datasets(&site.run(RUN), None, None, 10)
            .unwrap()
            .is_empty(),
        "{states:#?}"
    );
}

/// Lets repository `number` own `prefix` here, and trusts its key.
fn accept_peer(site: &TestSite, number: u128, prefix: &str) -> SigningKey {
    let key = SigningKey::from_seed(&[number as u8; 32]);
    let (name, origin) = (format!("SITE_{number}"), Uuid::from_u128(number));
    let public = key.public();
    let file = serde_json::json!({
        "format": 1, "site": name, "repository": origin,
        "key_id": public.id().to_string(), "public_key": public.to_string(),
    });
    let path = site
        .folder
        .path()
        .join(format!("keys/trusted/{}.json", public.id()));
    support::write(&path, file.to_string().as_bytes());
    let config = std::fs::read_to_string(site.config()).unwrap();
    let peer = format!(
        "[[peer]]\nsite = \"{name}\"\norigin = \"{origin}\"\nrun_prefixes = [\"{prefix}\"]\n"
    );
    support::write(&site.config(), (config + &peer).as_bytes());
    key
}

#[test]
fn a_peer_cannot_claim_paths_below_the_run_names_of_another() {
    let site = TestSite::new("trust");
    let key = accept_peer(&site, 2, "u/b");
    accept_peer(&site, 3, "u/c");
    let mut open = site.open();
    let origin = RepositoryId(Uuid::from_u128(2));
    for (run, path) in [("u/b/one", "u/b/one/file"), ("u/b/two", "u/c/one/file")] {
        let manifest = Manifest::new(origin, run, "1-1", Content::Additions)
            .with_dimensions(5)
            .with_entries([entry(
                run.len() as u128 + path.len() as u128 * 7,
                1,
                1,
                path,
                b"x",
            )]);
        let name = format!("runsync/manifests/{run}.manifest.jsonl");
        site.put(&name, &manifest.bytes(Some(&key)));
    }
    open.work();
    let rows = open.manifests();
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    let both = [ManifestState::Registered, ManifestState::Quarantined];
    assert_eq!(states, both, "{rows:#?}");
    let reason = rows.last().and_then(|row| row.reason.as_deref()).unwrap();
    assert!(reason.contains("`u/c` of another repository"), "{reason}");
}

/// A root during whose next look something else happens.
struct Meanwhile {
    inner: std::sync::Arc<dyn runsync::datastore::Datastore>,
    then: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Datastore for Meanwhile {
    fn repository(&self) -> &RepositoryFile {
        self.inner.repository()
    }
    fn check_identity(&self) -> Result<(), DatastoreError> {
        self.inner.check_identity()
    }
    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        self.inner.list_manifests()
    }
    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        self.inner.look_at_manifest(path)
    }
    fn open_manifest(&self, path: &str) -> Result<(std::fs::File, FileIdentity), DatastoreError> {
        self.inner.open_manifest(path)
    }
    fn install_manifest(
        &self,
        path: &str,
        from: &mut dyn std::io::Read,
    ) -> Result<bool, DatastoreError> {
        self.inner.install_manifest(path, from)
    }
    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        if let Some(then) = self.then.lock().unwrap().take() {
            then();
        }
        self.inner.look(paths)
    }
    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        self.inner.walk(below, from)
    }

    fn open(&self, path: &ArtifactPath) -> Result<(std::fs::File, FileIdentity), DatastoreError> {
        self.inner.open(path)
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        self.inner.delete(artifacts)
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        self.inner.delete_manifest(path, identity)
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        self.inner.link(from, to)
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        self.inner.set_aside(artifact, to)
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        self.inner.bring_back(from, identity, to)
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        self.inner.another_about(path)
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        self.inner.look_aside(at)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.inner.sync()
    }

    fn journals(&self) -> &dyn Journals {
        self.inner.journals()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_registered_during_a_look_at_another_is_looked_at_soon() {
    let site = Arc::new(TestSite::new("size"));
    site.configure("size", "events = false");
    let mut open = site.open();
    // Run A waits for an artifact that never comes.
    site.place(
        &Manifest::new(site.repository, RUN, "1-1", Content::Additions)
            .with_dimensions(5)
            .with_entries([entry(1, 1, 1, "a/never", &artifact(1, 10))]),
    );
    open.work();
    let b = Manifest::new(site.repository, "u/test/b", "1-1", Content::Additions)
        .with_entries([entry(2, 2, 2, "b/there", &artifact(1, 10))]);
    site.put("b/there", &artifact(1, 10));

    let inner = Arc::clone(open.flow().datastore());
    let root = Arc::new(Meanwhile {
        inner,
        then: std::sync::Mutex::new(None),
    });
    let flow = Flow::new(
        Arc::clone(&open.assembly.parts),
        open.flow().root().clone(),
        Arc::clone(&root) as Arc<dyn Datastore>,
    );
    let driver = Driver::new(Arc::clone(&site.clock) as _);
    let wake = Wake::new();
    driver.start("artifacts", wake.clone(), {
        let wake = wake.clone();
        move || {
            Box::new(ConfirmWorker::new(
                flow.clone(),
                wake.clone(),
                Requests::default(),
            ))
        }
    });
    // A is looked at ever more seldom.
    for _ in 0..12 {
        let steps = driver.statuses()[0].steps;
        site.pass(Duration::from_secs(400));
        wake.wake();
        wait_until(|| driver.statuses()[0].steps > steps).await;
    }
    let registry = Arc::clone(&open.assembly.parts.registry);
    let _held = Arc::clone(&open.held);
    *root.then.lock().unwrap() = Some(Box::new({
        let site = Arc::clone(&site);
        let wake = wake.clone();
        move || {
            site.place(&b);
            open.work();
            wake.wake();
        }
    }));
    site.pass(Duration::from_secs(400));
    wake.wake();
    // Nothing of B is overdue: only that it is new makes the worker look.
    let asked = [DatasetId(Uuid::from_u128(2))];
    wait_until(|| registry.exists(&asked).unwrap()[0].presence == Presence::Yes).await;
    driver.stop(Duration::from_secs(5)).await.unwrap();
}

/// Asks until it is so; a test that waits for half a minute has failed.
async fn wait_until(so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    unreachable!("it did not come about in half a minute");
}
