//! A Rucio that knows a site's artifacts: it answers what repairs ask, and keeps what it is told.
//!
//! It is faked for what a real one does not do when it is wanted: to have a replica in some state at a moment of a
//! repair, or to be cut off just before or after it has heard. `rucio_heal` has the real one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use percent_encoding::percent_decode_str;
use runsync_manifest::checksum::{Wanted, checksum};
use serde_json::{Value, json};

use crate::front::{Front, Reply, Request};
use crate::support::{TestSite, private, write};

/// The RSE that the site's root is.
pub(crate) const HERE: &str = "SITE";
/// Another, which has all artifacts too.
const ELSEWHERE: &str = "OTHER";
const AVAILABLE: &str = "AVAILABLE";
/// What the names of nothing begin with that permission is asked about.
const QUESTION: &str = "runsync-check-";

/// The server. Dropped, it is gone.
pub(crate) struct FakeRucio {
    front: Front,
    known: Arc<Mutex<Known>>,
    keys: tempfile::TempDir,
}

/// A file and the states of its replicas.
struct File {
    bytes: usize,
    adler32: String,
    states: BTreeMap<&'static str, &'static str>,
}

/// Something that happens at a registration.
type Happens = Box<dyn FnOnce() + Send>;

/// When something happens at a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing is registered.
    Before,
    /// Nobody hears that it is.
    After,
}

#[derive(Default)]
struct Known {
    /// Of the site's root.
    folder: PathBuf,
    /// Whether the RSE has files where their names do not say.
    is_hashed: bool,
    /// Whether the account may not declare replicas bad.
    is_refused: bool,
    /// Whether replicas here are told of only where availability does not matter.
    is_closed: bool,
    files: BTreeMap<String, File>,
    told: Vec<String>,
    at_registration: Option<(When, Happens)>,
}

impl FakeRucio {
    pub(crate) fn start() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let asked = Arc::clone(&known);
        let keys = tempfile::tempdir().unwrap();
        let token = keys.path().join("token");
        write(&token, b"an-opaque-token");
        private(&token);
        Self {
            front: Front::new(move |request, _| answer(&mut asked.lock().unwrap(), request)),
            known,
            keys,
        }
    }

    /// TOML of `[rucio]`.
    pub(crate) fn section(&self) -> String {
        format!(
            "[rucio]\nurl = \"{}\"\naccount = \"root\"\nscope = \"test\"\n[rucio.token]\nfile = \"{}\"\n",
            self.front.url(),
            self.keys.path().join("token").display()
        )
    }

    /// Has it know these artifacts, which lie in a site's root, as available there and elsewhere.
    pub(crate) fn knows(&self, site: &TestSite, artifacts: &[(&str, Vec<u8>)]) {
        let mut known = self.known();
        known.folder = site.root();
        for (path, bytes) in artifacts {
            let wanted = Wanted {
                md5: false,
                sha256: false,
            };
            let (_, sums) = checksum(bytes.as_slice(), wanted).unwrap();
            let file = File {
                bytes: bytes.len(),
                adler32: sums.adler32.to_string(),
                states: BTreeMap::from([(HERE, AVAILABLE), (ELSEWHERE, AVAILABLE)]),
            };
            known.files.insert((*path).to_owned(), file);
        }
    }

    /// Has it lose its replica here, and no other.
    pub(crate) fn loses(&self, path: &str) {
        self.known()
            .files
            .get_mut(path)
            .unwrap()
            .states
            .remove(HERE);
    }

    /// Has it lose all its replicas but the one here.
    pub(crate) fn loses_others(&self, path: &str) {
        let mut known = self.known();
        let states = &mut known.files.get_mut(path).unwrap().states;
        states.retain(|at, _| *at == HERE);
    }

    /// Has it say of its replica here that it is so.
    pub(crate) fn says(&self, path: &str, state: &'static str) {
        let mut known = self.known();
        known
            .files
            .get_mut(path)
            .unwrap()
            .states
            .insert(HERE, state);
    }

    /// Closes the RSE for reading, or opens it again.
    pub(crate) fn closes(&self, is_closed: bool) {
        self.known().is_closed = is_closed;
    }

    /// Has it forget a file.
    pub(crate) fn forgets(&self, path: &str) {
        self.known().files.remove(path).unwrap();
    }

    /// Has the RSE put files elsewhere than their names say.
    pub(crate) fn hashes(&self) {
        self.known().is_hashed = true;
    }

    /// Whether the account may declare replicas bad.
    pub(crate) fn lets_declare_bad(&self, may: bool) {
        self.known().is_refused = !may;
    }

    /// Has something happen at the next registration of replicas, whose answer nobody gets.
    pub(crate) fn at_registration(&self, when: When, happens: impl FnOnce() + Send + 'static) {
        self.known().at_registration = Some((when, Box::new(happens)));
    }

    /// What it was told, in order: `bad PATH`, `suspicious PATH`, `replica PATH`.
    pub(crate) fn told(&self) -> Vec<String> {
        self.known().told.clone()
    }

    /// Where it has a file in the root.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        let known = self.known();
        known.folder.join(known.place(path))
    }

    /// How often it was asked for this, which is a method and a path.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.front.count(name)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }
}

