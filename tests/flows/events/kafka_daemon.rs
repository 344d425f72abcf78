//! The daemon and a broker that speaks Kafka: what is heard, whatever happens to either.

use std::collections::BTreeSet;

use harness::{Door, Kafka};
use runsync::ledger::record::HintKind;

use crate::corpus;
use crate::process::{Daemon, text, until};
use crate::proof::aside;
use crate::site::{Listener, RSE, arrival, arrivals};

type Case = (&'static str, fn(&Kafka));

const CASES: &[Case] = &[
    ("heard", several_topics_are_heard),
    ("killed", a_kill_before_the_commit_changes_nothing),
    ("away", brokers_that_are_away_are_waited_for),
    ("shared", two_daemons_of_one_group_lose_nothing),
    ("poison", a_message_that_cannot_be_read_stops_no_partition),
    ("no topic", a_topic_that_is_not_there_is_told),
];

#[test]
fn the_daemon_hears_by_kafka_whatever_happens() {
    let kafka = Kafka::start(Door::Open).unwrap();
    for (name, case) in CASES {
        let start = std::time::Instant::now();
        case(&kafka);
        aside(&format!("{name}: {:.1?}", start.elapsed()));
    }
}

/// TOML of a source: `more` follows.
fn source(port: u16, topics: &[&str], more: &str) -> String {
    let group = topics[0];
    format!(
        "[[event_source]]\nname = \"hermesk\"\nkind = \"kafka\"\nbrokers = [\"localhost:{port}\"]\n\
         topics = {topics:?}\ngroup = \"{group}\"\nconnect_timeout = \"5s\"\n{more}\n"
    )
}

/// A site that hears one topic, of as many partitions.
fn listener(kafka: &Kafka, topic: &str, partitions: u32) -> Listener {
    kafka.make_topic(topic, partitions).unwrap();
    let listener = Listener::new(topic);
    listener.configure_all(&source(kafka.port(), &[topic], "tls = false"));
    listener
}

fn several_topics_are_heard(kafka: &Kafka) {
    let listener = listener(kafka, "heard.1", 3);
    kafka.make_topic("heard.2", 1).unwrap();
    let topics = ["heard.1", "heard.2"];
    listener.configure_all(&source(kafka.port(), &topics, "tls = false"));
    let checked = listener.site.answer(&["config", "check", "--online"]);
    assert!(
        checked.contains("source `hermesk` can be listened to at localhost:"),
        "{checked}"
    );
    let daemon = listener.listen();
    for (number, (topic, partition)) in
        (0_u32..).zip([("heard.1", 0), ("heard.1", 2), ("heard.2", 0)])
    {
        kafka
            .send(topic, partition, arrivals(number..number + 1))
            .unwrap();
    }
    listener.until_heard(&daemon, 3);
    assert_eq!(listener.waiting(), 3);
    let status = listener.site.answer(&["status"]);
    assert!(
        status.contains("messages   hermesk, connected to localhost:"),
        "{status}"
    );
    daemon.stop();
}

fn a_kill_before_the_commit_changes_nothing(kafka: &Kafka) {
    let listener = listener(kafka, "killed", 1);
    kafka.restart_without_commits().unwrap();
    let daemon = listener.listen();
    kafka.send("killed", 0, arrivals(0..100)).unwrap();
    daemon.until("all is noted, and said to be", || {
        listener.waiting() == 100 && kafka.has_kept_back()
    });
    daemon.kill();
    assert_eq!(listener.waiting(), 100);

    kafka.restart().unwrap();
    let daemon = listener.listen();
    listener.until_heard(&daemon, 100);
    assert_eq!(listener.hints(HintKind::Arrived).len(), 100);
    daemon.stop();

    // Now they are acknowledged: nothing else comes than what is sent.
    let daemon = listener.listen();
    kafka.send("killed", 0, [arrival("last", RSE)]).unwrap();
    daemon.until("the last", || listener.waiting() == 101);
    listener.until_heard(&daemon, 1);
    daemon.stop();
}

fn brokers_that_are_away_are_waited_for(kafka: &Kafka) {
    let listener = listener(kafka, "away", 1);
    kafka.stop().unwrap();
    let daemon = Daemon::start(&listener.site).expecting("worker failed");
    daemon.until_logged("none of the brokers", 0);
    assert!(listener.heard()["connected_to"].is_null());
    kafka.restart().unwrap();
    listener.until_connected(&daemon);
    kafka.send("away", 0, arrivals(0..10)).unwrap();
    daemon.until("the first", || listener.waiting() == 10);
    kafka.stop().unwrap();
    daemon.until("it notices", || listener.heard()["connected_to"].is_null());
    let told = listener.heard();
    assert!(told["failures"].as_u64().unwrap() >= 2, "{told}");
    assert!(
        told["last_error"].as_str().unwrap().contains("hermesk"),
        "{told}"
    );
    kafka.restart().unwrap();
    listener.until_connected(&daemon);
    kafka.send("away", 0, arrivals(5..15)).unwrap();
    daemon.until("the others", || listener.waiting() == 15);
    daemon.stop();
}

fn two_daemons_of_one_group_lose_nothing(kafka: &Kafka) {
    const PARTITIONS: u32 = 4;
    let first = listener(kafka, "shared", PARTITIONS);
    let second = Listener::new("shared");
    second.configure_all(&source(kafka.port(), &["shared"], "tls = false"));
    let mut sent = 0;
    let mut send = |count: u32| {
        for body in arrivals(sent..sent + count) {
            let partition = i32::try_from(sent % PARTITIONS).unwrap();
            kafka.send("shared", partition, [body]).unwrap();
            sent += 1;
        }
        usize::try_from(sent).unwrap()
    };
    let names = |listener: &Listener| -> BTreeSet<String> {
        listener.hints(HintKind::Arrived).into_iter().collect()
    };
    let heard = |all: usize| names(&first).union(&names(&second)).count() == all;
    let of_first = first.listen();
    send(20);
    // The group shares anew, while messages come.
    let of_second = Daemon::start(&second.site);
    let all = send(20);
    until("both listen", || {
        !first.heard()["connected_to"].is_null() && !second.heard()["connected_to"].is_null()
    });
    until("all is heard by one or the other", || heard(all));
    let before = names(&second).len();
    let all = send(20);
    until("both hear what comes now", || {
        heard(all) && names(&second).len() > before
    });
    // One leaves as a kill leaves it: after a while the other has all partitions.
    of_first.kill();
    let all = send(20);
    until("the other hears the rest", || heard(all));
    of_second.stop();
}

fn a_message_that_cannot_be_read_stops_no_partition(kafka: &Kafka) {
    let listener = listener(kafka, "poison", 1);
    let source = source(kafka.port(), &["poison"], "tls = false");
    listener.configure_all(&format!(
        "[events]\nmessage_bytes_max = \"10KiB\"\n{source}"
    ));
    let daemon = listener.listen().expecting("cannot be read are set aside");
    let corpus = corpus::poison();
    let mut bodies = Vec::new();
    for (number, (_, body)) in corpus.iter().enumerate() {
        bodies.push(body.clone());
        bodies.push(arrival(&format!("u/run/{number}"), RSE));
    }
    kafka.send("poison", 0, &bodies).unwrap();
    let count = u64::try_from(corpus.len()).unwrap();
    listener.until_heard(&daemon, 2 * count);
    assert_eq!(listener.waiting(), count);
    assert_eq!(listener.heard()["poison"], count);
    daemon.stop();
}

fn a_topic_that_is_not_there_is_told(kafka: &Kafka) {
    let listener = listener(kafka, "there", 1);
    listener.configure_all(&source(
        kafka.port(),
        &["there", "not-there"],
        "tls = false",
    ));
    let error = problem(&listener);
    assert!(error.contains("event_source[0].brokers"), "{error}");
    assert!(error.contains("have no topic `not-there`"), "{error}");
    // The other topic is heard all the same.
    let daemon = Daemon::start(&listener.site).expecting("have no topic `not-there`");
    listener.until_connected(&daemon);
    kafka.send("there", 0, arrivals(0..1)).unwrap();
    daemon.until("it is heard", || listener.waiting() == 1);
    daemon.until("what is missing is told", || {
        let told = listener.heard();
        told["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("not-there"))
    });
    daemon.stop();
}

#[test]
fn kafka_is_encrypted_and_checked() {
    let kafka = Kafka::start(Door::Tls).unwrap();
    kafka.make_topic("encrypted", 1).unwrap();
    let listener = Listener::new("encrypted");
    let topics = ["encrypted"];
    let ca_file = format!("ca_file = \"{}\"", kafka.authority().unwrap().display());
    // Nobody vouches for it; the certificate is another host's.
    let port = kafka.port();
    let elsewhere = source(port, &topics, &ca_file).replace("localhost", "127.0.0.2");
    for text in [source(port, &topics, ""), elsewhere] {
        listener.configure_all(&text);
        let error = problem(&listener);
        assert!(error.contains("none of the brokers"), "{error}");
    }
    listener.configure_all(&source(port, &topics, &ca_file));
    let checked = listener.site.answer(&["config", "check", "--online"]);
    assert!(
        checked.contains("can be listened to at localhost:"),
        "{checked}"
    );
    let daemon = listener.listen();
    kafka.send("encrypted", 0, arrivals(0..10)).unwrap();
    daemon.until("all", || listener.waiting() == 10);
    daemon.stop();
}

#[test]
fn a_login_that_kafka_refuses_is_told() {
    let kafka = Kafka::start(Door::Locked).unwrap();
    let listener = Listener::new("locked");
    let login = "tls = false\nusername = \"joe\"\npassword_file = \"keys/broker.password\"\nsasl = \"scram-sha-256\"";
    listener.configure_all(&source(kafka.port(), &["locked"], login));
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
    daemon.stop();
}

/// What `config check --online` finds wrong.
fn problem(listener: &Listener) -> String {
    let output = listener.site.run_command(&["config", "check", "--online"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stdout));
    text(&output.stderr)
}
