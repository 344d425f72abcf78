//! What is left of a harness.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use harness::Rucio;

use crate::text;

/// Where its parts listen, where all have been started.
pub(crate) fn ports(rucio: &Rucio) -> [u16; 5] {
    let port = |url: String| url.rsplit_once(':').unwrap().1.parse().unwrap();
    [
        rucio.port(),
        rucio.broker().unwrap().port(),
        port(rucio.transfers_url().unwrap()),
        port(rucio.issuer_url().unwrap()),
        port(rucio.tls_url().unwrap()),
    ]
}

pub(crate) fn assert_nothing_left(folder: &Path, ports: &[u16]) {
    assert_eq!(processes_of(folder), [""; 0]);
    assert!(!folder.try_exists().unwrap());
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", *port)).is_err(), "{port}");
    }
}

/// The command lines, or environments, of processes that name the folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| process.file_name().to_str().unwrap().parse::<u32>().is_ok())
        .filter_map(|process| {
            let read = |name| fs::read(process.path().join(name)).unwrap_or_default();
            let line = text(&read("cmdline"));
            (line.contains(folder) || text(&read("environ")).contains(folder)).then_some(line)
        })
        .collect()
}
