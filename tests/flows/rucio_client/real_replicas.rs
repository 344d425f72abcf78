//! Replicas at a real server.

use std::sync::Mutex;

use runsync::rucio::Exception;
use runsync::rucio::replicas::{AVAILABLE, Look, NewReplica, Registered};
use serde_json::json;

use crate::front::Reply;
use crate::real::{Real, Site, did, file, files, first, raw, rse};
use crate::told::{Case, fails};

pub(crate) fn cases(real: &Real) -> Vec<Case<'_>> {
    vec![
        ("a file is registered", Box::new(|| registered(real))),
        ("a file that is registered", Box::new(|| again(real))),
        (
            "looked for before it is sent",
            Box::new(|| looked_for(real)),
        ),
        ("an unknown RSE", Box::new(|| unknown_rse(real))),
        ("an unknown scope", Box::new(|| unknown_scope(real))),
        (
            "a name that the server's schema does not have",
            Box::new(|| invalid(real)),
        ),
        (
            "a name that the site's schema does not have",
            Box::new(|| invalid_here(real)),
        ),
        (
            "no PFN where the RSE decides none",
            Box::new(|| no_pfn(real)),
        ),
        (
            "a PFN where the RSE decides none",
            Box::new(|| with_pfn(real)),
        ),
        (
            "a wrong PFN where the RSE decides it",
            Box::new(|| wrong_pfn(real)),
        ),
        ("a replica that is not there", Box::new(|| not_found(real))),
        (
            "another size",
            Box::new(|| conflict(real, "SITE_A", "size", |file| file.bytes = 8)),
        ),
        (
            "another adler32",
            Box::new(|| {
                conflict(real, "SITE_A", "adler32", |file| {
                    file.adler32 = "00000001".parse().unwrap();
                })
            }),
        ),
        (
            "another md5",
            Box::new(|| {
                let md5 = "900150983cd24fb0d6963f7d28e17f72";
                conflict(real, "SITE_A", "md5", |file| {
                    file.md5 = Some(md5.parse().unwrap());
                })
            }),
        ),
        (
            "another adler32 at a second RSE",
            Box::new(|| {
                conflict(real, "SITE_B", "adler32", |file| {
                    file.adler32 = "00000001".parse().unwrap();
                })
            }),
        ),
        (
            "another size at a second RSE",
            Box::new(|| conflict(real, "SITE_B", "size", |file| file.bytes = 8)),
        ),
        (
            "another adler32 at a second RSE, looked for before it is sent",
            Box::new(|| conflict_elsewhere(real)),
        ),
        ("names that begin with a slash", Box::new(|| slashes(real))),
        ("what is missing is not listed", Box::new(|| missing(real))),
        (
            "what is not available is listed with its state",
            Box::new(|| unavailable(real)),
        ),
        ("the answer to a call is lost", Box::new(|| lost(real))),
        (
            "a call is lost before it arrives",
            Box::new(|| lost_before(real)),
        ),
        (
            "1,001 items, of a site and in one call",
            Box::new(|| too_many(real)),
        ),
        ("one bad file of a thousand", Box::new(|| one_bad(real))),
        ("an empty call", Box::new(|| empty(real))),
    ]
}

fn add(site: &Site, at: &str, files: &[NewReplica], look: Look) -> Vec<Registered> {
    site.rucio.add_replicas(&rse(at), files, look).unwrap()
}

const POST: &str = "POST /replicas";
const LIST: &str = "POST /replicas/list";

