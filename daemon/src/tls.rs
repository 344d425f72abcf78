//! The one implementation of TLS's cryptography that this process uses, and whom its connections trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls_platform_verifier::Verifier;

/// Makes it the one that libraries find. Needed before any HTTP client is made, whether or not it
/// speaks TLS; whoever comes first decides, and all here decide the same.
pub(crate) fn install_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read as PEM.
    #[error("cannot read certificates from {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file holds none.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// They make no set of authorities.
    #[error("cannot trust the authorities that are configured")]
    Unusable(#[from] rustls::Error),
}

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let file = match self {
            Self::Unreadable { file, .. } | Self::Empty(file) => file,
            Self::Unusable(_) => return None,
        };
        let file = file.display();
        Some(format!(
            "see that {file} holds certificates as PEM, and can be read"
        ))
    }
}

/// Trusts the authorities of the system, and those in `ca_file`.
///
/// # Errors
///
/// Where the file holds none, or none that can be used.
pub(crate) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = ca_file.map_or_else(|| Ok(Vec::new()), authorities)?;
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(file.to_owned()));
    }
    Ok(certificates)
}

/// What is in `ca_file`, for a library that reads PEM itself.
///
/// # Errors
///
/// Where the file holds no certificate.
#[cfg(feature = "kafka")]
pub(crate) fn authorities_as_pem(ca_file: &Path) -> Result<String, TlsError> {
    authorities(ca_file)?;
    std::fs::read_to_string(ca_file).map_err(|source| TlsError::Unreadable {
        file: ca_file.to_owned(),
        source: pem::Error::Io(source),
    })
}

/// Where this system keeps the authorities that it trusts, for such a library.
#[cfg(feature = "kafka")]
pub(crate) fn authorities_of_system() -> Option<String> {
    let found = openssl_probe::probe();
    let path = found
        .cert_file
        .or_else(|| found.cert_dir.into_iter().next())?;
    path.into_os_string().into_string().ok()
}
