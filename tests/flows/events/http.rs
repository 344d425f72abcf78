//! `POST /v1/events`: answered once messages are safe.

use runsync::ledger::record::HintKind;
use serde_json::json;

use crate::client::{Answer, Request};
use crate::process::Daemon;
use crate::site::{Listener, RSE, arrival, arrivals};

const NDJSON: &str = "application/x-ndjson";

fn post(listener: &Listener, kind: &str, body: &[u8]) -> Answer {
    let socket = listener.site.site().http.socket;
    Request::post("/v1/events").body(kind, body).at(&socket)
}

#[test]
fn messages_can_be_handed_in_and_are_safe_when_that_is_answered() {
    let listener = Listener::new("none");
    listener.configure_all(
        "[http]\nbody_bytes_max = \"20KiB\"\n[events]\nmessage_bytes_max = \"2KiB\"",
    );
    let daemon = Daemon::start(&listener.site).expecting("cannot be read are set aside");
    let lines = [arrivals(0..3).join(&b'\n'), b"\n\nnonsense\r\n".to_vec()].concat();
    let answer = post(&listener, NDJSON, &lines);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    for (key, value) in [
        ("heard", 4),
        ("hints", 3),
        ("new", 3),
        ("poison", 1),
        ("dropped", 0),
    ] {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    // It is answered: whatever happens now, it is safe.
    daemon.kill();
    assert_eq!(listener.hints(HintKind::Arrived).len(), 3);

    let daemon = Daemon::start(&listener.site).expecting("cannot be read are set aside");
    let list = json!([
        serde_json::from_slice::<serde_json::Value>(&arrival("u/run/002", RSE)).unwrap(),
        serde_json::from_slice::<serde_json::Value>(&arrival("u/run/003", RSE)).unwrap(),
        {"event_type": "rule_ok"},
        {"event_type": "something-new", "payload": {}},
    ]);
    let told = post(&listener, "application/json", list.to_string().as_bytes()).json();
    for (key, value) in [
        ("heard", 4),
        ("hints", 2),
        ("new", 1),
        ("poison", 1),
        ("unknown", 1),
    ] {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    assert_eq!(listener.waiting(), 4);
    let poison = listener.site.status()["events"]["poison"].clone();
    assert_eq!(poison, 2);

    let large = vec![b' '; 30_000];
    for (kind, body, status) in [
        ("text/plain", &b"{}"[..], 415),
        ("application/json", b"[", 400),
        ("application/json", &large, 413),
        (NDJSON, &large, 413),
        (NDJSON, b"", 200),
    ] {
        let answer = post(&listener, kind, body);
        assert_eq!(answer.status, status, "{kind}: {}", answer.text());
    }
    assert_eq!(listener.waiting(), 4);
    daemon.stop();
}
