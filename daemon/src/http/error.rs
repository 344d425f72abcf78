//! Why the surface cannot be opened.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::account::AccessError;

/// Why the surface cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The Unix socket cannot be made.
    #[error("cannot {doing} {}", path.display())]
    Unix {
        /// What failed.
        doing: &'static str,
        /// The socket, or the lock beside it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon listens there.
    #[error("cannot listen on {}: another daemon does", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else lies where the socket is to be.
    #[error("cannot listen on {}: it is there and no socket", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The TCP socket cannot be made.
    #[error("cannot listen on {address}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key cannot be read.
    #[error("cannot use {} for TLS", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The key's file cannot be used.
    #[error("cannot use the private key of TLS")]
    Key(#[from] runsync_config::secret::SecretError),
    /// Certificate and key do not make a server.
    #[error("cannot set TLS up with {}", file.display())]
    Tls {
        /// The certificate's file.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Access cannot be set up.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl ListenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some(
                "stop that daemon, or give this one a `socket` of its own in `[http]`".to_owned(),
            ),
            Self::NoSocket { .. } => Some(
                "see what it is and move it away, or set `socket` in `[http]` to another path"
                    .to_owned(),
            ),
            Self::Unix { path, source, .. } => unix_hint(path, source.kind()),
            Self::Tcp { source, .. } => tcp_hint(source.kind()).map(str::to_owned),
            Self::Pem { .. } | Self::Tls { .. } => Some(
                "`certificate_file` holds the certificate and its chain, `private_key_file` its key, both PEM"
                    .to_owned(),
            ),
            Self::Key(source) => Some(source.hint()),
            Self::Access(error) => Some(error.hint()),
        }
    }
}

fn unix_hint(path: &Path, kind: io::ErrorKind) -> Option<String> {
    if kind == io::ErrorKind::NotFound {
        let folder = path.parent().unwrap_or(path).display();
        return Some(format!(
            "make the folder {folder}, or set `socket` in `[http]`"
        ));
    }
    let place =
        "the user that you are must own the folder: set `socket` in `[http]` to a place of its own";
    (kind == io::ErrorKind::PermissionDenied).then(|| place.to_owned())
}

fn tcp_hint(kind: io::ErrorKind) -> Option<&'static str> {
    let hints = [
        (
            io::ErrorKind::AddrInUse,
            "another program listens there: set `listen` in `[http]`",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "`listen` in `[http]` must be an address of this machine",
        ),
        (io::ErrorKind::PermissionDenied, "choose a port above 1023"),
    ];
    let hint = hints.into_iter().find(|(about, _)| *about == kind);
    hint.map(|(_, hint)| hint)
}
