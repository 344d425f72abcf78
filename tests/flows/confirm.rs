//! Confirming at scale: many runs in many folders, held back by a throttle, broken off within a file,
//! and files that somebody writes to while they are read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use process::Daemon;
use runsync::datastore::counted::Counted;
use runsync::datastore::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, LocalRoot, Look, ManifestFile,
    Moved, RepositoryFile, Sight, ToDelete, Walk,
};
use runsync::file_identity::FileIdentity;
use runsync::ingest::confirm::Confirming;
use runsync::ingest::flow::Flow;
use runsync::ledger::record::Finding;
use runsync_manifest::content::Content;
use runsync_manifest::name::ArtifactPath;
use support::{Manifest, OpenSite, TestSite, artifact, entry, put};

const RUN: &str = "u/test/run";

/// A run of `folders` folders with two artifacts in each; `number` sets runs apart.
fn run_of(site: &TestSite, number: u128, folders: u128) -> Manifest {
    let name = format!("u/many/{number:03}");
    let entries = (0..2 * folders).map(|at| {
        let path = path_of(number, at);
        let (uuid, visit) = (number << 32 | (at + 1), i64::try_from(at).unwrap());
        entry(uuid, visit, 0, &path, b"SIMPLE  =")
    });
    Manifest::new(site.repository, &name, "1-1", Content::Additions)
        .with_dimensions(i64::try_from(2 * folders).unwrap())
        .with_entries(entries)
}

fn path_of(number: u128, at: u128) -> String {
    format!("many/{number:03}/{:03}/{at}.fits", at / 2)
}

#[test]
fn many_runs_in_many_folders_are_all_confirmed() {
    const RUNS: u128 = 40;
    const FOLDERS: u128 = 5;
    let site = TestSite::new("checksum");
    // Fewer watches than folders, so that some artifacts are seen by looks alone.
    let few = "sweep_interval = \"1h\"\nwatched_directories_max = 100";
    site.configure_daemon("checksum", few, "");
    for number in 0..RUNS {
        site.place(&run_of(&site, number, FOLDERS));
    }
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    daemon.until("all runs are registered", || {
        seen.counts().len() == usize::try_from(RUNS).unwrap()
    });
    for at in 0..2 * FOLDERS {
        for number in 0..RUNS {
            site.put(&path_of(number, at), b"SIMPLE  =");
        }
    }
    daemon.until("all runs are complete", || {
        seen.counts().iter().all(|(_, _, waiting)| *waiting == 0)
    });
    daemon.stop();
}

/// A site with one waiting run of one artifact, which is there.
fn site_with(bytes: &[u8], root: &str) -> TestSite {
    let site = TestSite::new("checksum");
    site.configure_daemon("checksum", root, "");
    let manifest = Manifest::new(site.repository, RUN, "1-1", Content::Additions);
    let entries = [entry(1, 0, 0, "data/large.fits", bytes)];
    site.place(&manifest.with_dimensions(1).with_entries(entries));
    site.put("data/large.fits", bytes);
    site
}

#[test]
fn a_stop_in_the_middle_of_a_large_file_is_quick_and_the_next_start_reads_it() {
    let bytes = artifact(7, 4 << 20);
    // A minute for the file, and more for each part of it than a stop may take.
    let site = site_with(&bytes, "confirm_bytes_per_second = \"64KiB\"");
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    daemon.until("the run is registered", || seen.run(RUN).is_some());
    let handles = daemon.sees(Path::new("/")).parent().unwrap().join("fd");
    daemon.until("the file is being read", || {
        let handles = std::fs::read_dir(&handles).unwrap().flatten();
        let mut read = handles.filter_map(|handle| std::fs::read_link(handle.path()).ok());
        read.any(|file| file.ends_with("data/large.fits"))
    });
    let took = daemon.stop();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(seen.run(RUN).unwrap().waiting, 1);

    site.configure_daemon("checksum", "", "");
    let daemon = Daemon::start(&site);
    daemon.until("the file is confirmed", || seen.complete(RUN, 1));
    daemon.stop();
}

