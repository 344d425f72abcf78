//! Registering, confirming, reading.

use runsync_manifest::checksum::Md5;
use runsync_manifest::generation::Generation;

use super::support::{
    Manifest, Open, Site, checksums, claim, claims, dataset, dataset_type, root, run,
};
use crate::registry::RegistryError;
use crate::registry::memory_rows::MemoryRows;
use crate::registry::record::{Presence, RunRow, WaitingArtifact};

pub(crate) fn an_empty_registry_answers_nothing(open: &Open) {
    let site = Site::new(open);
    let registry = site.registry();
    let nobody = run("u/nobody");
    assert!(registry.runs(None).unwrap().is_empty());
    assert!(registry.run(&nobody).unwrap().is_none());
    assert!(registry.waiting_runs().unwrap().is_empty());
    assert!(site.waiting(&nobody).is_empty());
    assert!(
        registry
            .datasets(&nobody, None, None, 9)
            .unwrap()
            .is_empty()
    );
    assert!(registry.records(&nobody, None, 9).unwrap().is_empty());
    assert!(registry.dataset_types().unwrap().is_empty());
    assert!(registry.dimension_records().unwrap().is_empty());
    let answer = registry.exists(&[dataset(1)]).unwrap();
    assert_eq!(answer[0].presence, Presence::No);
    assert_eq!(registry.confirm(&nobody, &root(), &[]).unwrap(), 0);
    assert_eq!(site.dump(), "");
}

pub(crate) fn what_is_registered_is_read_back(open: &Open) {
    let site = Site::new(open);
    let key = run("HSC/runs/w_2026_12");
    let manifest = Manifest::new(&key, 4, claims(1..=20));
    let registered = site.register(&manifest).unwrap();
    assert_eq!(registered.datasets_added, 20);
    assert_eq!(registered.artifacts_waiting, 20);
    let row = site.registry().run(&key).unwrap().unwrap();
    assert_eq!(row.generation, Some(manifest.generation));
    assert_eq!(row.floor, None);
    assert_eq!((row.datasets, row.claims, row.waiting), (20, 20, 20));
    let types = site.registry().dataset_types().unwrap();
    assert_eq!(types.len(), 2);
    assert_eq!(types[0].name.as_str(), "calexp");
    assert_eq!(types[0].dimensions, ["detector", "instrument"]);
    let calexp = dataset_type("calexp").name;
    let datasets = site
        .registry()
        .datasets(&key, Some(&calexp), None, 100)
        .unwrap();
    assert_eq!(datasets.len(), 14);
    let records = site.registry().records(&key, None, 100).unwrap();
    let one = records.iter().find(|one| one.uuid == dataset(4)).unwrap();
    let expected = claim(4, "calexp/3/4.fits", 4);
    assert_eq!(one.path.as_str(), expected.path);
    assert_eq!(one.size, expected.size);
    assert_eq!(one.checksums, expected.checksums);
    assert_eq!(one.formatter.as_deref(), expected.formatter.as_deref());
    assert_eq!((&one.root, one.confirmed), (&root(), false));
    site.check_counters();
}

pub(crate) fn registering_again_changes_nothing(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let manifest = Manifest::new(&key, 1, claims(1..=9));
    site.register(&manifest).unwrap();
    site.confirm_all(&key);
    let before = site.dump();
    let again = site.register(&manifest).unwrap();
    assert_eq!((again.datasets_added, again.artifacts_waiting), (0, 0));
    assert_eq!(site.dump(), before);
    site.check_counters();
}

pub(crate) fn components_are_records_of_one_dataset(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let part = |component: &str, content| {
        let mut part = claim(1, &format!("parts/{component}.fits"), content);
        part.component = component.to_owned();
        part
    };
    let parts = vec![part("wcs", 1), part("image", 2), part("psf", 3)];
    site.register(&Manifest::new(&key, 1, parts)).unwrap();
    let row = site.registry().run(&key).unwrap().unwrap();
    assert_eq!((row.datasets, row.claims), (1, 3));
    let confirm = |paths: std::ops::Range<usize>| {
        let waiting = &site.waiting(&key)[paths];
        site.registry().confirm(&key, &root(), waiting).unwrap()
    };
    assert_eq!(confirm(0..2), 2);
    let answer = &site.registry().exists(&[dataset(1)]).unwrap()[0];
    assert_eq!(answer.presence, Presence::Pending);
    assert_eq!(confirm(0..1), 1);
    let answer = &site.registry().exists(&[dataset(1)]).unwrap()[0];
    assert_eq!(answer.presence, Presence::Yes);
    let components: Vec<&str> = answer
        .records
        .iter()
        .map(|one| one.component.as_str())
        .collect();
    assert_eq!(components, ["image", "psf", "wcs"]);
    site.check_counters();
}

