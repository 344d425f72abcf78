//! Opens the surface and closes it.

use std::sync::Arc;
use std::time::Duration;

use runsync_config::http::Http;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::account::{Access, AccessError};
use super::connection::{self, Socket};
use super::error::ListenError;
use super::surface::Surface;
use super::unix::UnixSocket;
use super::{metrics, router, tcp};

/// How often metrics are summed up, and those forgotten who do not ask any more: some thousand of
/// either pile up meanwhile on a busy surface.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Whether the tokens' files can be used.
///
/// # Errors
///
/// Why one cannot.
pub fn check_tokens(http: &Http) -> Result<(), AccessError> {
    Access::read(http).map(drop)
}

/// Whether certificate and private key can be used, where they are named.
///
/// # Errors
///
/// Why they cannot.
pub fn check_tls(http: &Http) -> Result<(), ListenError> {
    http.tls
        .as_ref()
        .map_or(Ok(()), |tls| tcp::acceptor(tls).map(drop))
}

/// The open surface.
#[derive(Debug)]
pub struct Server {
    surface: Arc<Surface>,
}

impl Server {
    /// Listens on every socket that is configured, on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be had; then none is open.
    pub async fn open(surface: Surface) -> Result<Self, ListenError> {
        let surface = Arc::new(surface);
        let http = Arc::new(surface.site.http.clone());
        let mut sockets = vec![Socket::Unix(UnixSocket::bind(&http.socket)?)];
        if let Some(address) = http.listen {
            let acceptor = http.tls.as_ref().map(tcp::acceptor).transpose()?;
            let listener = tcp::bind(address).await?;
            // Port 0 is whichever is free.
            let address = listener.local_addr().unwrap_or(address);
            info!(%address, tls = acceptor.is_some(), "listening");
            sockets.push(match acceptor {
                Some(acceptor) => Socket::Tls(listener, acceptor),
                None => Socket::Tcp(listener),
            });
        }
        info!(socket = %http.socket.display(), "listening");
        let tasks = &surface.tasks;
        let router = router::router(&surface);
        metrics::expect_all();
        tasks.spawn(upkeep(Arc::clone(&surface), tasks.ending().clone()));
        for socket in sockets {
            let (router, http) = (router.clone(), Arc::clone(&http));
            tasks.spawn(connection::accept(socket, router, http, tasks.clone()));
        }
        Ok(Self { surface })
    }

    /// What it answers from.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Takes no more connections, answers the requests at hand, and cuts off what takes longer than
    /// `deadline`.
    pub async fn stop(self, deadline: Duration) {
        let dropped = self.surface.tasks.stop(deadline).await;
        if dropped > 0 {
            warn!(connections = dropped, "clients were cut off");
        }
    }
}

/// Sums metrics up now and then, and forgets who has not asked lately, so that neither piles up.
async fn upkeep(surface: Arc<Surface>, ending: CancellationToken) {
    let mut ticks = interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = ending.cancelled() => return,
            _ = ticks.tick() => {
                surface.metrics.upkeep();
                surface.rates.forget();
            }
        }
    }
}
