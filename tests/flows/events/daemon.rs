//! The daemon and a real broker: what is heard, whatever happens to either.

use harness::RabbitMq;
use runsync::ledger::record::HintKind;
use serde_json::{Value, json};

use crate::process::{Daemon, text, until};
use crate::proof::aside;
use crate::site::{Gate, Listener, RSE, arrival, arrivals, message, plain};

/// A port that nobody listens to: one that is handed out may be taken meanwhile.
const NOBODY: u16 = 1;

type Case = (&'static str, fn(&RabbitMq));

const CASES: &[Case] = &[
    ("heard", what_is_about_this_site_is_noted),
    ("killed", a_kill_before_the_acknowledgement_changes_nothing),
    ("restarted", a_broker_that_ends_is_waited_for),
    ("one dead", of_two_brokers_one_may_be_dead),
    ("encrypted", an_encrypted_connection_is_checked),
    ("refused", a_login_that_is_refused_is_told),
    ("full", what_has_no_room_is_counted_and_everything_looked_at),
];

#[test]
fn the_daemon_hears_whatever_happens() {
    let rabbit = RabbitMq::start().unwrap();
    for (name, case) in CASES {
        let start = std::time::Instant::now();
        case(&rabbit);
        aside(&format!("{name}: {:.1?}", start.elapsed()));
    }
}

fn what_is_about_this_site_is_noted(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("heard");
    listener.configure(&plain(broker.port()), "tls = false");
    let daemon = listener.listen();
    let at = |rse: &str| json!({"scope": "cms", "name": "gone", "rse": rse, "bytes": 4013.0});
    let rule = json!({"scope": "cms", "name": "u/run", "rule_id": "8dd5"});
    let bodies = vec![
        arrival("u/run/1", RSE),
        arrival("u/run/2", "SITE_B_DISK"),
        arrival("u/run/3", RSE),
        message("deletion-done", &at(RSE)),
        message("deletion-done", &at("SITE_B_DISK")),
        message("rule_ok", &rule),
        message("transfer-queued", &json!({})),
        message("something-new", &json!({})),
        // Doubled, and late.
        arrival("u/run/1", RSE),
        message("rule_ok", &rule),
    ];
    broker.send(&listener.topic, &bodies).unwrap();
    listener.until_heard(&daemon, 10);
    assert_eq!(listener.hints(HintKind::Arrived), ["u/run/3", "u/run/1"]);
    assert_eq!(listener.hints(HintKind::Deleted), ["gone"]);
    assert_eq!(listener.hints(HintKind::Settled), ["u/run"]);
    let heard = listener.heard();
    assert_eq!((&heard["hints"], &heard["unknown"]), (&json!(6), &json!(1)));
    assert_eq!(heard["newest_written"], "2026-11-22T03:15:22.290612Z");

    let listed = listener.site.answer(&["events", "list"]);
    assert!(listed.contains("cms:u/run/3"), "{listed}");
    let listed = listener
        .site
        .answer(&["events", "list", "--kind", "deleted", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["name"], &listed["rse"]),
        (&json!("gone"), &json!(RSE))
    );
    let status = listener.site.answer(&["status"]);
    for part in [
        "messages   hermes, connected to 127.0.0.1:",
        "10 heard",
        "hints      2 arrived, 1 deleted, 1 settled",
    ] {
        assert!(status.contains(part), "no `{part}` in\n{status}");
    }
    daemon.stop();
}

fn a_kill_before_the_acknowledgement_changes_nothing(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("killed");
    let gate = Gate::before(broker.port());
    // No heart-beat gets through, either.
    listener.configure(&plain(gate.port), "tls = false\nheart_beat = \"5min\"");
    let daemon = listener.listen();
    broker.send(&listener.topic, arrivals(0..100)).unwrap();
    daemon.until("all is noted, and said to be", || {
        listener.waiting() == 100 && gate.has_kept("ACK\n")
    });
    daemon.kill();
    assert_eq!(listener.waiting(), 100);

    listener.configure(&plain(broker.port()), "tls = false");
    let daemon = listener.listen();
    listener.until_heard(&daemon, 100);
    assert_eq!(listener.hints(HintKind::Arrived).len(), 100);
    daemon.stop();

    // Now they are acknowledged: nothing else comes than what is sent.
    let daemon = listener.listen();
    broker
        .send(&listener.topic, [arrival("last", RSE)])
        .unwrap();
    daemon.until("the last", || listener.waiting() == 101);
    listener.until_heard(&daemon, 1);
    daemon.stop();
}

fn a_broker_that_ends_is_waited_for(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("restarted");
    listener.configure(&plain(broker.port()), "tls = false\nheart_beat = \"1s\"");
    let daemon = listener.listen().expecting("worker failed");
    broker.send(&listener.topic, arrivals(0..10)).unwrap();
    daemon.until("the first", || listener.waiting() == 10);
    rabbit.stop().unwrap();
    daemon.until("it notices", || listener.heard()["connected_to"].is_null());
    let told = listener.heard();
    assert!(told["failures"].as_u64().unwrap() >= 1, "{told}");
    assert!(
        told["last_error"].as_str().unwrap().contains("hermes"),
        "{told}"
    );
    rabbit.restart().unwrap();
    listener.until_connected(&daemon);
    broker.send(&listener.topic, arrivals(5..15)).unwrap();
    daemon.until("the others", || listener.waiting() == 15);
    daemon.stop();
    // What the broker has taken while nobody listens outlives it.
    broker.send(&listener.topic, arrivals(15..20)).unwrap();
    rabbit.restart().unwrap();
    let daemon = listener.listen();
    daemon.until("what was kept", || listener.waiting() == 20);
    daemon.stop();
}

fn of_two_brokers_one_may_be_dead(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("dead");
    let brokers = format!("{}, {}", plain(NOBODY), plain(broker.port()));
    listener.configure(&brokers, "tls = false");
    for number in 0..3 {
        let daemon = Daemon::start(&listener.site).expecting("cannot reach broker");
        listener.until_connected(&daemon);
        let connected = listener.heard()["connected_to"].clone();
        assert_eq!(connected, format!("127.0.0.1:{}", broker.port()));
        let body = arrival(&format!("u/run/{number}"), RSE);
        broker.send(&listener.topic, [body]).unwrap();
        daemon.until("it is heard", || listener.waiting() == number + 1);
        daemon.stop();
    }
}

fn an_encrypted_connection_is_checked(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("encrypted");
    let authority = broker.authority().unwrap();
    let (host, port) = ("localhost", broker.tls_port().unwrap());
    let at = format!("\"{host}:{port}\"");
    let ca_file = format!("ca_file = \"{}\"", authority.display());
    listener.configure(&at, &ca_file);
    let checked = listener.site.answer(&["config", "check", "--online"]);
    let expected = format!("source `hermes` can be listened to at {host}:{port}");
    assert!(checked.contains(&expected), "{checked}");
    let daemon = listener.listen();
    broker.send(&listener.topic, arrivals(0..10)).unwrap();
    daemon.until("all", || listener.waiting() == 10);
    daemon.stop();

    // Nobody vouches for it; it is another host's certificate; the port is the other one.
    for (brokers, more, expected) in [
        (at, "", "cannot speak TLS"),
        (
            format!("\"127.0.0.2:{port}\""),
            &*ca_file,
            "broker 127.0.0.2",
        ),
        (
            format!("\"localhost:{}\"", broker.port()),
            &*ca_file,
            "cannot speak TLS",
        ),
    ] {
        listener.configure(&brokers, more);
        let error = problem(&listener);
        assert!(error.contains("event_source[0].brokers"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

fn a_login_that_is_refused_is_told(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("refused");
    listener.configure(&plain(broker.port()), "tls = false");
    let secret = "no-such-passcode";
    let password = listener.site.folder.path().join("keys/broker.password");
    crate::support::write(&password, secret.as_bytes());
    crate::support::private(&password);
    let error = problem(&listener);
    assert!(error.contains("refuses the login"), "{error}");
    assert!(!error.contains(secret), "{error}");
    let daemon = Daemon::start(&listener.site).expecting("refuses the login");
    daemon.until_logged("refuses the login", 0);
    assert!(!daemon.log().contains(secret), "{}", daemon.log());
    // The file is read at each try.
    crate::support::write(&password, harness::Broker::PASSCODE.as_bytes());
    crate::support::private(&password);
    listener.until_connected(&daemon);
    daemon.stop();
}

fn what_has_no_room_is_counted_and_everything_looked_at(rabbit: &RabbitMq) {
    let broker = rabbit.broker();
    let listener = Listener::new("full");
    let source = listener.source(&plain(broker.port()), "tls = false\nbatch = 10");
    listener.configure_all(&format!("[events]\nhints_max = 15\n{source}"));
    let daemon = listener.listen().expecting("no room for hints");
    broker.send(&listener.topic, arrivals(0..40)).unwrap();
    listener.until_heard(&daemon, 40);
    assert_eq!(listener.waiting(), 15);
    let status = listener.site.status();
    assert_eq!(status["events"]["lost"], 25);
    daemon.stop();
}

/// What `config check --online` finds wrong.
fn problem(listener: &Listener) -> String {
    let output = listener.site.run_command(&["config", "check", "--online"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn a_message_that_cannot_be_read_stops_nothing() {
    let rabbit = RabbitMq::start().unwrap();
    let listener = Listener::new("poison");
    let source = listener.source(&plain(rabbit.broker().port()), "tls = false");
    let bounds = "[events]\nmessage_bytes_max = \"10KiB\"";
    listener.configure_all(&format!("{bounds}\n{source}"));
    let daemon = listener.listen().expecting("cannot be read are set aside");
    let corpus = crate::corpus::poison();
    let mut bodies = Vec::new();
    for (number, (_, body)) in corpus.iter().enumerate() {
        bodies.push(body.clone());
        bodies.push(arrival(&format!("u/run/{number}"), RSE));
    }
    rabbit.broker().send(&listener.topic, &bodies).unwrap();
    let count = u64::try_from(corpus.len()).unwrap();
    listener.until_heard(&daemon, 2 * count);
    assert_eq!(listener.waiting(), count);
    assert_eq!(listener.heard()["poison"], count);

    let site = &listener.site;
    let listed = site.answer(&["events", "poison", "list", "--json"]);
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reasons: Vec<&str> = listed
        .iter()
        .rev()
        .map(|row| row["reason"].as_str().unwrap())
        .collect();
    for ((expected, body), reason) in corpus.iter().zip(&reasons) {
        let body = String::from_utf8_lossy(body);
        assert!(
            reason.contains(expected),
            "{body:.100}: {reason}, not {expected}"
        );
    }
    assert_eq!(reasons.len(), corpus.len());
    let id = listed[0]["id"].to_string();
    let shown = site.answer(&["events", "poison", "show", &id]);
    assert!(shown.contains(reasons[reasons.len() - 1]), "{shown}");
    site.answer(&["events", "poison", "forget", &id]);
    let output = site.run_command(&["events", "poison", "show", &id]);
    assert!(!output.status.success());
    let told = site.answer(&["events", "poison", "forget", "--all"]);
    assert_eq!(told.trim(), format!("{} forgotten", count - 1));
    // All of it was acknowledged: the broker has nothing left to give.
    daemon.stop();
    let daemon = listener.listen();
    rabbit
        .broker()
        .send(&listener.topic, [arrival("last", RSE)])
        .unwrap();
    listener.until_heard(&daemon, 1);
    until("the last", || listener.waiting() == count + 1);
    daemon.stop();
}
