//! A server that answers what Rucio was seen to answer, at once: it keeps only what it must to list
//! what it was told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::scene::{RSE, SCOPE};

/// Lines that are sent together.
const LINES_TOGETHER: usize = 1_000;
/// The headers of an answer to a login.
const TOKEN: &str = "X-Rucio-Auth-Account: runsync\r\nX-Rucio-Auth-Token: runsync-recorded\r\n\
                     X-Rucio-Auth-Token-Expires: Sun, 22 Nov 2099 04:09:37 UTC\r\n";

/// What it was told.
#[derive(Debug, Default)]
struct Told {
    files: HashMap<String, File>,
    /// What is attached to Rucio datasets and containers.
    collections: HashMap<String, Vec<String>>,
    kinds: HashMap<String, String>,
    closed: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct File {
    name: String,
    bytes: u64,
    adler32: String,
    md5: Option<String>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    told: Mutex<Told>,
    is_over: AtomicBool,
}

/// The server. Dropped, it takes no more connections.
#[derive(Debug)]
pub(super) struct Replaying {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// An answer.
enum Answer {
    Whole(u16, &'static str, String),
    /// JSON lines.
    Lines(Vec<Value>),
    /// What a Rucio dataset holds.
    Contents(String),
}

impl Replaying {
    /// Starts it; the files of the RSE's scope lie in that folder.
    pub(super) fn start(folder: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot take a port")?;
        let port = listener.local_addr().context("no port")?.port();
        let shared = Arc::new(Shared {
            folder,
            told: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepted = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepted.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepted);
                // A client that goes away in the middle is no matter: it fails by itself.
                thread::spawn(move || shared.serve(&stream).ok());
            }
        });
        Ok(Self {
            port,
            shared,
            accepting: Some(accepting),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Files attached to Rucio datasets, as often as they are.
    pub(super) fn files_attached(&self) -> u64 {
        let told = self.shared.told();
        let attached = told.collections.values().flatten();
        let files = attached.filter(|name| told.files.contains_key(*name));
        u64::try_from(files.count()).unwrap_or(u64::MAX)
    }
}

impl Drop for Replaying {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests of one connection.
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        let mut requests = BufReader::new(stream);
        let mut answers = BufWriter::new(stream);
        loop {
            let (mut first, mut length) = (String::new(), 0);
            if requests.read_line(&mut first)? == 0 {
                return Ok(());
            }
            loop {
                let mut line = String::new();
                requests.read_line(&mut line)?;
                if line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse()?;
                }
            }
            let mut body = vec![0; length];
            requests.read_exact(&mut body)?;
            let mut words = first.split(' ');
            let (method, path) = (words.next(), words.next());
            let answer = self.answer(method.unwrap_or(""), path.unwrap_or(""), &body)?;
            self.send(answer, &mut answers)?;
            answers.flush()?;
        }
    }

