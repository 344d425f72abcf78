//! A daemon's surface as tasks use it: over its Unix socket and over loopback TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::files;
use crate::runsync_command::{Daemon, Site};

/// The token that a task shows; it opens nothing beyond the task's own site.
pub(crate) const TOKEN: &str = "a-token-of-a-task-and-of-nobody-else";
/// How long a daemon may take to listen, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site whose daemon listens.
#[derive(Debug)]
pub(crate) struct Surface {
    socket: PathBuf,
    address: String,
    daemon: Daemon,
}

/// A stream to either socket.
pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

impl Surface {
    /// Starts the site's daemon with TCP on the loopback, and with limits that `more` (lines of
    /// `[http]`) sets.
    pub(crate) fn open(site: &Site, more: &str) -> Result<Self> {
        let folder = site
            .config
            .parent()
            .context("the configuration has no folder")?;
        let token = folder.join("task.token");
        files::write(&token, TOKEN.as_bytes())?;
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600))
            .context("cannot close the token's file to others")?;
        let config = files::read(&site.config)?;
        let listening = config.replace(
            "[http]\n",
            &format!("[http]\nlisten = \"127.0.0.1:0\"\n{more}\n"),
        );
        ensure!(
            listening != config,
            "the configuration has no section [http]"
        );
        let table = format!(
            "\n[[http.token]]\nname = \"task\"\nrole = \"operate\"\nfile = \"{}\"\n",
            token.display()
        );
        files::write(&site.config, (listening + &table).as_bytes())?;
        let log = folder.join("daemon.log");
        let mut daemon = site.start_daemon(&log)?;
        let address = listening_at(&log, &mut daemon)?;
        Ok(Self {
            socket: folder.join("state/runsync.sock"),
            address,
            daemon,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The daemon's process.
    pub(crate) fn process(&self) -> u32 {
        self.daemon.id()
    }

    /// A connection to the Unix socket.
    pub(crate) fn unix(&self) -> Result<Client> {
        let stream = UnixStream::connect(&self.socket).context("cannot reach the Unix socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client::over(stream))
    }

    /// A connection to the TCP socket.
    pub(crate) fn tcp(&self) -> Result<Client> {
        Ok(Client::over(self.tcp_stream()?))
    }

    /// The same as bytes.
    pub(crate) fn tcp_stream(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.address).context("cannot reach the TCP socket")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// Waits until the daemon says where it listens.
fn listening_at(log: &Path, daemon: &mut Daemon) -> Result<String> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        daemon.check_alive()?;
        let text = files::read(log)?;
        let serves = text.contains("runsync serves");
        if let Some((_, rest)) = text.split_once("address=").filter(|_| serves) {
            return Ok(rest
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the daemon does not listen: see {}", log.display())
}

/// A connection that is kept.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Its lines.
    pub(crate) fn lines(&self) -> usize {
        self.body.split(|byte| *byte == b'\n').count() - 1
    }
}

impl Client {
    fn over(stream: impl Stream + 'static) -> Self {
        let stream: Box<dyn Stream> = Box::new(stream);
        Self {
            stream: BufReader::with_capacity(1 << 18, stream),
        }
    }

    /// Asks for what is at `path`.
    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask(&head("GET", path, "", 0), b"")
    }

    /// Asks whether datasets are here; `uuids` is one a line.
    pub(crate) fn exists(&mut self, uuids: &[u8]) -> Result<Answer> {
        self.ask(
            &head("POST", "/v1/exists", "text/plain", uuids.len()),
            uuids,
        )
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        let mut request = Vec::with_capacity(head.len() + body.len());
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
        self.stream
            .get_mut()
            .write_all(&request)
            .context("cannot ask")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("`{first}` is no answer"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if !chunked {
            self.take(length, &mut body)?;
            return Ok(Answer { status, body });
        }
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).context("no size of a chunk")?;
            self.take(size, &mut body)?;
            self.line()?;
            if size == 0 {
                return Ok(Answer { status, body });
            }
        }
    }

    fn take(&mut self, bytes: usize, to: &mut Vec<u8>) -> Result<()> {
        let begin = to.len();
        to.resize(begin + bytes, 0);
        let rest = to.get_mut(begin..).unwrap_or_default();
        self.stream
            .read_exact(rest)
            .context("the answer has no end")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).context("no answer")?;
        ensure!(read > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}

/// The head of a request on a connection that is kept.
pub(crate) fn head(method: &str, path: &str, kind: &str, length: usize) -> String {
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!("Content-Type: {kind}\r\n")
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: runsync\r\nAuthorization: Bearer {TOKEN}\r\n{kind}Content-Length: {length}\r\n\r\n"
    )
}
