//! What every root must do, whatever it is made of: one case each, instantiated per backend by
//! [`datastore_conformance`].

use std::fs::File;
use std::io::Read;

use runsync_manifest::name::ArtifactPath;

use super::{Aside, Datastore, DatastoreError, Deletion, Linked, Look, Moved, Sight, ToDelete};
use crate::file_identity::FileIdentity;

/// A root to test, and a way to fill it behind its back.
pub(crate) trait Fixture {
    /// An empty, initialised root.
    fn new() -> Self;

    /// The root.
    fn root(&self) -> &dyn Datastore;

    /// Puts an object at a path relative to the root, with all folders it needs.
    fn put(&self, path: &str, bytes: &[u8]);

    /// Removes an object.
    fn remove(&self, path: &str);
}

/// Makes a test of every case for one [`Fixture`].
macro_rules! datastore_conformance {
    ($fixture:ty) => {
        $crate::datastore::conformance::datastore_conformance! { $fixture:
            the_root_knows_its_repository,
            an_untouched_root_keeps_its_identity,
            looks_are_answered_in_the_order_asked,
            a_missing_folder_means_absent_for_all_in_it,
            an_opened_artifact_reads_back,
            a_missing_artifact_is_missing,
            a_changed_artifact_has_another_identity,
            a_root_without_manifests_lists_none,
            manifests_are_listed_sorted_and_temporary_names_left_out,
            an_installed_manifest_is_listed_and_reads_back,
            an_installed_manifest_is_never_clobbered,
            a_failed_copy_leaves_nothing,
            only_the_manifest_that_is_meant_is_deleted,
            paths_outside_the_manifest_folder_are_refused,
            only_the_file_that_is_meant_is_deleted,
            deletions_are_answered_in_the_order_asked,
            a_second_name_is_of_the_same_file_and_takes_none_from_another,
            a_file_is_set_aside_and_brought_back_and_takes_no_name_from_another,
            a_journal_is_written_whole_grows_and_goes,
            a_journal_that_cannot_be_filled_leaves_nothing,
            names_that_are_no_journals_are_refused_and_not_listed,
            a_walk_sees_all_in_the_order_of_whole_paths,
            a_walk_begins_anywhere_and_sees_the_rest,
            a_walk_below_a_folder_sees_nothing_else,
        }
    };
    ($fixture:ty: $($case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                let fixture = <$fixture as $crate::datastore::conformance::Fixture>::new();
                $crate::datastore::conformance::$case(&fixture);
            }
        )*
    };
}
pub(crate) use datastore_conformance;

const MANIFEST: &str = "runsync/manifests/018f/u/run/1-1.manifest.jsonl";

fn path(text: &str) -> ArtifactPath {
    text.parse().unwrap()
}