pub(crate) fn an_artifact_may_hold_several_datasets(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let mut shared: Vec<_> = (1..=3).map(|n| claim(n, "all.zip", 5)).collect();
    shared[1].checksums.md5 = Some(Md5([9; 16]));
    let registered = site.register(&Manifest::new(&key, 1, shared)).unwrap();
    assert_eq!(registered.datasets_added, 3);
    assert_eq!(registered.artifacts_waiting, 1);
    let waiting = site.waiting(&key);
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].checksums.md5, Some(Md5([9; 16])));
    site.check_counters();
    assert_eq!(site.confirm_all(&key), 1);
    let row = site.registry().run(&key).unwrap().unwrap();
    assert_eq!((row.claims, row.waiting), (3, 0));
    site.check_counters();
    // Another run's dataset in the same artifact is waited for on its own.
    let other = run("u/b");
    site.register(&Manifest::new(&other, 1, vec![claim(4, "all.zip", 5)]))
        .unwrap();
    assert_eq!(site.waiting_paths(&other), ["all.zip"]);
    site.check_counters();
}

pub(crate) fn at_level_trust_records_are_there_at_once(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let registered = site
        .register(&Manifest::new(&key, 1, claims(1..=5)).trusted())
        .unwrap();
    assert_eq!(registered.artifacts_waiting, 0);
    assert!(site.registry().waiting_runs().unwrap().is_empty());
    let answers = site.registry().exists(&[dataset(1), dataset(5)]).unwrap();
    assert!(answers.iter().all(|one| one.presence == Presence::Yes));
    site.check_counters();
}

pub(crate) fn artifacts_are_waited_for_until_confirmed(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=5)))
        .unwrap();
    let waiting = site.registry().waiting_runs().unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((&waiting[0].run, &waiting[0].root), (&key, &root()));
    let answer = &site.registry().exists(&[dataset(2)]).unwrap()[0];
    assert_eq!(answer.presence, Presence::Pending);
    assert_eq!(answer.records.len(), 1);
    assert_eq!(site.confirm_all(&key), 5);
    assert!(site.registry().waiting_runs().unwrap().is_empty());
    let answer = &site.registry().exists(&[dataset(2)]).unwrap()[0];
    assert_eq!(answer.presence, Presence::Yes);
    site.check_counters();
}

pub(crate) fn stale_confirmations_are_passed_over(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(
        &key,
        1,
        vec![claim(1, "one", 1), claim(2, "two", 2)],
    ))
    .unwrap();
    let artifact = |path: &str, size, content| WaitingArtifact {
        path: path.parse().unwrap(),
        size,
        checksums: checksums(content),
    };
    let confirm =
        |artifacts: &[WaitingArtifact]| site.registry().confirm(&key, &root(), artifacts).unwrap();
    let wrong = [
        artifact("one", 999, 1),
        artifact("two", 102, 77),
        artifact("three", 103, 3),
    ];
    assert_eq!(confirm(&wrong), 0);
    assert_eq!(site.waiting_paths(&key), ["one", "two"]);
    let right = artifact("one", 101, 1);
    assert_eq!(confirm(&[right.clone(), right.clone()]), 1);
    assert_eq!(confirm(std::slice::from_ref(&right)), 0);
    let elsewhere = "other".parse().unwrap();
    let confirmed = site.registry().confirm(&key, &elsewhere, &[right]).unwrap();
    assert_eq!(confirmed, 0);
    site.check_counters();
}

pub(crate) fn waiting_artifacts_are_paged(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=10)))
        .unwrap();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = site
            .registry()
            .waiting_artifacts(
                &key,
                &root(),
                (
                    after
                        .as_ref()
                        .map(|path: &runsync_manifest::name::ArtifactPath| path.as_str()),
                    None,
                ),
                3,
            )
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.path.clone());
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert_eq!(pages.concat(), site.waiting(&key));
}

pub(crate) fn what_is_waited_for_below_a_folder_is_between_two_paths(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let paths = ["a", "a-b/1", "a/b.fits", "a/b/1", "a/b/c/2", "a/b0", "b/1"];
    let claims = paths.iter().zip(1..);
    let claims = claims
        .map(|(path, number)| claim(number, path, 1))
        .collect();
    site.register(&Manifest::new(&key, 1, claims)).unwrap();
    let between = |after: &str, before: &str| {
        let between = (Some(after), Some(before));
        let registry = site.registry();
        let page = registry.waiting_artifacts(&key, &root(), between, 10);
        let paths = page.unwrap().into_iter().map(|one| one.path.to_string());
        paths.collect::<Vec<_>>()
    };
    assert_eq!(between("a/b/", "a/b0"), ["a/b/1", "a/b/c/2"]);
    assert_eq!(between("a/b/1", "a/b0"), ["a/b/c/2"]);
    assert_eq!(between("c/", "c0"), [""; 0]);
}

