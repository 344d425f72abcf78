//! The harness itself: what it starts works as its documentation says, and nothing of it is left.

use harness::{Naming, Parts, Rucio};

#[test]
fn a_server_answers_and_fixtures_are_found() {
    let rucio = Rucio::start(Parts::default()).unwrap();
    rucio.add_scope("root", "butler").unwrap();
    let a = rucio.add_rse("SITE_A", Naming::Identity, None).unwrap();
    rucio.add_rse("SITE_B", Naming::Hash, None).unwrap();
    rucio
        .add_rse("SITE_C", Naming::NonDeterministic, None)
        .unwrap();
    rucio
        .add_account("runsync", ("runsync", "word"), true)
        .unwrap();
    rucio.set_limit("runsync", "SITE_B", Some(1 << 40)).unwrap();
    let path = rucio
        .add_file(&a, "butler", "run/1/a.fits", b"bytes")
        .unwrap();
    assert_eq!(path, a.prefix.join("butler/run/1/a.fits"));
    let state = rucio.replica_state("butler", "run/1/a.fits", "SITE_A");
    assert_eq!(state.unwrap().as_deref(), Some("AVAILABLE"));
    let rows = rucio.sql("SELECT scope, name FROM replicas").unwrap();
    assert_eq!(rows, [["butler", "run/1/a.fits"]]);
    let script = "from rucio.client import Client; print(Client().whoami()['account'])";
    let output = rucio.python(script, [""; 0]).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "root\n",
        "{output:?}"
    );
    let output = rucio.command("rucio").arg("whoami").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
