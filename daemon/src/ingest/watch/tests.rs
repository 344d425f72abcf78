//! Real inotify on real directories. Nothing sleeps: each test waits until it is woken.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::worker::Wake;

/// Far beyond what an event takes, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);
const RUN: &str = "runsync/manifests/o/run";

struct Scene {
    directory: TempDir,
    wake: Wake,
    watcher: Watcher,
}

impl Scene {
    /// A root with one watched run folder, whose first hints are taken.
    fn new() -> Self {
        let scene = Self::with(|root| fs::create_dir_all(root.join(RUN)).unwrap());
        assert_eq!(scene.watcher.take(), Hints::everywhere());
        assert_eq!(scene.watcher.degraded(), None);
        scene
    }

    fn with(prepare: impl FnOnce(&Path)) -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir_all(directory.path().join("runsync")).unwrap();
        prepare(directory.path());
        let wake = Wake::new();
        let watcher = Watcher::start(directory.path(), wake.clone());
        Self {
            directory,
            wake,
            watcher,
        }
    }

    fn put(&self, path: &str) {
        put(&self.directory.path().join(path));
    }

    fn make_folder(&self, path: &str) {
        fs::create_dir_all(self.directory.path().join(path)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        let root = self.directory.path();
        rename(&root.join(from), &root.join(to));
    }

    /// Takes hints until they hold all these paths; returns all that were taken.
    async fn hinted(&self, paths: &[&str]) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        while !paths.iter().all(|path| taken.contains(*path)) {
            timeout(PATIENCE, self.wake.woken()).await.expect("no hint");
            let hints = self.watcher.take();
            assert!(!hints.rescan);
            taken.extend(hints.paths);
        }
        taken
    }
}

#[expect(clippy::disallowed_methods, reason = "test data needs no durability")]
fn put(path: &Path) {
    fs::write(path, b"1").unwrap();
}

#[expect(clippy::disallowed_methods, reason = "test data needs no durability")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn a_manifest_renamed_into_place_is_hinted_and_its_temporary_name_is_not() {
    let scene = Scene::new();
    scene.put(&format!("{RUN}/.x.tmp"));
    let path = format!("{RUN}/1-1.manifest.jsonl");
    scene.rename(&format!("{RUN}/.x.tmp"), &path);
    assert_eq!(scene.hinted(&[&path]).await, BTreeSet::from([path]));
}

#[tokio::test]
async fn a_manifest_linked_or_written_in_place_is_hinted() {
    let scene = Scene::new();
    let written = format!("{RUN}/1-1.manifest.jsonl.zst");
    let linked = format!("{RUN}/1-2.manifest.jsonl");
    scene.put(&written);
    let root = scene.directory.path();
    fs::hard_link(root.join(&written), root.join(&linked)).unwrap();
    scene.hinted(&[&written, &linked]).await;
}

#[tokio::test]
async fn reading_a_manifest_is_no_hint() {
    let scene = Scene::new();
    let [read, fence, later] = [1, 2, 3].map(|n| format!("{RUN}/1-{n}.manifest.jsonl"));
    scene.put(&read);
    // Events keep their order: with the fence, all of the first file have been taken.
    scene.put(&fence);
    scene.hinted(&[&fence]).await;
    fs::read(scene.directory.path().join(&read)).unwrap();
    scene.put(&later);
    let hints = scene.hinted(&[&later]).await;
    assert!(!hints.contains(&read), "{hints:?}");
}

