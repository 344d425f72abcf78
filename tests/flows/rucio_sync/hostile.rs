//! Nothing that Rucio says leads to another file, or out of the root.

use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::{Naming, Rucio};

use crate::declared;
use crate::proof::shown;
use crate::scene::{FILES, Scene};

/// Another file has the name that an artifact needs.
pub(crate) fn taken(server: &Rucio) {
    for (level, naming) in [("size", Naming::Hash), ("trust", Naming::Hash)] {
        let name = format!("TAKEN_{}", level.to_uppercase());
        let scene = Scene::confirming(server, &name, naming, level);
        let run = &format!("u/taken_{level}/run");
        scene.bring(run);
        let wrong = format!("{run}/calexp/2.fits");
        let path = scene.b.site.root().join(&wrong);
        scene.b.site.put(&wrong, b"something else");
        scene.pass();
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        assert_eq!(scene.standing(run), (u64::from(FILES) - 1, 1));
        let found = scene.findings("name_taken");
        assert_eq!(found.len(), 1, "{found:?}");
        shown(
            &format!("level {level}: another file has an artifact's name"),
            "it is not touched, nor confirmed, and is a finding; the others are confirmed",
        );
        let held = path.with_extension("held");
        fs::rename(&path, &held).unwrap();
        scene.pass();
        assert_eq!(scene.standing(run), (FILES.into(), 0));
        assert_eq!(scene.findings("name_taken"), []);
        scene.has_names(run, FILES);
        shown(
            &format!("level {level}: it is taken away"),
            "the artifact gets its name, and is confirmed",
        );
        scene.delete_at_b(run);
        assert_eq!(scene.pass().forgotten, u64::from(FILES));
        assert_eq!(fs::read(&held).unwrap(), b"something else");
        fs::rename(&held, &path).unwrap();
        assert!(!scene.pass().has_changed());
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        shown(
            &format!("level {level}: Rucio deletes the run"),
            "its names go, and no other file",
        );
    }
}

/// Places that are not the file's own.
pub(crate) fn places(server: &Rucio) {
    let scene = Scene::new(server, "HOSTILE", Naming::NonDeterministic);
    let (first, run) = ("u/hostile/first", "u/hostile/run");
    scene.bring(first);
    scene.pass();
    assert_eq!(scene.standing(first), (FILES.into(), 0));
    scene.bring(run);
    let root = scene.b.site.root();
    let secret = scene.b.site.folder.path().join("secret");
    let bytes = fs::read(scene.a.site.root().join(format!("{run}/calexp/0.fits"))).unwrap();
    fs::write(&secret, &bytes).unwrap();
    std::os::unix::fs::symlink(&secret, root.join("leads-out")).unwrap();
    std::os::unix::fs::symlink(scene.b.site.folder.path(), root.join("folder")).unwrap();
    let root_name = root.display().to_string();
    let claimed = format!("{root_name}/{first}/calexp/0.fits");
    let ours = format!("{root_name}/runsync/repository.json");
    let places = [
        format!("{root_name}/../secret"),
        secret.display().to_string(),
        format!("{root_name}/leads-out"),
        format!("{root_name}/folder/secret"),
        ours,
        claimed,
        format!("{root_name}/u/hostile"),
    ];
    let there = &scene.b.rse.name;
    for (number, place) in places.iter().enumerate() {
        // What the RSE's own prefix is taken off from.
        let prefix = scene.b.rse.prefix.display().to_string();
        let path = place.strip_prefix(&prefix).unwrap_or(place);
        let sql = format!(
            "update replicas set path = '{path}' from rses where rses.id = rse_id and rse = '{there}' \
               and name = '{run}/calexp/{number}.fits'"
        );
        server.sql(&sql).unwrap();
    }
    let report = scene.pass();
    assert_eq!(scene.standing(run), (0, FILES.into()), "{report:?}");
    let found = scene.findings("rucio_differs");
    assert_eq!(found.len(), places.len(), "{found:?}");
    scene.has_files(run, 0);
    scene.has_files(first, FILES);
    assert_eq!(scene.standing(first), (FILES.into(), 0));
    shown(
        &format!("{} places that are not the artifact's own", places.len()),
        "none gets a name, each is a finding, and no other run loses anything",
    );
    // The second of them is a place within the root, and nothing is there.
    declared::only(&scene, run, &["1.fits B 1"]);
    scene.has_files(first, FILES);
    shown(
        "the same, with a policy of declaring bad",
        "what is not where Rucio has it is declared, and nothing that is another's or no file",
    );
}

/// Rucio knows another file by that name, or its bytes are others.
pub(crate) fn other_bytes(server: &Rucio) {
    let scene = Scene::new(server, "OTHER", Naming::Hash);
    let run = "u/other/run";
    scene.bring(run);
    let there = &scene.b.rse.name;
    let sql = format!("update dids set bytes = bytes + 1 where name = '{run}/calexp/1.fits'");
    server.sql(&sql).unwrap();
    let short = scene
        .b
        .rse
        .path(&scene.b.scope, &format!("{run}/calexp/4.fits"));
    let whole = fs::read(&short).unwrap();
    fs::write(&short, &whole[1..]).unwrap();
    let manifest = scene
        .b
        .rse
        .path(&scene.b.scope, &scene.manifest(run, "1-1"));
    let signed = fs::read(&manifest).unwrap();
    let mut forged = signed.clone();
    let last = forged.len() / 2;
    forged[last] ^= 1;
    fs::write(&manifest, &forged).unwrap();
    let report = scene.pass();
    assert_eq!(report.manifests, 0, "{report:?}");
    let found = scene.findings("rucio_differs");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].detail.contains("is not the one that Rucio knows"),
        "{found:?}"
    );
    assert!(scene.run_at_b(run).is_none());
    shown(
        "a manifest whose bytes are not those that Rucio knows",
        "not named; a finding",
    );

    fs::write(&manifest, &signed).unwrap();
    scene.pass();
    assert_eq!(scene.standing(run), (u64::from(FILES) - 2, 2));
    let found = scene.findings("rucio_differs");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .any(|found| found.detail.contains("bytes in Rucio")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|found| found.detail.contains("its size there")),
        "{found:?}"
    );
    shown(
        "an artifact of another size, in Rucio or at its place",
        "not named, a finding each; the others are confirmed",
    );
    let sql = format!("update dids set bytes = bytes - 1 where name = '{run}/calexp/1.fits'");
    server.sql(&sql).unwrap();
    fs::write(&short, &whole).unwrap();
    scene.pass();
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    assert_eq!(scene.findings("rucio_differs"), []);
    let held = fs::metadata(&short).unwrap().nlink();
    assert_eq!(held, 2, "{there}");
    shown(
        "put right",
        "confirmed; one copy, two names; the findings are gone",
    );
}
