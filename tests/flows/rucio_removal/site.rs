//! What the sections do at a site, and what they ask of Rucio about a run.

use std::fs;
use std::path::PathBuf;

use harness::{Daemon, Rucio};
use runsync_manifest::content::Content;
use serde_json::Value;

use crate::rucio::RucioSite;

/// Artifacts of a run.
pub(crate) const FILES: u32 = 7;

/// Has a run ingested and published.
pub(crate) fn publish(site: &RucioSite, run: &str) {
    site.add(run, "1-1", Content::Additions, 0..FILES);
    site.site.directly(&["publish", run]);
}

/// Has a run's removal manifest registered and published.
pub(crate) fn announce(site: &RucioSite, run: &str) {
    let manifest = removal_manifest(site, run);
    site.ingest(&[manifest]);
    site.site.directly(&["publish", run]);
}

/// Where the removal manifest of a run of one instalment lies.
pub(crate) fn removal_manifest(site: &RucioSite, run: &str) -> PathBuf {
    let folder = format!("runsync/manifests/{}/{run}", site.site.repository);
    site.site.root().join(folder).join("1-2.manifest.jsonl")
}

/// The artifacts of a run that lie in the root, by whichever name.
pub(crate) fn files(site: &RucioSite, run: &str) -> Vec<String> {
    let mut files = crate::state::files(&site.site, "");
    files.retain(|path| path.contains(run) && !path.contains("runsync/manifests/"));
    files
}

/// The rules on a run's container and Rucio datasets: account, RSE, whether they are told to end.
pub(crate) fn rules(server: &Rucio, run: &str) -> Vec<String> {
    let sql = format!(
        "select concat_ws(' ', account, rse_expression, expires_at < now() at time zone 'utc', \
           purge_replicas) from rules where position('{run}' in name) > 0 order by 1"
    );
    lines(server, &sql)
}

/// The replicas of a run's artifacts, by RSE and state, counted.
pub(crate) fn replicas(server: &Rucio, run: &str) -> Vec<String> {
    let sql = format!(
        "select concat_ws(' ', rse, state, count(*)) from replicas join rses on rses.id = rse_id \
           where position('{run}' in name) > 0 and position('runsync/' in name) <> 1 \
           group by rse, state order by 1"
    );
    lines(server, &sql)
}

pub(crate) fn lines(server: &Rucio, sql: &str) -> Vec<String> {
    let rows = server.sql(sql).unwrap();
    rows.into_iter().map(|row| row.join(" ")).collect()
}

/// Has Rucio end what is told to end, and delete what nothing keeps. What has just been told ends with
/// the next second.
pub(crate) fn reap(server: &Rucio) {
    server.step(&[Daemon::Clean, Daemon::Reap]).unwrap();
}

/// Has Rucio carry what its rules want.
pub(crate) fn transfer(server: &Rucio) {
    server
        .step(&[
            Daemon::Evaluate,
            Daemon::Submit,
            Daemon::Poll,
            Daemon::Finish,
        ])
        .unwrap();
}

/// What the ledger says of rules that are still to end; this looks at them once.
pub(crate) fn endings(site: &RucioSite) -> Vec<Value> {
    json_lines(&site.site.directly(&["removal", "rules", "--json"]))
}

/// Journals in the roots.
pub(crate) fn journals(site: &RucioSite) -> Vec<Value> {
    json_lines(&site.site.directly(&["journal", "list", "--json"]))
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Looks once more at all that is under way, without a daemon.
pub(crate) fn resume(site: &RucioSite) {
    for journal in journals(site) {
        let removal = journal["removal"].as_str().unwrap().to_owned();
        site.site.directly(&["journal", "resume", &removal]);
    }
}

/// Whether readers find anything in a run. Its name stays, and says that it was removed.
pub(crate) fn is_found(site: &RucioSite, run: &str) -> bool {
    let runs = json_lines(&site.site.directly(&["query", "runs", run, "--json"]));
    let mut runs = runs.iter().filter(|row| row["name"] == run);
    runs.any(|row| row["datasets"].as_u64().unwrap() > 0)
}

/// Nothing of a run is left: no file, replica, rule, journal, nor anything to be done.
pub(crate) fn is_gone(server: &Rucio, site: &RucioSite, run: &str) {
    assert_eq!(files(site, run), [""; 0], "{run}");
    assert_eq!(replicas(server, run), [""; 0], "{run}");
    assert_eq!(rules(server, run), [""; 0], "{run}");
    assert_eq!(journals(site), [Value::Null; 0], "{run}");
    assert_eq!(endings(site), [Value::Null; 0], "{run}");
    assert!(fs::exists(removal_manifest(site, run)).unwrap(), "{run}");
}
