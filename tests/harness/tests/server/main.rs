//! The harness itself: what it starts works as its documentation says, and nothing of it is left.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod client;
mod events;
mod left;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use client::{header, tls_login, whoami};
use events::Events;
use harness::{Daemon, Naming, Part, Rse, Rucio};
use left::{assert_nothing_left, ports, processes_of};

/// Longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// Makes the process that is killed the owner of a harness.
const OWNER: &str = "RUNSYNC_TEST_OWNER";

#[test]
fn fixtures_are_what_clients_find() {
    let rucio = Rucio::start(&[]).unwrap();
    rucio.add_scope("root", "butler").unwrap();
    let identity = rucio.add_rse("IDENTITY", Naming::Identity, None).unwrap();
    let hash = rucio.add_rse("HASH", Naming::Hash, None).unwrap();
    let any = rucio.add_rse("ANY", Naming::NonDeterministic, None);
    rucio
        .add_account("runsync", ("runsync", "word"), true)
        .unwrap();
    rucio.set_limit("runsync", "HASH", Some(1 << 40)).unwrap();

    let path = rucio
        .add_file(&identity, "butler", "run/1/a.fits", b"a")
        .unwrap();
    assert_eq!(path, identity.prefix.join("butler/run/1/a.fits"));
    rucio.add_file(&hash, "butler", "b.fits", b"b").unwrap();
    rucio
        .add_file(&any.unwrap(), "butler", "c.fits", b"c")
        .unwrap();
    // Rucio itself says where it looks for them.
    for (rse, name) in [(&identity, "run/1/a.fits"), (&hash, "b.fits")] {
        assert_eq!(pfn(&rucio, rse, name), rse.pfn(&rse.path("butler", name)));
    }
    let rows = rucio.sql("SELECT name, bytes FROM replicas ORDER BY name");
    assert_eq!(
        rows.unwrap(),
        [["b.fits", "1"], ["c.fits", "1"], ["run/1/a.fits", "1"]]
    );

    let script = "from rucio.client import Client; print(Client().whoami()['account'])";
    let output = rucio.python(script, [""; 0]).unwrap();
    assert_eq!(text(&output.stdout), "root\n", "{output:?}");
    let output = rucio.command("rucio").arg("whoami").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_rule_moves_bytes_and_the_broker_tells() {
    let rucio = Rucio::start(&[Part::Broker, Part::Daemons, Part::Transfers]).unwrap();
    rucio.add_scope("root", "butler").unwrap();
    let a = rucio.add_rse("SITE_A", Naming::Identity, None).unwrap();
    let b = rucio.add_rse("SITE_B", Naming::Identity, None).unwrap();
    let mut events = Events::subscribe(rucio.broker().unwrap());
    rucio
        .add_file(&a, "butler", "run/a.fits", b"bytes")
        .unwrap();
    let rule = rucio.add_rule("butler", "run/a.fits", 1, "SITE_B").unwrap();
    let state = |rse| rucio.replica_state("butler", "run/a.fits", rse).unwrap();
    assert_eq!(state("SITE_B").as_deref(), Some("COPYING"));

    rucio.step(Daemon::TRANSFER).unwrap();
    let copy = b.path("butler", "run/a.fits");
    assert_eq!(fs::read(&copy).unwrap(), b"bytes");
    assert_eq!(state("SITE_B").as_deref(), Some("AVAILABLE"));
    let event = events.wait_for("transfer-done");
    assert!(
        event.contains("run/a.fits") && event.contains("SITE_B"),
        "{event}"
    );
    events.wait_for("rule_ok");

    rucio.end_rule(&rule).unwrap();
    rucio.step(Daemon::DELETION).unwrap();
    assert!(!copy.try_exists().unwrap());
    assert_eq!(state("SITE_B"), None);
    events.wait_for("deletion-done");
}

#[test]
fn every_daemon_runs_and_a_transfer_that_fails_tells_why() {
    let rucio = Rucio::start(&[Part::Broker, Part::Daemons, Part::Transfers]).unwrap();
    rucio.add_scope("root", "butler").unwrap();
    let a = rucio.add_rse("SITE_A", Naming::Identity, None).unwrap();
    rucio.add_rse("SITE_B", Naming::Identity, None).unwrap();
    let path = rucio.add_file(&a, "butler", "a.fits", b"bytes").unwrap();
    overwrite(&path, b"other");
    rucio.add_rule("butler", "a.fits", 1, "SITE_B").unwrap();
    let mut events = Events::subscribe(rucio.broker().unwrap());
    rucio.step(Daemon::ALL).unwrap();
    let event = events.wait_for("transfer-failed");
    assert!(event.contains("has checksum"), "{event}");
}

#[test]
fn what_rucio_tells_waits_for_a_broker_that_is_stopped() {
    let rucio = Rucio::start(&[Part::Broker, Part::Daemons]).unwrap();
    rucio.add_scope("root", "butler").unwrap();
    let a = rucio.add_rse("SITE_A", Naming::Identity, None).unwrap();
    rucio.add_file(&a, "butler", "a.fits", b"a").unwrap();
    rucio.stop_broker().unwrap();
    rucio.add_rule("butler", "a.fits", 1, "SITE_A").unwrap();
    let error = rucio.step(Daemon::TRANSFER).unwrap_err();
    assert!(error.to_string().contains("hermes"), "{error}");
    rucio.restart_broker().unwrap();
    let mut events = Events::subscribe(rucio.broker().unwrap());
    rucio.step(&[Daemon::Hermes]).unwrap();
    events.wait_for("rule_ok");

    // A queue that is durable keeps what came while nobody listened.
    drop(events);
    rucio.add_file(&a, "butler", "b.fits", b"b").unwrap();
    rucio.add_rule("butler", "b.fits", 1, "SITE_A").unwrap();
    rucio.step(Daemon::TRANSFER).unwrap();
    rucio.restart_broker().unwrap();
    let event = Events::subscribe(rucio.broker().unwrap()).wait_for("rule_ok");
    assert!(event.contains("b.fits"), "{event}");
}

#[test]
fn a_server_that_stops_refuses_and_comes_back_where_it_was() {
    let rucio = Rucio::start(&[Part::Tls]).unwrap();
    let port = rucio.port();
    rucio.stop_server().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(rucio.rest("GET", "/rses/", None).is_err());
    rucio.restart_server().unwrap();
    rucio.restart_server().unwrap();
    assert_eq!(rucio.must("GET", "/rses/", None).unwrap().status, 200);
    assert_eq!(rucio.port(), port);
}

#[test]
fn the_owner_of_a_certificate_logs_in_over_tls() {
    let rucio = Rucio::start(&[Part::Tls]).unwrap();
    rucio
        .add_account("runsync", ("runsync", "word"), true)
        .unwrap();
    let known = rucio.certificate("known").unwrap();
    let stranger = rucio.certificate("stranger").unwrap();
    rucio.add_certificate("runsync", &known).unwrap();

    let answer = tls_login(&rucio, Some(&known), "X-Rucio-Account: runsync\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let token = header(&answer, "X-Rucio-Auth-Token");
    assert!(whoami(&rucio, token).contains("\"runsync\""));
    // The certificate alone says whose it is.
    let answer = tls_login(&rucio, Some(&known), "");
    assert_eq!(header(&answer, "X-Rucio-Auth-Account"), "runsync");
    let account = "X-Rucio-Account: runsync\r\n";
    for (certificate, headers) in [
        (Some(&stranger), ""),
        (Some(&stranger), account),
        (None, account),
    ] {
        let refused = tls_login(&rucio, certificate, headers);
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    }
}

#[test]
fn the_bearer_of_a_token_is_who_it_says() {
    let rucio = Rucio::start(&[Part::Issuer]).unwrap();
    rucio
        .add_account("runsync", ("runsync", "word"), true)
        .unwrap();
    rucio.add_token_subject("runsync", "service").unwrap();
    let token = rucio.issue_token("service", 600).unwrap();
    assert!(whoami(&rucio, &token).contains("\"runsync\""));
    let unknown = rucio.issue_token("stranger", 600).unwrap();
    assert!(whoami(&rucio, &unknown).contains("CannotAuthenticate"));
    let expired = rucio.issue_token("service", -600).unwrap();
    assert!(whoami(&rucio, &expired).contains("CannotAuthenticate"));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", unknown.rsplit_once('.').unwrap().1);
    assert!(whoami(&rucio, &forged).contains("CannotAuthenticate"));
}

#[test]
fn two_at_once_know_nothing_of_each_other_and_leave_nothing() {
    let start = || Rucio::start(Part::ALL).unwrap();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(start);
        (start(), one.join().unwrap())
    });
    one.add_scope("root", "one").unwrap();
    other.add_scope("root", "other").unwrap();
    for (rucio, scope) in [(&one, "one"), (&other, "other")] {
        let rows = rucio.sql("SELECT scope FROM scopes").unwrap();
        assert_eq!(rows, [[scope]]);
        rucio.step(Daemon::TRANSFER).unwrap();
    }
    for rucio in [one, other] {
        let (folder, ports) = (rucio.folder().to_path_buf(), ports(&rucio));
        assert!(processes_of(&folder).len() > 8);
        drop(rucio);
        assert_nothing_left(&folder, &ports);
    }
}

