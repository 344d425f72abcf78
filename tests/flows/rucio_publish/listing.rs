//! What Rucio's own client lists of published runs, beside what their manifests say.

use std::collections::BTreeMap;
use std::fs::{self, File};

use harness::{Naming, Rucio};
use runsync_manifest::checksum::{Wanted, checksum};
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::limits::Limits;
use runsync_manifest::reader::{Line, Reader};
use serde_json::{Value, json};

use crate::World;
use crate::between::Between;
use crate::process::text;
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::state::{self, Of, same};

/// Rucio's own client: what it lists of a container and of a control Rucio dataset.
const SCRIPT: &str = r#"
import json
import sys

from rucio.client import Client

host, username, password, scope, container, control = sys.argv[1:]
client = Client(rucio_host=host, auth_host=host, account="root", auth_type="userpass",
                creds={"username": username, "password": password})


def rules(name):
    return sorted([rule["rse_expression"], rule["copies"], rule["account"],
                   rule["expires_at"] is not None] for rule in client.list_did_rules(scope, name))


def content(name):
    return {did["name"]: [did["type"], did["bytes"], did["adler32"], did["md5"]]
            for did in client.list_content(scope, name)}


def listed(name):
    return {did["name"]: [did["bytes"], did["adler32"]] for did in client.list_files(scope, name)}


def did(name):
    found = client.get_did(scope, name)
    return [found["type"], found["open"]]


datasets = sorted(content(container))
replicas = client.list_replicas([{"scope": scope, "name": container}], all_states=True)
print(json.dumps({
    "container": did(container),
    "datasets": {name: {"did": did(name), "content": content(name), "rules": rules(name)}
                 for name in datasets},
    "files": listed(container),
    "rules": rules(container),
    "replicas": {one["name"]: {"bytes": one["bytes"], "adler32": one["adler32"], "md5": one["md5"],
                               "states": one["states"], "rses": one["rses"]} for one in replicas},
    "control": {"did": did(control), "content": content(control), "rules": rules(control)},
}))
"#;

/// A file as a manifest names it: size, Adler-32, MD5.
type Known = (u64, String, String);

pub(crate) fn every_naming(world: &World) {
    let copy = world.server.add_rse("LIST_COPY", Naming::Identity, None);
    copy.unwrap();
    world
        .server
        .set_limit(crate::rucio::ACCOUNT, "LIST_COPY", None)
        .unwrap();
    for (rse, naming) in [
        ("LIST_ID", Naming::Identity),
        ("LIST_HASH", Naming::Hash),
        ("LIST_NON", Naming::NonDeterministic),
    ] {
        one(world, rse, naming);
    }
}

fn one(world: &World, rse: &str, naming: Naming) {
    let server = &world.server;
    let more = "bulk = 3\n[rucio.publish]\ncontrol_rses = \"LIST_COPY\"\n\
                [[rucio.rule]]\nrse_expression = \"LIST_COPY\"\nlifetime = \"30days\"\n";
    let site = RucioSite::new(server, rse, naming, more);
    let between = Between::new(server.port());
    site.configure(&between.url(), more);
    let run = format!("u/{}/run", rse.to_lowercase());
    let name = |what: &str| format!("{naming:?}: {what}");
    let publish = |more: &[&str]| {
        let args = [&["publish", run.as_str(), "--direct"], more].concat();
        let ended = between.run(&mut site.site.command(&args));
        assert!(ended.status.success(), "{}", ended.stderr);
        ended.asked
    };

    site.add(&run, "1-1", Content::Additions, 0..7);
    assert_eq!(publish(&["--dry-run"]), [""; 0]);
    let first = plan(&site, &run);
    assert_eq!(
        state::rucio(server, Of::Run(&run)),
        [""; 0],
        "a plan changes nothing"
    );
    shown(&name("a plan"), "asks Rucio nothing");

    let asked = publish(&[]).len();
    check(&site, server, &run, &["1-1"]);
    shown(
        &name("published"),
        &format!("after {asked} requests Rucio's client lists what the manifest says"),
    );
    check_plan(&first, server, &run, &[("1-1", 7)]);
    shown(&name("the plan"), "named what is then registered");

    let before = state::rucio(server, Of::Run(&run));
    assert_eq!(publish(&[]), [""; 0]);
    same("again", &state::rucio(server, Of::Run(&run)), &before);
    shown(&name("published again"), "asks nothing, changes nothing");

    site.add(&run, "1-2", Content::Additions, 7..9);
    check_plan(&plan(&site, &run), server, &run, &[("1-2", 2)]);
    publish(&[]);
    check(&site, server, &run, &["1-1", "1-2"]);
    shown(
        &name("a second instalment"),
        "Rucio's client lists both, and the first as it was",
    );

    let rows = site.site.directly(&["publish", "--list", "--json"]);
    let states: Vec<Value> = rows
        .lines()
        .map(|row| {
            let row: Value = serde_json::from_str(row).unwrap();
            json!([
                generation(&row),
                row["state"],
                row["files"],
                row["files_done"]
            ])
        })
        .collect();
    assert_eq!(
        states,
        [
            json!(["1-1", "published", 8, 8]),
            json!(["1-2", "published", 3, 3])
        ]
    );
    shown(&name("the list"), "both are published");
    check_plan(&plan(&site, &run), server, &run, &[]);
    shown(&name("a plan afterwards"), "has nothing left");
}

fn plan(site: &RucioSite, run: &str) -> Value {
    let plan = site.site.directly(&["publish", run, "--dry-run", "--json"]);
    serde_json::from_str(&plan).unwrap()
}

fn generation(row: &Value) -> String {
    let generation: Generation = serde_json::from_value(row["generation"].clone()).unwrap();
    generation.to_string()
}

