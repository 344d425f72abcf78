//! The surface of the real daemon: over its Unix socket, over TCP and over TLS, by clients that behave
//! and by clients that do not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/http.rs"]
mod http;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Answer, Request, connect};
use process::{Daemon, holds_within};
use runsync_manifest::content::Content;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Manifest, TestSite, artifact, entry, write};
use uuid::Uuid;

const RUN: &str = "u/test/run";
const READER: &str = "reader-reader-reader-reader";
const OPERATOR: &str = "operator-operator-operator";

/// A site whose surface is configured by `more`, below `[http]`. Its socket can be reached by all.
fn site(more: &str) -> TestSite {
    let site = TestSite::new("size");
    let folder = site.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = socket(&site);
    let http = format!("[http]\nsocket = \"{}\"\n{more}", socket.display());
    site.configure_daemon("size", "sweep_interval = \"1h\"", &http);
    site
}

fn socket(site: &TestSite) -> PathBuf {
    site.folder.path().join("runsync.sock")
}

/// As [`site`], and with TCP, where a reader and an operator have tokens.
fn site_with_tcp(more: &str) -> TestSite {
    let site = site("");
    let tokens = [
        ("reader", "read", READER),
        ("operator", "operate", OPERATOR),
    ];
    let mut tables = String::new();
    for (name, role, token) in tokens {
        let file = site.folder.path().join(name);
        write(&file, token.as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let file = file.display();
        let table =
            format!("[[http.token]]\nname = \"{name}\"\nrole = \"{role}\"\nfile = \"{file}\"\n");
        tables.push_str(&table);
    }
    let http = format!(
        "[http]\nsocket = \"{}\"\nlisten = \"127.0.0.1:0\"\n{more}\n{tables}",
        socket(&site).display()
    );
    site.configure_daemon("size", "sweep_interval = \"1h\"", &http);
    site
}

/// Where the daemon listens.
fn address(daemon: &Daemon) -> String {
    daemon.until_logged("\"address\"", 0);
    let line = daemon
        .lines()
        .into_iter()
        .find(|line| line.text.contains("\"address\""));
    let line: Value = serde_json::from_str(&line.unwrap().text).unwrap();
    line["fields"]["address"].as_str().unwrap().to_owned()
}

fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn manifest(site: &TestSite, run: &str, count: i64) -> Manifest {
    Manifest::new(site.repository, run, "1-1", Content::Additions).with_many(1, count)
}

/// Two datasets, of which the first artifact is there.
fn half(site: &TestSite) -> Manifest {
    site.put("data/one.fits", &artifact(1, 10));
    Manifest::new(site.repository, RUN, "1-1", Content::Additions)
        .with_dimensions(3)
        .with_entries([
            entry(1, 1, 0, "data/one.fits", &artifact(1, 10)),
            entry(2, 1, 1, "data/two.fits", &artifact(2, 20)),
        ])
}

fn uuid(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

#[test]
fn everything_that_is_known_can_be_asked_for() {
    let site = site("");
    site.place(&half(&site));
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    daemon.until("the first artifact has its record", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 1)
    });
    let socket = socket(&site);
    let get = |path: &str| Request::get(path).at(&socket);

    let health = get("/healthz");
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"healthy": true, "stalled": []}))
    );
    let ready = get("/readyz");
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"ready": true, "role": "owner"}))
    );

    let status = get("/v1/status").json();
    assert_eq!(status["daemon"]["role"], "owner");
    assert_eq!(status["daemon"]["workers"].as_array().unwrap().len(), 2);
    assert_eq!(status["waiting"][0]["name"], RUN);
    let direct = site.directly(&["status", "--json"]);
    let mut direct: Value = serde_json::from_str(&direct).unwrap();
    let mut asked = status.clone();
    for key in ["at", "roots"] {
        direct[key] = Value::Null;
        asked[key] = Value::Null;
    }
    asked.as_object_mut().unwrap().remove("daemon");
    assert_eq!(asked, direct);

    let runs = get("/v1/runs").lines();
    assert_eq!((runs.len(), &runs[0]["waiting"]), (1, &json!(1)));
    assert_eq!(get("/v1/runs?prefix=u/other").lines().len(), 0);
    assert_eq!(get("/v1/runs?waiting=true&limit=1").lines().len(), 1);
    assert_eq!(get(&format!("/v1/runs?after={RUN}")).lines().len(), 0);

    let run = format!("/v1/runs/{}/u%2Ftest%2Frun", site.repository);
    assert_eq!(get(&run).json(), runs[0]);
    let datasets = get(&format!("{run}/datasets")).lines();
    assert_eq!(datasets.len(), 2);
    assert_eq!(datasets[0]["data_id"]["detector"], 0);
    let rest = get(&format!(
        "{run}/datasets?after={}&dataset_type=calexp",
        uuid(1)
    ))
    .lines();
    assert_eq!(rest, datasets[1..]);
    assert_eq!(
        get(&format!("{run}/datasets?limit=1")).lines(),
        datasets[..1]
    );
    assert_eq!(
        get(&format!("{run}/datasets?dataset_type=raw"))
            .lines()
            .len(),
        0
    );
    let records = get(&format!("{run}/records")).lines();
    assert_eq!(
        (&records[0]["confirmed"], &records[1]["confirmed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        get(&format!("{run}/records?waiting=true")).lines(),
        records[1..]
    );
    assert_eq!(get(&format!("{run}/records?limit=0")).lines().len(), 0);
    get(&run.replace("run", "none")).problem(404);
    get(&run.replace(&site.repository.to_string(), "x")).problem(422);

    let manifests = get("/v1/manifests?state=registered&root=main").lines();
    assert_eq!(manifests[0]["run"], Value::Null);
    assert_eq!(manifests[0]["summary"]["name"], RUN);
    assert_eq!(get("/v1/manifests?state=quarantined").lines().len(), 0);
    get("/v1/manifests?state=lost").problem(422);
    get("/v1/manifests?stat=blocked").problem(422);

    assert_eq!(get("/v1/requests").lines().len(), 0);
    get("/v1/nothing").problem(404);
    let refused = Request::new("DELETE", "/v1/exists").at(&socket);
    refused.problem(405);
    assert_eq!(refused.header("allow"), Some("POST"));
    daemon.stop();
    assert!(!socket.try_exists().unwrap());
}

#[test]
fn existence_is_answered_in_the_order_asked_and_as_the_command_answers() {
    let site = site("");
    site.place(&manifest(&site, RUN, 5000));
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    daemon.until("it is registered", || {
        seen.run(RUN).is_some_and(|run| run.claims == 5000)
    });
    let socket = socket(&site);
    let ask = |kind: &str, body: &str| Request::post("/v1/exists").body(kind, body).at(&socket);

    // Every other one is known; the order is neither that of the UUIDs nor its reverse.
    let asked: Vec<u128> = (0..10_000_u128)
        .map(|number| 1 + number * 7919 % 10_000)
        .collect();
    let uuids: Vec<String> = asked.iter().map(|number| uuid(*number)).collect();
    let answers = ask("application/json", &json!(uuids).to_string()).lines();
    assert_eq!(answers.len(), 10_000);
    for (answer, number) in answers.iter().zip(&asked) {
        assert_eq!(answer["uuid"], uuid(*number));
        let expected = if *number <= 5000 { "pending" } else { "no" };
        assert_eq!(answer["exists"], expected, "{number}");
    }
    let lines = uuids.join("\n");
    assert_eq!(ask("text/plain; charset=utf-8", &lines).lines(), answers);
    assert_eq!(
        ask("application/x-ndjson", &format!("\"{}\"", uuids[0])).lines(),
        answers[..1]
    );

    let command = site.answer(&["exists", &uuids[0], &uuids[9999]]);
    let few = ask("text/plain", &format!("{}\n{}", uuids[0], uuids[9999]));
    assert_eq!(few.text(), command);
    let bare = Request::post("/v1/exists?records=false")
        .body("text/plain", &uuids[0])
        .at(&socket);
    assert_eq!(bare.lines()[0].as_object().unwrap().len(), 2);
    assert_eq!(ask("application/json", "[]").lines().len(), 0);

    let wrong = ask("text/plain", &format!("{}\n\nnonsense", uuids[0])).problem(422);
    assert_eq!(wrong["detail"], "line 3, `nonsense`, is no UUID");
    let wrong = ask("application/json", &format!("[\"{}\", 7]", uuids[0])).problem(422);
    assert!(
        wrong["detail"].as_str().unwrap().starts_with("element 2"),
        "{wrong}"
    );
    ask("application/json", "[").problem(400);
    ask("application/xml", "").problem(415);
    daemon.stop();
}

#[test]
fn a_body_beyond_the_limit_is_refused_whether_or_not_its_length_is_told() {
    let site = site("body_bytes_max = \"1KiB\"");
    let daemon = Daemon::start(&site);
    let body = format!("{}\n", uuid(1)).repeat(100);
    let told = Request::post("/v1/exists")
        .body("text/plain", &body)
        .at(&socket(&site));
    told.problem(413);
    let mut stream = connect(&socket(&site));
    let length = body.len();
    write!(
        stream,
        "POST /v1/exists HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    )
    .unwrap();
    http::read(stream).problem(413);
    daemon.stop();
}

/// Does something as another user of this machine, and of no other thread.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn on_the_unix_socket_the_kernel_says_who_asks() {
    if !rustix::process::geteuid().is_root() {
        // There is one user only: its own daemon's.
        return;
    }
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

/// Whether a request is answered at once.
fn is_quick(socket: &Path) -> bool {
    let begin = Instant::now();
    let answer = Request::post("/v1/exists")
        .body("text/plain", uuid(1))
        .at(socket);
    answer.status == 200 && begin.elapsed() < Duration::from_secs(5)
}

#[test]
fn clients_that_are_slow_or_stop_half_way_hold_up_nobody_and_are_cut_off() {
    let site = site(
        "header_timeout = \"1s\"\nstall_timeout = \"1s\"\nconcurrent_requests_max = 2\nconnections_max = 100",
    );
    site.place(&manifest(&site, RUN, 20_000));
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    daemon.until("it is registered", || {
        seen.run(RUN).is_some_and(|run| run.claims == 20_000)
    });
    let socket = socket(&site);
    let request = Request::post("/v1/exists").body("text/plain", uuid(1));
    let head = request.head();

    let begin = |text: &str| {
        let mut stream = connect(&socket);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    // Nothing at all; half a head; a head without its body; a body that stops.
    let silent: Vec<_> = (0..10).map(|_| begin("")).collect();
    let half_heads: Vec<_> = (0..10).map(|_| begin(&head[..head.len() / 2])).collect();
    let bodiless: Vec<_> = (0..10).map(|_| begin(&head)).collect();
    let half_bodies: Vec<_> = (0..10).map(|_| begin(&format!("{head}0000"))).collect();
    // Answers of some ten megabytes that nobody reads.
    let uuids: String = (1..=20_000_u128)
        .map(|number| uuid(number) + "\n")
        .collect();
    let large = Request::post("/v1/exists").body("text/plain", &uuids);
    let deaf: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = begin(&large.head());
            stream.write_all(uuids.as_bytes()).unwrap();
            stream
        })
        .collect();
    daemon.until("others are answered at once", || is_quick(&socket));

    for mut stream in silent.into_iter().chain(half_heads) {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
            "{answer:?}"
        );
    }
    for stream in bodiless.into_iter().chain(half_bodies) {
        http::read(stream).problem(408);
    }
    // Nobody reads for longer than the daemon waits: it cuts these off, in the middle of an answer.
    daemon.until("the deaf are cut off", || {
        let metrics = metrics(&Request::get("/metrics").at(&socket).text());
        metrics["runsync_http_connections{socket=\"unix\"}"] <= 1.0
    });
    let cut = deaf.into_iter().map(http::read).filter(|answer| {
        // On a busy machine some are told to come again.
        assert!(answer.status == 429 || !answer.whole, "{}", answer.text());
        answer.status == 200
    });
    assert!(cut.count() > 0);
    assert!(is_quick(&socket));
    daemon.stop();
}

