//! What only a directory can suffer: links, pipes, mounts that come and go.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, mknodat};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tempfile::TempDir;

use super::*;
use crate::datastore::conformance::{Fixture, datastore_conformance};
use crate::datastore::counted::{Calls, Counted};
use crate::datastore::faulty::Faulty;
use crate::datastore::{RepositoryFileError, StorageFault};

const REPOSITORY: &str = r#"{"format":1,"repository":"018f0000-0000-7000-8000-000000000001",
    "site":"SITE_A","registry":"018f0000-0000-7000-8000-000000000002"}"#;
const MANIFEST: &str = "runsync/manifests/o/run/1-1.manifest.jsonl";

struct LocalFixture {
    directory: TempDir,
    root: LocalRoot,
}

impl LocalFixture {
    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path)
    }

    fn look(&self, path: &str) -> Look {
        self.root.look(&[&path.parse().unwrap()]).unwrap()[0]
    }
}

impl Fixture for LocalFixture {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("root");
        initialise(&path, REPOSITORY);
        let root = LocalRoot::open(&path).unwrap();
        Self { directory, root }
    }

    fn root(&self) -> &dyn Datastore {
        &self.root
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        put(&self.at(path), bytes);
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }
}

datastore_conformance!(LocalFixture);

#[expect(clippy::disallowed_methods, reason = "test data needs no durability")]
fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "test data needs no durability")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

fn initialise(root: &Path, repository: &str) {
    put(&root.join(REPOSITORY_FILE), repository.as_bytes());
}

fn make_fifo(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(fs::metadata(path).unwrap().file_type().is_fifo());
}

#[test]
fn a_missing_root_says_how_to_make_one() {
    let directory = TempDir::new().unwrap();
    let error = LocalRoot::open(&directory.path().join("none")).unwrap_err();
    assert!(matches!(error, DatastoreError::RootMissing { .. }));
    assert!(error.hint().unwrap().contains("runsync init"));
}

#[test]
fn an_empty_mount_point_is_not_taken_for_a_root() {
    let directory = TempDir::new().unwrap();
    let error = LocalRoot::open(directory.path()).unwrap_err();
    assert!(matches!(error, DatastoreError::NotInitialised { .. }));
    assert!(error.hint().unwrap().contains("runsync init"));
}