fn text_of(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

fn size_of(look: Look) -> Option<u64> {
    match look {
        Look::File(identity) => Some(identity.size),
        Look::Absent => None,
        Look::Irregular | Look::Unreadable(_) => panic!("{look:?}"),
    }
}

pub(crate) fn the_root_knows_its_repository(fixture: &impl Fixture) {
    assert_eq!(fixture.root().repository().format, 1);
    assert_eq!(fixture.root().repository().site.as_str(), "SITE_A");
}

pub(crate) fn an_untouched_root_keeps_its_identity(fixture: &impl Fixture) {
    fixture.put("data/a", b"1");
    fixture.root().check_identity().unwrap();
}

pub(crate) fn looks_are_answered_in_the_order_asked(fixture: &impl Fixture) {
    fixture.put("a/1", b"1");
    fixture.put("a/3", b"333");
    fixture.put("b/c/2", b"22");
    fixture.put("top", b"4444");
    let paths = ["a/1", "a/2", "a/3", "b/c/2", "b/x", "top"].map(path);
    let asked: Vec<&ArtifactPath> = paths.iter().collect();
    let looks = fixture.root().look(&asked).unwrap();
    let sizes: Vec<Option<u64>> = looks.into_iter().map(size_of).collect();
    assert_eq!(sizes, [Some(1), None, Some(3), Some(2), None, Some(4)]);
    let backwards: Vec<&ArtifactPath> = paths.iter().rev().collect();
    let looks = fixture.root().look(&backwards).unwrap();
    let sizes: Vec<Option<u64>> = looks.into_iter().map(size_of).collect();
    assert_eq!(sizes, [Some(4), None, Some(2), Some(3), None, Some(1)]);
    assert_eq!(fixture.root().look(&[]).unwrap(), []);
}

pub(crate) fn a_missing_folder_means_absent_for_all_in_it(fixture: &impl Fixture) {
    let paths = ["no/such/folder/1", "no/such/folder/2"].map(path);
    let asked: Vec<&ArtifactPath> = paths.iter().collect();
    let looks = fixture.root().look(&asked).unwrap();
    assert_eq!(looks, [Look::Absent, Look::Absent]);
}

pub(crate) fn an_opened_artifact_reads_back(fixture: &impl Fixture) {
    fixture.put("a/é ü", b"bytes");
    let (file, opened) = fixture.root().open(&path("a/é ü")).unwrap();
    assert_eq!(text_of(file), "bytes");
    let looks = fixture.root().look(&[&path("a/é ü")]).unwrap();
    assert_eq!(looks, [Look::File(opened)]);
}

pub(crate) fn a_missing_artifact_is_missing(fixture: &impl Fixture) {
    let error = fixture.root().open(&path("a/b")).unwrap_err();
    assert!(matches!(error, DatastoreError::Missing { path } if path == "a/b"));
}

pub(crate) fn a_changed_artifact_has_another_identity(fixture: &impl Fixture) {
    fixture.put("a", b"1");
    let before = fixture.root().look(&[&path("a")]).unwrap();
    fixture.remove("a");
    fixture.put("a", b"22");
    assert_ne!(fixture.root().look(&[&path("a")]).unwrap(), before);
}

pub(crate) fn a_root_without_manifests_lists_none(fixture: &impl Fixture) {
    let (files, errors) = fixture.root().list_manifests().unwrap();
    assert!(files.is_empty() && errors.is_empty());
}

pub(crate) fn manifests_are_listed_sorted_and_temporary_names_left_out(fixture: &impl Fixture) {
    let named = [
        "runsync/manifests/o/a.b/1-1.manifest.jsonl.zst",
        "runsync/manifests/o/a/1-1.manifest.jsonl",
        "runsync/manifests/o/a/b c/é/2-1.manifest.jsonl",
    ];
    for name in named.iter().rev() {
        fixture.put(name, b"m");
    }
    for other in [
        "runsync/manifests/o/a/.1-1.manifest.jsonl.rucio",
        "runsync/manifests/o/a/.1-2.manifest.jsonl",
        "runsync/manifests/o/a/.0123.tmp",
        "runsync/manifests/o/a/1-2.manifest.jsonl.part",
        "runsync/manifests/o/.hidden/1-1.manifest.jsonl",
        "runsync/journal/1-1.manifest.jsonl",
        "data/1-1.manifest.jsonl",
    ] {
        fixture.put(other, b"x");
    }
    let (files, errors) = fixture.root().list_manifests().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, named);
    for file in &files {
        let look = fixture.root().look_at_manifest(&file.path).unwrap();
        assert_eq!(look, Look::File(file.identity));
    }
}

pub(crate) fn an_installed_manifest_is_listed_and_reads_back(fixture: &impl Fixture) {
    let root = fixture.root();
    assert_eq!(root.look_at_manifest(MANIFEST).unwrap(), Look::Absent);
    assert!(root.install_manifest(MANIFEST, &mut &b"hello"[..]).unwrap());
    let (file, identity) = root.open_manifest(MANIFEST).unwrap();
    assert_eq!(text_of(file), "hello");
    let (files, errors) = root.list_manifests().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].path, MANIFEST);
    assert_eq!(files[0].identity, identity);
}

pub(crate) fn an_installed_manifest_is_never_clobbered(fixture: &impl Fixture) {
    let root = fixture.root();
    assert!(root.install_manifest(MANIFEST, &mut &b"first"[..]).unwrap());
    assert!(
        !root
            .install_manifest(MANIFEST, &mut &b"second"[..])
            .unwrap()
    );
    let (file, _) = root.open_manifest(MANIFEST).unwrap();
    assert_eq!(text_of(file), "first");
}

