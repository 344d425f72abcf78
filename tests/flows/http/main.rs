//! The surface of the real daemon: over its Unix socket, over TCP and over TLS, by clients that behave
//! and by clients that do not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/http.rs"]
mod http;

mod answers;

mod access;

mod clients;

mod hand_in;

mod counters;

mod collections;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Answer, Request, connect};
use process::{Daemon, holds_within};
use runsync_manifest::content::Content;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Manifest, TestSite, artifact, entry, write};
use uuid::Uuid;

/// Why a test about users of the machine fails instead of showing nothing.
const NEEDS_ROOT: &str = "run this as root: it acts as other users of the machine";
const RUN: &str = "u/test/run";

const READER: &str = "reader-reader-reader-reader";

const OPERATOR: &str = "operator-operator-operator";

/// A site whose surface is configured by `more`, below `[http]`. Its socket can be reached by all.
fn site(more: &str) -> TestSite {
    let site = TestSite::new("size");
    let folder = site.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = socket(&site);
    let http = format!("[http]\nsocket = \"{}\"\n{more}", socket.display());
    site.configure_daemon("size", "sweep_interval = \"1h\"", &http);
    site
}

fn socket(site: &TestSite) -> PathBuf {
    site.folder.path().join("runsync.sock")
}

/// As [`site`], and with TCP, where a reader and an operator have tokens.
fn site_with_tcp(more: &str) -> TestSite {
    let site = site("");
    let tokens = [
        ("reader", "read", READER),
        ("operator", "operate", OPERATOR),
    ];
    let mut tables = String::new();
    for (name, role, token) in tokens {
        let file = site.folder.path().join(name);
        write(&file, token.as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let file = file.display();
        let table =
            format!("[[http.token]]\nname = \"{name}\"\nrole = \"{role}\"\nfile = \"{file}\"\n");
        tables.push_str(&table);
    }
    let http = format!(
        "[http]\nsocket = \"{}\"\nlisten = \"127.0.0.1:0\"\n{more}\n{tables}",
        socket(&site).display()
    );
    site.configure_daemon("size", "sweep_interval = \"1h\"", &http);
    site
}

/// Where the daemon listens.
fn address(daemon: &Daemon) -> String {
    daemon.until_logged("\"address\"", 0);
    let line = daemon
        .lines()
        .into_iter()
        .find(|line| line.text.contains("\"address\""));
    let line: Value = serde_json::from_str(&line.unwrap().text).unwrap();
    line["fields"]["address"].as_str().unwrap().to_owned()
}

fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn manifest(site: &TestSite, run: &str, count: i64) -> Manifest {
    Manifest::new(site.repository, run, "1-1", Content::Additions).with_many(1, count)
}

/// Two datasets, of which the first artifact is there.
fn half(site: &TestSite) -> Manifest {
    site.put("data/one.fits", &artifact(1, 10));
    Manifest::new(site.repository, RUN, "1-1", Content::Additions)
        .with_dimensions(3)
        .with_entries([
            entry(1, 1, 0, "data/one.fits", &artifact(1, 10)),
            entry(2, 1, 1, "data/two.fits", &artifact(2, 20)),
        ])
}

fn uuid(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

/// Does something as another user of this machine, and of no other thread.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Prometheus's text as a map from a series to its value.
fn metrics(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}