pub(crate) fn artifacts_of_several_runs_are_confirmed_in_one_commit(open: &Open) {
    let site = Site::new(open);
    let (a, b) = (run("u/a"), run("u/b"));
    for (key, numbers) in [(&a, 1..=20), (&b, 21..=40)] {
        site.register(&Manifest::new(key, 1, claims(numbers)))
            .unwrap();
    }
    let (of_a, of_b) = (site.waiting(&a), site.waiting(&b));
    let before = site.registry().changes().unwrap();
    // Neighbours, one alone, and one far beyond, so that it is sought and not stepped to.
    let some = [&of_a[0..2], &of_a[4..5], &of_a[19..20]].concat();
    let found: [(_, &[WaitingArtifact]); 3] =
        [(&a, &some), (&b, &of_b[3..10]), (&run("u/c"), &of_a)];
    let confirmed = site.registry().confirm_all(&root(), &found).unwrap();
    assert_eq!(confirmed, [4, 7, 0]);
    assert_eq!(site.registry().changes().unwrap(), before + 1);
    assert_eq!(site.waiting(&a), [&of_a[2..4], &of_a[5..19]].concat());
    assert_eq!(site.waiting(&b), [&of_b[..3], &of_b[10..]].concat());
    assert_eq!(site.registry().waiting_runs().unwrap().len(), 2);
    site.check_counters();
    assert_eq!(site.registry().confirm_all(&root(), &[]).unwrap(), [0; 0]);
}

pub(crate) fn pages_follow_each_other(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=10)))
        .unwrap();
    site.register(&Manifest::new(&run("u/b"), 1, claims(11..=20)))
        .unwrap();
    let registry = site.registry();
    let all = registry.datasets(&key, None, None, 100).unwrap();
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|one| one.uuid));
    let first = registry.datasets(&key, None, None, 4).unwrap();
    let second = registry
        .datasets(&key, None, Some(first[3].uuid), 100)
        .unwrap();
    assert_eq!([first, second].concat(), all);
    let first = registry.records(&key, None, 4).unwrap();
    let second = registry.records(&key, Some(first[3].uuid), 100).unwrap();
    let records = registry.records(&key, None, 100).unwrap();
    assert_eq!([first, second].concat(), records);
}

pub(crate) fn existence_is_answered_in_the_order_asked(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=5)))
        .unwrap();
    let asked: Vec<_> = [5, 99, 1, 5, 3, 99].map(dataset).into();
    let answers = site.registry().exists(&asked).unwrap();
    let uuids: Vec<_> = answers.iter().map(|one| one.uuid).collect();
    assert_eq!(uuids, asked);
    let known: Vec<bool> = answers
        .iter()
        .map(|one| one.presence != Presence::No)
        .collect();
    assert_eq!(known, [true, false, true, true, true, false]);
    for answer in &answers {
        assert!(answer.records.iter().all(|one| one.uuid == answer.uuid));
    }
}

