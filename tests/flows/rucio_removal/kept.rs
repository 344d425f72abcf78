//! What keeps a removed run, and that nothing of Rucio's is unlinked meanwhile.

use harness::{Naming, Rucio};
use serde_json::json;

use crate::World;
use crate::http::Request;
use crate::process::Daemon;
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::site::{
    FILES, announce, endings, files, is_found, is_gone, journals, json_lines, publish, reap,
    replicas, resume, rules,
};

fn site(world: &World, rse: &str) -> RucioSite {
    let rse = (rse, Naming::Identity);
    RucioSite::named(&world.server, "SITE_A", rse, "rucio", "")
}

/// Rucio lists no replica of an RSE that is closed for reading, unless it is asked to.
pub(crate) fn closed(world: &World) {
    let server = &world.server;
    let site = site(world, "REM_CLOSED");
    let run = "u/kept/closed";
    publish(&site, run);
    let open = |is_open: bool| {
        let body = json!({"availability_read": is_open});
        server.must("PUT", "/rses/REM_CLOSED", Some(&body)).unwrap();
    };
    open(false);
    let listed = json!({
        "dids": [{"scope": site.scope, "name": format!("{run}/calexp/0.fits")}], "all_states": true,
    });
    let listed = server
        .must("POST", "/replicas/list", Some(&listed))
        .unwrap();
    assert!(!listed.body.contains("REM_CLOSED"), "{}", listed.body);
    site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    assert_eq!(files(&site, run).len(), FILES as usize);
    assert_eq!(journals(&site)[0]["state"], "awaits_rucio");
    open(true);
    reap(server);
    resume(&site);
    is_gone(server, &site, run);
    shown(
        "the RSE is closed for reading, and Rucio's usual answer names none of its replicas",
        "nothing is unlinked",
    );
}

/// What a journal leaves to Rucio is not unlinked because the configuration has changed, nor the other way
/// round.
pub(crate) fn changed(world: &World) {
    let server = &world.server;
    for (rse, before, after) in [
        ("REM_TO_RUNSYNC", "rucio", "runsync"),
        ("REM_TO_RUCIO", "runsync", "rucio"),
    ] {
        let mut site = site(world, rse);
        let run = format!("u/kept/{}", rse.to_lowercase());
        let run = run.as_str();
        publish(&site, run);
        site.deleter = before;
        site.configure(&server.url(), "");
        if before == "runsync" {
            // Cut off before the first file is deleted.
            kill_after_commit(&site, run);
        } else {
            site.site.directly(&["remove-runs", run, "--yes"]);
        }
        assert_eq!(files(&site, run).len(), FILES as usize, "{rse}");
        site.deleter = after;
        site.configure(&server.url(), "");
        resume(&site);
        assert_eq!(files(&site, run).len(), FILES as usize, "{rse}");
        assert_eq!(journals(&site).len(), 1);
        site.site.directly(&["removal", "rules", "--now", run]);
        reap(server);
        resume(&site);
        is_gone(server, &site, run);
        shown(
            &format!("`deleter` changes from {before} to {after} while a journal is open"),
            "what Rucio has is not unlinked",
        );
    }
}

/// A removal whose files cannot be deleted yet.
fn kill_after_commit(site: &RucioSite, run: &str) {
    let folder = site.site.root().join(format!("{run}/calexp"));
    let immutable = |flag: &str| {
        let done = std::process::Command::new("chattr")
            .arg(flag)
            .arg(&folder)
            .status();
        done.is_ok_and(|status| status.success())
    };
    assert!(immutable("+i"), "chattr +i {}", folder.display());
    let output = site.run(&["remove-runs", run, "--yes"]);
    assert!(immutable("-i"));
    assert!(!output.status.success());
}

