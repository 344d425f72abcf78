//! Who reaches the daemon, over which sockets, and how much of it they may use.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::bytes::Bytes;
use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;

/// Longest path of a Unix socket in bytes: `sun_path` holds 108, of which one ends it.
const SOCKET_PATH_MAX: usize = 107;
/// Largest body of a request unless configured: some 200,000 UUIDs.
const BODY_BYTES_MAX: u64 = 8 << 20;
/// Requests a second of one account unless configured: far above what a person or a scheduler asks.
const REQUESTS_PER_SECOND: u32 = 1000;
/// Look-ups at a time unless configured: a few for each processor of a small machine.
const CONCURRENT_REQUESTS_MAX: u32 = 8;
/// Connections of each socket unless configured.
const CONNECTIONS_MAX: u32 = 256;
/// How long a request's head may take unless configured, and a connection be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take nothing and send nothing unless configured.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The daemon's surface: its Unix socket and, where configured, its TCP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Http {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Local accounts that may change things, beside root and the daemon's own.
    pub operators: Vec<Accounts>,
    /// Local accounts that may ask.
    pub readers: Vec<Accounts>,
    /// TCP address to listen on; none: no TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// What TLS needs; none: plain HTTP, which is for the loopback alone.
    #[serde(flatten)]
    pub tls: Option<Tls>,
    /// Largest body of a request in bytes, but for manifests.
    #[serde(serialize_with = "bytes")]
    pub body_bytes_max: u64,
    /// Requests a second of one account or token.
    pub requests_per_second: u32,
    /// Look-ups in the registry and the ledger at a time, for all clients together.
    pub concurrent_requests_max: u32,
    /// Connections at a time of each socket.
    pub connections_max: u32,
    /// How long the head of a request may take, and a connection be idle.
    #[serde(serialize_with = "duration::serialize")]
    pub header_timeout: Duration,
    /// How long a client that sends a body or takes an answer may stand still.
    #[serde(serialize_with = "duration::serialize")]
    pub stall_timeout: Duration,
    /// Who may speak over TCP.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
}

/// Certificate and key of the TCP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// PEM file of the certificate and those that vouch for it.
    pub certificate_file: PathBuf,
    /// PEM file of its private key.
    pub private_key_file: PathBuf,
}

/// A bearer token of the TCP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// What it is called in logs and among requests.
    pub name: String,
    /// What it lets do.
    pub role: Role,
    /// The file that holds it.
    pub file: PathBuf,
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask.
    Read,
    /// Ask, and change things.
    Operate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Operate => "operate",
        })
    }
}

/// Local accounts: one, those of a group, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// `*`
    All,
    /// `alice`
    User(String),
    /// `@staff`
    Group(String),
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::User(name) => f.write_str(name),
            Self::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// Text that names no accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("accounts are a user's name, `@` and a group's name, or `*`")]
pub struct AccountsError;

impl FromStr for Accounts {
    type Err = AccountsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, accounts): (_, fn(String) -> Self) = match text.strip_prefix('@') {
            Some(group) => (group, Self::Group),
            None => (text, Self::User),
        };
        let wrong = |c: char| c.is_whitespace() || c.is_control() || "*@:,".contains(c);
        if name.is_empty() || name.contains(wrong) {
            return Err(AccountsError);
        }
        Ok(accounts(name.to_owned()))
    }
}

