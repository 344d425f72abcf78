//! When the client logs in, and what it makes of a server that does not let it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use runsync::rucio::RucioError;
use serde_json::json;

use crate::front::{Front, Reply, Request};
use crate::told::{Case, fails, go_through, outcome};
use crate::way::{Way, client_of};

const NOT_ACCEPTED: &str = "Cannot authenticate with given credentials";

#[test]
fn logging_in_is_done_when_it_must_and_no_more() {
    let cases: Vec<Case<'_>> = vec![
        (
            "one login serves many requests",
            Box::new(|| renewals(3600, 1)),
        ),
        (
            "a token is renewed before it has expired",
            Box::new(|| renewals(0, 3)),
        ),
        (
            "401 CannotAuthenticate once",
            Box::new(|| once(401, "CannotAuthenticate", NOT_ACCEPTED)),
        ),
        (
            "an expired token as 500",
            Box::new(|| once(500, "DatabaseException", "Token expired")),
        ),
        (
            "a token that did not arrive, as 400",
            Box::new(|| once(400, "ValueError", "Token must be set.")),
        ),
        ("401 without an exception, once", Box::new(html_401)),
        ("401 CannotAuthenticate again and again", Box::new(again)),
        ("16 threads with an expired token", Box::new(single_flight)),
        (
            "a login that is refused is not tried again at once",
            Box::new(refused),
        ),
        ("a login that fails, then an answer", Box::new(login_fails)),
        (
            "a login that is answered without a token",
            Box::new(no_token),
        ),
        ("a login in a virtual organisation", Box::new(organisation)),
        ("a login at another URL", Box::new(elsewhere)),
        ("a password file that is not there", Box::new(no_file)),
        ("a password of more than a line", Box::new(strange_password)),
        ("a token file that holds none", Box::new(empty_token_file)),
        (
            "a token file that is renewed in place",
            Box::new(renewed_file),
        ),
        ("the version needs no login", Box::new(version)),
    ];
    go_through("logins", cases);
}

fn is_login(request: &Request) -> bool {
    request.path == "/auth/userpass"
}

fn token_of(request: &Request) -> &str {
    request.header("X-Rucio-Auth-Token").unwrap()
}

fn no_scopes() -> Reply {
    Reply::json(&json!([]))
}

fn renewals(life: u32, logins: usize) -> String {
    let front = Front::new(move |request, number| {
        if is_login(request) {
            Reply::token(&format!("secret-token-{number}"), life)
        } else {
            no_scopes()
        }
    });
    let (_way, rucio) = client_of(&front);
    for _ in 0..3 {
        rucio.scopes().unwrap();
    }
    assert_eq!((front.logins(), front.asked().len()), (logins, 3));
    format!("a life of {life} s: {logins} logins for 3 requests, none refused")
}

/// A token that is not accepted is renewed once, and the request sent again.
fn once(status: u16, class: &'static str, message: &'static str) -> String {
    once_after(move || Reply::refusal(status, class, message))
}

fn html_401() -> String {
    once_after(|| Reply::new(401, &[("Content-Type", "text/html")], "<html>"))
}

fn once_after(refusal: impl Fn() -> Reply + Send + Sync + 'static) -> String {
    let logins = AtomicUsize::new(0);
    let front = Front::new(move |request, _| {
        if is_login(request) {
            let number = logins.fetch_add(1, Ordering::SeqCst);
            Reply::token(&format!("secret-token-{number}"), 3600)
        } else if token_of(request) == "secret-token-0" {
            refusal()
        } else {
            no_scopes()
        }
    });
    let (_way, rucio) = client_of(&front);
    rucio.scopes().unwrap();
    assert_eq!((front.logins(), front.asked().len()), (2, 2));
    "answered after 1 login more; 2 requests".to_owned()
}

fn again() -> String {
    let front = Front::new(|request, number| {
        if is_login(request) {
            Reply::token(&format!("secret-token-{number}"), 3600)
        } else {
            Reply::refusal(401, "CannotAuthenticate", NOT_ACCEPTED)
        }
    });
    let (_way, rucio) = client_of(&front);
    let error = rucio.scopes().unwrap_err();
    let what = outcome(&error);
    assert_eq!(what, "Login");
    assert!(error.to_string().contains(NOT_ACCEPTED) && !error.may_pass());
    assert_eq!((front.logins(), front.asked().len()), (2, 2));
    format!("{what} after 2 logins and 2 requests")
}

fn single_flight() -> String {
    const THREADS: usize = 16;
    let logins = AtomicUsize::new(0);
    let front = Front::new(move |request, _| {
        if is_login(request) {
            let number = logins.fetch_add(1, Ordering::SeqCst);
            Reply::token(&format!("secret-token-{number}"), 3600)
        } else if token_of(request) == "secret-token-0" && request.path != "/scopes/" {
            Reply::refusal(401, "CannotAuthenticate", NOT_ACCEPTED)
        } else if request.path == "/scopes/" {
            no_scopes()
        } else {
            Reply::refusal(404, "RSENotFound", "none")
        }
    });
    let (_way, rucio) = client_of(&front);
    rucio.scopes().unwrap();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(rucio.rse(&"SITE_A".parse().unwrap()).unwrap(), None);
            });
        }
    });
    assert_eq!(front.logins(), 2);
    let asked = front.count("GET /rses/SITE_A");
    assert!((THREADS + 1..=2 * THREADS).contains(&asked), "{asked}");
    format!("1 login more; {asked} requests")
}