pub(crate) fn a_failed_copy_leaves_nothing(fixture: &impl Fixture) {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let mut half = b"half of it".chain(Broken);
    let root = fixture.root();
    assert!(root.install_manifest(MANIFEST, &mut half).is_err());
    assert_eq!(root.look_at_manifest(MANIFEST).unwrap(), Look::Absent);
    assert!(root.install_manifest(MANIFEST, &mut &b"whole"[..]).unwrap());
}

pub(crate) fn paths_outside_the_manifest_folder_are_refused(fixture: &impl Fixture) {
    let root = fixture.root();
    for outside in [
        "runsync/repository.json",
        "data/1-1.manifest.jsonl",
        "runsync/manifests/../1-1.manifest.jsonl",
        "/runsync/manifests/1-1.manifest.jsonl",
    ] {
        let refused = |error| matches!(error, DatastoreError::PathRefused { .. });
        assert!(refused(root.look_at_manifest(outside).unwrap_err()));
        assert!(refused(root.open_manifest(outside).unwrap_err()));
        assert!(refused(
            root.install_manifest(outside, &mut &b""[..]).unwrap_err()
        ));
    }
}

fn identity(fixture: &impl Fixture, at: &ArtifactPath) -> FileIdentity {
    match fixture.root().look(&[at]).unwrap()[0] {
        Look::File(identity) => identity,
        other @ (Look::Absent | Look::Irregular | Look::Unreadable(_)) => panic!("{other:?}"),
    }
}

pub(crate) fn only_the_manifest_that_is_meant_is_deleted(fixture: &impl Fixture) {
    let root = fixture.root();
    fixture.put(MANIFEST, b"one");
    let Look::File(meant) = root.look_at_manifest(MANIFEST).unwrap() else {
        panic!("it is there");
    };
    fixture.remove(MANIFEST);
    let delete = |identity| root.delete_manifest(MANIFEST, identity).unwrap();
    assert_eq!(delete(meant), Deletion::Absent);
    fixture.put(MANIFEST, b"another");
    let Look::File(another) = root.look_at_manifest(MANIFEST).unwrap() else {
        panic!("it is there");
    };
    assert_eq!(delete(meant), Deletion::Other(another));
    assert_eq!(delete(another), Deletion::Deleted);
    assert_eq!(root.look_at_manifest(MANIFEST).unwrap(), Look::Absent);
    fixture.put("a/b.fits", b"x");
    let refused = root.delete_manifest("a/b.fits", another);
    assert!(matches!(refused, Err(DatastoreError::PathRefused { .. })));
}

pub(crate) fn only_the_file_that_is_meant_is_deleted(fixture: &impl Fixture) {
    fixture.put("a/1", b"1");
    let at = &path("a/1");
    let meant = identity(fixture, at);
    fixture.remove("a/1");
    fixture.put("a/1", b"another");
    let delete = |identity| {
        let to_delete = [ToDelete { path: at, identity }];
        fixture.root().delete(&to_delete).unwrap()
    };
    let another = identity(fixture, at);
    assert_eq!(delete(meant), [Deletion::Other(another)]);
    assert_eq!(identity(fixture, at), another);
    assert_eq!(delete(another), [Deletion::Deleted]);
    assert_eq!(delete(another), [Deletion::Absent]);
    fixture.root().sync().unwrap();
}

pub(crate) fn deletions_are_answered_in_the_order_asked(fixture: &impl Fixture) {
    let paths = ["a/1", "a/2", "b/c/3", "no/folder/4", "top"].map(path);
    for at in paths.iter().filter(|at| !at.as_str().contains("no/")) {
        fixture.put(at.as_str(), b"x");
    }
    let known = identity(fixture, &paths[0]);
    let to_delete: Vec<ToDelete<'_>> = paths
        .iter()
        .map(|at| ToDelete {
            path: at,
            identity: match at.as_str() {
                "no/folder/4" | "a/2" => known,
                _ => identity(fixture, at),
            },
        })
        .collect();
    let deletions = fixture.root().delete(&to_delete).unwrap();
    let other = Deletion::Other(identity(fixture, &paths[1]));
    let deleted = Deletion::Deleted;
    assert_eq!(
        deletions,
        [deleted, other, deleted, Deletion::Absent, deleted]
    );
    assert_eq!(fixture.root().delete(&[]).unwrap(), []);
}

