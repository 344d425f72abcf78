//! Who may ask, and how often.

use super::*;

#[test]
fn on_the_unix_socket_the_kernel_says_who_asks() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site("operators = [\"nobody\"]\nreaders = [\"daemon\"]");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let status = |uid| as_user(uid, || Request::get("/v1/status").at(&socket));
    let wake = |uid| as_user(uid, || Request::post("/v1/wake").at(&socket));
    let (root, reader, operator, other) = (0, 1, 65_534, 4_000_000);
    for (uid, reads, operates) in [
        (root, 200, 200),
        (reader, 200, 403),
        (operator, 200, 200),
        (other, 403, 403),
    ] {
        assert_eq!(
            (status(uid).status, wake(uid).status),
            (reads, operates),
            "uid {uid}"
        );
    }
    let refused = wake(reader).problem(403);
    assert!(
        refused["hint"].as_str().unwrap().contains("operators"),
        "{refused}"
    );
    assert_eq!(
        as_user(other, || Request::get("/healthz").at(&socket)).status,
        200
    );
    // A token is nothing here.
    as_user(other, || {
        Request::get("/v1/status").token(OPERATOR).at(&socket)
    })
    .problem(403);

    let asked: Vec<_> = Request::get("/v1/requests").at(&socket).lines();
    let who: Vec<_> = asked
        .iter()
        .map(|row| (&row["account"], &row["uid"]))
        .collect();
    assert_eq!(
        who,
        [
            (&json!("nobody"), &json!(65_534)),
            (&json!("root"), &json!(0))
        ]
    );
    assert_eq!(
        (&asked[0]["what"], &asked[0]["outcome"]),
        (&json!("wake"), &json!("done"))
    );

    // A reload takes accounts anew.
    let http = format!("[http]\nsocket = \"{}\"", socket.display());
    site.configure_daemon("size", "sweep_interval = \"1h\"", &http);
    daemon.signal(Signal::HUP);
    daemon.until("everybody may ask", || status(other).status == 200);
    assert_eq!(wake(operator).status, 403);
    daemon.stop();
}

#[test]
fn over_tcp_a_token_says_who_asks() {
    let site = site_with_tcp("");
    let daemon = Daemon::start(&site);
    let address = address(&daemon);
    let ask = |request: Request| request.over(tcp(&address));

    let refused = ask(Request::get("/v1/status"));
    refused.problem(401);
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    for path in ["/metrics", "/openapi.json", "/v1/exists"] {
        let method = if path == "/v1/exists" { "POST" } else { "GET" };
        ask(Request::new(method, path)).problem(401);
        ask(Request::new(method, path).token("reader")).problem(401);
    }
    ask(Request::get("/v1/status").header("Authorization", "Basic cmVhZGVy")).problem(401);
    assert_eq!(ask(Request::get("/healthz")).status, 200);
    assert_eq!(ask(Request::get("/readyz")).status, 200);
    assert_eq!(ask(Request::get("/v1/status").token(READER)).status, 200);
    ask(Request::post("/v1/wake").token(READER)).problem(403);
    assert_eq!(ask(Request::post("/v1/wake").token(OPERATOR)).status, 200);
    let asked = ask(Request::get("/v1/requests").token(READER)).lines();
    assert_eq!(
        (&asked[0]["account"], &asked[0]["uid"]),
        (&json!("operator"), &Value::Null)
    );
    assert_eq!(asked.len(), 1);

    // A reload reads the files anew.
    write(
        &site.folder.path().join("reader"),
        b"another-token-of-the-reader",
    );
    daemon.signal(Signal::HUP);
    daemon.until("the new token counts", || {
        ask(Request::get("/v1/status").token("another-token-of-the-reader")).status == 200
    });
    ask(Request::get("/v1/status").token(READER)).problem(401);
    for token in [READER, OPERATOR, "another-token-of-the-reader"] {
        assert!(!daemon.log().contains(token));
    }
    daemon.stop();
}

#[test]
fn over_tls_the_certificate_is_the_one_configured() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let site = site_with_tcp(
        "certificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"\nheader_timeout = \"1s\"",
    );
    let folder = site.folder.path();
    write(&folder.join("cert.pem"), certified.cert.pem().as_bytes());
    write(
        &folder.join("key.pem"),
        certified.signing_key.serialize_pem().as_bytes(),
    );
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = Daemon::start(&site);
    let address = address(&daemon);

    // Clients that never shake hands hold up nobody, and are cut off.
    let silent: Vec<_> = (0..20).map(|_| tcp(&address)).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = rustls::StreamOwned::new(client, tcp(&address));
    assert_eq!(
        Request::get("/v1/status").token(READER).over(stream).status,
        200
    );
    for mut client in silent {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    daemon.stop();
}

#[test]
fn an_account_that_asks_too_often_is_told_when_to_come_again() {
    let site = site("requests_per_second = 5");
    let daemon = Daemon::start(&site);
    let answers: Vec<Answer> = (0..20)
        .map(|_| Request::get("/v1/status").at(&socket(&site)))
        .collect();
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(answers[0].status == 200 && !refused.is_empty());
    refused[0].problem(429);
    let seconds: u64 = refused[0].header("retry-after").unwrap().parse().unwrap();
    assert!((1..10).contains(&seconds));
    daemon.until("it may ask again", || {
        Request::get("/v1/status").at(&socket(&site)).status == 200
    });
    daemon.stop();
}

#[test]
fn a_token_or_certificate_that_cannot_be_used_is_told_before_the_start() {
    let site = site_with_tcp("certificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"");
    fs::set_permissions(
        site.folder.path().join("reader"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let checked = site.run_command(&["config", "check"]);
    assert_eq!(checked.status.code(), Some(78));
    let told = process::text(&checked.stderr);
    assert!(
        told.contains("`http.token` cannot be used: cannot read the token `reader`"),
        "{told}"
    );
    assert!(
        told.contains("`http.certificate_file` cannot be used"),
        "{told}"
    );
}

#[test]
fn a_reload_that_fails_in_any_part_changes_nothing() {
    let site = site_with_tcp("");
    let daemon = Daemon::start(&site).expecting("configuration not reloaded");
    let address = address(&daemon);
    let ask = || {
        let request = Request::get("/v1/status").token(READER);
        request.over(tcp(&address)).status
    };
    assert_eq!(ask(), 200);
    let key = site.folder.path().join("keys/signing.pem");
    let pem = fs::read(&key).unwrap();
    write(&key, b"no key");
    let token = site.folder.path().join("reader");
    write(&token, b"another-another-another-another");
    daemon.signal(Signal::HUP);
    daemon.until_told("could not be reloaded");
    assert_eq!(ask(), 200, "the old token stays");

    write(&key, &pem);
    let from = daemon.lines().len();
    daemon.signal(Signal::HUP);
    daemon.until_logged("reloading configuration", from);
    daemon.until("the new token counts", || ask() == 401);
    daemon.stop();
}
