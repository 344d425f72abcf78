//! Opens the surface and closes it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::connection::{self, Socket};
use super::error::ListenError;
use super::surface::Surface;
use super::unix::UnixSocket;
use super::{router, tcp};

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
