//! What is known, as it is answered.

use super::*;

/// A daemon that knows of two datasets and has one.
fn half_known() -> (TestSite, Daemon) {
    let site = site("");
    site.place(&half(&site));
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    daemon.until("the first artifact has its record", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 1)
    });
    (site, daemon)
}

#[test]
fn everything_that_is_known_can_be_asked_for() {
    let (site, daemon) = half_known();
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
    let workers = status["daemon"]["workers"].as_array().unwrap();
    let workers: Vec<_> = workers.iter().map(|worker| &worker["name"]).collect();
    assert_eq!(
        workers,
        [
            "lease",
            "manifests of main",
            "artifacts of main",
            "removals",
            "following",
            "hints of Rucio",
            "hints of datasets"
        ]
    );
    let shown = site.answer(&["status"]);
    assert!(
        shown.contains("\ndaemon     0.1.0, owner: it runs the loops\n"),
        "{shown}"
    );
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

    assert_eq!(get("/v1/requests").lines().len(), 0);
    get("/v1/nothing").problem(404);
    let refused = Request::new("DELETE", "/v1/exists").at(&socket);
    refused.problem(405);
    assert_eq!(refused.header("allow"), Some("POST"));
    daemon.stop();
    assert!(!socket.try_exists().unwrap());
}

#[test]
fn lists_go_on_after_the_last_line_of_the_page_before() {
    let (site, daemon) = half_known();
    let socket = socket(&site);
    let get = |path: &str| Request::get(path).at(&socket);
    assert_eq!(
        get(&format!(
            "/v1/runs?after={RUN}&after_origin={}",
            site.repository
        ))
        .lines()
        .len(),
        0
    );
    let before = format!("/v1/runs?after={RUN}&after_origin={}", Uuid::nil());
    assert_eq!(get(&before).lines().len(), 1);

    let manifests = get("/v1/manifests?state=registered&root=main").lines();
    let field = |name: &str| manifests[0][name].as_str().unwrap();
    let (at, path) = (field("decided_at"), field("path"));
    let after = format!("/v1/manifests?after={at}&after_root=main&after_path=");
    assert_eq!(get(&format!("{after}{path}")).lines().len(), 0);
    assert_eq!(get(&format!("{after}-")).lines(), manifests);
    assert_eq!(get("/v1/manifests?limit=0").lines().len(), 0);
    assert_eq!(get("/v1/manifests?root=other").lines().len(), 0);
    get(&format!("/v1/manifests?after={at}")).problem(422);
    assert_eq!(manifests[0]["run"], Value::Null);
    assert_eq!(manifests[0]["summary"]["name"], RUN);
    assert_eq!(get("/v1/manifests?state=quarantined").lines().len(), 0);
    get("/v1/manifests?state=lost").problem(422);
    get("/v1/manifests?stat=blocked").problem(422);
    daemon.stop();
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
    let chunked = format!(
        "POST /v1/exists HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    );
    // Whoever has refused it need not read all of it.
    drop(stream.write_all(chunked.as_bytes()));
    http::read(stream).problem(413);
    daemon.stop();
}

#[test]
fn a_ledger_of_an_older_release_is_migrated_by_the_daemon() {
    let site = site("");
    let ledger = runsync::assembly::ledger_file(&site.site());
    let database = rusqlite::Connection::open(&ledger).unwrap();
    // As it was before anything was said of Rucio, or of scans.
    let since = "publication hint hint_count poison sync_pass sync_run sync_name rule_ending scan scan_finding job repair drift_count declaration";
    for table in since.split(' ') {
        database
            .execute_batch(&format!("DROP TABLE {table}"))
            .unwrap();
    }
    for column in [
        "hints_lost",
        "scans",
        "seen_at",
        "eras",
        "era_since",
        "era_before",
    ] {
        database
            .execute_batch(&format!("ALTER TABLE meta DROP COLUMN {column}"))
            .unwrap();
    }
    database.pragma_update(None, "user_version", 3).unwrap();
    drop(database);
    site.answer(&["config", "check"]);
    let daemon = Daemon::start(&site);
    assert_eq!(
        Request::get("/v1/publications")
            .at(&socket(&site))
            .lines()
            .len(),
        0
    );
    daemon.stop();
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

#[test]
fn a_daemon_that_stands_by_answers_and_changes_nothing() {
    let site = TestSite::new("size");
    let root = "sweep_interval = \"1h\"";
    site.configure_daemon("size", root, "[lease]\nduration = \"1h\"");
    site.place(&half(&site));
    let owner = Daemon::start(&site);
    let seen = site.watch();
    owner.until("it is registered", || seen.run(RUN).is_some());
    let standby = Daemon::spawn(&mut site.second_daemon());
    standby.until_told("READY=1");
    let socket = site.config().with_file_name("second.sock");
    let get = |path: &str| Request::get(path).at(&socket);

    assert_eq!(
        get("/readyz").json(),
        json!({"ready": true, "role": "standby"})
    );
    assert_eq!(get("/healthz").status, 200);
    let status = get("/v1/status").json();
    assert_eq!(status["daemon"]["role"], "standby");
    assert_eq!(status["daemon"]["holder"]["pid"], owner.id());
    assert_eq!(status["daemon"]["workers"][0]["name"], "lease");
    assert_eq!(get("/v1/runs").lines()[0]["name"], RUN);
    assert_eq!(get("/v1/manifests").lines().len(), 1);
    assert_eq!(get("/v1/requests").lines().len(), 0);
    assert_eq!(get("/metrics").status, 200);
    let exists = Request::post("/v1/exists").body("text/plain", uuid(2));
    assert_eq!(exists.at(&socket).lines()[0]["exists"], "pending");

    let locations = json!({"locations": []});
    for request in [
        Request::post("/v1/wake").json(&json!({})),
        Request::post("/v1/manifests/retry").json(&locations),
        Request::post("/v1/manifests/drop").json(&locations),
        Request::post("/v1/manifests").body("application/octet-stream", "{"),
    ] {
        let refused = request.at(&socket);
        let problem = refused.problem(503);
        assert_eq!(problem["type"], "urn:runsync:standby");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(seen.0.ledger.requests(None, 1).unwrap(), []);
    standby.stop();
    owner.stop();
}

#[test]
fn a_command_asks_for_no_more_at_a_time_than_the_daemon_takes() {
    let site = site("body_bytes_max = \"1KiB\"");
    let daemon = Daemon::start(&site);
    let uuids: Vec<String> = (1..=100).map(uuid).collect();
    let words: Vec<&str> = std::iter::once("exists")
        .chain(uuids.iter().map(String::as_str))
        .collect();
    assert_eq!(site.answer(&words).lines().count(), 100);
    daemon.stop();
}