#[test]
fn a_root_of_a_newer_format_is_refused() {
    let directory = TempDir::new().unwrap();
    initialise(directory.path(), r#"{"format":7}"#);
    let error = LocalRoot::open(directory.path()).unwrap_err();
    assert!(matches!(
        error,
        DatastoreError::RepositoryFile {
            source: RepositoryFileError::Format { found: 7 },
            ..
        }
    ));
}

#[test]
fn an_endless_repository_file_is_not_read_to_its_end() {
    let directory = TempDir::new().unwrap();
    initialise(directory.path(), "");
    let file = fs::File::options()
        .write(true)
        .open(directory.path().join(REPOSITORY_FILE));
    file.unwrap().set_len(1 << 40).unwrap();
    let error = LocalRoot::open(directory.path()).unwrap_err();
    assert!(matches!(
        error,
        DatastoreError::RepositoryFile {
            source: RepositoryFileError::TooLarge,
            ..
        }
    ));
}

#[test]
fn a_repository_file_behind_a_link_is_refused() {
    let directory = TempDir::new().unwrap();
    put(
        &directory.path().join("elsewhere.json"),
        REPOSITORY.as_bytes(),
    );
    fs::create_dir(directory.path().join("runsync")).unwrap();
    symlink("../elsewhere.json", directory.path().join(REPOSITORY_FILE)).unwrap();
    let error = LocalRoot::open(directory.path()).unwrap_err();
    assert!(matches!(error, DatastoreError::Irregular { .. }));
}

#[test]
fn the_operators_own_path_to_the_root_may_be_a_link() {
    let fixture = LocalFixture::new();
    let link = fixture.directory.path().join("link");
    symlink(fixture.at(""), &link).unwrap();
    LocalRoot::open(&link).unwrap().check_identity().unwrap();
}

#[test]
fn links_are_never_followed_wherever_they_are() {
    let fixture = LocalFixture::new();
    let outside = fixture.directory.path().join("outside");
    put(&outside.join("secret"), b"secret");
    fixture.put("a/file", b"1");
    symlink(&outside, fixture.at("a/folder")).unwrap();
    symlink("file", fixture.at("a/alias")).unwrap();
    symlink("missing", fixture.at("a/dangling")).unwrap();
    for path in ["a/folder/secret", "a/alias", "a/dangling"] {
        assert_eq!(fixture.look(path), Look::Irregular, "{path}");
        let error = fixture.root.open(&path.parse().unwrap()).unwrap_err();
        assert!(matches!(error, DatastoreError::Irregular { .. }), "{path}");
    }
}

#[test]
fn a_folder_swapped_for_a_link_between_two_looks_leads_nowhere() {
    let fixture = LocalFixture::new();
    let outside = fixture.directory.path().join("outside");
    put(&outside.join("file"), b"another");
    fixture.put("a/file", b"1");
    assert!(matches!(fixture.look("a/file"), Look::File(_)));
    rename(&fixture.at("a"), &fixture.at("moved"));
    symlink(&outside, fixture.at("a")).unwrap();
    assert_eq!(fixture.look("a/file"), Look::Irregular);
}

#[test]
fn pipes_sockets_and_folders_are_irregular_and_do_not_block() {
    let fixture = LocalFixture::new();
    make_fifo(&fixture.at("pipe"));
    fs::create_dir(fixture.at("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.at("socket")).unwrap();
    for path in ["pipe", "folder", "socket"] {
        assert_eq!(fixture.look(path), Look::Irregular, "{path}");
        let error = fixture.root.open(&path.parse().unwrap()).unwrap_err();
        assert!(matches!(error, DatastoreError::Irregular { .. }), "{path}");
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_irregular() {
    let fixture = LocalFixture::new();
    fixture.put("a", b"1");
    assert_eq!(fixture.look("a/b"), Look::Irregular);
}

#[test]
fn a_manifest_path_with_dots_is_refused_before_storage_is_asked() {
    let fixture = LocalFixture::new();
    let path = "runsync/manifests/o/../../../../outside/1-1.manifest.jsonl";
    let error = fixture.root.open_manifest(path).unwrap_err();
    assert!(matches!(error, DatastoreError::PathRefused { .. }));
}

#[test]
fn the_kernel_keeps_a_path_with_dots_inside_too() {
    let fixture = LocalFixture::new();
    put(&fixture.directory.path().join("secret"), b"secret");
    let outcome = open_regular(&fixture.root.handle, "../secret");
    assert!(matches!(outcome, Err(DatastoreError::Irregular { .. })));
    assert!(open_regular(&fixture.root.handle, "/etc/passwd").is_err());
}

#[test]
fn a_name_too_long_for_the_file_system_hides_no_other() {
    let fixture = LocalFixture::new();
    fixture.put("b/file", b"1");
    let deep: ArtifactPath = vec!["x".repeat(250); 16].join("/").parse().unwrap();
    let there: ArtifactPath = "b/file".parse().unwrap();
    let looks = fixture.root.look(&[&there, &deep, &there]).unwrap();
    assert!(matches!(looks[0], Look::File(_)));
    assert!(matches!(looks[2], Look::File(_)));
}

/// Runs `work` on a thread that permissions apply to, also where root runs the tests.
fn without_privileges<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let unprivileged = || {
        set_capabilities(None, none).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(unprivileged).join().unwrap())
}

#[test]
fn what_may_not_be_read_is_unreadable_and_hides_no_other() {
    let fixture = LocalFixture::new();
    let denied = StorageFault(rustix::io::Errno::ACCESS.raw_os_error());
    fixture.put("a/1", b"1");
    fixture.put("b/2", b"2");
    fixture.put("runsync/manifests/o/shut/1-1.manifest.jsonl", b"m");
    fixture.put("runsync/manifests/o/u/1-1.manifest.jsonl", b"m");
    for shut in ["a", "runsync/manifests/o/shut"] {
        fs::set_permissions(fixture.at(shut), fs::Permissions::from_mode(0o000)).unwrap();
    }
    without_privileges(|| {
        assert_eq!(fixture.look("a/1"), Look::Unreadable(denied));
        assert_eq!(fixture.look("a/2"), Look::Unreadable(denied));
        assert!(matches!(fixture.look("b/2"), Look::File(_)));
        let error = fixture.root.open(&"a/1".parse().unwrap()).unwrap_err();
        assert!(matches!(error, DatastoreError::Io { .. }));
        let (files, errors) = fixture.root.list_manifests().unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(
            errors[0].to_string(),
            "cannot open `runsync/manifests/o/shut`"
        );
    });
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(fixture.at("runsync/manifests/o/shut"), open.clone()).unwrap();
    fs::set_permissions(fixture.at("a"), open).unwrap();
}

#[test]
fn times_before_1970_and_far_ahead_are_kept_in_order() {
    let fixture = LocalFixture::new();
    fixture.put("old", b"1");
    fixture.put("new", b"1");
    let set = |path: &str, to: SystemTime| {
        let file = fs::File::options().write(true).open(fixture.at(path));
        file.unwrap().set_modified(to).unwrap();
    };
    set(
        "old",
        SystemTime::UNIX_EPOCH - Duration::from_nanos(1_500_000_001),
    );
    set(
        "new",
        SystemTime::UNIX_EPOCH + Duration::from_secs(13_000_000_000),
    );
    let modified = |path: &str| match fixture.look(path) {
        Look::File(identity) => identity.modified_ns,
        other @ (Look::Absent | Look::Irregular | Look::Unreadable(_)) => panic!("{other:?}"),
    };
    assert_eq!(modified("old"), -1_500_000_001);
    assert!(modified("new") > 0);
}

#[test]
fn a_root_that_was_moved_away_is_missed() {
    let fixture = LocalFixture::new();
    fixture.put("a/file", b"1");
    rename(&fixture.at(""), &fixture.directory.path().join("moved"));
    let error = fixture.root.check_identity().unwrap_err();
    assert!(matches!(error, DatastoreError::RootMissing { .. }));
    assert!(matches!(fixture.look("a/file"), Look::File(_)));
}

#[test]
fn another_directory_in_the_roots_place_is_noticed() {
    let fixture = LocalFixture::new();
    rename(&fixture.at(""), &fixture.directory.path().join("moved"));
    initialise(&fixture.at(""), REPOSITORY);
    let error = fixture.root.check_identity().unwrap_err();
    let directory = RootChange::Directory;
    assert!(matches!(error, DatastoreError::RootChanged { change, .. } if change == directory));
}

#[test]
fn another_repository_in_the_same_directory_is_noticed() {
    let fixture = LocalFixture::new();
    let other = REPOSITORY.replace("000000000001", "000000000009");
    initialise(&fixture.at(""), &other);
    let error = fixture.root.check_identity().unwrap_err();
    let repository = RootChange::Repository;
    assert!(matches!(error, DatastoreError::RootChanged { change, .. } if change == repository));
    fs::remove_file(fixture.at(REPOSITORY_FILE)).unwrap();
    let error = fixture.root.check_identity().unwrap_err();
    assert!(matches!(error, DatastoreError::NotInitialised { .. }));
}

#[test]
fn odd_entries_among_manifests_are_reported_and_hide_no_other() {
    let fixture = LocalFixture::new();
    fixture.put(MANIFEST, b"m");
    make_fifo(&fixture.at("runsync/manifests/o/pipe/1-1.manifest.jsonl"));
    symlink("run", fixture.at("runsync/manifests/o/alias")).unwrap();
    let not_utf8 =
        <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff.manifest.jsonl");
    put(&fixture.at("runsync/manifests/o").join(not_utf8), b"m");
    fs::create_dir(fixture.at("runsync/manifests/o/2-1.manifest.jsonl")).unwrap();
    let (files, errors) = fixture.root.list_manifests().unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].path, MANIFEST);
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.sort();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("`runsync/manifests/o/alias` is not a regular file"));
    assert!(texts[1].starts_with("`runsync/manifests/o/pipe/1-1.manifest.jsonl` is not"));
    assert!(texts[2].ends_with("is not UTF-8"), "{texts:?}");
}

#[test]
fn folders_that_lie_too_deep_are_reported() {
    let fixture = LocalFixture::new();
    let deep = vec!["d"; 140].join("/");
    fixture.put(
        &format!("runsync/manifests/{deep}/1-1.manifest.jsonl"),
        b"m",
    );
    let (files, errors) = fixture.root.list_manifests().unwrap();
    assert!(files.is_empty());
    assert!(matches!(errors[..], [DatastoreError::PathRefused { .. }]));
}

#[test]
fn an_installed_manifest_is_read_only_and_leaves_no_temporary_file() {
    let fixture = LocalFixture::new();
    assert!(
        fixture
            .root
            .install_manifest(MANIFEST, &mut &b"m"[..])
            .unwrap()
    );
    assert!(
        !fixture
            .root
            .install_manifest(MANIFEST, &mut &b"n"[..])
            .unwrap()
    );
    let mode = fs::metadata(fixture.at(MANIFEST))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o222, 0);
    let folder = fs::read_dir(fixture.at("runsync/manifests/o/run")).unwrap();
    assert_eq!(folder.count(), 1);
}

