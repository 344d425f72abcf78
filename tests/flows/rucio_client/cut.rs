//! Connections that break, do not come about, or stay silent.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runsync::rucio::rules::NewRule;
use runsync::rucio::{Did, DidKind, Patience};
use serde_json::json;

use crate::front::{Front, Reply, free_port};
use crate::told::{Case, fails, go_through, outcome};
use crate::way::{PATIENCE, Way, client_of};

#[test]
fn a_connection_that_breaks_is_told_from_an_answer() {
    let cases: Vec<Case<'_>> = vec![
        ("a question cut, then an answer", Box::new(question)),
        ("a question cut again and again", Box::new(question_again)),
        ("a rule cut, then a duplicate", Box::new(rule)),
        (
            "a Rucio dataset cut, then one that exists",
            Box::new(dataset),
        ),
        ("an answer in one piece that is cut", Box::new(short)),
        ("no answer in time", Box::new(silence)),
        ("nobody listens", Box::new(nobody)),
        ("nobody listens, and then somebody does", Box::new(back)),
        ("a name that nobody knows", Box::new(unknown_name)),
        ("an answer that is no HTTP", Box::new(no_http)),
    ];
    go_through("connections", cases);
}

fn no_scopes() -> Reply {
    Reply::json(&json!([]))
}

fn did() -> Did {
    Did::new(&"hsc".parse().unwrap(), "run")
}

fn question() -> String {
    let front = Front::script([Reply::Cut, Reply::Cut, no_scopes()]);
    let (_way, rucio) = client_of(&front);
    rucio.scopes().unwrap();
    assert_eq!((front.asked().len(), front.logins()), (3, 1));
    "answered by the 3rd request".to_owned()
}

fn question_again() -> String {
    let front = Front::script(vec![Reply::Cut; 9]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    assert!(error.may_pass());
    assert_eq!(
        (outcome(&error).as_str(), front.asked().len()),
        ("Unknown", 4)
    );
    "Unknown after 4 requests".to_owned()
}

fn rule() -> String {
    let duplicate = Reply::refusal(409, "DuplicateRule", "A duplicate rule for this account");
    let front = Front::script([Reply::Cut, duplicate]);
    let (_way, rucio) = client_of(&front);
    let made = rucio.add_rule(&NewRule {
        did: did(),
        rse_expression: "SITE_B".to_owned(),
        copies: 1,
        lifetime: None,
        activity: None,
        notify: "N",
        comment: "",
    });
    assert!(!made.unwrap());
    assert_eq!(front.asked(), ["POST /rules/", "POST /rules/"]);
    "found to be there; 2 requests".to_owned()
}

fn dataset() -> String {
    let exists = Reply::refusal(
        409,
        "DataIdentifierAlreadyExists",
        "Data Identifier already exists!",
    );
    let is = Reply::json(&json!({"type": "DATASET", "open": true, "account": "runsync"}));
    let front = Front::script([Reply::Cut, exists, is]);
    let (_way, rucio) = client_of(&front);
    assert!(!rucio.make(&did(), DidKind::Dataset).unwrap());
    assert_eq!(
        front.asked(),
        ["POST /dids", "POST /dids", "GET /dids/hsc/run"]
    );
    "found to be there; 3 requests".to_owned()
}

/// A body that ends before its length.
fn short() -> String {
    let cut = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n[\"hsc\"";
    let cut = Reply::Bytes(cut.as_bytes().to_vec());
    let front = Front::script([cut.clone(), no_scopes()]);
    let (_way, rucio) = client_of(&front);
    rucio.scopes().unwrap();
    assert_eq!(front.asked().len(), 2);
    let front = Front::script(vec![cut; 9]);
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    assert!(error.may_pass());
    assert_eq!(
        (outcome(&error).as_str(), front.asked().len()),
        ("Unknown", 4)
    );
    "answered by the 2nd request; cut again and again, Unknown after 4".to_owned()
}

fn silence() -> String {
    let front = Front::script([Reply::Hang, Reply::Hang, no_scopes()]);
    let mut way = Way::userpass(&front.url());
    way.config.timeout = Duration::from_millis(300);
    let rucio = way.client_with(Patience {
        tries: 2,
        ..PATIENCE
    });
    rucio.log_in().unwrap();
    let start = Instant::now();
    let what = fails(rucio.scopes());
    assert!(start.elapsed() >= Duration::from_millis(600));
    assert_eq!((what.as_str(), front.asked().len()), ("Unknown", 2));
    // The server that comes to itself is asked again.
    let mut slow = Way::userpass(&front.url());
    slow.config.timeout = Duration::from_secs(60);
    slow.client().scopes().unwrap();
    format!("{what} after 2 requests of 300 ms")
}

fn nobody() -> String {
    let url = format!("http://127.0.0.1:{}", free_port());
    let way = Way::userpass(&url);
    let tries = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&tries);
    let rucio = way.client().waiting(Arc::new(move || {
        *counted.lock().unwrap() += 1;
        ControlFlow::Continue(())
    }));
    let error = rucio.scopes().unwrap_err();
    let what = outcome(&error);
    assert!(error.may_pass() && error.hint().is_some());
    assert_eq!(what, "Unreachable");
    // Before each of four tries, and while it waits between them.
    assert!(*tries.lock().unwrap() >= 4);
    format!("{what} after 4 tries")
}

/// The server comes up after the second try has failed.
fn back() -> String {
    let port = free_port();
    let way = Way::userpass(&format!("http://127.0.0.1:{port}"));
    let front: Arc<Mutex<Option<Front>>> = Arc::default();
    let started = Arc::clone(&front);
    let rucio = way.client().waiting(crate::way::at_moment(4, move || {
        let front = Front::start(port, None, None, |request, _| match request.path.as_str() {
            "/auth/userpass" => Reply::token("secret-token", 3600),
            _ => no_scopes(),
        });
        *started.lock().unwrap() = Some(front);
        ControlFlow::Continue(())
    }));
    rucio.scopes().unwrap();
    let front = front.lock().unwrap().take().unwrap();
    assert_eq!((front.logins(), front.asked().len()), (1, 1));
    "answered as soon as somebody listens; 1 login, 1 request".to_owned()
}

fn unknown_name() -> String {
    let what = fails(Way::userpass("https://rucio.invalid").client().scopes());
    assert_eq!(what, "Unreachable");
    what
}

fn no_http() -> String {
    let front = Front::new(|_, _| Reply::Bytes(b"220 mail.example.org ESMTP\r\n".to_vec()));
    let (_way, rucio) = client_of(&front);
    let error = rucio.version().unwrap_err();
    let what = outcome(&error);
    assert!(
        matches!(what.as_str(), "Unknown" | "NotUnderstood"),
        "{what}"
    );
    format!("{what}; {} requests", front.asked().len())
}
