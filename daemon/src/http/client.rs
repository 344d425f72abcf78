//! Asks the daemon of this machine over its Unix socket: what operators' commands do.
//!
//! The other end of the same router. It blocks, as commands do, and reads answers of any length
//! line by line.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::blocking::{Body, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::problem::{PROBLEM_JSON, ProblemBody};
use crate::tls;

/// What stands for itself in a part of a path: RFC 3986's unreserved characters.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Stands where a URL names a host; the socket is where requests go.
const HOST: &str = "http://runsync";
/// How long a daemon may take until its answer begins, and from one piece of it to the next: it is
/// suspended, or its disk does not answer, where it takes longer. Of a manifest that is handed in it
/// tells more often than that how far it has come.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// Bytes a second that a daemon takes in at least, on any disk.
const UPLOAD_BYTES_PER_SECOND: u64 = 1 << 20;
/// How often a question is asked again that the daemon has too much to do for.
const BUSY_TRIES: u32 = 30;
/// The wait before that where the daemon names none, and the longest one.
const BUSY_WAIT: Duration = Duration::from_secs(1);
const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why the daemon gives no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or this user may not connect.
    #[error("cannot reach the daemon at {}", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, before or within the answer.
    #[error("cannot read what the daemon at {} answers", socket.display())]
    Cut {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused, or failed.
    #[error("the daemon answers: {}", .0.detail)]
    Refused(Box<ProblemBody>),
    /// Something else listens there, or a daemon of another release.
    #[error("cannot understand what the daemon at {} answers", socket.display())]
    NotUnderstood {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { source, .. } => {
                let hint = if source.kind() == io::ErrorKind::PermissionDenied {
                    "the folder of the socket must be open to you: see `socket` in `[http]`"
                } else {
                    "start it with `systemctl start runsync` or `runsync daemon`; commands that have \
                     `--direct` work without one"
                };
                Some(hint.to_owned())
            }
            Self::Cut { .. } => Some("see its log, and ask again".to_owned()),
            Self::Refused(problem) => problem.hint.clone(),
            Self::NotUnderstood { .. } => Some(
                "see that `runsync --version` is the daemon's: restart it after an upgrade"
                    .to_owned(),
            ),
        }
    }
}

/// The path of a resource, each part escaped: a run's name holds slashes.
pub fn path(parts: &[&str]) -> String {
    let escaped = |part: &&str| format!("/{}", utf8_percent_encode(part, PART));
    parts.iter().map(escaped).collect()
}

/// A way to the daemon.
pub struct Client {
    socket: PathBuf,
    patience: Duration,
    http: reqwest::blocking::Client,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Finds the daemon that listens at `socket`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] where none does.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        Self::with_patience(socket, ANSWER_PATIENCE)
    }

    fn with_patience(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        // Tells better than an error deep in the client would why nobody is there.
        UnixStream::connect(socket).map_err(|source| unreachable(socket, source))?;
        Ok(Self {
            socket: socket.to_owned(),
            patience,
            http: speaker(socket, patience)?,
        })
    }

    /// `GET`: an answer in one piece.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let answer = self.ask(|| self.http.get(format!("{HOST}{path}")).query(query))?;
        self.whole(answer)
    }

    /// `GET`: an answer of many lines.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn lines(&self, path: &str, query: &[(&str, &str)]) -> Result<Lines, ClientError> {
        let answer = self.ask(|| self.http.get(format!("{HOST}{path}")).query(query))?;
        Ok(self.lines_of(answer))
    }

    /// `POST` of a JSON value: an answer in one piece.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.ask(|| self.http.post(format!("{HOST}{path}")).json(body))?;
        self.whole(answer)
    }

    /// `POST` of a JSON value: an answer of many lines.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn post_lines(&self, path: &str, body: &impl Serialize) -> Result<Lines, ClientError> {
        let answer = self.ask(|| self.http.post(format!("{HOST}{path}")).json(body))?;
        Ok(self.lines_of(answer))
    }

    /// `POST` of lines of text: an answer of many lines.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn post_text(&self, path: &str, text: &str) -> Result<Lines, ClientError> {
        let answer = self.ask(|| {
            self.http
                .post(format!("{HOST}{path}"))
                .header(CONTENT_TYPE, "text/plain")
                .body(text.to_owned())
        })?;
        Ok(self.lines_of(answer))
    }

    /// `POST` of a file, from its beginning, read while it is sent: an answer of many lines.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn post_file(
        &self,
        path: &str,
        query: &[(&str, &str)],
        file: File,
    ) -> Result<Lines, ClientError> {
        let length = file.metadata().map_err(|error| self.cut(error))?.len();
        let sending = Duration::from_secs(length / UPLOAD_BYTES_PER_SECOND);
        let http = speaker(&self.socket, self.patience.saturating_add(sending))?;
        let file = Arc::new(file);
        let answer = self.ask(|| {
            let file = Arc::clone(&file);
            http.post(format!("{HOST}{path}"))
                .query(query)
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(Body::sized(FromStart { file, at: 0 }, length))
        })?;
        Ok(self.lines_of(answer))
    }

    /// Asks, and asks again while the daemon has too much to do.
    fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, ClientError> {
        for _ in 1..BUSY_TRIES {
            let response = request().send();
            match &response {
                Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                    thread::sleep(wait(answer));
                }
                _ => return self.answer(response),
            }
        }
        self.answer(request().send())
    }

    fn answer(&self, response: reqwest::Result<Response>) -> Result<Response, ClientError> {
        let response = response.map_err(|error| self.cut(error.without_url()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let is_problem = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == PROBLEM_JSON);
        if !is_problem {
            let status = response.status();
            return Err(self.not_understood(format!("it answers with status {status}")));
        }
        let body = response
            .bytes()
            .map_err(|error| self.cut(error.without_url()))?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(error) => Err(self.not_understood(error)),
        }
    }

    fn whole<T: DeserializeOwned>(&self, answer: Response) -> Result<T, ClientError> {
        let body = answer
            .bytes()
            .map_err(|error| self.cut(error.without_url()))?;
        serde_json::from_slice(&body).map_err(|error| self.not_understood(error))
    }

    fn lines_of(&self, answer: Response) -> Lines {
        Lines {
            socket: self.socket.clone(),
            answer: BufReader::new(answer),
            line: Vec::new(),
        }
    }

    fn cut(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        let (socket, source) = (self.socket.clone(), error.into());
        ClientError::Cut { socket, source }
    }

    fn not_understood(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        ClientError::NotUnderstood {
            socket: self.socket.clone(),
            source: error.into(),
        }
    }
}

