//! Rucio itself: what its daemons write, its Hermes sends, and a site hears.

use harness::{Broker, Daemon as RucioDaemon, Naming, Part, Rucio};
use runsync::ledger::record::HintKind;

use crate::site::{Listener, RSE, plain};

#[test]
fn what_rucio_transfers_and_deletes_is_heard_as_hermes_tells_it() {
    let rucio = Rucio::start(&[Part::Broker, Part::Daemons, Part::Transfers]).unwrap();
    let listener = Listener::new("rucio.events");
    assert_eq!(listener.topic, Broker::DESTINATION);
    let port = rucio.broker().unwrap().port();
    listener.configure(&plain(port), "tls = false");
    let daemon = listener.listen();

    let there = rucio
        .add_rse("SITE_B_DISK", Naming::Identity, None)
        .unwrap();
    let here = rucio.add_rse(RSE, Naming::Identity, None).unwrap();
    rucio.add_scope(Rucio::ACCOUNT, "cms").unwrap();
    for name in ["r0", "r1"] {
        rucio.add_file(&there, "cms", name, b"SIMPLE  =").unwrap();
    }
    let rule = rucio.add_rule("cms", "r0", 1, &here.name).unwrap();
    rucio
        .add_rule("cms", "r1", 2, &format!("{}|{}", there.name, here.name))
        .unwrap();
    rucio.step(RucioDaemon::TRANSFER).unwrap();
    daemon.until("both came", || listener.hints(HintKind::Arrived).len() == 2);
    let mut came = listener.hints(HintKind::Arrived);
    came.sort();
    assert_eq!(came, ["r0", "r1"]);
    // What is about other RSEs, or about nothing that matters here, is known all the same.
    let heard = listener.heard();
    assert_eq!(
        (&heard["unknown"], &heard["poison"]),
        (&0.into(), &0.into()),
        "{heard}"
    );
    assert!(heard["heard"].as_u64().unwrap() > 2, "{heard}");

    rucio.end_rule(&rule).unwrap();
    rucio.step(RucioDaemon::DELETION).unwrap();
    daemon.until("one went", || listener.hints(HintKind::Deleted) == ["r0"]);
    assert!(listener.hints(HintKind::Settled).contains(&"r0".to_owned()));

    // What Rucio tells while nobody listens is kept.
    daemon.stop();
    rucio.add_rule("cms", "r0", 1, &here.name).unwrap();
    rucio.step(RucioDaemon::TRANSFER).unwrap();
    let daemon = listener.listen();
    daemon.until("it came again", || {
        listener.hints(HintKind::Arrived) == ["r1", "r0"]
    });
    daemon.stop();
}
