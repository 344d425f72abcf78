//! The one implementation of TLS's cryptography that this process uses.

/// Makes it the one that libraries find. Needed before any HTTP client is made, whether or not it
/// speaks TLS; whoever comes first decides, and all here decide the same.
pub(crate) fn install_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