impl Serialize for Accounts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Http {
    /// A surface at `socket` alone, and all else as it is unless configured.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            operators: Vec::new(),
            readers: vec![Accounts::All],
            listen: None,
            tls: None,
            body_bytes_max: BODY_BYTES_MAX,
            requests_per_second: REQUESTS_PER_SECOND,
            concurrent_requests_max: CONCURRENT_REQUESTS_MAX,
            connections_max: CONNECTIONS_MAX,
            header_timeout: HEADER_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            tokens: Vec::new(),
        }
    }

    /// Reads `[http]`; paths are relative to `base`.
    pub(crate) fn read(mut section: Section<'_, '_>, base: &Path, state_directory: &Path) -> Self {
        let socket: Option<PathBuf> = section.optional("socket");
        let default = Self::new(match socket {
            Some(socket) => base.join(socket),
            None => state_directory.join("runsync.sock"),
        });
        let http = Self {
            operators: section.list("operators"),
            readers: section.list_or("readers", default.readers),
            listen: section.optional("listen"),
            tls: read_tls(&mut section, base),
            body_bytes_max: section
                .or("body_bytes_max", Bytes(default.body_bytes_max))
                .0,
            requests_per_second: section.or("requests_per_second", default.requests_per_second),
            concurrent_requests_max: section
                .or("concurrent_requests_max", default.concurrent_requests_max),
            connections_max: section.or("connections_max", default.connections_max),
            header_timeout: section.or("header_timeout", default.header_timeout),
            stall_timeout: section.or("stall_timeout", default.stall_timeout),
            tokens: read_tokens(&mut section, base),
            socket: default.socket,
        };
        http.check(&section);
        section.finish();
        http
    }

    fn check(&self, section: &Section<'_, '_>) {
        let length = self.socket.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            let reason =
                format!("has {length} bytes, and a socket's path at most {SOCKET_PATH_MAX}");
            let hint = "choose a shorter path, such as one below /run";
            section.report("socket", Reason::new(reason).hint(hint));
        }
        for (key, limit) in [
            ("body_bytes_max", self.body_bytes_max),
            ("requests_per_second", self.requests_per_second.into()),
            (
                "concurrent_requests_max",
                self.concurrent_requests_max.into(),
            ),
            ("connections_max", self.connections_max.into()),
        ] {
            if limit == 0 {
                section.report(key, "must be more than 0");
            }
        }
        let Some(listen) = self.listen else {
            return;
        };
        if self.tls.is_none() && !listen.ip().is_loopback() {
            let reason = Reason::new("is reached from other machines, and there is no TLS");
            let hint = "name `certificate_file` and `private_key_file`, or listen on 127.0.0.1";
            section.report("listen", reason.hint(hint));
        }
        if self.tokens.is_empty() {
            let reason = Reason::new("lets nobody in: there is no token");
            let hint = "add `[[http.token]]` with `name`, `role` and `file`";
            section.report("listen", reason.hint(hint));
        }
    }
}

fn read_tls(section: &mut Section<'_, '_>, base: &Path) -> Option<Tls> {
    let certificate: Option<PathBuf> = section.optional("certificate_file");
    let key: Option<PathBuf> = section.optional("private_key_file");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Tls {
            certificate_file: base.join(certificate),
            private_key_file: base.join(key),
        }),
        (None, None) => None,
        (Some(_), None) => {
            section.report("certificate_file", "needs `private_key_file` beside it");
            None
        }
        (None, Some(_)) => {
            section.report("private_key_file", "needs `certificate_file` beside it");
            None
        }
    }
}

fn read_tokens(section: &mut Section<'_, '_>, base: &Path) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for mut one in section.sections("token") {
        let name: Option<String> = one.required("name", "\"dashboard\"");
        let role: Option<Role> = one.required("role", "\"read\"");
        let file: Option<PathBuf> = one.required("file", "\"tokens/dashboard\"");
        if let Some(name) = &name
            && tokens.iter().any(|earlier| earlier.name == *name)
        {
            one.report("name", format!("is `{name}`, as is that of another token"));
        }
        one.finish();
        if let (Some(name), Some(role), Some(file)) = (name, role, file) {
            let file = base.join(file);
            tokens.push(Token { name, role, file });
        }
    }
    tokens
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn bytes<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    Bytes(*bytes).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_users_groups_or_all() {
        for text in ["*", "alice", "@staff", "svc-rucio"] {
            assert_eq!(text.parse::<Accounts>().unwrap().to_string(), text);
        }
        for text in ["", "@", "@*", "a b", "@@staff", "alice:"] {
            assert_eq!(text.parse::<Accounts>(), Err(AccountsError), "{text}");
        }
    }

    #[test]
    fn whoever_may_operate_may_read() {
        assert!(Role::Operate > Role::Read);
    }
}
