//! What requests travel through: connections, TLS, and the causes of their failures.

use std::error::Error as _;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity};
use runsync_config::rucio::{Login, Rucio as Config};
use runsync_config::secret;

use super::error::RucioError;
use crate::tls;

/// A connection that has been idle this long is not used again: gunicorn closes idle ones after 2 s,
/// and a request that meets the closing gets no answer.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Checks what can be checked without a connection.
pub(super) fn check(config: &Config) -> Result<(), RucioError> {
    builder(config).map(drop)
}

/// What sends requests that carry a token. It blocks for a moment, as all of it does.
pub(super) fn client(config: &Config) -> Result<Client, RucioError> {
    build(config, builder(config)?)
}

/// What sends requests for a token: with the client's certificate, where that is the login.
/// Certificate and key are read anew.
pub(super) fn login_client(config: &Config) -> Result<Client, RucioError> {
    let mut builder = builder(config)?;
    if let Login::X509 {
        certificate_file,
        private_key_file,
    } = &config.login
    {
        let mut pem = secret::read(private_key_file)?.expose().as_bytes().to_vec();
        pem.push(b'\n');
        pem.extend(read(certificate_file)?);
        let identity =
            Identity::from_pem(&pem).map_err(|error| certificate(certificate_file, error))?;
        builder = builder.identity(identity);
    }
    build(config, builder)
}

fn builder(config: &Config) -> Result<ClientBuilder, RucioError> {
    tls::install_provider();
    let mut builder = Client::builder()
        .user_agent(concat!("runsync/", env!("CARGO_PKG_VERSION")))
        .timeout(config.timeout)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(IDLE_MAX)
        // A redirect would take the token elsewhere: the URLs here need none.
        .redirect(Policy::none())
        // Each request is sent once: who may send it again is decided above.
        .retry(reqwest::retry::never());
    if let Some(file) = &config.ca_file {
        let bundle = Certificate::from_pem_bundle(&read(file)?);
        let certificates = bundle.map_err(|error| certificate(file, error))?;
        if certificates.is_empty() {
            return Err(certificate(file, "it holds no certificate"));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    Ok(builder)
}

fn build(config: &Config, builder: ClientBuilder) -> Result<Client, RucioError> {
    builder.build().map_err(|error| RucioError::Tls {
        url: config.url.to_string(),
        source: error.into(),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, RucioError> {
    fs::read(file).map_err(|error| certificate(file, error))
}

fn certificate(file: &Path, error: impl Into<super::error::Cause>) -> RucioError {
    RucioError::Certificate {
        file: file.to_owned(),
        source: error.into(),
    }
}

/// A header's value that no log shows; `None` where it cannot be one.
pub(super) fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a request that got no answer failed of.
pub(super) fn failure(url: &str, request: &str, error: reqwest::Error) -> RucioError {
    let error = error.without_url();
    if is_about_tls(&error) {
        return RucioError::Tls {
            url: url.to_owned(),
            source: error.into(),
        };
    }
    if error.is_connect() {
        return RucioError::Unreachable {
            url: url.to_owned(),
            source: error.into(),
        };
    }
    RucioError::Unknown {
        request: request.to_owned(),
        source: error.into(),
    }
}

/// Whether the TLS handshake failed: rustls is somewhere among the causes.
fn is_about_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An error of input and output names as its cause that of what it wraps, and so hides it.
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}