const JOURNAL: &str = "20261127T102044Z-3f9a.journal.jsonl";

pub(crate) fn a_second_name_is_of_the_same_file_and_takes_none_from_another(
    fixture: &impl Fixture,
) {
    fixture.put("u/a.fits", b"artifact");
    fixture.put("taken", b"other");
    let (root, to) = (fixture.root(), path("hsc/ab/cd/u/a.fits"));
    assert_eq!(root.link("u/a.fits", &to).unwrap(), Linked::Made);
    assert_eq!(root.link("u/a.fits", &to).unwrap(), Linked::There);
    root.sync().unwrap();
    assert_eq!(identity(fixture, &to), identity(fixture, &path("u/a.fits")));
    assert_eq!(
        root.link("u/a.fits", &path("taken")).unwrap(),
        Linked::Other
    );
    assert_eq!(text_of(root.open(&path("taken")).unwrap().0), "other");
    let missing = root.link("u/b.fits", &path("hsc/b.fits")).unwrap_err();
    assert!(
        matches!(missing, DatastoreError::Missing { .. }),
        "{missing}"
    );
    fixture.remove("u/a.fits");
    assert_eq!(text_of(root.open(&to).unwrap().0), "artifact");
}

pub(crate) fn a_file_is_set_aside_and_brought_back_and_takes_no_name_from_another(
    fixture: &impl Fixture,
) {
    fixture.put("u/a.fits", b"artifact");
    let (root, at) = (fixture.root(), path("u/a.fits"));
    let meant = identity(fixture, &at);
    let aside = Aside::of(uuid::Uuid::from_u128(7), &at);
    let artifact = ToDelete {
        path: &at,
        identity: meant,
    };
    let other = ToDelete {
        identity: FileIdentity { size: 3, ..meant },
        ..artifact
    };
    assert_eq!(root.look_aside(&aside).unwrap(), Look::Absent);
    let stays = root.set_aside(other, &aside).unwrap();
    assert_eq!(stays, Moved::Other(meant));
    assert_eq!(root.set_aside(artifact, &aside).unwrap(), Moved::Moved);
    root.sync().unwrap();
    assert_eq!(root.look_aside(&aside).unwrap(), Look::File(meant));
    assert_eq!(root.look(&[&at]).unwrap(), [Look::Absent]);
    assert_eq!(root.set_aside(artifact, &aside).unwrap(), Moved::Absent);
    // Nothing gives way to it, in either direction.
    fixture.put("u/a.fits", b"another");
    let back = root.bring_back(&aside, meant, &at).unwrap();
    assert_eq!(back, Moved::Taken);
    let another = ToDelete {
        path: &at,
        identity: identity(fixture, &at),
    };
    assert_eq!(root.set_aside(another, &aside).unwrap(), Moved::Taken);
    assert_eq!(text_of(root.open(&at).unwrap().0), "another");
    fixture.remove("u/a.fits");
    let back = root.bring_back(&aside, meant, &at).unwrap();
    assert_eq!(back, Moved::Moved);
    assert_eq!(text_of(root.open(&at).unwrap().0), "artifact");
}

pub(crate) fn a_journal_is_written_whole_grows_and_goes(fixture: &impl Fixture) {
    let journals = fixture.root().journals();
    assert_eq!(journals.list().unwrap(), [""; 0]);
    let fill = &mut |to: &mut dyn std::io::Write| to.write_all(b"one\n");
    journals.create(JOURNAL, fill).unwrap();
    assert_eq!(journals.list().unwrap(), [JOURNAL]);
    journals.append(JOURNAL, "two").unwrap();
    let text = || text_of(journals.open_journal(JOURNAL).unwrap());
    assert_eq!(text(), "one\ntwo\n");
    journals.create(JOURNAL, fill).unwrap_err();
    assert_eq!(text(), "one\ntwo\n");
    journals.remove(JOURNAL).unwrap();
    journals.remove(JOURNAL).unwrap();
    assert_eq!(journals.list().unwrap(), [""; 0]);
    let gone = journals.open_journal(JOURNAL).unwrap_err();
    assert!(matches!(gone, DatastoreError::Missing { .. }), "{gone}");
    journals.append(JOURNAL, "three").unwrap_err();
}

