//! What each kind of answer comes to, and how often it is asked for.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runsync::rucio::exception::Exception;
use runsync::rucio::replicas::{Look, NewReplica};
use runsync::rucio::{Did, Patience, Rucio, RucioError};

use crate::front::{Front, Reply};
use crate::told::{Case, fails, go_through, outcome};
use crate::way::{PATIENCE, Way, client_of};

/// What Rucio 41.5 answered to a name that its schema does not have.
const INVALID: &str = "Problem validating dids: 'a+b' does not match '^[/A-Za-z0-9][/A-Za-z0-9\\\\.\\\\-_]*$'\n\nFailed validating 'pattern' in schema['items']['properties']['name']:\n    {'type': 'string'}\n\nOn instance[0]['name']:\n    'a+b'";
const NOT_FOUND: &str = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server.</p>\n";
const BAD_GATEWAY: &str =
    "<html><head><title>502 Proxy Error</title></head><body><h1>Proxy Error</h1></body></html>";
const HTML: [(&str, &str); 1] = [("Content-Type", "text/html; charset=utf-8")];

#[test]
fn every_answer_comes_to_what_it_means() {
    let cases: Vec<Case<'_>> = vec![
        (
            "InvalidObject as 500",
            Box::new(|| refused(500, "InvalidObject", INVALID)),
        ),
        (
            "UnsupportedOperation as 500",
            Box::new(|| {
                let message = "PFN needed for this (non deterministic) RSE SITE_ND ";
                refused(500, "UnsupportedOperation", message)
            }),
        ),
        (
            "AccessDenied as 401",
            Box::new(|| {
                let message = "Account runsync can not add file replicas on SITE_A";
                refused(401, "AccessDenied", message)
            }),
        ),
        (
            "a refusal that repeats a name of a token",
            Box::new(|| {
                let message = "Data identifier 'hsc:token_expired/invalid' not found";
                refused(404, "DataIdentifierNotFound", message)
            }),
        ),
        (
            "a message cut in the header is whole in the body",
            Box::new(whole_message),
        ),
        ("a refusal of more than 1 MB", Box::new(long_message)),
        ("a redirect is not followed", Box::new(redirect)),
        ("HTML as 404", Box::new(html_404)),
        ("HTML as 502", Box::new(html_502)),
        ("502, 503, 504, then an answer", Box::new(mends)),
        (
            "DatabaseException as 500, then an answer",
            Box::new(database),
        ),
        ("429 with seconds", Box::new(|| retry_after("1", 1))),
        (
            "429 with a date that has passed",
            Box::new(|| retry_after("Sun, 22 Nov 2020 03:09:37 GMT", 0)),
        ),
        ("429 with a date ahead", Box::new(retry_at)),
        (
            "429 with a wait that is too long",
            Box::new(|| retry_too_long("3600")),
        ),
        (
            "429 with a date that is too far",
            Box::new(|| retry_too_long("Sun, 22 Nov 2099 03:09:37 GMT")),
        ),
        (
            "429 with a wait that is none",
            Box::new(|| retry_after("soon", 0)),
        ),
        (
            "JSON that is none",
            Box::new(|| not_understood(&Reply::new(200, &JSON, "{nope"))),
        ),
        (
            "JSON of another shape",
            Box::new(|| not_understood(&Reply::new(200, &JSON, "{\"a\": 1}"))),
        ),
        (
            "HTML where JSON should be",
            Box::new(|| not_understood(&Reply::new(200, &HTML, NOT_FOUND))),
        ),
        (
            "an empty answer",
            Box::new(|| not_understood(&Reply::new(200, &JSON, ""))),
        ),
        ("a body of JSON by another type", Box::new(other_type)),
        ("an infinite quota", Box::new(quota)),
        (
            "an endpoint that keeps failing rests, others go on",
            Box::new(breaker),
        ),
        (
            "an endpoint that rested answers again",
            Box::new(breaker_closes),
        ),
        ("broken off before it is asked", Box::new(broken_off)),
        ("broken off while it waits", Box::new(broken_off_waiting)),
        ("one bad file of a thousand", Box::new(bisected)),
        ("all files bad", Box::new(all_bad)),
        ("closed by a call that seemed to fail", Box::new(closed)),
    ];
    go_through("answers", cases);
}

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

fn no_scopes() -> Reply {
    Reply::json(&serde_json::json!([]))
}

fn scope() -> runsync_manifest::name::Scope {
    "hsc".parse().unwrap()
}

