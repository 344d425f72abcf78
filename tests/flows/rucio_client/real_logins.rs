//! Logins at a real server.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use runsync::rucio::replicas::{Look, Registered};
use runsync::rucio::{DidKind, RucioError};

use crate::front::Reply;
use crate::real::{GUEST, Real, did, files, rse};
use crate::told::{self, Case, fails, outcome};
use crate::way::{ACCOUNT, PASSWORD, Way, at_moment, write};

pub(crate) fn cases(real: &Real) -> Vec<Case<'_>> {
    vec![
        ("a name and a password", Box::new(|| password(real))),
        (
            "a wrong password",
            Box::new(|| refused(real, ACCOUNT, "runsync", "not-the-word")),
        ),
        (
            "an unknown account",
            Box::new(|| refused(real, "nobody", "runsync", PASSWORD)),
        ),
        (
            "an account of somebody else",
            Box::new(|| refused(real, GUEST, "runsync", PASSWORD)),
        ),
        ("no permission", Box::new(|| denied(real))),
        (
            "a virtual organisation is named",
            Box::new(|| organisation(real)),
        ),
        (
            "tokens that expire in the middle of a bulk",
            Box::new(|| expired(real)),
        ),
        ("a server that is restarted", Box::new(|| restarted(real))),
        ("a client's certificate", Box::new(|| certificate(real))),
        (
            "a certificate that no account knows",
            Box::new(|| stranger(real)),
        ),
        ("TLS spoken to it without", Box::new(|| plain(real))),
        (
            "a token in a file, renewed in place",
            Box::new(|| token(real)),
        ),
        (
            "an expired token in a file",
            Box::new(|| expired_token(real)),
        ),
        (
            "a token that no account knows",
            Box::new(|| strange_token(real)),
        ),
    ]
}

fn password(real: &Real) -> String {
    let site = real.site();
    assert_eq!(site.rucio.version().unwrap(), "41.5.1");
    for _ in 0..3 {
        assert_eq!(site.rucio.scopes().unwrap().len(), 2);
    }
    assert_eq!((site.front.logins(), site.front.asked().len()), (1, 4));
    "1 login for 3 requests and a ping".to_owned()
}

fn refused(real: &Real, account: &str, username: &str, password: &str) -> String {
    let site = real.as_account(account, username, password);
    for _ in 0..2 {
        let error = site.rucio.scopes().unwrap_err();
        assert_eq!(outcome(&error), "Login");
        assert!(error.to_string().contains("Cannot authenticate"), "{error}");
    }
    assert_eq!((site.front.logins(), site.front.asked().len()), (1, 0));
    "Login; 1 login for 2 questions".to_owned()
}

/// It may log in, and is refused: neither asked again nor logged in again.
fn denied(real: &Real) -> String {
    let site = real.as_account(GUEST, "guest", "guests-word");
    let rucio = &site.rucio;
    let one = files("denied", 1);
    let refusals = [
        fails(rucio.make(&did("guests-run"), DidKind::Dataset)),
        fails(rucio.add_replicas(&rse("SITE_A"), &one, Look::After)),
    ];
    assert_eq!(refusals, ["Refused 401 AccessDenied"; 2]);
    assert_eq!(site.front.asked(), ["POST /dids", "POST /replicas"]);
    assert_eq!(site.front.logins(), 1);
    format!("{}, twice; 2 requests, 1 login", refusals[0])
}

fn organisation(real: &Real) -> String {
    let site = real.site_with("vo = \"def\"", |_, _| Reply::Pass);
    site.rucio.scopes().unwrap();
    let seen = site.front.seen();
    assert_eq!(seen[0].header("X-Rucio-VO"), Some("def"));
    "accepted".to_owned()
}

/// The third of four calls meets a server to which every token is over.
fn expired(real: &Real) -> String {
    let (server, calls) = (Arc::clone(&real.server), Mutex::new(0));
    let site = real.site_with("bulk = 5", move |request, _| {
        if request.name() == "POST /replicas" {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            if *calls == 3 {
                Real::expire(&server);
            }
        }
        Reply::Pass
    });
    let files = files("expired", 20);
    let answers = site
        .rucio
        .add_replicas(&rse("SITE_A"), &files, Look::After)
        .unwrap();
    let done = answers
        .iter()
        .filter(|answer| matches!(answer, Registered::Done(_)));
    assert_eq!(done.count(), 20);
    assert_eq!(
        (site.front.logins(), site.front.count("POST /replicas")),
        (2, 5)
    );
    "all 20 done; 1 login more, 1 call sent again".to_owned()
}