pub(crate) fn the_first_dimension_record_wins(open: &Open) {
    let site = Site::new(open);
    let detector = |key: &str, record: &str| {
        let fields = ["detector", key, record];
        let [element, key, record] = fields.map(str::to_owned);
        (element, key, record)
    };
    let register = |sequence, dimensions| {
        let rows = MemoryRows::new(claims([sequence])).with_dimensions(dimensions);
        let manifest = Manifest::over(&run("u/a"), sequence, Box::new(rows));
        site.register(&manifest).unwrap().dimensions_differing
    };
    let first = vec![
        detector("1", r#"{"name":"a"}"#),
        detector("2", r#"{"name":"b"}"#),
    ];
    assert!(register(1, first.clone()).is_empty());
    let second = vec![
        detector("2", r#"{"name":"c"}"#),
        detector("3", r#"{"name":"d"}"#),
    ];
    let differing = register(2, second.clone());
    assert_eq!(differing.len(), 1);
    assert_eq!(
        (&*differing[0].element, &*differing[0].key),
        ("detector", "2")
    );
    assert_eq!(differing[0].registered, r#"{"name":"b"}"#);
    assert_eq!(differing[0].manifest, r#"{"name":"c"}"#);
    let records = site.registry().dimension_records().unwrap();
    assert_eq!(
        records,
        [first[0].clone(), first[1].clone(), second[1].clone()]
    );
}

pub(crate) fn a_floor_only_rises(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let at = |epoch, sequence| Generation { epoch, sequence };
    let floor = || site.registry().run(&key).unwrap().unwrap().floor;
    site.registry().raise_floor(&key, at(1, 5)).unwrap();
    assert_eq!(floor(), Some(at(1, 5)));
    site.registry().raise_floor(&key, at(1, 3)).unwrap();
    assert_eq!(floor(), Some(at(1, 5)));
    site.registry().raise_floor(&key, at(2, 1)).unwrap();
    assert_eq!(floor(), Some(at(2, 1)));
    assert_eq!(site.registry().run(&key).unwrap().unwrap().generation, None);
}

pub(crate) fn runs_are_found_below_a_prefix(open: &Open) {
    let site = Site::new(open);
    for name in ["u/a/1", "u/a", "u/a-1", "u/ab", "u/a/0", "v"] {
        site.registry()
            .raise_floor(&run(name), Generation::FIRST)
            .unwrap();
    }
    let names = |prefix| -> Vec<String> {
        let runs = site.registry().runs(prefix).unwrap();
        runs.iter().map(|one| one.key.name.to_string()).collect()
    };
    assert_eq!(names(Some("u/a")), ["u/a", "u/a/0", "u/a/1"]);
    assert_eq!(names(Some("u")).len(), 5);
    assert_eq!(names(None).len(), 6);
    assert!(names(Some("w")).is_empty());
}

pub(crate) fn pages_of_runs_follow_each_other(open: &Open) {
    let site = Site::new(open);
    for name in ["u/a/1", "u/a", "u/a-1", "v"] {
        site.registry()
            .raise_floor(&run(name), Generation::FIRST)
            .unwrap();
    }
    site.register(&Manifest::new(&run("u/b"), 1, claims(1..=2)))
        .unwrap();
    let registry = site.registry();
    for prefix in [None, Some("u"), Some("u/a"), Some("w")] {
        let all = registry.runs(prefix).unwrap();
        for limit in 1..4 {
            let mut paged: Vec<RunRow> = Vec::new();
            loop {
                let last = paged.last();
                let after = last.map(|row| (row.key.name.as_str(), row.key.origin));
                let page = registry.runs_after(prefix, false, after, limit).unwrap();
                let is_last = page.len() < limit;
                paged.extend(page);
                if is_last {
                    break;
                }
            }
            assert_eq!(paged, all, "{prefix:?} {limit}");
        }
    }
    let waiting = registry.runs_after(None, true, None, 10).unwrap();
    let names: Vec<_> = waiting.iter().map(|row| row.key.name.as_str()).collect();
    assert_eq!(names, ["u/b"]);
    assert_eq!(registry.runs_after(None, false, None, 0).unwrap(), []);
}

pub(crate) fn every_commit_is_counted(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let mut last = site.registry().changes().unwrap();
    let mut grown = || {
        let before = last;
        last = site.registry().changes().unwrap();
        last > before
    };
    assert!(!grown());
    site.register(&Manifest::new(&key, 1, claims(1..=2)))
        .unwrap();
    assert!(grown());
    site.confirm_all(&key);
    assert!(grown());
    site.registry()
        .raise_floor(&key, Generation::FIRST)
        .unwrap();
    assert!(grown());
    assert!(!grown());
}

pub(crate) fn reopening_keeps_everything(open: &Open) {
    let mut site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=7)))
        .unwrap();
    let (id, changes) = (site.registry().id(), site.registry().changes().unwrap());
    let before = (site.dump(), site.waiting(&key));
    site.reopen();
    assert_eq!((site.dump(), site.waiting(&key)), before);
    assert_eq!(site.registry().id(), id);
    assert_eq!(site.registry().changes().unwrap(), changes);
}

pub(crate) fn a_manifest_without_datasets_still_makes_its_run(open: &Open) {
    let site = Site::new(open);
    let manifest = Manifest::new(&run("u/a"), 3, Vec::new());
    site.register(&manifest).unwrap();
    let row = site.registry().run(&manifest.run).unwrap().unwrap();
    assert_eq!(row.generation, Some(manifest.generation));
}

pub(crate) fn a_row_of_an_undefined_dataset_type_is_refused(open: &Open) {
    let site = Site::new(open);
    let mut wrong = claim(1, "one", 1);
    wrong.dataset_type = 2;
    let manifest = Manifest::new(&run("u/a"), 1, vec![wrong]);
    let failed = site
        .registry()
        .register(&[manifest.registration()], &mut |_| {
            std::ops::ControlFlow::Continue(())
        });
    assert!(matches!(
        failed,
        Err(RegistryError::DatasetTypeIndex {
            index: 2,
            defined: 2
        })
    ));
    assert!(site.registry().runs(None).unwrap().is_empty());
}