#[tokio::test]
async fn folders_that_are_filled_before_they_can_be_watched_are_listed() {
    let scene = Scene::new();
    let mut paths = Vec::new();
    for run in 0..50 {
        let folder = format!("runsync/manifests/o{run}/u/run");
        scene.make_folder(&folder);
        let path = format!("{folder}/1-1.manifest.jsonl");
        scene.put(&path);
        paths.push(path);
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    scene.hinted(&paths).await;
    let later = "runsync/manifests/o7/u/run/1-2.manifest.jsonl";
    scene.put(later);
    scene.hinted(&[later]).await;
}

#[tokio::test]
async fn a_folder_moved_in_is_listed() {
    let scene = Scene::new();
    scene.make_folder("elsewhere/deep");
    scene.put("elsewhere/deep/1-1.manifest.jsonl");
    scene.rename("elsewhere", "runsync/manifests/o/moved");
    scene
        .hinted(&["runsync/manifests/o/moved/deep/1-1.manifest.jsonl"])
        .await;
}

#[tokio::test]
async fn a_manifest_folder_that_comes_later_is_watched() {
    let scene = Scene::with(|_| ());
    assert_eq!(scene.watcher.take(), Hints::everywhere());
    scene.make_folder(RUN);
    let path = format!("{RUN}/1-1.manifest.jsonl");
    scene.put(&path);
    scene.hinted(&[&path]).await;
    fs::remove_dir_all(scene.directory.path().join("runsync/manifests")).unwrap();
    scene.make_folder(RUN);
    let path = format!("{RUN}/1-2.manifest.jsonl");
    scene.put(&path);
    scene.hinted(&[&path]).await;
}

#[tokio::test]
async fn a_link_to_a_folder_is_not_followed() {
    let scene = Scene::new();
    scene.make_folder("elsewhere");
    scene.put("elsewhere/1-1.manifest.jsonl");
    let link = scene.directory.path().join("runsync/manifests/o/link");
    std::os::unix::fs::symlink(scene.directory.path().join("elsewhere"), link).unwrap();
    let marker = format!("{RUN}/1-1.manifest.jsonl");
    scene.put(&marker);
    let hints = scene.hinted(&[&marker]).await;
    assert!(!hints.iter().any(|path| path.contains("link")), "{hints:?}");
}

#[tokio::test]
async fn an_overflow_of_the_kernels_queue_means_everywhere_and_new_folders_are_watched() {
    let scene = Scene::new();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let lost = format!("{RUN}-lost");
    let files = ["a", "b"].map(|name| scene.directory.path().join(RUN).join(name));
    for file in &files {
        put(file);
    }
    {
        // Whoever holds the inbox holds up the thread that reads the kernel's queue. Opening a file
        // is an event; of two files in turn, so that the kernel does not merge them.
        let _held = scene.watcher.hold_inbox();
        for file in files.iter().cycle().take(limit + 1000) {
            fs::File::open(file).unwrap();
        }
        scene.make_folder(&lost);
    }
    loop {
        timeout(PATIENCE, scene.wake.woken())
            .await
            .expect("no hint");
        if scene.watcher.take().rescan {
            break;
        }
    }
    let path = format!("{lost}/1-1.manifest.jsonl");
    scene.put(&path);
    scene.hinted(&[&path]).await;
    assert_eq!(scene.watcher.degraded(), None);
}

#[test]
fn without_events_the_first_look_is_everywhere_and_the_sweep_does_the_rest() {
    let directory = TempDir::new().unwrap();
    let watcher = Watcher::switched_off(directory.path());
    assert_eq!(watcher.degraded(), Some(Degraded::SwitchedOff));
    assert_eq!(watcher.take(), Hints::everywhere());
    assert!(watcher.take().is_empty());
}

/// Runs a test of this binary where only `watches` inotify watches may be had.
fn run_with_few_watches(test: &str, watches: u32) {
    let script = format!(
        "echo {watches} > /proc/sys/user/max_inotify_watches && exec \"$0\" --ignored --exact \"$1\""
    );
    let output = Command::new("unshare")
        .args(["-Ur", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
fn the_limit_of_watches_degrades_and_does_not_fail() {
    run_with_few_watches(
        "ingest::watch::tests::with_few_watches_the_rest_is_swept",
        5,
    );
    run_with_few_watches(
        "ingest::watch::tests::with_few_watches_the_rest_is_not_dirty",
        5,
    );
}

#[tokio::test]
#[ignore = "run by the_limit_of_watches_degrades_and_does_not_fail, in a user namespace"]
async fn with_few_watches_the_rest_is_swept() {
    let scene = Scene::new();
    for run in 0..10 {
        scene.make_folder(&format!("runsync/manifests/o/{run}"));
    }
    while scene.watcher.degraded().is_none() {
        timeout(PATIENCE, scene.wake.woken())
            .await
            .expect("no hint");
        scene.watcher.take();
    }
    assert_eq!(scene.watcher.degraded(), Some(Degraded::WatchLimit));
}

#[tokio::test]
#[ignore = "run by the_limit_of_watches_degrades_and_does_not_fail, in a user namespace"]
async fn with_few_watches_the_rest_is_not_dirty() {
    let directory = TempDir::new().unwrap();
    let watch = ArtifactWatch::start(directory.path(), 100, Wake::new());
    let folders: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
    for folder in &folders {
        fs::create_dir(directory.path().join(folder)).unwrap();
    }
    assert_eq!(watch.wanted(folders), 5);
    assert_eq!(watch.degraded(), Some(Degraded::WatchLimit));
}

/// Takes dirty folders until one of them is `folder`.
async fn dirty(watch: &ArtifactWatch, wake: &Wake, folder: &str) {
    loop {
        timeout(PATIENCE, wake.woken())
            .await
            .expect("nothing dirty");
        if watch.take_dirty().iter().any(|dirty| dirty == folder) {
            return;
        }
    }
}

fn artifact_scene(most: usize) -> (TempDir, Wake, ArtifactWatch) {
    let directory = TempDir::new().unwrap();
    let wake = Wake::new();
    let watch = ArtifactWatch::start(directory.path(), most, wake.clone());
    (directory, wake, watch)
}

#[tokio::test]
async fn an_artifact_that_comes_makes_its_folder_dirty_and_no_other() {
    let (directory, wake, watch) = artifact_scene(10);
    let root = directory.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("a/c")).unwrap();
    assert_eq!(watch.wanted(["a/b", "a/c", ""].map(str::to_owned)), 3);
    assert_eq!(watch.take_dirty(), ["", "a/b", "a/c"]);
    put(&root.join("a/b/.temporary"));
    rename(&root.join("a/b/.temporary"), &root.join("a/b/artifact"));
    dirty(&watch, &wake, "a/b").await;
    put(&root.join("top"));
    dirty(&watch, &wake, "").await;
    assert!(!watch.take_dirty().contains(&"a/c".to_owned()));
}

#[tokio::test]
async fn a_folder_that_does_not_exist_yet_is_watched_once_it_comes() {
    let (directory, wake, watch) = artifact_scene(10);
    let root = directory.path();
    assert_eq!(watch.wanted(["a/b/c".to_owned()]), 1);
    assert_eq!(watch.take_dirty(), ["a/b/c"]);
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    dirty(&watch, &wake, "a/b/c").await;
    put(&root.join("a/b/c/artifact"));
    dirty(&watch, &wake, "a/b/c").await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_watched_anew() {
    let (directory, wake, watch) = artifact_scene(10);
    let root = directory.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    watch.wanted(["a/b".to_owned()]);
    watch.take_dirty();
    fs::remove_dir_all(root.join("a")).unwrap();
    dirty(&watch, &wake, "a/b").await;
    fs::create_dir_all(root.join("a/b")).unwrap();
    dirty(&watch, &wake, "a/b").await;
    while !watch.take_dirty().is_empty() {}
    put(&root.join("a/b/artifact"));
    dirty(&watch, &wake, "a/b").await;
}

#[tokio::test]
async fn no_more_folders_are_watched_than_configured_and_unwanted_ones_make_room() {
    let (directory, wake, watch) = artifact_scene(2);
    let root = directory.path();
    for folder in ["a", "b", "c"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    assert_eq!(watch.wanted(["c", "b", "a"].map(str::to_owned)), 2);
    assert_eq!(watch.take_dirty(), ["b", "c"]);
    assert_eq!(watch.wanted(["a".to_owned()]), 1);
    assert_eq!(watch.take_dirty(), ["a"]);
    put(&root.join("b/artifact"));
    put(&root.join("a/artifact"));
    dirty(&watch, &wake, "a").await;
    assert!(watch.take_dirty().iter().all(|folder| folder == "a"));
}