#[test]
fn installing_does_not_follow_a_link_in_the_manifest_folder() {
    let fixture = LocalFixture::new();
    let outside = fixture.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir_all(fixture.at("runsync/manifests/o")).unwrap();
    symlink(&outside, fixture.at("runsync/manifests/o/run")).unwrap();
    let error = fixture
        .root
        .install_manifest(MANIFEST, &mut &b"m"[..])
        .unwrap_err();
    assert!(matches!(error, DatastoreError::Irregular { .. }));
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn installing_over_a_dangling_link_does_not_clobber_it() {
    let fixture = LocalFixture::new();
    fs::create_dir_all(fixture.at("runsync/manifests/o/run")).unwrap();
    symlink("nowhere", fixture.at(MANIFEST)).unwrap();
    assert!(
        !fixture
            .root
            .install_manifest(MANIFEST, &mut &b"m"[..])
            .unwrap()
    );
}

#[test]
fn of_many_that_install_at_once_one_wins() {
    let fixture = LocalFixture::new();
    let root = &fixture.root;
    let won = std::thread::scope(|scope| {
        let install = |n: u8| move || root.install_manifest(MANIFEST, &mut &[n][..]).unwrap();
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(install(n))).collect();
        let won = threads.into_iter().map(|thread| thread.join().unwrap());
        won.filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    let folder = fs::read_dir(fixture.at("runsync/manifests/o/run")).unwrap();
    assert_eq!(folder.count(), 1);
}

#[test]
fn a_counted_root_counts_what_reaches_storage_only() {
    let fixture = LocalFixture::new();
    let root = Counted::new(LocalRoot::open(fixture.root.directory()).unwrap());
    let path: ArtifactPath = "a/b".parse().unwrap();
    root.repository();
    assert_eq!(root.calls().total(), 0);
    root.look(&[&path, &path]).unwrap();
    root.check_identity().unwrap();
    let calls = Calls {
        check_identity: 1,
        look: 1,
        looked_at: 2,
        ..Calls::default()
    };
    assert_eq!(root.calls(), calls);
    assert_eq!(root.calls().total(), 2);
}

#[test]
fn a_faulty_root_fails_as_told_and_heals() {
    let fixture = LocalFixture::new();
    fixture.put("a/b", b"1");
    let root = Faulty::new(LocalRoot::open(fixture.root.directory()).unwrap());
    let path: ArtifactPath = "a/b".parse().unwrap();
    root.fail_next(2);
    assert!(root.check_identity().is_err());
    assert!(root.look(&[&path]).is_err());
    assert!(root.look(&[&path]).is_ok());
    root.fail_at("a/b");
    assert_eq!(
        root.look(&[&path]).unwrap(),
        [Look::Unreadable(StorageFault(5))]
    );
    assert!(root.open(&path).is_err());
    root.heal();
    assert!(root.open(&path).is_ok());
}
