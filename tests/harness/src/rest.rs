//! Requests to the server, as small as they can be: one connection each, HTTP/1.0.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the server has answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    head: String,
    /// The body as it came.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON; of a stream, each line as an element.
    pub fn json(&self) -> Result<Value> {
        if self.header("Content-Type") == Some("application/x-json-stream") {
            let lines = self.body.lines().filter(|line| !line.is_empty());
            let lines: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
            return Ok(Value::Array(lines.context("a line is no JSON")?));
        }
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }
}

/// Sends a request to a port of the loopback and reads the whole answer.
pub(crate) fn send(
    port: u16,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .with_context(|| format!("cannot connect to port {port}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.extend(["\r\n", &body]);
    let mut bytes = Vec::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_end(&mut bytes))
        .with_context(|| format!("no answer to {method} {path}"))?;
    let answer = String::from_utf8(bytes).context("the answer is no UTF-8")?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    });
    match parsed {
        Some(answer) => Ok(answer),
        None => bail!("no answer of HTTP to {method} {path}: {answer}"),
    }
}