#[test]
fn whoever_fills_one_socket_keeps_nobody_from_the_other() {
    let site = site_with_tcp("connections_max = 4");
    let daemon = Daemon::start(&site);
    let address = address(&daemon);
    let filling: Vec<_> = (0..8).map(|_| tcp(&address)).collect();
    assert!(is_quick(&socket(&site)));
    drop(filling);
    daemon.until("others are served again", || {
        Request::get("/healthz").over(tcp(&address)).status == 200
    });
    daemon.stop();
}

#[test]
fn a_manifest_is_handed_in_and_its_way_is_told() {
    let site = site("");
    // The loop may see a manifest without a signature before the operator's word is heard.
    let daemon = Daemon::start(&site).expecting("it carries no signature");
    let socket = socket(&site);
    let bytes = half(&site).bytes(Some(&site.key));
    let hand_in = |path: &str, bytes: &[u8]| {
        Request::post(path)
            .body("application/octet-stream", bytes)
            .at(&socket)
    };
    let events = hand_in("/v1/manifests?name=night.jsonl", &bytes).lines();
    let taken = events.last().unwrap();
    assert_eq!(taken["event"], "taken", "{events:?}");
    assert_eq!(
        (&taken["file"], &taken["state"]),
        (&json!("night.jsonl"), &json!("registered"))
    );
    assert_eq!(taken["artifacts"], json!({"confirmed": 1, "of": 2}));
    assert!(events[0]["event"] != "taken", "{events:?}");
    let file = site.root().join(taken["path"].as_str().unwrap());
    assert_eq!(fs::read(&file).unwrap(), bytes);

    // Again: nothing changes. Cut: it is not put into the root.
    let again = hand_in("/v1/manifests?root=main", &bytes).lines();
    assert_eq!(again.last().unwrap()["state"], "registered");
    let cut = hand_in("/v1/manifests", &bytes[..bytes.len() - 10]).lines();
    assert_eq!(cut.last().unwrap()["state"], "refused");
    let unsigned = Manifest::new(
        site.repository,
        "u/test/unsigned",
        "1-1",
        Content::Additions,
    );
    let unsigned = unsigned.bytes(None);
    let refused = hand_in("/v1/manifests", &unsigned).lines();
    assert_ne!(refused.last().unwrap()["state"], "registered");
    let accepted = hand_in("/v1/manifests?unsigned=true", &unsigned).lines();
    assert_eq!(
        accepted.last().unwrap()["state"],
        "registered",
        "{accepted:?}"
    );
    hand_in("/v1/manifests?root=other", &bytes).problem(422);

    let asked = Request::get("/v1/requests?limit=5").at(&socket).lines();
    assert_eq!(asked.len(), 5);
    assert_eq!(
        (&asked[4]["what"], &asked[4]["outcome"]),
        (&json!("hand in"), &json!("registered"))
    );
    daemon.stop();
}