/// Stopped before the first try, started before the third.
fn restarted(real: &Real) -> String {
    let way = Way::userpass(&real.server.url());
    real.server.stop_server().unwrap();
    let rucio = way.client();
    assert_eq!(fails(rucio.version()), "Unreachable");
    let server = Arc::clone(&real.server);
    let waiting = at_moment(4, move || {
        server.restart_server().unwrap();
        ControlFlow::Continue(())
    });
    assert_eq!(rucio.waiting(waiting).scopes().unwrap().len(), 2);
    "Unreachable, then answered by the same client".to_owned()
}

/// A client that logs in by certificate, over TLS.
fn certified(real: &Real, name: &str) -> (harness::Certificate, Way) {
    let certificate = real.server.certificate(name).unwrap();
    let key = std::fs::read_to_string(&certificate.key).unwrap();
    told::is_secret(key.lines().nth(1).unwrap());
    let login = format!(
        "[rucio.x509]\ncertificate_file = \"{}\"\nprivate_key_file = \"secret\"\n",
        certificate.certificate.display()
    );
    let more = format!(
        "ca_file = \"{}\"",
        real.server.authority().unwrap().display()
    );
    let url = real.server.tls_url().unwrap();
    let way = Way::new(&url, ACCOUNT, &more, &login, &key);
    (certificate, way)
}

fn certificate(real: &Real) -> String {
    let (certificate, way) = certified(real, "known");
    real.server.add_certificate(ACCOUNT, &certificate).unwrap();
    let rucio = way.client();
    assert_eq!(rucio.scopes().unwrap().len(), 2);
    assert!(
        rucio
            .make(&did("by-certificate"), DidKind::Dataset)
            .unwrap()
    );
    let account = rucio.did(&did("by-certificate")).unwrap().unwrap().account;
    assert_eq!(account, ACCOUNT);
    "what it makes is the account's".to_owned()
}

fn stranger(real: &Real) -> String {
    let (_, way) = certified(real, "stranger");
    let what = fails(way.client().scopes());
    assert_eq!(what, "Login");
    what
}

/// What a mistyped scheme comes to.
fn plain(real: &Real) -> String {
    let https = format!("https://127.0.0.1:{}", real.server.port());
    let what = fails(Way::userpass(&https).client().scopes());
    assert_eq!(what, "Tls");
    let http = real.server.tls_url().unwrap().replace("https", "http");
    let reverse = fails(Way::userpass(&http).client().scopes());
    format!("{what}; the reverse: {reverse}")
}

fn token(real: &Real) -> String {
    let server = &real.server;
    server.add_token_subject(ACCOUNT, "service").unwrap();
    let issued = server.issue_token("service", 600).unwrap();
    let site = real.with_token(&issued);
    site.rucio.scopes().unwrap();
    let renewed = server.issue_token("service", 601).unwrap();
    told::is_secret(&renewed);
    write(&site.way.secret(), &renewed);
    // Good as long as the first is.
    site.rucio.scopes().unwrap();
    let seen = site.front.seen();
    let tokens: Vec<_> = seen
        .iter()
        .map(|request| request.header("X-Rucio-Auth-Token"))
        .collect();
    assert_eq!(tokens, [Some(issued.as_str()); 2]);

    // One that is about to expire is looked for at once.
    let brief = server.issue_token("service", 0).unwrap();
    let site = real.with_token(&brief);
    fails(site.rucio.scopes());
    write(&site.way.secret(), &renewed);
    site.rucio.scopes().unwrap();
    let seen = site.front.seen();
    assert_eq!(
        seen.last().unwrap().header("X-Rucio-Auth-Token"),
        Some(renewed.as_str())
    );
    assert_eq!((site.front.logins(), seen.len()), (0, 2));
    "the new one is used by the same client; 0 logins".to_owned()
}

fn expired_token(real: &Real) -> String {
    let expired = real.server.issue_token("service", -600).unwrap();
    let site = real.with_token(&expired);
    let error = site.rucio.scopes().unwrap_err();
    assert!(matches!(error, RucioError::Login { .. }), "{error}");
    assert!(error.to_string().contains("has expired"), "{error}");
    assert_eq!((site.front.logins(), site.front.asked().len()), (0, 1));
    format!(
        "{}, which says that it has expired; 1 request",
        outcome(&error)
    )
}

fn strange_token(real: &Real) -> String {
    let strange = real.server.issue_token("stranger", 600).unwrap();
    let site = real.with_token(&strange);
    let error = site.rucio.scopes().unwrap_err();
    assert!(error.to_string().contains("does not accept"), "{error}");
    assert_eq!((site.front.logins(), site.front.asked().len()), (0, 1));
    format!("{}; 1 request", outcome(&error))
}
