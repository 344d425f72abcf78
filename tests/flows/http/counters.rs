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

fn manifest_of(origin: runsync_manifest::name::RepositoryId) -> Manifest {
    Manifest::new(origin, "u/stranger", "1-1", Content::Additions)
}