fn registered(real: &Real) -> String {
    let site = real.site();
    let answers = add(&site, "SITE_A", &[file("data/one")], Look::After);
    let [Registered::Done(place)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(place.state, AVAILABLE);
    assert!(place.pfns[0].ends_with("/hsc/data/one"), "{place:?}");
    assert_eq!(site.front.asked(), [POST, LIST]);
    "Done, with state and PFN; sent once and read back".to_owned()
}

fn again(real: &Real) -> String {
    let site = real.site();
    for _ in 0..2 {
        let answers = add(&site, "SITE_A", &[file("data/again")], Look::After);
        assert!(
            matches!(answers.as_slice(), [Registered::Done(_)]),
            "{answers:?}"
        );
    }
    let rows = real
        .server
        .sql("SELECT name FROM replicas WHERE name = 'data/again'");
    assert_eq!(rows.unwrap().len(), 1);
    assert_eq!(site.front.count(POST), 2);
    "Done twice, one replica".to_owned()
}

fn looked_for(real: &Real) -> String {
    let site = real.site();
    add(&site, "SITE_A", &files("looked", 3), Look::After);
    let answers = add(&site, "SITE_A", &files("looked", 5), Look::First);
    let kinds: Vec<bool> = answers
        .iter()
        .map(|answer| matches!(answer, Registered::Equal(_)))
        .collect();
    assert_eq!(kinds, [true, true, true, false, false]);
    assert!(matches!(answers[4], Registered::Done(_)), "{answers:?}");
    let sent: Vec<_> = site
        .front
        .seen()
        .iter()
        .filter(|request| request.name() == POST)
        .map(|request| request.json()["files"].as_array().unwrap().len())
        .collect();
    assert_eq!(sent, [3, 2]);
    "3 Equal and not sent again, 2 Done".to_owned()
}

fn unknown_rse(real: &Real) -> String {
    let site = real.site();
    let what = fails(
        site.rucio
            .add_replicas(&rse("NOWHERE"), &[file("a")], Look::After),
    );
    assert_eq!(what, "Refused 404 RSENotFound");
    assert_eq!(site.front.asked(), [POST]);
    assert_eq!(site.rucio.rse(&rse("NOWHERE")).unwrap(), None);
    format!("{what}; 1 request")
}

fn unknown_scope(real: &Real) -> String {
    let site = real.site();
    let mut lost = file("a");
    lost.did.scope = "nowhere".parse().unwrap();
    let answers = add(&site, "SITE_A", &[file("scope/a"), lost], Look::After);
    assert!(matches!(answers[0], Registered::Done(_)), "{answers:?}");
    let Registered::Refused(refusal) = &answers[1] else {
        panic!("{answers:?}");
    };
    assert_eq!(refusal.exception, Exception::ScopeNotFound);
    assert_eq!(site.front.count(POST), 3);
    "Refused ScopeNotFound; the other file Done; 3 calls".to_owned()
}

fn invalid(real: &Real) -> String {
    let site = real.site_with("schema = \"rubin\"", |_, _| Reply::Pass);
    let answers = add(&site, "SITE_A", &[file("a+b")], Look::After);
    let Registered::Refused(refusal) = &answers[0] else {
        panic!("{answers:?}");
    };
    assert_eq!(
        (refusal.status, &refusal.exception),
        (500, &Exception::InvalidObject)
    );
    assert_eq!((site.front.count(POST), site.front.logins()), (1, 1));
    "Refused 500 InvalidObject; 1 call".to_owned()
}

fn invalid_here(real: &Real) -> String {
    let site = real.site();
    let what = fails(
        site.rucio
            .add_replicas(&rse("SITE_A"), &[file("a+b")], Look::After),
    );
    assert_eq!((what.as_str(), site.front.seen().len()), ("Name", 0));
    format!("{what}; 0 requests")
}

fn no_pfn(real: &Real) -> String {
    let site = real.site();
    let answers = add(&site, "ANY", &[file("data/any")], Look::After);
    let Registered::Refused(refusal) = &answers[0] else {
        panic!("{answers:?}");
    };
    assert_eq!(
        (refusal.status, &refusal.exception),
        (500, &Exception::UnsupportedOperation)
    );
    assert_eq!(site.front.count(POST), 1);
    "Refused 500 UnsupportedOperation; 1 call".to_owned()
}

fn with_pfn(real: &Real) -> String {
    let site = real.site();
    let known = site.rucio.rse(&rse("ANY")).unwrap().unwrap();
    assert!(!known.deterministic && known.availability_write);
    let prefix = known.protocols[0].pfn_prefix();
    let mut any = file("data/any");
    any.pfn = Some(format!("{prefix}some/where/any"));
    let answers = add(&site, "ANY", &[any], Look::After);
    let [Registered::Done(place)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert!(place.pfns[0].ends_with("/some/where/any"), "{place:?}");
    format!("Done, below {}", known.protocols[0].scheme)
}

fn wrong_pfn(real: &Real) -> String {
    let site = real.site();
    let prefix = site.rucio.rse(&rse("SITE_A")).unwrap().unwrap().protocols[0].pfn_prefix();
    let mut wrong = file("data/wrong");
    wrong.pfn = Some(format!("{prefix}elsewhere"));
    let mut right = file("data/right");
    right.pfn = Some(format!("{prefix}hsc/data/right"));
    let answers = add(&site, "SITE_A", &[wrong, right], Look::After);
    let Registered::Refused(refusal) = &answers[0] else {
        panic!("{answers:?}");
    };
    assert_eq!(
        (refusal.status, &refusal.exception),
        (400, &Exception::InvalidPath)
    );
    assert!(matches!(answers[1], Registered::Done(_)), "{answers:?}");
    let pfns = site
        .rucio
        .pfns(&rse("SITE_A"), &[did("data/right")])
        .unwrap();
    assert!(
        pfns["hsc:data/right"].ends_with("/hsc/data/right"),
        "{pfns:?}"
    );
    assert_eq!(site.front.count(POST), 3);
    "Refused 400 InvalidPath; the right one Done; 3 calls".to_owned()
}

/// What no method of ours asks; the server's answer is read as ours would be.
fn not_found(real: &Real) -> String {
    let body = json!({"rse": "SITE_A", "files": [{"scope": "hsc", "name": "no", "state": "A"}]});
    let answer = real.server.rest("PUT", "/replicas", Some(&body)).unwrap();
    let class = answer
        .header("ExceptionClass")
        .unwrap_or_default()
        .to_owned();
    assert_eq!((answer.status, class.as_str()), (500, "ReplicaNotFound"));
    let front = crate::front::Front::script([Reply::refusal(answer.status, &class, &answer.body)]);
    let (_way, rucio) = crate::way::client_of(&front);
    let what = fails(rucio.scopes());
    assert_eq!(
        (what.as_str(), front.asked().len()),
        ("Refused 500 ReplicaNotFound", 1)
    );
    format!("{what}; 1 request")
}

/// Registered at `SITE_A`, then somewhere as another file.
fn conflict(real: &Real, at: &str, what: &str, change: impl Fn(&mut NewReplica)) -> String {
    let site = real.site();
    let mut one = file(&format!("conflict/{at}/{what}"));
    one.md5 = Some("900150983cd24fb0d6963f7d28e17f73".parse().unwrap());
    let done = add(&site, "SITE_A", std::slice::from_ref(&one), Look::After);
    assert!(matches!(done.as_slice(), [Registered::Done(_)]), "{done:?}");
    change(&mut one);
    let mut found = Vec::new();
    for look in [Look::After, Look::First] {
        let answers = add(&site, at, std::slice::from_ref(&one), look);
        let Registered::Conflict { what } = &answers[0] else {
            panic!("{look:?}: {answers:?}");
        };
        found.push(what.clone());
    }
    assert!(
        found.iter().all(|found| found.starts_with(what)),
        "{found:?}"
    );
    // Looked for first, it is not sent.
    assert_eq!(site.front.count(POST), 2);
    let stored = real.server.sql(&format!(
        "SELECT rse, bytes, adler32 FROM replicas JOIN rses ON rses.id = rse_id WHERE name = '{}' ORDER BY rse",
        one.did.name
    ));
    format!("Conflict: {}; stored: {:?}", found[0], stored.unwrap())
}

/// What is known as another file gets no replica that contradicts it.
fn conflict_elsewhere(real: &Real) -> String {
    let site = real.site();
    let mut one = file("conflict/elsewhere");
    add(&site, "SITE_A", std::slice::from_ref(&one), Look::First);
    one.adler32 = "00000001".parse().unwrap();
    let answers = add(&site, "SITE_B", std::slice::from_ref(&one), Look::First);
    let Registered::Conflict { what } = &answers[0] else {
        panic!("{answers:?}");
    };
    let rows = real
        .server
        .sql("SELECT name FROM replicas WHERE name = 'conflict/elsewhere'");
    assert_eq!((rows.unwrap().len(), site.front.count(POST)), (1, 1));
    format!("Conflict: {what}; not sent")
}

fn slashes(real: &Real) -> String {
    let site = real.site();
    let names = ["/store/one", "/two", "a//b"];
    let files: Vec<_> = names.iter().map(|name| file(name)).collect();
    let answers = add(&site, "SITE_B", &files, Look::After);
    for (name, answer) in names.iter().zip(&answers) {
        assert!(matches!(answer, Registered::Done(_)), "{name}: {answer:?}");
        let found = site.rucio.did(&did(name)).unwrap();
        assert_eq!(found.unwrap().bytes, Some(7.0), "{name}");
    }
    assert!(
        site.front
            .asked()
            .iter()
            .any(|asked| asked == "GET /dids/hsc/%2Fstore%2Fone")
    );
    "Done, and found by name".to_owned()
}

fn missing(real: &Real) -> String {
    let site = real.site();
    add(&site, "SITE_A", &[file("listed/there")], Look::After);
    let (there, gone) = (did("listed/there"), did("listed/gone"));
    let listed = |dids: &[&_]| -> Vec<String> {
        let lines = site.rucio.replicas(dids, None).unwrap();
        lines.map(|replica| replica.unwrap().name).collect()
    };
    assert_eq!(listed(&[&there, &gone]), ["listed/there"]);
    assert_eq!(listed(&[&gone]), [""; 0]);
    // At another RSE there is none of it.
    let elsewhere = site
        .rucio
        .replicas(&[&there], Some(&rse("SITE_B")))
        .unwrap();
    for replica in elsewhere {
        assert!(replica.unwrap().rses.is_empty());
    }
    "left out; an empty stream where none is there".to_owned()
}

fn unavailable(real: &Real) -> String {
    let site = real.site();
    let bad = file("listed/bad");
    add(&site, "SITE_A", std::slice::from_ref(&bad), Look::After);
    let body =
        json!({"rse": "SITE_A", "files": [{"scope": "hsc", "name": "listed/bad", "state": "U"}]});
    real.server.must("PUT", "/replicas", Some(&body)).unwrap();
    let lines = site.rucio.replicas(&[&bad.did], None).unwrap();
    let listed: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(listed[0].states["SITE_A"], "UNAVAILABLE");
    let answers = add(&site, "SITE_A", &[bad], Look::First);
    let [Registered::Equal(place)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(place.state, "UNAVAILABLE");
    "listed as UNAVAILABLE; registered, with that state".to_owned()
}

/// The server does what is asked, and its answer does not arrive.
fn lost(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.name() == POST && first(&once) {
            Reply::PassAndCut
        } else {
            Reply::Pass
        }
    });
    let answers = add(&site, "SITE_A", &files("lost", 3), Look::After);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Registered::Done(_))),
        "{answers:?}"
    );
    assert_eq!((site.front.count(POST), site.front.logins()), (1, 1));
    "Done; read back, and sent once".to_owned()
}

