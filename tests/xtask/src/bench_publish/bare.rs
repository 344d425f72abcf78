//! The bare calls: what publishing a run writes to Rucio, and nothing that is asked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Rucio;
use serde_json::{Value, json};

use super::scene::{ACCOUNT, PASSWORD, RSE, SCOPE, USER, artifact, known_as};

/// Most items of a call: as many as Rucio takes.
const BULK: usize = 1_000;

/// Sends them, under one token.
pub(super) struct Bare<'r> {
    rucio: &'r Rucio,
    token: String,
}

impl<'r> Bare<'r> {
    /// Logs in.
    pub(super) fn new(rucio: &'r Rucio) -> Result<Self> {
        let login = [
            ("X-Rucio-Account", ACCOUNT),
            ("X-Rucio-Username", USER),
            ("X-Rucio-Password", PASSWORD),
        ];
        let answer = rucio.send("GET", "/auth/userpass", &login, None)?;
        let token = answer.header("X-Rucio-Auth-Token").context("no token")?;
        Ok(Self {
            rucio,
            token: token.to_owned(),
        })
    }

    /// Publishes as many files as a run has, and one in the place of its manifest.
    pub(super) fn publish(&self, run: &str, files: u64) -> Result<Duration> {
        let names: Vec<String> = (0..files).map(|at| artifact(run, at)).collect();
        let manifest = [format!("runsync/manifests/bare/{run}/1-1.manifest.jsonl")];
        let dataset = format!("runsync/instalments/bare/{run}/1-1");
        let control = "runsync/control/bare";
        let start = Instant::now();
        self.make(run, "CONTAINER")?;
        self.make(&dataset, "DATASET")?;
        for chunk in names.chunks(BULK).chain([manifest.as_slice()]) {
            self.register(chunk)?;
            self.attach(&dataset, chunk)?;
        }
        let dataset_path = dataset.replace('/', "%2F");
        self.send(
            "PUT",
            &format!("/dids/{SCOPE}/{dataset_path}/status"),
            &json!({"open": false}),
        )?;
        self.attach(run, &[dataset])?;
        self.add_rule(run)?;
        if run.ends_with("warm") {
            self.make(control, "DATASET")?;
            self.add_rule(control)?;
        }
        self.attach(control, &manifest)?;
        Ok(start.elapsed())
    }

    fn make(&self, name: &str, kind: &str) -> Result<()> {
        let body = json!([{"scope": SCOPE, "name": name, "type": kind}]);
        self.send("POST", "/dids", &body)
    }

    fn register(&self, names: &[String]) -> Result<()> {
        let (adler32, bytes) = known_as();
        let file = |name| json!({"scope": SCOPE, "name": name, "bytes": bytes, "adler32": adler32});
        let files: Vec<Value> = names.iter().map(file).collect();
        self.send("POST", "/replicas", &json!({"rse": RSE, "files": files}))
    }

    fn attach(&self, to: &str, names: &[String]) -> Result<()> {
        let child = |name| json!({"scope": SCOPE, "name": name});
        let dids: Vec<Value> = names.iter().map(child).collect();
        let body = json!({
            "attachments": [{"scope": SCOPE, "name": to, "dids": dids}],
            "ignore_duplicate": true,
        });
        self.send("POST", "/dids/attachments", &body)
    }

    fn add_rule(&self, name: &str) -> Result<()> {
        let body = json!({
            "dids": [{"scope": SCOPE, "name": name}], "account": ACCOUNT, "copies": 1,
            "rse_expression": RSE, "grouping": "DATASET", "lifetime": null, "notify": "N",
            "comment": "bare", "purge_replicas": false, "locked": false,
            "ignore_availability": false,
        });
        self.send("POST", "/rules/", &body)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let headers = [
            ("X-Rucio-Auth-Token", self.token.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = self.rucio.send(method, path, &headers, Some(body))?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(())
    }
}
