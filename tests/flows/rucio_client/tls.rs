//! Servers whose word is not to be taken: nothing secret is sent to them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::front::Front;
use crate::told::{Case, go_through, outcome};
use crate::way::{PASSWORD, Way, client_of, write};

#[test]
fn a_server_that_cannot_prove_itself_is_told_from_one_that_is_not_there() {
    let cases: Vec<Case<'_>> = vec![
        ("a certificate that is right", Box::new(right)),
        (
            "an authority that nobody knows",
            Box::new(|| wrong(&Server::default(), false)),
        ),
        (
            "a certificate for another name",
            Box::new(|| {
                wrong(
                    &Server {
                        name: "elsewhere.example.org",
                        is_over: false,
                    },
                    true,
                )
            }),
        ),
        (
            "a certificate that has expired",
            Box::new(|| {
                wrong(
                    &Server {
                        name: "localhost",
                        is_over: true,
                    },
                    true,
                )
            }),
        ),
        ("TLS spoken to a server without it", Box::new(plain)),
        ("a server with TLS spoken to without it", Box::new(reverse)),
        (
            "a file of authorities that holds none",
            Box::new(no_authority),
        ),
        ("a file of authorities that is not there", Box::new(no_file)),
    ];
    go_through("TLS", cases);
}

struct Server {
    name: &'static str,
    is_over: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "localhost",
            is_over: false,
        }
    }
}

/// A server with a certificate; and its authority's, as PEM.
fn start(server: &Server) -> (Front, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new([server.name.to_owned()]).unwrap();
    if server.is_over {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Front::tls(config), authority.pem())
}

fn way(front: &Front, authority: Option<&str>) -> Way {
    let url = format!("https://localhost:{}", front.port);
    let mut way = Way::userpass(&url);
    if let Some(authority) = authority {
        way.config.ca_file = Some(file(&way, authority));
    }
    way
}

fn file(way: &Way, text: &str) -> PathBuf {
    let file = way.folder.path().join("authority.pem");
    write(&file, text);
    file
}

fn right() -> String {
    let (front, authority) = start(&Server::default());
    let version = way(&front, Some(&authority)).client().version();
    assert_eq!(version.unwrap(), "1");
    assert_eq!(front.asked(), ["GET /ping"]);
    "answered".to_owned()
}

fn wrong(server: &Server, is_known: bool) -> String {
    let (front, authority) = start(server);
    let way = way(&front, is_known.then_some(authority.as_str()));
    for error in [
        way.client().version().unwrap_err(),
        way.client().scopes().unwrap_err(),
    ] {
        assert_eq!(outcome(&error), "Tls");
        assert!(!error.may_pass() && error.hint().is_some());
    }
    assert_eq!(front.seen().len(), 0);
    "Tls; 0 requests arrive".to_owned()
}

fn plain() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Read to its end, or the answer might be lost with the connection.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let way = Way::userpass(&format!("https://127.0.0.1:{port}"));
    let what = outcome(&way.client().version().unwrap_err());
    server.join().unwrap();
    assert_eq!(what, "Tls");
    format!("{what}; 1 connection")
}

fn reverse() -> String {
    let (front, _) = start(&Server::default());
    let way = Way::userpass(&front.url());
    let error = way.client().version().unwrap_err();
    let what = outcome(&error);
    assert!(
        matches!(what.as_str(), "Unknown" | "NotUnderstood"),
        "{what}"
    );
    assert_eq!(front.seen().len(), 0);
    what
}

fn no_authority() -> String {
    let front = Front::script([]);
    let mut way = Way::userpass(&front.url());
    let empty = file(&way, "nothing\n");
    way.config.ca_file = Some(empty);
    let error = runsync::rucio::Rucio::new(&way.config).unwrap_err();
    assert_eq!(outcome(&error), "Certificate");
    let (_way, rucio) = client_of(&front);
    assert!(!format!("{rucio:?}").contains(PASSWORD));
    "Certificate".to_owned()
}

fn no_file() -> String {
    let front = Front::script([]);
    let mut way = Way::userpass(&front.url());
    way.config.ca_file = Some("/nowhere/authority.pem".into());
    let error = runsync::rucio::Rucio::new(&way.config).unwrap_err();
    assert_eq!(outcome(&error), "Certificate");
    assert!(error.to_string().contains("/nowhere/authority.pem"));
    "Certificate, with its path".to_owned()
}
