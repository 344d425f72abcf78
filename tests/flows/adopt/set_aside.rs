//! Messages that nothing can be made of are counted and told, and keep out no others.

use runsync::registry::record::Presence;
use serde_json::{Value, json};

use crate::sender::{RUN, Sent, dimension_file, hint_of, product, product_of, send};
use crate::site::{
    adopted_run, adopting, findings, manifests_of, presence, row, take_all, waiting,
};
use crate::support::{OpenSite, TestSite};

const SET_ASIDE: &str = "adopt_set_aside";

/// How often something was set aside for that reason, and the newest example.
fn told(open: &OpenSite, why: &str) -> (u64, String) {
    let subject = format!("adopted:SITE_B_DISK {why}");
    findings(open, SET_ASIDE)
        .into_iter()
        .find(|finding| finding.subject == subject)
        .map_or((0, String::new()), |finding| {
            (finding.times, finding.detail)
        })
}

fn note(site: &TestSite, open: &OpenSite, name: &str, payload: &Value) {
    open.ledger()
        .note_hints(&[hint_of(site, name, payload)])
        .unwrap();
}

fn payload(site: &TestSite, sent: &Sent) -> Value {
    sent.payload(site.root().to_str().unwrap())
}

#[test]
fn what_is_wrong_is_counted_and_the_rest_goes_in() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(100)]);
    let good: Vec<Sent> = (1..=3).map(product).collect();
    send(&site, &open, &good);
    let whole = product(50);
    // Every way to cut a sidecar short.
    let cuts: Vec<usize> = (0..whole.sidecar.len()).collect();
    for &cut in &cuts {
        let mut sent = whole.clone();
        sent.sidecar.truncate(cut);
        note(&site, &open, &format!("cut/{cut}"), &payload(&site, &sent));
    }
    for (number, kind) in ["raw_file", "zip_file", "tarball", "zip_file"]
        .into_iter()
        .enumerate()
    {
        let mut sent = whole.clone();
        sent.kind = json!(kind);
        note(
            &site,
            &open,
            &format!("kind/{number}"),
            &payload(&site, &sent),
        );
    }
    let root = site.root().to_str().unwrap().to_owned();
    let elsewhere = [
        "root://eos.cern.ch//x/50.fits".to_owned(),
        format!("file://localhost{root}-other/50.fits"),
        format!("file://localhost/x{root}/50.fits"),
        format!("file://localhost{root}/../50.fits"),
        format!("file://localhost{root}/%2e%2e/50.fits"),
        format!("file://localhost{root}/a%2fb.fits"),
        format!("file://localhost{root}/a%zz.fits"),
        format!("file://localhost{root}/runsync/manifests/x.manifest.jsonl"),
        format!("file://localhost{root}/"),
        String::new(),
    ];
    for (number, url) in elsewhere.iter().enumerate() {
        let mut payload = payload(&site, &whole);
        payload["dst-url"] = json!(url);
        note(&site, &open, &format!("url/{number}"), &payload);
    }
    take_all(&site, &mut open);
    assert_eq!(presence(&open, &[1, 2, 3, 50]), {
        let mut all = [Presence::Yes; 4];
        all[3] = Presence::No;
        all
    });
    assert_eq!(waiting(&open), 0);
    assert_eq!(told(&open, "broken").0, cuts.len() as u64);
    assert_eq!(told(&open, "unknown kind").0, 1);
    assert_eq!(told(&open, "elsewhere").0, elsewhere.len() as u64);
    assert_eq!(told(&open, "raw_file").0, 1);
    let (times, example) = told(&open, "zip_file");
    assert_eq!(times, 2);
    assert!(example.contains("a registry that is a Butler"), "{example}");
    assert!(example.starts_with("test:kind/3: "), "{example}");
}