fn refused() -> String {
    let message = "Cannot authenticate to account runsync with given credentials";
    let front = Front::new(move |_, _| Reply::refusal(401, "CannotAuthenticate", message));
    let (_way, rucio) = client_of(&front);
    for _ in 0..3 {
        assert_eq!(fails(rucio.scopes()), "Login");
    }
    assert_eq!((front.logins(), front.asked().len()), (1, 0));
    "Login, three times; 1 login, 0 requests".to_owned()
}

fn login_fails() -> String {
    let front = Front::new(|request, number| match number {
        0 => Reply::new(503, &[], ""),
        1 => Reply::Cut,
        _ if is_login(request) => Reply::token("secret-token", 3600),
        _ => no_scopes(),
    });
    let (_way, rucio) = client_of(&front);
    rucio.scopes().unwrap();
    assert_eq!((front.logins(), front.asked().len()), (3, 1));
    "answered after 3 logins; 1 request".to_owned()
}

fn no_token() -> String {
    let front = Front::new(|_, _| Reply::new(200, &[], "Welcome"));
    let (_way, rucio) = client_of(&front);
    let what = fails(rucio.scopes());
    assert_eq!((what.as_str(), front.seen().len()), ("NotUnderstood", 1));
    format!("{what}; 1 login, 0 requests")
}

fn organisation() -> String {
    let front = Front::script([no_scopes()]);
    let way = Way::as_account(
        &front.url(),
        "runsync",
        crate::way::PASSWORD,
        "vo = \"abc\"",
    );
    way.client().scopes().unwrap();
    let seen = front.seen();
    let vo = |request: &Request| request.header("X-Rucio-VO").map(str::to_owned);
    assert_eq!(vo(&seen[0]).as_deref(), Some("abc"));
    assert_eq!(seen[0].header("X-Rucio-Account"), Some("runsync"));
    "the login names it".to_owned()
}

fn elsewhere() -> String {
    let tokens = Front::new(|_, _| Reply::token("secret-token", 3600));
    let front = Front::script([no_scopes()]);
    let more = format!("auth_url = \"{}\"", tokens.url());
    let way = Way::as_account(&front.url(), "runsync", crate::way::PASSWORD, &more);
    way.client().scopes().unwrap();
    assert_eq!(
        (tokens.logins(), front.logins(), front.asked().len()),
        (1, 0, 1)
    );
    let password = |request: &Request| request.header("X-Rucio-Password").is_some();
    assert!(!front.seen().iter().any(password) && tokens.asked().is_empty());
    "1 login there, 1 request here; neither gets what is the other's".to_owned()
}

fn no_file() -> String {
    let front = Front::script([no_scopes()]);
    let way = Way::userpass(&front.url());
    std::fs::remove_file(way.secret()).unwrap();
    let what = fails(way.client().scopes());
    assert_eq!((what.as_str(), front.seen().len()), ("Secret", 0));
    format!("{what}; 0 requests")
}

fn strange_password() -> String {
    let front = Front::script([no_scopes()]);
    let way = Way::as_account(&front.url(), "runsync", "a-secret\nsecond-line", "");
    let what = fails(way.client().scopes());
    assert_eq!((what.as_str(), front.seen().len()), ("Login", 0));
    format!("{what}; 0 requests")
}

fn empty_token_file() -> String {
    let front = Front::script([no_scopes()]);
    for token in ["", "\n", "a secret of three words"] {
        let what = fails(Way::token(&front.url(), token).client().scopes());
        assert_eq!((what.as_str(), front.seen().len()), ("Login", 0));
    }
    "Login; 0 requests".to_owned()
}

/// A token that the server does not accept is shown to it once for each call; as soon as the file
/// holds another, that one is.
fn renewed_file() -> String {
    let front = Front::new(|request, _| {
        if token_of(request) == "the-first-token" {
            Reply::refusal(401, "CannotAuthenticate", NOT_ACCEPTED)
        } else {
            no_scopes()
        }
    });
    let way = Way::token(&front.url(), "the-first-token");
    let rucio = way.client();
    let error = rucio.scopes().unwrap_err();
    assert!(matches!(error, RucioError::Login { .. }), "{error}");
    assert!(
        error.to_string().contains("has not been renewed"),
        "{error}"
    );
    assert_eq!(front.asked().len(), 1);
    crate::way::write(&way.secret(), "the-second-token\n");
    crate::told::is_secret("the-second-token");
    rucio.scopes().unwrap();
    assert_eq!((front.logins(), front.asked().len()), (0, 2));
    format!(
        "{}, then answered under the new one, by the same client",
        outcome(&error)
    )
}

fn version() -> String {
    let front = Front::new(|_, _| Reply::json(&json!({"version": "41.5.1"})));
    let (_way, rucio) = client_of(&front);
    assert_eq!(rucio.version().unwrap(), "41.5.1");
    assert_eq!((front.logins(), front.asked().len()), (0, 1));
    assert_eq!(front.seen()[0].header("X-Rucio-Auth-Token"), None);
    "0 logins, 1 request".to_owned()
}