/// What speaks over the socket. Sending and waiting for the beginning of the answer together may
/// take as long as `patience`, and so may each piece of it.
fn speaker(socket: &Path, patience: Duration) -> Result<reqwest::blocking::Client, ClientError> {
    tls::install_provider();
    reqwest::blocking::Client::builder()
        .unix_socket(socket)
        // Nothing is encrypted here: the system's authorities need not be read.
        .tls_certs_only([])
        .timeout(patience)
        .build()
        .map_err(|error| unreachable(socket, io::Error::other(error)))
}

fn unreachable(socket: &Path, source: io::Error) -> ClientError {
    let socket = socket.to_owned();
    ClientError::Unreachable { socket, source }
}

/// Reads a file from its beginning, whatever else reads it.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// How long a daemon that has too much to do wants to be left alone.
fn wait(answer: &Response) -> Duration {
    let named = answer.headers().get(RETRY_AFTER);
    let seconds = named.and_then(|value| value.to_str().ok()?.parse().ok());
    seconds
        .map_or(BUSY_WAIT, Duration::from_secs)
        .min(BUSY_WAIT_MAX)
}

/// An answer of many lines, read as it comes.
#[derive(Debug)]
pub struct Lines {
    socket: PathBuf,
    answer: BufReader<Response>,
    line: Vec<u8>,
}

impl Lines {
    /// The next line as it is, without its end; `None` at the end of a whole answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Cut`] where the answer was broken off.
    pub fn next_bytes(&mut self) -> Result<Option<&[u8]>, ClientError> {
        self.line.clear();
        match self.answer.read_until(b'\n', &mut self.line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.line.trim_ascii_end())),
            Err(source) => Err(ClientError::Cut {
                socket: self.socket.clone(),
                source: Box::new(source),
            }),
        }
    }

    /// The next line as a value.
    ///
    /// # Errors
    ///
    /// Where the answer was broken off, or the line is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot fail in between"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let Some(line) = self.next_bytes()? else {
            return Ok(None);
        };
        match serde_json::from_slice(line) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ClientError::NotUnderstood {
                socket: self.socket.clone(),
                source: Box::new(error),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_says_nothing_or_stops_in_the_middle_is_not_waited_for_for_ever() {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}\n";
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("runsync.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        // It takes connections, which the kernel does for it, and says nothing.
        let client = Client::with_patience(&socket, Duration::from_millis(50)).unwrap();
        let silent = client.lines("/v1/runs", &[]).unwrap_err();
        assert!(matches!(silent, ClientError::Cut { .. }), "{silent}");
        let answering = thread::spawn(move || {
            // A client's look, the request that was given up, and the other client's look.
            let _before = [(); 3].map(|()| listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            // An answer before the question would be none.
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(HEAD).unwrap();
            stream
        });
        // Long enough for a busy machine to begin.
        let client = Client::with_patience(&socket, Duration::from_secs(1)).unwrap();
        let mut lines = client.lines("/v1/runs", &[]).unwrap();
        assert_eq!(lines.next_bytes().unwrap().unwrap(), b"{}");
        lines.next_bytes().unwrap_err();
        drop(answering.join().unwrap());
    }
}