#[test]
fn of_two_that_contradict_each_other_the_first_stays() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(100)]);
    let first = product(1);
    let mut moved = product(1);
    moved.path = format!("{RUN}/elsewhere.fits");
    // Another UUID for the same type and data ID; and the same UUID in another run.
    let mut twin = product(2);
    twin.sidecar = twin.sidecar.replace("\"visit\":2", "\"visit\":1");
    let stolen = product_of("u/test/other", 1);
    let mut over = product(3);
    over.path.clone_from(&first.path);
    over.bytes.push(7);
    send(&site, &open, std::slice::from_ref(&first));
    take_all(&site, &mut open);
    for sent in [&moved, &twin, &stolen, &over] {
        let name = format!("contrary/{}/{}", sent.path, sent.bytes.len());
        note(&site, &open, &name, &payload(&site, sent));
    }
    send(&site, &open, &[product(9)]);
    take_all(&site, &mut open);
    assert_eq!(
        told(&open, "contrary").0,
        4,
        "{:?}",
        findings(&open, SET_ASIDE)
    );
    assert_eq!(presence(&open, &[1, 2, 3, 9]), {
        let (yes, no) = (Presence::Yes, Presence::No);
        [yes, no, no, yes]
    });
    let record = &open.registry().records(&adopted_run(RUN), None, 1).unwrap()[0];
    assert_eq!(record.path.as_str(), first.path);
    assert_eq!(row(&open, &adopted_run("u/test/other")), None);
    assert_eq!(manifests_of(&site, &adopted_run(RUN)).len(), 2);
}

#[test]
fn runs_outside_the_prefixes_are_not_adopted() {
    let site = adopting("run_prefixes = [\"u/test\"]\n");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(100)]);
    send(
        &site,
        &open,
        &[product(1), product_of("v/run", 2), product_of("u/testy", 3)],
    );
    send(&site, &open, &[product_of("adopted-dimensions", 4)]);
    take_all(&site, &mut open);
    assert_eq!(told(&open, "foreign run").0, 3);
    let (yes, no) = (Presence::Yes, Presence::No);
    assert_eq!(presence(&open, &[1, 2, 3, 4]), [yes, no, no, no]);
}

#[test]
fn a_dimension_file_that_is_none_is_set_aside() {
    let site = adopting("dimension_patience = \"1m\"\n");
    let mut open = site.open();
    let mut wrong = dimension_file(10);
    wrong.bytes = b"data: [}".to_vec();
    let mut bomb = dimension_file(11);
    bomb.bytes = b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n".to_vec();
    let mut empty = dimension_file(12);
    empty.bytes = b"description: x\nversion: 1.0.2\nuniverse_version: 8\nuniverse_namespace: daf_butler\ndata: []\n".to_vec();
    send(&site, &open, &[wrong, bomb, empty]);
    // One that never comes, and one that is not the one of the message.
    let absent = dimension_file(13);
    let other = dimension_file(14);
    site.put(&other.path, b"something else");
    for sent in [&absent, &other] {
        note(&site, &open, &sent.path, &payload(&site, sent));
    }
    take_all(&site, &mut open);
    assert_eq!(told(&open, "broken").0, 3);
    assert_eq!(waiting(&open), 2);
    site.pass(std::time::Duration::from_secs(120));
    take_all(&site, &mut open);
    assert_eq!((told(&open, "broken").0, waiting(&open)), (5, 0));
    send(&site, &open, &[dimension_file(9), product(1)]);
    take_all(&site, &mut open);
    assert_eq!(presence(&open, &[1]), [Presence::Yes]);
}

#[test]
fn the_first_definition_of_a_dimension_record_stays() {
    let site = adopting("");
    let mut open = site.open();
    send(&site, &open, &[dimension_file(10)]);
    take_all(&site, &mut open);
    let before = open.registry().dimension_records().unwrap();
    let mut other = dimension_file(11);
    let text = String::from_utf8(other.bytes).unwrap();
    other.bytes = text.replace("name: v3}", "name: w3}").into_bytes();
    send(&site, &open, &[other]);
    take_all(&site, &mut open);
    let after = open.registry().dimension_records().unwrap();
    assert_eq!(after.len(), before.len() + 1, "visit 10 came with it");
    assert!(before.iter().all(|record| after.contains(record)));
    let differs = open.ledger().findings().unwrap();
    assert!(
        differs.iter().any(|finding| finding.detail.contains("w3")),
        "{differs:?}"
    );
}