/// Also started as a process of its own, which it then kills.
#[test]
fn nothing_outlives_an_owner_that_is_killed() {
    if env::var_os(OWNER).is_some() {
        return own_until_killed();
    }
    let mut owner = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "nothing_outlives_an_owner_that_is_killed",
            "--nocapture",
        ])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let told = lines.find_map(|line| Some(line.unwrap().split_once("owns ")?.1.to_owned()));
    let told = told.unwrap();
    let mut words = told.split(' ');
    let folder = PathBuf::from(words.next().unwrap());
    let ports: Vec<u16> = words.map(|word| word.parse().unwrap()).collect();
    assert!(processes_of(&folder).len() > 8);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let start = Instant::now();
    // The folder goes first, then the supervisor, which its own command line names.
    while !processes_of(&folder).is_empty() && start.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(10));
    }
    assert_nothing_left(&folder, &ports);
}

fn own_until_killed() {
    let rucio = Rucio::start(Part::ALL).unwrap();
    let ports = ports(&rucio);
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    println!("owns {} {}", rucio.folder().display(), ports.join(" "));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What Rucio says is the URL of a replica.
fn pfn(rucio: &Rucio, rse: &Rse, name: &str) -> String {
    let body = serde_json::json!({"dids": [{"scope": "butler", "name": name}]});
    let replicas = rucio.must("POST", "/replicas/list", Some(&body)).unwrap();
    replicas.json().unwrap()[0]["rses"][&rse.name][0]
        .as_str()
        .unwrap()
        .to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a file that a test damages")]
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
