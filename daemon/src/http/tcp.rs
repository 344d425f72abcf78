//! The TCP socket, and TLS over it.

use std::net::SocketAddr;
use std::sync::Arc;

use runsync_config::http::Tls;
use runsync_config::secret;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::error::ListenError;

/// Listens at `address`.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError::Tcp { address, source })
}

/// What shakes hands with clients.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ListenError> {
    let file = &tls.certificate_file;
    let pem = |file: &std::path::Path| {
        let file = file.to_owned();
        move |source| ListenError::Pem { file, source }
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(file))?;
    let key = secret::read(&tls.private_key_file)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(pem(&tls.private_key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |source| ListenError::Tls {
        file: file.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
