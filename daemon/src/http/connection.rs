//! Accepts connections and serves each in a task of its own.
//!
//! Nothing that a client may draw out happens in the loop that accepts: handshakes, heads, bodies
//! and answers are each connection's own affair, with a deadline. A socket takes so many
//! connections and lets further ones wait; the two sockets count for themselves, so that whoever
//! fills the one keeps nobody from the other, and no one user or address has more than half of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runsync_config::http::Http;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::peer::Peer;
use super::shares::{Share, Shares};
use super::unix::UnixSocket;
use crate::telemetry::metrics::Connection;
use crate::worker::Tasks;

/// Most bytes of a request's head, and of an answer that waits to be sent.
const BUFFER_BYTES: usize = 64 * 1024;
/// Pause after a connection could not be accepted (no file handle is free): others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens.
pub(super) enum Socket {
    Unix(UnixSocket),
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
}

/// One connection before its first byte.
enum Accepted {
    Unix(UnixStream, u32),
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr, TlsAcceptor),
}

/// Deadlines of a connection.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    header: Duration,
    stall: Duration,
}

impl Socket {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok(Accepted::Unix(stream, uid))
            }
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, from))
            }
            Self::Tls(listener, acceptor) => {
                let (stream, from) = listener.accept().await?;
                Ok(Accepted::Tls(stream, from, acceptor.clone()))
            }
        }
    }
}

impl Accepted {
    fn peer(&self) -> Peer {
        match self {
            Self::Unix(_, uid) => Peer::Local(*uid),
            Self::Tcp(_, from) | Self::Tls(_, from, _) => Peer::Remote(*from),
        }
    }
}

/// Accepts connections until the tasks are to end.
pub(super) async fn accept(socket: Socket, router: Router, http: Arc<Http>, tasks: Tasks) {
    let places = usize::try_from(http.connections_max).unwrap_or(usize::MAX);
    let shares = Arc::new(Shares::of(places));
    let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
    let deadlines = Deadlines {
        header: http.header_timeout,
        stall: http.stall_timeout,
    };
    let ending = tasks.ending().clone();
    let accepting = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match socket.accept().await {
                Ok(accepted) => {
                    let source = accepted.peer().source();
                    let Some(share) = shares.take(source) else {
                        debug!(%source, "a client has its share of connections");
                        continue;
                    };
                    let place = (place, share);
                    let served = serve(accepted, router.clone(), deadlines, tasks.clone(), place);
                    tasks.spawn(served);
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = ending.cancelled() => {}
        () = accepting => {}
    }
}

async fn serve(
    accepted: Accepted,
    router: Router,
    deadlines: Deadlines,
    tasks: Tasks,
    _place: (OwnedSemaphorePermit, Share),
) {
    let _counted = Connection::begin(match &accepted {
        Accepted::Unix(..) => "unix",
        Accepted::Tcp(..) | Accepted::Tls(..) => "tcp",
    });
    let served = match accepted {
        Accepted::Unix(stream, uid) => {
            speak(stream, Peer::Local(uid), router, deadlines, &tasks).await
        }
        Accepted::Tcp(stream, from) => {
            no_delay(&stream);
            speak(stream, Peer::Remote(from), router, deadlines, &tasks).await
        }
        Accepted::Tls(stream, from, acceptor) => {
            no_delay(&stream);
            match timeout(deadlines.header, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    speak(stream, Peer::Remote(from), router, deadlines, &tasks).await
                }
                Ok(Err(error)) => {
                    debug!(%from, %error, "no TLS with this client");
                    return;
                }
                Err(_) => {
                    debug!(%from, "the client never shook hands");
                    return;
                }
            }
        }
    };
    if let Err(error) = served {
        debug!(error = %crate::ingest::error_chain(&error), "a connection broke off");
    }
}

/// Small answers are not held back for an acknowledgement; where that cannot be had they are late.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot switch delays off");
    }
}

/// Speaks HTTP/1.1 until the client has gone, stands still for too long, or the tasks are to end:
/// then the request at hand is still answered.
async fn speak<S>(
    stream: S,
    peer: Peer,
    router: Router,
    deadlines: Deadlines,
    tasks: &Tasks,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    // What a client does not send is a matter of heads and bodies, not of the connection: it is
    // silent while it waits for its answer.
    stream.set_write_timeout(Some(deadlines.stall));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.header)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        served = connection.as_mut() => served,
        () = tasks.ending().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