/// Another account's rule keeps the run, and it is done when that has ended.
pub(crate) fn held(world: &World) {
    let server = &world.server;
    let site = site(world, "REM_HELD");
    let run = "u/kept/held";
    publish(&site, run);
    let rule = server.add_rule(&site.scope, run, 1, "REM_HELD").unwrap();
    let plan = site
        .site
        .directly(&["remove-runs", run, "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["rucio"]["stay"][0]["rule"], rule.as_str());
    assert_eq!(plan["rucio"]["stay"][0]["account"], Rucio::ACCOUNT);
    let said = site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    let named = format!("rule {rule} of account `root`");
    assert!(
        said.contains("partially removed") && said.contains(&named),
        "{said}"
    );
    reap(server);
    assert_eq!(rules(server, run), ["root REM_HELD f"]);
    let held = endings(&site);
    assert_eq!(
        (&held[0]["state"], &held[0]["holders"][0]["rule"]),
        (&"held".into(), &rule.as_str().into())
    );
    resume(&site);
    assert_eq!(files(&site, run).len(), FILES as usize);
    let journal = &journals(&site)[0];
    assert_eq!(journal["state"], "partially_removed");
    assert!(journal["reason"].as_str().unwrap().contains(&named));
    let shows = status(&site);
    let finding = &shows["findings"][0];
    assert_eq!(finding["kind"], "partially_removed");
    assert!(
        finding["detail"].as_str().unwrap().contains(&named),
        "{finding}"
    );
    shown(
        "another account's rule is on the run",
        "partially removed: plan, command, journal list and status name the rule and whose it is",
    );
    server.end_rule(&rule).unwrap();
    reap(server);
    resume(&site);
    announce(&site, run);
    is_gone(server, &site, run);
    assert_eq!(status(&site)["findings"], json!([]));
    shown(
        "that rule ends",
        "so does the removal, and nothing tells of it any more",
    );
}

fn status(site: &RucioSite) -> serde_json::Value {
    serde_json::from_str(&site.site.directly(&["status", "--json"])).unwrap()
}

/// Rucio is away when a run is removed.
pub(crate) fn away(world: &World) {
    let server = &world.server;
    let site = site(world, "REM_AWAY");
    let run = "u/kept/away";
    publish(&site, run);
    // Nobody listens there.
    site.configure("http://127.0.0.1:9", "");
    let plan = site.site.directly(&["remove-runs", run, "--dry-run"]);
    assert!(
        plan.contains("which rules there are is not known now"),
        "{plan}"
    );
    let said = site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    assert!(said.contains("Rucio is waited for"), "{said}");
    assert_eq!(files(&site, run).len(), FILES as usize);
    assert!(!is_found(&site, run));
    site.configure(&server.url(), "");
    assert_eq!(endings(&site)[0]["state"], "ending");
    reap(server);
    resume(&site);
    is_gone(server, &site, run);
    shown(
        "Rucio is away",
        "the run is hidden, Rucio is waited for, and nothing is unlinked before",
    );
}

/// The daemon does it all by itself.
pub(crate) fn daemon(world: &World) {
    let server = &world.server;
    let site = site(world, "REM_DAEMON");
    site.configure(&server.url(), "[rucio.publish]\ninterval = \"1s\"\n");
    let run = "u/kept/daemon";
    publish(&site, run);
    let daemon = Daemon::start(&site.site);
    site.site.answer(&["remove-runs", run, "--yes"]);
    let owed = || site.site.answer(&["removal", "rules", "--json"]);
    daemon.until("the rules are told to end", || {
        json_lines(&owed())
            .iter()
            .any(|row| row["state"] == "ending")
    });
    let socket = site.site.folder.path().join("state/runsync.sock");
    let scraped = Request::get("/metrics").at(&socket).text();
    for line in [
        "runsync_rule_endings{state=\"ending\"} 1",
        "runsync_rule_endings{state=\"held\"} 0",
        "runsync_removals 1",
    ] {
        assert!(scraped.lines().any(|one| one == line), "{line}: {scraped}");
    }
    daemon.kill();
    reap(server);
    let daemon = Daemon::start(&site.site);
    daemon.until("the obligation is met", || owed().is_empty());
    assert_eq!(replicas(server, run), [""; 0]);
    daemon.until("the removal is done", || {
        site.site.answer(&["journal", "list", "--json"]).is_empty()
    });
    daemon.stop();
    is_gone(server, &site, run);
    shown(
        "a daemon, killed in the middle",
        "publishes the removal, has the rules end and sees the removal through",
    );
}