impl Known {
    fn place(&self, path: &str) -> String {
        if self.is_hashed {
            format!("hashed/{}", path.replace('/', "-"))
        } else {
            path.to_owned()
        }
    }

    fn pfn(&self, path: &str) -> String {
        let place = self.folder.join(self.place(path));
        format!("file://localhost{}", place.display())
    }

    /// The path that a PFN is of.
    fn path(&self, pfn: &str) -> String {
        let mut paths = self.files.keys();
        paths.find(|path| self.pfn(path) == pfn).unwrap().clone()
    }

    fn rse(&self) -> Value {
        json!({
            "rse": HERE, "deterministic": true, "availability_write": true, "volatile": false,
            "protocols": [{
                "scheme": "file", "hostname": "localhost", "port": 0, "prefix": self.folder,
            }],
        })
    }

    /// Where it would put the files that a query names.
    fn pfns(&self, request: &Request) -> Value {
        let (_, query) = request.path.split_once('?').unwrap();
        let named = query
            .split('&')
            .filter_map(|part| part.strip_prefix("lfn="));
        let pfns = named.map(|lfn| {
            let lfn = percent_decode_str(lfn).decode_utf8().unwrap().into_owned();
            let (_, path) = lfn.split_once(':').unwrap();
            let pfn = self.pfn(path);
            (lfn, Value::from(pfn))
        });
        pfns.collect::<serde_json::Map<_, _>>().into()
    }

    /// The replicas that are asked for; a file that has none there is listed without any.
    fn list(&self, asked: &Value) -> Reply {
        let mut lines = String::new();
        let rse = asked["rse_expression"].as_str();
        let is_hidden = self.is_closed && asked["ignore_availability"] != true;
        for did in asked["dids"].as_array().unwrap() {
            let name = did["name"].as_str().unwrap();
            let Some(file) = self.files.get(name) else {
                continue;
            };
            let states = file.states.iter();
            let states = states.filter(|(at, _)| rse.is_none_or(|rse| rse == **at));
            let states = states.filter(|(at, _)| !(is_hidden && **at == HERE));
            let states: BTreeMap<_, _> = states.collect();
            let rses: BTreeMap<_, _> = states.keys().map(|at| (at, [self.pfn(name)])).collect();
            let line = json!({
                "scope": did["scope"], "name": name, "bytes": file.bytes, "adler32": file.adler32,
                "states": states, "rses": rses,
            });
            writeln!(lines, "{line}").unwrap();
        }
        let kind = [("Content-Type", "application/x-json-stream")];
        Reply::new(200, &kind, &lines)
    }

    fn declare_bad(&mut self, asked: &Value) -> Reply {
        let replicas = asked["replicas"].as_array().unwrap();
        let names = replicas.iter().map(|one| one["name"].as_str().unwrap());
        let names: Vec<&str> = names.collect();
        if self.is_refused {
            return Reply::refusal(401, "AccessDenied", "it may not declare bad replicas");
        }
        if names.iter().any(|name| name.starts_with(QUESTION)) {
            return Reply::refusal(404, "ReplicaNotFound", "there is none");
        }
        for name in names {
            self.told.push(format!("bad {name}"));
            let file = self.files.get_mut(name).unwrap();
            file.states.insert(HERE, "BAD");
        }
        Reply::json(&json!({}))
    }

    fn declare_suspicious(&mut self, asked: &Value) -> Reply {
        for pfn in asked["pfns"].as_array().unwrap() {
            let path = self.path(pfn.as_str().unwrap());
            self.told.push(format!("suspicious {path}"));
        }
        Reply::json(&json!({}))
    }

    fn register(&mut self, asked: &Value) -> Reply {
        let happens = self.at_registration.take();
        if let Some((When::Before, happens)) = happens {
            happens();
            return Reply::Cut;
        }
        for file in asked["files"].as_array().unwrap() {
            let name = file["name"].as_str().unwrap();
            self.told.push(format!("replica {name}"));
            let file = self.files.get_mut(name).unwrap();
            file.states.insert(HERE, AVAILABLE);
        }
        match happens {
            Some((_, happens)) => {
                happens();
                Reply::Cut
            }
            None => Reply::created(),
        }
    }
}

fn answer(known: &mut Known, request: &Request) -> Reply {
    match request.name().as_str() {
        "GET /rses/SITE" => Reply::json(&known.rse()),
        "GET /rses/SITE/attr/" => Reply::json(&json!({})),
        "GET /rses/SITE/lfns2pfns" => Reply::json(&known.pfns(request)),
        "POST /replicas/list" => known.list(&request.json()),
        "POST /replicas/bad" => known.declare_bad(&request.json()),
        "POST /replicas/suspicious" => known.declare_suspicious(&request.json()),
        "POST /replicas" => known.register(&request.json()),
        other => Reply::refusal(400, "NotFaked", other),
    }
}