#[test]
fn a_manifest_is_taken_although_the_client_has_gone() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let bytes = manifest(&site, RUN, 20_000).bytes(Some(&site.key));
    let request = Request::post("/v1/manifests").body("application/octet-stream", &bytes);
    let mut stream = connect(&socket(&site));
    stream.write_all(request.head().as_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
    // The first line is there, so the whole manifest is; the client wants no more.
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    let outcome = || {
        let asked = Request::get("/v1/requests").at(&socket(&site)).lines();
        asked
            .first()
            .is_some_and(|row| row["outcome"] == "registered")
    };
    daemon.until("it is taken all the same", outcome);
    daemon.stop();
}

#[test]
fn manifests_in_quarantine_are_tried_again_or_dropped() {
    let site = site("");
    let path = "runsync/manifests/x/u/1-1.manifest.jsonl";
    site.put(path, b"{\"kind\":\"nonsense\"}\n");
    let mut aged = fs::File::options()
        .write(true)
        .open(site.root().join(path))
        .unwrap();
    aged.flush().unwrap();
    aged.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    let daemon = Daemon::start(&site).expecting("manifest quarantined");
    let socket = socket(&site);
    let aside = || {
        Request::get("/v1/manifests?state=quarantined")
            .at(&socket)
            .lines()
    };
    daemon.until("it is set aside", || aside().len() == 1);
    let first = aside();
    let locations = json!({"locations": [{"root": "main", "path": path}]});
    let act = |what: &str| {
        Request::post(&format!("/v1/manifests/{what}"))
            .json(&locations)
            .at(&socket)
    };
    assert_eq!(act("retry").json(), locations);
    daemon.until("it is set aside again", || {
        let again = aside();
        again.len() == 1 && again[0]["decided_at"] != first[0]["decided_at"]
    });
    assert_eq!(act("drop").json(), locations);
    assert_eq!(aside().len(), 0);
    assert_eq!(act("drop").json(), json!({"locations": []}));
    Request::post("/v1/manifests/drop")
        .json(&json!({"paths": []}))
        .at(&socket)
        .problem(422);
    Request::post("/v1/manifests/drop")
        .body("text/plain", "x")
        .at(&socket)
        .problem(415);
    daemon.stop();
}

