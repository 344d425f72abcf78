//! A small HTTP server that records what it is asked, and answers as a test says: with bytes, with
//! what the real server behind it answers, or not at all.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::told;

/// Longer than anything takes; what hangs is cut off by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Method and path without the query.
    pub(crate) fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap();
        format!("{} {path}", self.method)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_login(&self) -> bool {
        self.path.starts_with("/auth/")
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes are sent, and the connection is closed.
    Bytes(Vec<u8>),
    /// The real server is asked, and its answer sent on.
    Pass,
    /// The real server is asked, and its answer lost with the connection.
    PassAndCut,
    /// The connection is closed without a word.
    Cut,
    /// Nothing is said for as long as the client waits.
    Hang,
}

impl Reply {
    /// An answer in one piece.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!(
            "HTTP/1.1 {status} Some\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        Self::Bytes(format!("{head}\r\n{body}").into_bytes())
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::new(
            200,
            &[("Content-Type", "application/json")],
            &value.to_string(),
        )
    }

    /// What Rucio answers where something was made.
    pub(crate) fn created() -> Self {
        Self::new(201, &[("Content-Type", "text/html")], "Created")
    }

    /// What Rucio refuses with: an exception in the headers, cut, and in the body, whole.
    pub(crate) fn refusal(status: u16, class: &str, message: &str) -> Self {
        let mut cut: String = message.chars().filter(|c| *c != '\n').collect();
        if cut.len() > 125 {
            cut = cut.chars().take(122).collect::<String>() + "...";
        }
        let headers = [
            ("Content-Type", "application/octet-stream"),
            ("ExceptionClass", class),
            ("ExceptionMessage", &cut),
        ];
        let body = json!({"ExceptionClass": class, "ExceptionMessage": message});
        Self::new(status, &headers, &body.to_string())
    }

    /// A stream of lines; `is_whole`: with the chunk that ends it.
    pub(crate) fn stream(chunks: &[&str], is_whole: bool) -> Self {
        let mut text = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
                        Content-Type: application/x-json-stream\r\n\r\n"
            .to_owned();
        for chunk in chunks {
            write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
        }
        if is_whole {
            text += "0\r\n\r\n";
        }
        Self::Bytes(text.into_bytes())
    }

    /// What Rucio answers to a login. The token is good for `life` seconds.
    pub(crate) fn token(token: &str, life: u32) -> Self {
        let (hours, minutes, seconds) = (life / 3600, life / 60 % 60, life % 60);
        let expires = format!("Sun, 22 Nov 2026 {hours:02}:{minutes:02}:{seconds:02} UTC");
        let headers = [
            ("Date", "Sun, 22 Nov 2026 00:00:00 GMT"),
            ("X-Rucio-Auth-Token", token),
            ("X-Rucio-Auth-Token-Expires", &expires),
        ];
        Self::new(200, &headers, "")
    }
}

/// Says what becomes of a request; its number counts from 0.
type Answer = dyn Fn(&Request, usize) -> Reply + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    real: Option<u16>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Vec<Request>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
    is_over: AtomicBool,
}

/// The server. Dropped, it is gone.
pub(crate) struct Front {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Front {
    /// A server that answers as it is told.
    pub(crate) fn new(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(0, None, None, answer)
    }

    /// One that accepts logins, and answers anything else in this order; what is more fails.
    pub(crate) fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        Self::new(move |request, number| {
            if request.is_login() {
                return Reply::token(&format!("secret-token-{number}"), 3600);
            }
            let next = replies.lock().unwrap().pop_front();
            next.unwrap_or_else(|| Reply::refusal(400, "ScriptEnded", "nothing is left to say"))
        })
    }

    /// One before a real server on that port.
    pub(crate) fn before(
        real: u16,
        answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(0, Some(real), None, answer)
    }

    /// One that speaks TLS.
    pub(crate) fn tls(config: ServerConfig) -> Self {
        Self::start(0, None, Some(Arc::new(config)), |_, _| {
            Reply::json(&json!({"version": "1"}))
        })
    }

    pub(crate) fn start(
        port: u16,
        real: Option<u16>,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            real,
            tls,
            seen: Mutex::default(),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&accepting));
                let connection = thread::spawn(move || shared.serve(stream));
                accepting.connections.lock().unwrap().push(connection);
            }
        });
        Self {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked, logins too.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What it was asked but for logins: method and path.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = self
            .seen()
            .into_iter()
            .filter(|request| !request.is_login());
        seen.map(|request| request.name()).collect()
    }

    /// How often it was asked for this, which is a method and a path.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == name).count()
    }

    pub(crate) fn logins(&self) -> usize {
        self.seen()
            .iter()
            .filter(|request| request.is_login())
            .count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let accepting = self.accepting.take().unwrap();
        drop(accepting.join());
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for connection in connections {
            drop(connection.join());
        }
    }
}

impl Shared {
    /// One request of one connection. A client that is gone is no matter.
    fn serve(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        match &self.tls {
            None => self.talk(stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                self.talk(StreamOwned::new(connection, stream));
            }
        }
    }

    fn talk(&self, mut stream: impl Read + Write) {
        let Some(request) = read(&mut stream) else {
            return;
        };
        for name in ["X-Rucio-Auth-Token", "X-Rucio-Password"] {
            request.header(name).into_iter().for_each(told::is_secret);
        }
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let bytes = match (self.answer)(&request, number) {
            Reply::Bytes(bytes) => bytes,
            Reply::Pass => self.pass(&request),
            Reply::PassAndCut => {
                self.pass(&request);
                return;
            }
            Reply::Cut => return,
            Reply::Hang => {
                // Until the client goes away.
                drop(stream.read(&mut [0]));
                return;
            }
        };
        drop(stream.write_all(&bytes).and_then(|()| stream.flush()));
    }

    /// What the real server answers.
    fn pass(&self, request: &Request) -> Vec<u8> {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.real.unwrap())) else {
            return Vec::new();
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = String::new();
        for line in request.head.lines() {
            if !line.to_ascii_lowercase().starts_with("connection:") {
                head.extend([line, "\r\n"]);
            }
        }
        let mut answer = Vec::new();
        let passed = stream
            .write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
            .and_then(|()| stream.write_all(&request.body))
            .and_then(|()| stream.read_to_end(&mut answer));
        drop(passed);
        drop(stream.shutdown(Shutdown::Both));
        let head = String::from_utf8_lossy(&answer);
        let token = header(head.split("\r\n\r\n").next().unwrap(), "X-Rucio-Auth-Token");
        token.into_iter().for_each(told::is_secret);
        answer
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let length = header(&head, "Content-Length")
        .unwrap_or("0")
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let mut words = head.split(' ');
    Some(Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        head,
        body,
    })
}