pub(crate) fn file(name: &str) -> NewReplica {
    NewReplica {
        did: Did::new(&scope(), name),
        bytes: 7,
        adler32: "0a0b0c0d".parse().unwrap(),
        md5: None,
        pfn: None,
    }
}

fn add(rucio: &Rucio, files: &[NewReplica]) -> Result<Vec<String>, RucioError> {
    let rse = "SITE_A".parse().unwrap();
    let answers = rucio.add_replicas(&rse, files, Look::After)?;
    Ok(answers.iter().map(|answer| format!("{answer:?}")).collect())
}

/// Refused once, and asked once: neither again nor under another login.
fn refused(status: u16, class: &str, message: &str) -> String {
    let front = Front::script([Reply::refusal(status, class, message)]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    let what = outcome(&error);
    assert_eq!(what, format!("Refused {status} {class}"));
    assert!(!error.may_pass());
    assert_eq!((front.asked().len(), front.logins()), (1, 1));
    format!("{what}; 1 request, 1 login")
}

fn whole_message() -> String {
    let front = Front::script([Reply::refusal(500, "InvalidObject", INVALID)]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    let message = &error.refusal().unwrap().message;
    assert!(
        message.ends_with("On instance[0]['name']: 'a+b'"),
        "{message}"
    );
    assert_eq!(front.asked(), ["GET /scopes/"]);
    format!("{}, its message whole", outcome(&error))
}

fn long_message() -> String {
    let message = "Problem validating dids: x ".repeat(50_000);
    let front = Front::script([Reply::refusal(500, "InvalidObject", &message)]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    assert!(error.is(&Exception::InvalidObject) && error.to_string().len() < 1_000);
    assert_eq!(front.asked(), ["GET /scopes/"]);
    format!(
        "{}, told in {} characters",
        outcome(&error),
        error.to_string().len()
    )
}

fn redirect() -> String {
    let elsewhere = Front::script([no_scopes(), no_scopes()]);
    let to = format!("{}/scopes/", elsewhere.url());
    let front = Front::script([Reply::new(308, &[("Location", &to)], "Redirecting...")]);
    let (_way, rucio) = client_of(&front);
    let what = fails(rucio.scopes());
    assert_eq!(what, "NotUnderstood");
    assert_eq!((front.asked().len(), elsewhere.seen().len()), (1, 0));
    format!("{what}; 0 requests where it points")
}

fn html_404() -> String {
    let front = Front::script([Reply::new(404, &HTML, NOT_FOUND)]);
    let (_way, rucio) = client_of(&front);
    let what = fails(rucio.scopes());
    assert_eq!(what, "NotUnderstood");
    assert_eq!((front.asked().len(), front.logins()), (1, 1));
    format!("{what}; 1 request")
}

fn html_502() -> String {
    let front = Front::script(vec![Reply::new(502, &HTML, BAD_GATEWAY); 9]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    let what = outcome(&error);
    assert_eq!(what, "Failing 502");
    assert!(error.may_pass());
    assert_eq!(front.asked().len(), 4);
    format!("{what} after 4 requests")
}

fn mends() -> String {
    let failing = |status| Reply::new(status, &HTML, BAD_GATEWAY);
    let front = Front::script([failing(502), failing(503), failing(504), no_scopes()]);
    let (_way, rucio) = client_of(&front);
    assert_eq!(rucio.scopes().unwrap(), []);
    assert_eq!((front.asked().len(), front.logins()), (4, 1));
    "answered by the 4th request".to_owned()
}

fn database() -> String {
    let message = "An unknown Database Exception has occurred.";
    let failing = Reply::refusal(500, "DatabaseException", message);
    let front = Front::script([failing, no_scopes()]);
    let (_way, rucio) = client_of(&front);
    assert_eq!(rucio.scopes().unwrap(), []);
    assert_eq!((front.asked().len(), front.logins()), (2, 1));
    "answered by the 2nd request, 1 login".to_owned()
}

fn too_many(retry_after: &str) -> Reply {
    Reply::new(429, &[("Retry-After", retry_after)], "")
}

/// Waited for as long as is asked.
fn retry_after(value: &str, seconds: u64) -> String {
    let front = Front::script([too_many(value), no_scopes()]);
    let (_way, rucio) = client_of(&front);
    rucio.log_in().unwrap();
    let start = Instant::now();
    assert_eq!(rucio.scopes().unwrap(), []);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(seconds), "{took:?}");
    assert!(took < Duration::from_secs(seconds + 20), "{took:?}");
    assert_eq!(front.asked().len(), 2);
    format!("answered by the 2nd request, {seconds} s or more later")
}

fn retry_at() -> String {
    let asked = httpdate::fmt_http_date(
        std::time::SystemTime::from(runsync::clock::Clock::now(&runsync::clock::SystemClock))
            + Duration::from_secs(2),
    );
    let front = Front::script([too_many(&asked), no_scopes()]);
    let way = Way::userpass(&front.url());
    let patience = Patience {
        asked: Duration::from_secs(60),
        ..PATIENCE
    };
    let rucio = way.client_with(patience);
    assert_eq!(rucio.scopes().unwrap(), []);
    let now = std::time::SystemTime::from(runsync::clock::Clock::now(&runsync::clock::SystemClock));
    assert!(now >= httpdate::parse_http_date(&asked).unwrap());
    assert_eq!(front.asked().len(), 2);
    "answered by the 2nd request, at that date or later".to_owned()
}

fn retry_too_long(value: &str) -> String {
    let front = Front::script([too_many(value), no_scopes()]);
    let (_way, rucio) = client_of(&front);
    let what = fails(rucio.scopes());
    assert_eq!(what, "Failing 429");
    assert_eq!(front.asked().len(), 1);
    format!("{what} at once; 1 request")
}

fn not_understood(reply: &Reply) -> String {
    let front = Front::script([reply.clone()]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    let what = outcome(&error);
    assert_eq!(what, "NotUnderstood");
    assert!(!error.may_pass() && error.hint().is_some());
    assert_eq!(front.asked().len(), 1);
    format!("{what}; 1 request")
}

fn other_type() -> String {
    let kind = [("Content-Type", "application/octet-stream")];
    let front = Front::script([Reply::new(200, &kind, "[\"hsc\"]")]);
    let (_way, rucio) = client_of(&front);
    assert_eq!(rucio.scopes().unwrap(), [scope()]);
    "read for what it is".to_owned()
}

fn quota() -> String {
    let limit = Reply::new(200, &JSON, "{\"SITE_A\": Infinity}");
    let usage = "{\"rse\": \"SITE_A\", \"bytes\": 5, \"bytes_limit\": Infinity}\n";
    let front = Front::script([limit, Reply::stream(&[usage], true)]);
    let (_way, rucio) = client_of(&front);
    let quota = rucio.quota(&"SITE_A".parse().unwrap()).unwrap().unwrap();
    assert_eq!((quota.limit, quota.used, quota.left()), (None, 5, None));
    "no limit, 5 bytes used".to_owned()
}

fn breaker() -> String {
    let front = Front::new(|request, _| match request.path.as_str() {
        "/auth/userpass" => Reply::token("secret-token", 3600),
        "/scopes/" => Reply::new(500, &HTML, BAD_GATEWAY),
        _ => Reply::refusal(
            404,
            "RSENotFound",
            "RSE 'SITE_A' cannot be found in vo 'def'",
        ),
    });
    let way = Way::userpass(&front.url());
    let rucio = way.client_with(Patience {
        tries: 2,
        failures: 3,
        ..PATIENCE
    });
    assert_eq!(fails(rucio.scopes()), "Failing 500");
    // The third failure opens it in the middle of a call.
    let what = fails(rucio.scopes());
    assert_eq!(what, "Resting /scopes/");
    assert_eq!(fails(rucio.scopes()), what);
    assert_eq!(front.count("GET /scopes/"), 3);
    assert_eq!(rucio.rse(&"SITE_A".parse().unwrap()).unwrap(), None);
    assert_eq!(front.count("GET /rses/SITE_A"), 1);
    format!("{what} after 3 requests; another endpoint answers")
}

fn breaker_closes() -> String {
    let front = Front::script([
        Reply::new(500, &HTML, BAD_GATEWAY),
        Reply::new(500, &HTML, BAD_GATEWAY),
        no_scopes(),
        Reply::new(500, &HTML, BAD_GATEWAY),
        no_scopes(),
    ]);
    let way = Way::userpass(&front.url());
    let rucio = way.client_with(Patience {
        failures: 2,
        rest: Duration::from_millis(200),
        ..PATIENCE
    });
    let what = fails(rucio.scopes());
    assert_eq!(
        (what.as_str(), front.asked().len()),
        ("Resting /scopes/", 2)
    );
    let start = Instant::now();
    while let Err(error) = rucio.scopes() {
        assert!(matches!(error, RucioError::Resting { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    assert_eq!(front.asked().len(), 3);
    // Closed, it counts from nothing.
    assert_eq!(rucio.scopes().unwrap(), []);
    assert_eq!(front.asked().len(), 5);
    "answered by the first request after the rest; one failure more does not open it".to_owned()
}

fn broken_off() -> String {
    let front = Front::script([no_scopes()]);
    let (_way, rucio) = client_of(&front);
    let rucio = rucio.waiting(Arc::new(|| ControlFlow::Break(())));
    let what = fails(rucio.scopes());
    assert_eq!((what.as_str(), front.seen().len()), ("Interrupted", 0));
    format!("{what}; 0 requests")
}

fn broken_off_waiting() -> String {
    let front = Front::script([too_many("60"), no_scopes()]);
    let way = Way::userpass(&front.url());
    let rucio = way.client_with(Patience {
        asked: Duration::from_secs(100),
        ..PATIENCE
    });
    // Asked before the request, and then while it waits.
    let rucio = rucio.waiting(crate::way::at_moment(2, || ControlFlow::Break(())));
    let start = Instant::now();
    let what = fails(rucio.scopes());
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!((what.as_str(), front.asked().len()), ("Interrupted", 1));
    format!("{what} in the middle of a wait of 60 s; 1 request")
}

/// Answers as Rucio does to bulk calls that hold a name with a plus.
fn taking_no_plus() -> Front {
    let taken = std::sync::Mutex::new(Vec::<serde_json::Value>::new());
    Front::new(move |request, _| {
        let mut taken = taken.lock().unwrap();
        let listed: Vec<_> = match request.path.as_str() {
            "/auth/userpass" => return Reply::token("secret-token", 3600),
            "/replicas" => {
                let files = request.json()["files"].as_array().unwrap().clone();
                if files
                    .iter()
                    .any(|file| file["name"].as_str().unwrap().contains('+'))
                {
                    return Reply::refusal(500, "InvalidObject", INVALID);
                }
                taken.extend(files);
                return Reply::created();
            }
            "/replicas/list" => taken
                .iter()
                .map(|file| {
                    let mut file = file.clone();
                    file["rses"] = serde_json::json!({"SITE_A": ["file:///x"]});
                    file["states"] = serde_json::json!({"SITE_A": "AVAILABLE"});
                    file
                })
                .collect(),
            _ => taken.clone(),
        };
        let lines: Vec<String> = listed.iter().map(|file| format!("{file}\n")).collect();
        Reply::stream(&[lines.concat().as_str()], true)
    })
}

fn bisected() -> String {
    let front = taking_no_plus();
    let way = Way::as_account(
        &front.url(),
        "runsync",
        crate::way::PASSWORD,
        "schema = \"rubin\"",
    );
    let mut files: Vec<_> = (0..1000)
        .map(|number| file(&format!("f/{number}")))
        .collect();
    files[617] = file("f/6+17");
    let answers = add(&way.client(), &files).unwrap();
    let done = answers
        .iter()
        .filter(|answer| answer.starts_with("Done"))
        .count();
    assert!(answers[617].contains("InvalidObject"), "{}", answers[617]);
    let calls = front.count("POST /replicas");
    assert!(done == 999 && calls <= 21, "{done} {calls}");
    format!("999 done, 1 refused; {calls} calls")
}

fn all_bad() -> String {
    let front = taking_no_plus();
    let way = Way::as_account(
        &front.url(),
        "runsync",
        crate::way::PASSWORD,
        "schema = \"rubin\"",
    );
    let files: Vec<_> = (0..1000)
        .map(|number| file(&format!("f+{number}")))
        .collect();
    let what = fails(add(&way.client(), &files));
    let calls = front.count("POST /replicas");
    assert_eq!(what, "Refused 500 InvalidObject");
    assert!(calls < 200, "{calls}");
    format!("{what}; given up after {calls} calls")
}

fn closed() -> String {
    let open = |open: bool| {
        Reply::json(&serde_json::json!({"type": "DATASET", "open": open, "account": "runsync"}))
    };
    let message = "The status of the data identifier 'hsc:a' cannot be changed";
    let front = Front::script([
        open(true),
        Reply::new(504, &HTML, BAD_GATEWAY),
        Reply::refusal(409, "UnsupportedOperation", message),
        open(false),
    ]);
    let (_way, rucio) = client_of(&front);
    rucio.close(&Did::new(&scope(), "a")).unwrap();
    let put = "PUT /dids/hsc/a/status";
    assert_eq!(
        front.asked(),
        ["GET /dids/hsc/a", put, put, "GET /dids/hsc/a"]
    );
    "closed; asked what it is before and after".to_owned()
}
