//! Artifacts that are damaged or gone: what Rucio is told of them, and what it is not.

use std::fs;

use harness::{Naming, Rucio};
use serde_json::{Value, json};

use crate::World;
use crate::process::text;
use crate::proof::shown;
use crate::rucio::{ACCOUNT, RucioSite};
use crate::site::{json_lines, lines, publish, replicas};
use crate::support::write;

/// What became of `declare`: exit code, and by path what it says. The error, where there is one.
struct Said {
    code: Option<i32>,
    rows: Vec<Value>,
    error: String,
}

impl Said {
    fn outcome(&self, path: &str) -> &str {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row["path"].as_str().unwrap().ends_with(path));
        row.unwrap_or_else(|| panic!("{path}: {:?}", self.rows))["outcome"]
            .as_str()
            .unwrap()
    }
}

fn declare(site: &RucioSite, run: &str, more: &[&str]) -> Said {
    let args = [&["declare", run, "--json"], more].concat();
    let output = site.site.run_command(&args);
    Said {
        code: output.status.code(),
        rows: json_lines(&text(&output.stdout)),
        error: text(&output.stderr),
    }
}

/// A run of which one artifact is another file of the same size, and one is gone.
fn damaged(world: &World, rse: (&str, Naming), run: &str) -> RucioSite {
    let site = RucioSite::named(&world.server, "SITE_A", rse, "runsync", "");
    publish(&site, run);
    let path = |number: u32| site.site.root().join(format!("{run}/calexp/{number}.fits"));
    let mut bytes = fs::read(path(0)).unwrap();
    bytes[7] ^= 1;
    write(&path(0), &bytes);
    fs::remove_file(path(1)).unwrap();
    site
}

/// What Rucio has heard of: name, and the letter of the state.
fn heard(server: &Rucio, run: &str) -> Vec<String> {
    let sql = format!(
        "select concat_ws(' ', substring(name from '[^/]*$'), state, count(*)) from bad_replicas \
           where position('{run}' in name) > 0 or position('/' in name) = 0 \
           group by name, state order by 1"
    );
    lines(server, &sql)
}

/// Bad ones, by an account that may not, and by one that may.
pub(crate) fn bad(world: &World) {
    let server = &world.server;
    let run = "u/declared/bad";
    let site = damaged(world, ("DECLARE_BAD", Naming::Identity), run);
    let said = declare(&site, run, &["--bad"]);
    assert_eq!((said.code, said.rows.len()), (Some(3), 2), "{}", said.error);
    for path in ["/0.fits", "/1.fits"] {
        assert_eq!(said.outcome(path), "would be declared bad");
    }
    assert_eq!(heard(server, run), [""; 0]);
    shown(
        "`declare`",
        "shows what is damaged and what is gone, and declares nothing",
    );

    let said = declare(&site, run, &["--bad", "--yes", "--limit", "1"]);
    assert!(
        said.error.contains("more than 1 artifacts"),
        "{}",
        said.error
    );
    let said = declare(&site, run, &["--bad", "--yes"]);
    assert!(
        said.error.contains("may not declare replicas"),
        "{}",
        said.error
    );
    assert_eq!(heard(server, run), [""; 0]);
    shown(
        "more than `--limit`, or an account that may not",
        "nothing is declared",
    );

    let root = json!({
        "identity": ACCOUNT, "authtype": "USERPASS", "email": "root@localhost",
        "password": "not-so-secret",
    });
    let path = format!("/accounts/{}/identities", Rucio::ACCOUNT);
    server.must("POST", &path, Some(&root)).unwrap();
    let config = fs::read_to_string(site.site.config()).unwrap();
    let (own, other) = (format!("account = \"{ACCOUNT}\""), "account = \"root\"");
    assert!(config.contains(&own));
    write(&site.site.config(), config.replace(&own, other).as_bytes());
    let said = declare(&site, run, &["--bad", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(said.outcome("/0.fits"), "declared bad");
    assert_eq!(heard(server, run), ["0.fits B 1", "1.fits B 1"]);
    assert_eq!(
        replicas(server, run),
        ["DECLARE_BAD A 5", "DECLARE_BAD D 2"]
    );
    let said = declare(&site, run, &["--bad", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(
        said.outcome("/0.fits")
            .contains("does not take it for available")
    );
    assert_eq!(heard(server, run), ["0.fits B 1", "1.fits B 1"]);
    shown(
        "`declare --bad --yes`",
        "exactly those are bad in Rucio, and once",
    );
}

/// Suspicious ones, which Rucio finds by their PFNs.
pub(crate) fn suspicious(world: &World) {
    let server = &world.server;
    let run = "u/declared/suspicious";
    let site = damaged(world, ("DECLARE_GIVEN", Naming::NonDeterministic), run);
    let said = declare(&site, run, &["--yes"]);
    assert_eq!(said.code, Some(0), "{:?} {}", said.rows, said.error);
    assert_eq!(heard(server, run), ["0.fits S 1", "1.fits S 1"]);
    assert_eq!(replicas(server, run), ["DECLARE_GIVEN A 7"]);
    shown(
        "`declare --yes`",
        "exactly those are suspicious in Rucio, and stay available",
    );
}

/// At a deterministic RSE the server reads another name out of a PFN.
pub(crate) fn mistaken(world: &World) {
    let server = &world.server;
    let run = "u/declared/mistaken";
    let site = damaged(world, ("DECLARE_NAME", Naming::Identity), run);
    // What the server takes one of them for.
    server
        .add_file(&site.rse, &site.scope, "0.fits", b"another file")
        .unwrap();
    let said = declare(&site, run, &["--yes"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.outcome("/0.fits").contains("for another file's"),
        "{:?}",
        said.rows
    );
    assert!(
        said.outcome("/1.fits").contains("Unknown replica"),
        "{:?}",
        said.rows
    );
    assert_eq!(heard(server, run), [""; 0]);
    shown(
        "a server that reads another name out of PFNs",
        "no other file is declared, and it is said",
    );
}

/// At an RSE with an algorithm the replica is what lies where Rucio has it.
pub(crate) fn second_name(world: &World) {
    let run = "u/declared/second";
    let site = damaged(world, ("DECLARE_HASH", Naming::Hash), run);
    let said = declare(&site, run, &[]);
    assert_eq!(said.code, Some(3));
    assert_eq!(said.outcome("/0.fits"), "would be declared suspicious");
    assert!(
        said.outcome("/1.fits").contains("as it should be"),
        "{:?}",
        said.rows
    );
    shown(
        "the name of an artifact is gone, and Rucio's is not",
        "it is not taken for lost",
    );
}