pub(crate) fn a_journal_that_cannot_be_filled_leaves_nothing(fixture: &impl Fixture) {
    let journals = fixture.root().journals();
    let fill = &mut |to: &mut dyn std::io::Write| {
        to.write_all(b"half of it")?;
        Err(std::io::Error::from_raw_os_error(28))
    };
    journals.create(JOURNAL, fill).unwrap_err();
    assert_eq!(journals.list().unwrap(), [""; 0]);
}

pub(crate) fn names_that_are_no_journals_are_refused_and_not_listed(fixture: &impl Fixture) {
    let journals = fixture.root().journals();
    fixture.put("runsync/journal/.0123.tmp", b"x");
    fixture.put("runsync/journal/notes.txt", b"x");
    assert_eq!(journals.list().unwrap(), [""; 0]);
    for name in ["../repository.json", "notes.txt", ".a.journal.jsonl", ""] {
        let refused = |error| matches!(error, DatastoreError::JournalName { .. });
        assert!(refused(journals.open_journal(name).unwrap_err()));
        assert!(refused(journals.remove(name).unwrap_err()));
        assert!(refused(journals.append(name, "x").unwrap_err()));
        assert!(refused(journals.create(name, &mut |_| Ok(())).unwrap_err()));
    }
}

/// Paths whose order is not that of their folders' names.
const WALKED: [&str; 9] = [
    "a-b/1",
    "a.fits",
    "a/",
    "a/0/x",
    "a/b-/y",
    "a/b/z",
    "a0",
    "b",
    "b\u{e9}/1",
];

fn walked(root: &dyn Datastore, below: Option<&str>, from: &str) -> Vec<String> {
    let below = below.map(path);
    let mut walk = root.walk(below.as_ref(), from).unwrap();
    let sights = std::iter::from_fn(|| walk.next());
    sights.map(|sight| sight.key().unwrap()).collect()
}

fn fill(fixture: &impl Fixture) -> Vec<&'static str> {
    let files = WALKED.into_iter().filter(|path| !path.ends_with('/'));
    let files: Vec<&str> = files.collect();
    for path in files.iter().rev() {
        fixture.put(path, path.as_bytes());
    }
    // The one folder that is left out, and one that is not.
    fixture.put("runsync/manifests/x", b"x");
    files
}

pub(crate) fn a_walk_sees_all_in_the_order_of_whole_paths(fixture: &impl Fixture) {
    let mut expected = fill(fixture);
    fixture.put("runsync-not/x", b"x");
    expected.push("runsync-not/x");
    expected.sort_unstable();
    let root = fixture.root();
    assert_eq!(walked(root, None, ""), expected);
    let mut walk = root.walk(None, "a.fits").unwrap();
    let Some(Sight::File(file)) = walk.next() else {
        panic!("a file");
    };
    assert_eq!((file.path.as_str(), file.identity.size), ("a.fits", 6));
    assert_eq!(
        root.look(&[&file.path]).unwrap(),
        [Look::File(file.identity)]
    );
    assert!(walk.calls() > 0);
}

pub(crate) fn a_walk_begins_anywhere_and_sees_the_rest(fixture: &impl Fixture) {
    let all = fill(fixture);
    let root = fixture.root();
    let mut begins = vec!["a/b/".to_owned(), "a/".to_owned(), "zz".to_owned()];
    for path in &all {
        begins.extend([(*path).to_owned(), format!("{path}\0"), format!("{path}/x")]);
    }
    for from in begins {
        let expected = all.iter().filter(|path| **path >= from.as_str());
        assert!(walked(root, None, &from).iter().eq(expected), "{from:?}");
    }
}

pub(crate) fn a_walk_below_a_folder_sees_nothing_else(fixture: &impl Fixture) {
    fill(fixture);
    let root = fixture.root();
    assert_eq!(walked(root, Some("a"), "a/"), ["a/0/x", "a/b-/y", "a/b/z"]);
    assert_eq!(walked(root, Some("a"), "a/b/"), ["a/b/z"]);
    assert_eq!(walked(root, Some("nothing"), ""), [""; 0]);
}