/// Prometheus's text as a map from a series to its value.
fn metrics(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
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

#[test]
fn counters_start_at_zero_and_sum_up() {
    let site = site("");
    let daemon = Daemon::start(&site).expecting("manifest quarantined");
    let socket = socket(&site);
    let scrape = || metrics(&Request::get("/metrics").at(&socket).text());
    let outcomes = [
        "registered",
        "held",
        "blocked",
        "untrusted",
        "quarantined",
        "superseded",
        "gone",
        "left",
    ];
    let decided = |scraped: &BTreeMap<String, f64>| -> Vec<f64> {
        let series = |outcome: &&str| {
            format!("runsync_ingest_acknowledge_total{{root=\"main\",outcome=\"{outcome}\"}}")
        };
        outcomes
            .iter()
            .map(|outcome| scraped[&series(outcome)])
            .collect()
    };
    let zero = scrape();
    assert_eq!(decided(&zero), [0.0; 8]);
    assert_eq!(
        zero["runsync_ingest_watch_total{root=\"main\",outcome=\"sighted\"}"],
        0.0
    );
    assert_eq!(
        zero["runsync_ingest_confirm_total{root=\"main\",outcome=\"confirmed\"}"],
        0.0
    );
    assert_eq!(zero["runsync_ingest_watch_overflows_total"], 0.0);
    let exists = "runsync_http_requests_total{method=\"POST\",route=\"/v1/exists\",status=\"200\"}";
    assert_eq!(zero[exists], 0.0);

    site.place(&half(&site));
    site.place(&Manifest::new(
        site.repository,
        "u/a",
        "1-1",
        Content::Removal,
    ));
    let stranger = Uuid::from_u128(99);
    let stranger = runsync_manifest::name::RepositoryId(stranger);
    site.place(&manifest_of(stranger));
    site.put("runsync/manifests/x/u/1-1.manifest.jsonl", b"{\"cut\":");
    let daemon = daemon.expecting("untrusted");
    daemon.until("all are decided but the one that is cut", || {
        decided(&scrape()) == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    });
    Request::post("/v1/exists")
        .body("text/plain", uuid(1))
        .at(&socket);
    let seen = site.watch();
    daemon.until("one artifact is confirmed", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 1)
    });
    let scraped = scrape();
    let sighted = scraped["runsync_ingest_watch_total{root=\"main\",outcome=\"sighted\"}"];
    let pending = scraped["runsync_ingest_pending{root=\"main\"}"];
    assert_eq!(pending, 1.0);
    assert_eq!(sighted, decided(&scraped).iter().sum::<f64>() + pending);
    assert_eq!(
        scraped["runsync_ingest_confirm_total{root=\"main\",outcome=\"confirmed\"}"],
        1.0
    );
    assert_eq!(scraped[exists], 1.0);
    assert_eq!(scraped["runsync_manifests{state=\"registered\"}"], 1.0);
    assert_eq!(scraped["runsync_runs{state=\"waiting\"}"], 1.0);
    assert_eq!(scraped["runsync_artifacts{state=\"confirmed\"}"], 1.0);
    assert!(scraped["runsync_oldest_wait_seconds"] >= 0.0);
    assert!(scraped["runsync_worker_steps_total{worker=\"manifests of main\"}"] >= 1.0);
    assert!(
        scraped
            .keys()
            .any(|series| series.starts_with("runsync_http_request_seconds_bucket"))
    );
    daemon.stop();
}

