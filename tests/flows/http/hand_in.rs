//! Manifests that are handed in, and those that were set aside.

use super::*;

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
    assert_eq!(asked[4]["what"], "hand in");
    assert_eq!(
        asked[4]["outcome"],
        format!(
            "registered: {}, run {RUN}, generation 1-1",
            taken["path"].as_str().unwrap()
        )
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
            .is_some_and(|row| is_registered(&row["outcome"]))
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
    let asked = Request::get("/v1/requests?limit=1").at(&socket).lines();
    assert_eq!(asked[0]["subject"], format!("main:{path}"));
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

/// Whether what came of a request is a registered manifest.
fn is_registered(outcome: &Value) -> bool {
    outcome
        .as_str()
        .is_some_and(|outcome| outcome.starts_with("registered: "))
}

fn hand_in(bytes: &[u8]) -> Request {
    Request::post("/v1/manifests").body("application/octet-stream", bytes)
}

/// Connections over which a manifest begins to come, and goes on never.
fn slow(daemon: &Daemon, socket: &Path, count: u32) -> Vec<UnixStream> {
    let head = hand_in(b"{").head();
    let begin = |_| {
        let mut stream = connect(socket);
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let slow = (0..count).map(begin).collect();
    daemon.until("all of them are at hand", || {
        let scraped = metrics(&Request::get("/metrics").at(socket).text());
        scraped["runsync_http_requests_in_flight"] > f64::from(count)
    });
    slow
}

#[test]
fn manifests_that_come_slowly_keep_no_other_from_being_taken() {
    let site = site("stall_timeout = \"1h\"");
    let daemon = Daemon::start(&site);
    let slow = slow(&daemon, &socket(&site), 8);
    let bytes = manifest(&site, RUN, 1).bytes(Some(&site.key));
    let events = hand_in(&bytes).at(&socket(&site)).lines();
    assert_eq!(events.last().unwrap()["state"], "registered", "{events:?}");
    drop(slow);
    daemon.stop();
}

#[test]
fn a_command_waits_where_as_many_manifests_come_as_are_taken() {
    let site = site("stall_timeout = \"1h\"");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let slow = slow(&daemon, &socket, 16);
    // Whatever it is: one that is let in is found to be none.
    let mut refused = hand_in(b"{").at(&socket);
    daemon.until("each of them has taken its place", || {
        refused = hand_in(b"{").at(&socket);
        refused.status == 429
    });
    assert_eq!(refused.problem(429)["type"], "urn:runsync:full");
    assert!(refused.header("retry-after").is_some());

    let series =
        "runsync_http_requests_total{method=\"POST\",route=\"/v1/manifests\",status=\"429\"}";
    let refusals = || metrics(&Request::get("/metrics").at(&socket).text())[series];
    let before = refusals();
    // Far more than the socket takes before anybody reads it.
    let bytes = manifest(&site, RUN, 5000).bytes(Some(&site.key));
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    let file = site.folder.path().join("night.manifest.jsonl");
    write(&file, &bytes);
    let command = site
        .command(&["ingest", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("the command was told to come again", || refusals() > before);
    drop(slow);
    let output = command.wait_with_output().unwrap();
    let said = process::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    daemon.stop();
}

#[test]
fn a_manifest_that_a_stop_breaks_off_goes_on_when_it_is_handed_in_again() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let bytes = manifest(&site, RUN, 10).bytes(Some(&site.key));
    // Another process registers all the while, so that the manifest is under way for certain.
    let lock = runsync::assembly::registration_lock(&site.site()).unwrap();
    let held = lock.acquire(&mut || ControlFlow::Continue(())).unwrap();
    let request = hand_in(&bytes);
    let mut stream = connect(&socket(&site));
    stream.write_all(request.head().as_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
    let seen = site.watch();
    let asked = || seen.0.ledger.requests(None, 1).unwrap();
    daemon.until("it is under way", || asked().len() == 1);
    daemon.signal(Signal::TERM);
    let events = http::read(stream).lines();
    let last = events.last().unwrap();
    assert_eq!(last["event"], "failed", "{events:?}");
    assert_eq!(last["type"], "urn:runsync:stopping");
    assert!(last["hint"].is_string());
    daemon.stop();
    let outcome = asked()[0].outcome.clone().unwrap();
    assert!(outcome.contains("the daemon stops"), "{outcome}");

    drop(held);
    let daemon = Daemon::start(&site);
    let events = hand_in(&bytes).at(&socket(&site)).lines();
    assert_eq!(events.last().unwrap()["state"], "registered", "{events:?}");
    daemon.stop();
}

#[test]
fn a_manifest_is_taken_although_the_client_goes_with_its_last_byte() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    for number in 0..20 {
        let run = format!("u/test/{number}");
        let one = Manifest::new(site.repository, &run, "1-1", Content::Additions);
        let bytes = one.with_many(100 + number, 1).bytes(Some(&site.key));
        let request = hand_in(&bytes);
        let mut stream = connect(&socket(&site));
        stream.write_all(request.head().as_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
        drop(stream);
    }
    // Some were gone before the daemon had all of it; of what it wrote down none is left undone.
    daemon.until("nothing is at hand any more", || {
        let scraped = metrics(&Request::get("/metrics").at(&socket(&site)).text());
        scraped["runsync_http_connections{socket=\"unix\"}"] <= 1.0
            && scraped["runsync_http_requests_in_flight"] <= 1.0
    });
    daemon.until("all that was written down has an outcome", || {
        let asked = seen.0.ledger.requests(None, 100).unwrap();
        asked.iter().all(|row| row.outcome.is_some())
    });
    let asked = seen.0.ledger.requests(None, 100).unwrap();
    let registered = asked.iter().filter(|row| {
        let outcome = row.outcome.as_deref().unwrap();
        outcome.starts_with("registered: ")
    });
    assert_eq!(registered.count(), asked.len());
    daemon.stop();
}

#[test]
fn a_root_that_there_is_not_is_a_wrong_use_of_the_command() {
    let site = site("");
    let file = site.folder.path().join("night.manifest.jsonl");
    let words = ["ingest", "--root", "nope", file.to_str().unwrap()];
    for direct in [&[] as &[&str], &["--direct"]] {
        let output = site.run_command(&[&words as &[&str], direct].concat());
        let said = process::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("there is no root `nope`") && said.contains("config show"),
            "{said}"
        );
    }
}
