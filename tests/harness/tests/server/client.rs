//! Clients that log in as services do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use harness::{Certificate, Rucio};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What the server says of the account behind a token.
pub(crate) fn whoami(rucio: &Rucio, token: &str) -> String {
    let headers = [("X-Rucio-Auth-Token", token)];
    let answer = rucio.send("GET", "/accounts/whoami", &headers, None);
    answer.unwrap().body
}

/// Asks for a token by a client certificate; the answer as it comes.
pub(crate) fn tls_login(rucio: &Rucio, certificate: Option<&Certificate>, headers: &str) -> String {
    let mut roots = RootCertStore::empty();
    let authority = rucio.authority().unwrap();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some(certificate) => {
            let chain = vec![CertificateDer::from_pem_file(&certificate.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let url = rucio.tls_url().unwrap();
    let (_, address) = url.split_once("://").unwrap();
    let server = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let request =
        format!("GET /auth/x509 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // gunicorn closes without a word of TLS.
    drop(stream.read_to_string(&mut answer));
    answer
}

pub(crate) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let found = answer.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    });
    found.unwrap_or_else(|| panic!("no {name}: {answer}"))
}