fn manifest_of(origin: runsync_manifest::name::RepositoryId) -> Manifest {
    Manifest::new(origin, "u/stranger", "1-1", Content::Additions)
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
fn a_ledger_of_an_older_release_is_migrated_by_the_daemon() {
    let site = site("");
    let ledger = runsync::assembly::ledger_file(&site.site());
    let database = rusqlite::Connection::open(&ledger).unwrap();
    let version: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    database.execute_batch("DROP TABLE request").unwrap();
    database
        .pragma_update(None, "user_version", version - 1)
        .unwrap();
    drop(database);
    site.answer(&["config", "check"]);
    let daemon = Daemon::start(&site);
    assert_eq!(
        Request::get("/v1/requests")
            .at(&socket(&site))
            .lines()
            .len(),
        0
    );
    daemon.stop();
}

#[test]
fn a_second_daemon_is_told_who_holds_the_socket() {
    let site = site("");
    let first = Daemon::start(&site);
    let other = TestSite::new("size");
    let http = format!("[http]\nsocket = \"{}\"", socket(&site).display());
    other.configure_daemon("size", "", &http);
    let mut second = Daemon::spawn(&mut other.command(&["daemon"]))
        .expecting("another daemon does")
        .expecting("`socket` of its own");
    assert_eq!(second.wait().code(), Some(1));
    assert!(
        second.log().contains("`socket` of its own"),
        "{}",
        second.log()
    );
    assert_eq!(Request::get("/healthz").at(&socket(&site)).status, 200);

    // A daemon that was killed leaves its socket behind; the next one takes the place.
    second = Daemon::spawn(&mut other.command(&["status"]));
    second.wait();
    first.kill();
    assert!(socket(&site).try_exists().unwrap());
    let next = Daemon::start(&site);
    assert_eq!(Request::get("/healthz").at(&socket(&site)).status, 200);
    next.stop();
}

#[test]
fn a_request_at_hand_is_answered_when_the_daemon_stops() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let request = Request::post("/v1/exists").body("text/plain", uuid(1));
    let mut stream = connect(&socket(&site));
    stream.write_all(request.head().as_bytes()).unwrap();
    daemon.until("the request is at hand", || {
        let scraped = metrics(&Request::get("/metrics").at(&socket(&site)).text());
        scraped["runsync_http_requests_in_flight"] >= 2.0
    });
    daemon.signal(Signal::TERM);
    daemon.until_logged("stopping", 0);
    stream.write_all(uuid(1).as_bytes()).unwrap();
    assert_eq!(http::read(stream).lines().len(), 1);
    assert!(holds_within(Duration::from_secs(60), || !socket(&site)
        .try_exists()
        .unwrap()));
}

#[test]
fn the_document_that_is_served_is_the_one_that_is_kept() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = runsync::http::document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("RUNSYNC_WRITE_OPENAPI").is_some() {
        write(&kept, made.as_bytes());
    }
    let kept = fs::read_to_string(kept).unwrap();
    assert!(
        kept == made,
        "docs/openapi.json is not what the code makes: run this test with RUNSYNC_WRITE_OPENAPI=1"
    );
    let site = site("");
    let daemon = Daemon::start(&site);
    let served = Request::get("/openapi.json").at(&socket(&site)).json();
    assert_eq!(served, serde_json::from_str::<Value>(&kept).unwrap());
    daemon.stop();
}