#[test]
fn confirming_is_no_faster_than_the_configuration_allows() {
    const FILES: i64 = 60;
    let site = TestSite::new("size");
    site.configure_daemon("size", "confirm_files_per_second = 50", "");
    let manifest = Manifest::new(site.repository, RUN, "1-1", Content::Additions);
    let manifest = manifest.with_many(1, FILES);
    for one in &manifest.entries {
        site.put(&one.path, b"SIMPLE  =");
    }
    site.place(&manifest);
    let mut open = site.open();
    open.work();
    let (start, mut beats) = (Instant::now(), 0);
    let confirmed = open.confirming.confirm_run(&site.run(RUN), &mut || {
        beats += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(confirmed.unwrap(), 60);
    // 60 at 50 a second, less what may be caught up with.
    assert!(start.elapsed() >= Duration::from_millis(1_100));
    assert!(beats >= 10, "{beats} signs of life");
}

#[test]
fn a_huge_folder_holds_up_no_small_run() {
    const FILES: i64 = 1_000;
    const HUGE: &str = "u/a/huge";
    let site = TestSite::new("size");
    site.configure_daemon("size", "confirm_files_per_second = 100", "");
    let run = |name, first, count| {
        let manifest = Manifest::new(site.repository, name, "1-1", Content::Additions);
        site.place(&manifest.with_many(first, count));
    };
    run(HUGE, 1, FILES);
    run("u/b/small", 1 << 64, 1);
    site.put("u/b/small/000/0.fits", b"SIMPLE  =");
    let mut open = site.open();
    open.work();
    let counted = Arc::new(Counted::new(LocalRoot::open(&site.root()).unwrap()));
    let (parts, root) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let mut confirming = Confirming::new(Flow::new(parts, root, Arc::clone(&counted) as _));
    let go_on = &mut || ControlFlow::Continue(());
    confirming.step(go_on).unwrap();
    let folder = format!("{HUGE}/000");
    let looked = confirming.changed(&[folder], go_on).unwrap();
    assert!(looked.next.is_some(), "the rest of the folder is owed");
    confirming.step(go_on).unwrap();
    let small = open.registry().run(&site.run("u/b/small")).unwrap();
    assert_eq!(small.unwrap().waiting, 0);
    let looks = counted.calls().looked_at;
    assert!(looks < FILES.unsigned_abs(), "{looks} looks");
}

#[test]
fn a_finding_about_what_nobody_waits_for_is_dropped() {
    let site = site_with(RIGHT, "");
    let mut open = site.open();
    open.work();
    assert_eq!(open.confirm(), 1);
    let manifest = Manifest::new(site.repository, "u/test/other", "1-1", Content::Additions);
    let entries = [entry(2, 0, 0, "data/other.fits", RIGHT)];
    site.place(&manifest.with_dimensions(1).with_entries(entries));
    open.work();
    let finding = |run: &str, path: &str| Finding {
        kind: "corrupt".to_owned(),
        subject: format!("main:{path}"),
        detail: format!("run `{run}`: its size is 7 bytes, expected 5"),
        first_seen: open.assembly.parts.clock.now(),
        last_seen: open.assembly.parts.clock.now(),
        times: 1,
    };
    let waited_for = finding("u/test/other", "data/other.fits");
    let left_behind = finding(RUN, "data/large.fits");
    let found = [left_behind, waited_for.clone()];
    open.ledger().find_all(&found).unwrap();
    // Of the next start: what this one knows of findings, all that confirm in the root share.
    drop(open);
    let open = site.open();
    let go_on = &mut || ControlFlow::Continue(());
    let mut confirming = Confirming::new(open.flow().clone());
    confirming.step(go_on).unwrap();
    assert_eq!(open.ledger().findings().unwrap(), [waited_for]);

    site.put("data/other.fits", RIGHT);
    let other = site.run("u/test/other");
    assert_eq!(confirming.confirm_run(&other, go_on).unwrap(), 1);
    assert_eq!(open.ledger().findings().unwrap(), []);
}

/// A root in which somebody does something to each artifact as soon as it is opened.
#[derive(Debug)]
struct Meddled {
    root: LocalRoot,
    meddle: fn(&Path),
}

impl Datastore for Meddled {
    fn repository(&self) -> &RepositoryFile {
        self.root.repository()
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        self.root.check_identity()
    }

    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        self.root.list_manifests()
    }

    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        self.root.look_at_manifest(path)
    }

    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError> {
        self.root.open_manifest(path)
    }

    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError> {
        self.root.install_manifest(path, from)
    }

    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        self.root.look(paths)
    }

    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        self.root.walk(below, from)
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        let opened = self.root.open(path)?;
        (self.meddle)(&self.root.directory().join(path.as_str()));
        Ok(opened)
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        self.root.delete(artifacts)
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        self.root.delete_manifest(path, identity)
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        self.root.link(from, to)
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        self.root.set_aside(artifact, to)
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        self.root.bring_back(from, identity, to)
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        self.root.another_about(path)
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        self.root.look_aside(at)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.root.sync()
    }

    fn journals(&self) -> &dyn Journals {
        self.root.journals()
    }
}

const RIGHT: &[u8] = b"right";
const WRONG: &[u8] = b"wrong";

fn write_over(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    // The clock of the file system may tick more seldom than this test does.
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(1))
        .unwrap();
}

fn confirming(site: &TestSite, open: &OpenSite, meddle: fn(&Path)) -> Confirming {
    let root = LocalRoot::open(&site.root()).unwrap();
    let root = Arc::new(Meddled { root, meddle });
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    Confirming::new(Flow::new(parts, configured, root))
}

/// `meddle` makes it impossible to tell what the file holds, and it is looked at again.
fn what_changes_while_it_is_read_is_looked_at_again(before: &[u8], meddle: fn(&Path)) {
    let site = site_with(RIGHT, "settle = \"1ms\"");
    put(&site.root().join("data/large.fits"), before);
    let mut open = site.open();
    open.work();
    // What is wrong has been so for long.
    site.pass(Duration::from_secs(3600 * 24 * 365));
    let run = site.run(RUN);
    let mut meddled = confirming(&site, &open, meddle);
    let go_on = &mut || ControlFlow::Continue(());
    assert_eq!(meddled.confirm_run(&run, go_on).unwrap(), 0);
    assert_eq!(open.ledger().findings().unwrap(), []);

    put(&site.root().join("data/large.fits"), RIGHT);
    let mut undisturbed = confirming(&site, &open, |_| ());
    assert_eq!(undisturbed.confirm_run(&run, go_on).unwrap(), 1);
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_is_neither_right_nor_wrong() {
    what_changes_while_it_is_read_is_looked_at_again(RIGHT, |path| write_over(path, RIGHT));
    what_changes_while_it_is_read_is_looked_at_again(RIGHT, |path| write_over(path, WRONG));
    what_changes_while_it_is_read_is_looked_at_again(WRONG, |path| write_over(path, RIGHT));
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_neither_right_nor_wrong() {
    what_changes_while_it_is_read_is_looked_at_again(RIGHT, |path| put(path, WRONG));
    what_changes_while_it_is_read_is_looked_at_again(WRONG, |path| put(path, RIGHT));
}