    fn send(&self, answer: Answer, to: &mut impl Write) -> Result<()> {
        match answer {
            Answer::Whole(status, headers, body) => {
                let length = body.len();
                write!(
                    to,
                    "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
                )?;
            }
            Answer::Lines(lines) => {
                begin_lines(to)?;
                for lines in lines.chunks(LINES_TOGETHER) {
                    chunk(lines, to)?;
                }
                to.write_all(b"0\r\n\r\n")?;
            }
            Answer::Contents(name) => {
                begin_lines(to)?;
                let told = self.told();
                let held = told.collections.get(&name).map_or(&[][..], Vec::as_slice);
                for names in held.chunks(LINES_TOGETHER) {
                    let lines: Vec<Value> = names.iter().map(|name| told.content(name)).collect();
                    chunk(&lines, to)?;
                }
                to.write_all(b"0\r\n\r\n")?;
            }
        }
        Ok(())
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match (method, parts.as_slice()) {
            ("GET", ["auth", "userpass"]) => Answer::Whole(200, TOKEN, String::new()),
            ("GET", ["rses", name]) => whole(&json!({
                "rse": name, "deterministic": true, "volatile": false,
                "availability_read": true, "availability_write": true, "availability_delete": true,
                "protocols": [{"scheme": "file", "hostname": "localhost", "port": 0,
                    "prefix": self.folder, "impl": "rucio.rse.protocols.posix.Default"}],
            })),
            ("GET", ["rses", name, "attr", ""]) => {
                whole(&json!({(*name): true, "lfn2pfn_algorithm": "identity"}))
            }
            ("GET", ["rses", _, "lfns2pfns"]) => {
                let lfns = query
                    .split('&')
                    .filter_map(|pair| pair.strip_prefix("lfn="));
                let pfns: serde_json::Map<String, Value> = lfns
                    .map(decoded)
                    .map(|lfn| {
                        let name = lfn.split_once(':').map_or("", |(_, name)| name);
                        let pfn = self.pfn(name).into();
                        (lfn, pfn)
                    })
                    .collect();
                whole(&pfns.into())
            }
            ("POST", ["dids"]) => self.make(body)?,
            ("POST", ["dids", "bulkmeta"]) => {
                let told = self.told();
                let known = names(body)?.into_iter().filter_map(|did| {
                    let file = told.files.get(&did.name)?;
                    Some(
                        json!({"scope": SCOPE, "name": file.name, "bytes": file.bytes,
                        "adler32": file.adler32, "md5": file.md5, "did_type": "FILE",
                        "account": "runsync", "availability": "AVAILABLE"}),
                    )
                });
                Answer::Lines(known.collect())
            }
            ("POST", ["replicas"]) => {
                #[derive(Deserialize)]
                struct Body {
                    files: Vec<File>,
                }
                let Body { files } = serde_json::from_slice(body)?;
                let known = files.into_iter().map(|file| (file.name.clone(), file));
                self.told().files.extend(known);
                created()
            }
            ("POST", ["replicas", "list"]) => {
                let told = self.told();
                let known = names(body)?.into_iter().filter_map(|did| {
                    let file = told.files.get(&did.name)?;
                    let pfn = self.pfn(&file.name);
                    Some(
                        json!({"scope": SCOPE, "name": file.name, "bytes": file.bytes,
                        "md5": file.md5, "adler32": file.adler32,
                        "pfns": {(pfn.as_str()): {"rse": RSE, "type": "DISK", "volatile": false,
                            "domain": "wan", "priority": 1, "client_extract": false}},
                        "rses": {RSE: [pfn]}, "states": {RSE: "AVAILABLE"}}),
                    )
                });
                Answer::Lines(known.collect())
            }
            ("POST", ["dids", "attachments"]) => self.attach(body)?,
            ("GET", ["dids", _, name, "dids"]) => Answer::Contents((*name).to_owned()),
            ("GET", ["dids", _, name]) => {
                let told = self.told();
                let kind = told.kinds.get(*name).context("an unknown DID")?;
                whole(
                    &json!({"scope": SCOPE, "name": name, "type": kind, "account": "runsync",
                    "open": !told.closed.iter().any(|closed| closed == name),
                    "monotonic": false, "expired_at": null, "length": null, "bytes": null}),
                )
            }
            ("PUT", ["dids", _, name, "status"]) => {
                self.told().closed.push((*name).to_owned());
                Answer::Whole(200, "", String::new())
            }
            ("POST", ["rules", ""]) => Answer::Whole(
                201,
                "Content-Type: text/html; charset=utf-8\r\n",
                "[\"4ab7fd4ccd644e71a17a01e27138ed86\"]".to_owned(),
            ),
            _ => bail!("nothing was recorded for {method} {path}"),
        })
    }

    fn make(&self, body: &[u8]) -> Result<Answer> {
        #[derive(Deserialize)]
        struct Made {
            name: String,
            #[serde(rename = "type")]
            kind: String,
        }
        let mut told = self.told();
        for Made { name, kind } in serde_json::from_slice::<Vec<Made>>(body)? {
            told.kinds.insert(name, kind);
        }
        Ok(created())
    }

    fn attach(&self, body: &[u8]) -> Result<Answer> {
        #[derive(Deserialize)]
        struct Body {
            attachments: Vec<Attachment>,
        }
        #[derive(Deserialize)]
        struct Attachment {
            name: String,
            dids: Vec<Name>,
        }
        let Body { attachments } = serde_json::from_slice(body)?;
        let mut told = self.told();
        for Attachment { name, dids } in attachments {
            let held = told.collections.entry(name).or_default();
            held.extend(dids.into_iter().map(|did| did.name));
        }
        Ok(created())
    }

    fn pfn(&self, name: &str) -> String {
        let folder = self.folder.display();
        format!("file://localhost{folder}/{SCOPE}/{name}")
    }
}

impl Told {
    fn content(&self, name: &str) -> Value {
        match self.files.get(name) {
            Some(file) => json!({"scope": SCOPE, "name": name, "type": "FILE",
                "bytes": file.bytes, "adler32": file.adler32, "md5": file.md5}),
            None => json!({"scope": SCOPE, "name": name, "type": "DATASET",
                "bytes": null, "adler32": null, "md5": null}),
        }
    }
}

fn whole(value: &Value) -> Answer {
    Answer::Whole(200, "Content-Type: application/json\r\n", value.to_string())
}

fn created() -> Answer {
    let headers = "Content-Type: text/html; charset=utf-8\r\n";
    Answer::Whole(201, headers, "Created".to_owned())
}

fn names(body: &[u8]) -> Result<Vec<Name>> {
    #[derive(Deserialize)]
    struct Body {
        dids: Vec<Name>,
    }
    Ok(serde_json::from_slice::<Body>(body)?.dids)
}

fn begin_lines(to: &mut impl Write) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-json-stream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    Ok(to.write_all(head.as_bytes())?)
}

fn chunk(lines: &[Value], to: &mut impl Write) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    Ok(write!(to, "{:x}\r\n{text}\r\n", text.len())?)
}

/// A part of a path or a query without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        if let (b'%', Some(code)) = (first, code) {
            bytes.push(code);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_have_their_slashes_back() {
        assert_eq!(decoded("u%2Fa%2Fé%"), "u/a/é%");
    }
}