/// A plan names these instalments, with so many artifacts, and the container's rules.
fn check_plan(plan: &Value, server: &Rucio, run: &str, instalments: &[(&str, u64)]) {
    let planned = &plan["runs"][0];
    let found: Vec<(String, u64)> = planned["instalments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (generation(one), one["files"].as_u64().unwrap()))
        .collect();
    let instalments: Vec<(String, u64)> = instalments
        .iter()
        .map(|(generation, files)| ((*generation).to_owned(), *files))
        .collect();
    assert_eq!(found, instalments);
    let rows = state::rucio(server, Of::Run(run)).join("\n");
    for one in planned["instalments"].as_array().unwrap() {
        for name in [&one["dataset"], &one["manifest"]] {
            let name = name.as_str().unwrap().split_once(':').unwrap().1;
            let normal = name.replace(run, "RUN");
            // What is planned and not published yet is not there.
            if rows.contains(&format!("{}.", generation(one))) {
                assert!(rows.contains(&normal), "{normal} is not in\n{rows}");
            }
        }
    }
    for rule in planned["rules"].as_array().unwrap() {
        let expression = rule["rse_expression"].as_str().unwrap();
        assert!(
            rows.lines()
                .any(|row| row.starts_with("rule") && row.contains(expression)),
            "no rule at {expression}"
        );
    }
}

/// Compares what Rucio's own client lists with what the manifests of these generations say.
pub(crate) fn check(site: &RucioSite, server: &Rucio, run: &str, generations: &[&str]) {
    let origin = site.site.repository;
    let control = format!("runsync/control/{origin}");
    let output = server
        .python(
            SCRIPT,
            [
                &server.url(),
                Rucio::USERNAME,
                Rucio::PASSWORD,
                &site.scope,
                run,
                &control,
            ],
        )
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();

    let (mut datasets, mut all, mut manifests) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for generation in generations {
        let path = format!("runsync/manifests/{origin}/{run}/{generation}.manifest.jsonl");
        let mut files = entries(site, &path);
        let bytes = fs::read(site.site.root().join(&path)).unwrap();
        let known = known(&bytes);
        manifests.insert(path.clone(), known.clone());
        files.insert(path, known);
        all.extend(files.clone());
        let dataset = format!("runsync/instalments/{origin}/{run}/{generation}");
        datasets.insert(
            dataset,
            json!({"did": ["DATASET", false], "content": content(&files), "rules": []}),
        );
    }
    assert_eq!(listed["container"], json!(["CONTAINER", true]));
    assert_eq!(listed["datasets"], json!(datasets));
    let sizes: BTreeMap<_, _> = all
        .iter()
        .map(|(name, (bytes, adler32, _))| (name, json!([bytes, adler32])))
        .collect();
    assert_eq!(listed["files"], json!(sizes));
    let rse = &site.rse.name;
    let account = crate::rucio::ACCOUNT;
    // `LIST_COPY` sorts before the sites' own.
    let rules = |ends: bool| json!([["LIST_COPY", 1, account, ends], [rse, 1, account, false]]);
    assert_eq!(listed["rules"], rules(true));
    assert_eq!(
        listed["control"],
        json!({
            "did": ["DATASET", true], "content": content(&manifests), "rules": rules(false),
        })
    );
    check_replicas(site, &listed["replicas"], &all);
}

/// Every file has one replica here, where its bytes are; at the other RSE it is on its way at most.
fn check_replicas(site: &RucioSite, replicas: &Value, all: &BTreeMap<String, Known>) {
    let replicas = replicas.as_object().unwrap();
    assert_eq!(
        replicas.keys().collect::<Vec<_>>(),
        all.keys().collect::<Vec<_>>()
    );
    for (name, (bytes, adler32, md5)) in all {
        let replica = &replicas[name];
        let rse = &site.rse.name;
        assert_eq!(
            json!([replica["bytes"], replica["adler32"], replica["md5"]]),
            json!([bytes, adler32, md5]),
            "{name}"
        );
        assert_eq!(replica["states"][rse], "AVAILABLE", "{name}");
        let pfns = replica["rses"][rse].as_array().unwrap();
        assert_eq!(pfns.len(), 1, "{name}: {pfns:?}");
        let pfn = pfns[0].as_str().unwrap();
        let path = pfn.strip_prefix("file://localhost").unwrap();
        let there = known(&fs::read(path).unwrap());
        assert_eq!(there, (*bytes, adler32.clone(), md5.clone()), "{pfn}");
    }
}

fn content(files: &BTreeMap<String, Known>) -> Value {
    let files = files
        .iter()
        .map(|(name, (bytes, adler32, md5))| (name.clone(), json!(["FILE", bytes, adler32, md5])));
    Value::Object(files.collect())
}

/// The artifacts that a manifest names.
fn entries(site: &RucioSite, path: &str) -> BTreeMap<String, Known> {
    let file = File::open(site.site.root().join(path)).unwrap();
    let mut reader = Reader::new(file, Limits::default()).unwrap();
    let mut files = BTreeMap::new();
    while let Some(line) = reader.next().unwrap() {
        if let Line::Dataset { entry, .. } = line {
            let sums = entry.checksums;
            files.insert(
                entry.path.to_string(),
                (
                    entry.size,
                    sums.adler32.to_string(),
                    sums.md5.unwrap().to_string(),
                ),
            );
        }
    }
    files
}

fn known(bytes: &[u8]) -> Known {
    let wanted = Wanted {
        md5: true,
        sha256: false,
    };
    let (size, sums) = checksum(bytes, wanted).unwrap();
    (
        size,
        sums.adler32.to_string(),
        sums.md5.unwrap().to_string(),
    )
}
