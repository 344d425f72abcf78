//! What is counted.

use super::*;

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
        decided(&scrape()) == [2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
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
    assert_eq!(scraped["runsync_manifests{state=\"registered\"}"], 2.0);
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

#[test]
fn removals_are_counted_by_operation_and_their_artifacts_by_what_became_of_them() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let scrape = || metrics(&Request::get("/metrics").at(&socket).text());
    let zero = scrape();
    for operation in ["remove-runs", "drop-copy", "purge", "cleanup"] {
        for outcome in ["committed", "refused"] {
            let labels = format!("operation=\"{operation}\",outcome=\"{outcome}\"");
            let series = format!("runsync_removal_commit_total{{{labels}}}");
            assert_eq!(zero[&series], 0.0, "{series}");
        }
        let series = format!("runsync_removal_done_total{{operation=\"{operation}\"}}");
        assert_eq!(zero[&series], 0.0, "{series}");
    }
    let deleted = |scraped: &BTreeMap<String, f64>| {
        ["deleted", "absent", "other", "failed"].map(|outcome| {
            let labels = format!("root=\"main\",outcome=\"{outcome}\"");
            scraped[&format!("runsync_removal_delete_total{{{labels}}}")]
        })
    };
    assert_eq!(deleted(&zero), [0.0; 4]);
    assert_eq!(zero["runsync_removals"], 0.0);
    assert_eq!(zero["runsync_journals{root=\"main\"}"], 0.0);

    site.place(&half(&site));
    let seen = site.watch();
    daemon.until("one artifact is confirmed", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 1)
    });
    let request = json!({"operation": "remove-runs", "runs": [RUN]});
    let plan = Request::post("/v1/removals/plan").json(&request);
    let plan = plan.at(&socket).json();
    let body = json!({"request": request, "consent": {"plan": plan["id"]}});
    let taken = Request::post("/v1/removals").json(&body).at(&socket);
    assert_eq!(taken.status, 200);
    let done = "runsync_removal_done_total{operation=\"remove-runs\"}";
    daemon.until("it is done", || scrape()[done] == 1.0);
    let scraped = scrape();
    let committed = "runsync_removal_commit_total{operation=\"remove-runs\",outcome=\"committed\"}";
    assert_eq!(scraped[committed], 1.0);
    assert_eq!(deleted(&scraped), [1.0, 1.0, 0.0, 0.0]);
    let bytes = "runsync_removal_deleted_bytes_total{root=\"main\"}";
    assert_eq!(scraped[bytes], 10.0);
    daemon.stop();
}

fn manifest_of(origin: runsync_manifest::name::RepositoryId) -> Manifest {
    Manifest::new(origin, "u/stranger", "1-1", Content::Additions)
}