fn lost_before(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.name() == POST && first(&once) {
            Reply::Cut
        } else {
            Reply::Pass
        }
    });
    let answers = add(&site, "SITE_A", &files("lost-before", 3), Look::After);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Registered::Done(_))),
        "{answers:?}"
    );
    let asked: Vec<_> = site.front.asked();
    assert_eq!(asked[..3], [POST, LIST, POST]);
    "Done; read back, and sent again".to_owned()
}

fn too_many(real: &Real) -> String {
    let items: Vec<_> = (0..1001)
        .map(|number| json!({"scope": "hsc", "name": format!("raw/{number}"), "bytes": 1, "adler32": "00000001"}))
        .collect();
    let (status, class) = raw(
        &real.server,
        "/replicas",
        &json!({"rse": "SITE_A", "files": items}),
    );
    assert_eq!((status, class.as_str()), (500, "InvalidObject"));
    let dids: Vec<_> = (0..1001)
        .map(|number| json!({"scope": "hsc", "name": format!("raw/{number}")}))
        .collect();
    let listed = raw(&real.server, "/replicas/list", &json!({"dids": dids}));
    assert_eq!(listed.0, 400, "{listed:?}");

    let site = real.site();
    let files = files("many", 1001);
    let answers = add(&site, "SITE_A", &files, Look::After);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Registered::Done(_)))
    );
    assert_eq!((site.front.count(POST), site.front.count(LIST)), (2, 2));
    let run = did("many");
    site.rucio
        .make(&run, runsync::rucio::DidKind::Dataset)
        .unwrap();
    let children: Vec<_> = files.iter().map(|file| &file.did).collect();
    site.rucio.attach(&run, &children).unwrap();
    assert_eq!(site.front.count("POST /dids/attachments"), 2);
    assert_eq!(
        site.rucio.did_counted(&run).unwrap().unwrap().length,
        Some(1001)
    );
    assert_eq!(site.rucio.contents(&run).unwrap().count(), 1001);
    format!(
        "in one call: {status} {class}, and {}; of a site: 1,001 Done and attached, in 2 calls each",
        listed.0
    )
}

fn one_bad(real: &Real) -> String {
    let site = real.site_with("schema = \"rubin\"", |_, _| Reply::Pass);
    let mut files = files("bad", 1000);
    files[617] = file("bad/6+17");
    let answers = add(&site, "SITE_A", &files, Look::After);
    let done = answers
        .iter()
        .filter(|answer| matches!(answer, Registered::Done(_)))
        .count();
    assert!(
        matches!(answers[617], Registered::Refused(_)),
        "{:?}",
        answers[617]
    );
    let calls = site.front.count(POST);
    assert!(done == 999 && calls <= 21, "{done} {calls}");
    format!("999 Done, 1 Refused; {calls} calls")
}

fn empty(real: &Real) -> String {
    let site = real.site();
    assert_eq!(add(&site, "SITE_A", &[], Look::After), []);
    assert_eq!(add(&site, "SITE_A", &[], Look::First), []);
    assert_eq!(site.front.seen().len(), 0);
    let (status, class) = raw(
        &real.server,
        "/replicas/",
        &json!({"rse": "SITE_A", "files": []}),
    );
    assert_eq!((status, class.as_str()), (500, "DatabaseException"));
    format!("0 requests; the server would answer {status} {class}")
}
