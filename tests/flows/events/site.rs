//! A site that hears messages of a broker.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use harness::Broker;
use runsync::ledger::record::{Hint, HintKind};
use serde_json::{Value, json};

use crate::process::{Daemon, Onlooker};
use crate::support::{TestSite, private, write};

/// The site's RSE.
pub(crate) const RSE: &str = "SITE_A_DISK";

/// A site, and where its messages come from.
pub(crate) struct Listener {
    pub(crate) site: TestSite,
    pub(crate) topic: String,
}

impl Listener {
    /// Makes a site that hears a topic of its own.
    pub(crate) fn new(topic: &str) -> Self {
        let site = TestSite::in_memory("size");
        let password = site.folder.path().join("keys/broker.password");
        write(&password, Broker::PASSCODE.as_bytes());
        private(&password);
        let topic = format!("/topic/{topic}");
        Self { site, topic }
    }

    /// Configures its one source: `brokers` and more are TOML of it.
    pub(crate) fn configure(&self, brokers: &str, more: &str) {
        self.configure_all(&self.source(brokers, more));
    }

    /// Configures it with whatever follows the root.
    pub(crate) fn configure_all(&self, more: &str) {
        let root = format!("rse = \"{RSE}\"");
        self.site.configure_daemon("size", &root, more);
    }

    /// TOML of its source.
    pub(crate) fn source(&self, brokers: &str, more: &str) -> String {
        let (topic, username) = (&self.topic, Broker::LOGIN);
        format!(
            "[[event_source]]\nname = \"hermes\"\nkind = \"stomp\"\nbrokers = [{brokers}]\n\
             destination = \"{topic}\"\nsubscription = \"runsync{}\"\nusername = \"{username}\"\n\
             password_file = \"keys/broker.password\"\nconnect_timeout = \"5s\"\n{more}\n",
            topic.replace('/', ".")
        )
    }

    /// Starts its daemon, and waits until it listens.
    pub(crate) fn listen(&self) -> Daemon {
        let daemon = Daemon::start(&self.site);
        self.until_connected(&daemon);
        daemon
    }

    pub(crate) fn until_connected(&self, daemon: &Daemon) {
        daemon.until("it listens", || !self.heard()["connected_to"].is_null());
    }

    /// What `status` tells of its source.
    pub(crate) fn heard(&self) -> Value {
        self.site.status()["daemon"]["sources"][0].clone()
    }

    /// Waits until it has heard as many messages.
    pub(crate) fn until_heard(&self, daemon: &Daemon, messages: u64) {
        daemon.until(&format!("{messages} messages"), || {
            self.heard()["heard"] == messages
        });
    }

    /// Names that hints of a kind are about, in the order in which they were heard last.
    pub(crate) fn hints(&self, kind: HintKind) -> Vec<String> {
        let Onlooker(readers) = self.site.watch();
        let hints = readers.ledger.hints_after(Some(kind), 0, usize::MAX);
        let hints = hints.unwrap().into_iter();
        hints.map(|hint: Hint| hint.name).collect()
    }

    /// How many hints there are in all.
    pub(crate) fn waiting(&self) -> u64 {
        let Onlooker(readers) = self.site.watch();
        let counts = readers.ledger.hint_counts().unwrap();
        counts.iter().map(|(_, count)| count).sum()
    }
}

/// TOML of a broker that is not encrypted.
pub(crate) fn plain(port: u16) -> String {
    format!("\"127.0.0.1:{port}\"")
}

/// A message as Hermes writes it.
pub(crate) fn message(event: &str, payload: &Value) -> Vec<u8> {
    let message = json!({
        "event_type": event, "payload": payload, "created_at": "2026-11-22 03:15:22.290612",
    });
    message.to_string().into_bytes()
}

/// A file that has come to an RSE.
pub(crate) fn arrival(name: &str, rse: &str) -> Vec<u8> {
    let payload = json!({
        "activity": "User Subscriptions", "request-id": "82b7", "duration": 0, "bytes": 2000,
        "checksum-adler": "2e94f1dd", "file-size": 2000, "guid": null, "scope": "cms",
        "name": name, "dataset": "ds3", "datasetScope": "cms", "src-rse": "SITE_B",
        "dst-rse": rse, "dst-url": format!("file://localhost/data/{rse}/cms/{name}"),
        "reason": "", "started_at": null, "transfer_link": null,
    });
    message("transfer-done", &payload)
}

/// Arrivals here, numbered.
pub(crate) fn arrivals(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| arrival(&format!("u/run/{number:03}"), RSE))
        .collect()
}

/// Stands between a site and its broker, and lets nothing of what the site says after its subscription through:
/// whatever it acknowledges, the broker does not hear it.
pub(crate) struct Gate {
    pub(crate) port: u16,
    /// What did not get through.
    pub(crate) kept_back: Arc<Mutex<Vec<u8>>>,
}

impl Gate {
    pub(crate) fn before(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept_back = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&kept_back);
        thread::spawn(move || {
            for site in listener.incoming().flatten() {
                let broker = TcpStream::connect(("127.0.0.1", broker)).unwrap();
                let back = (broker.try_clone().unwrap(), site.try_clone().unwrap());
                let kept = Arc::clone(&kept);
                thread::spawn(move || let_through(site, broker, &kept));
                thread::spawn(move || {
                    let (mut from, mut to) = back;
                    // Ends with either connection.
                    drop(std::io::copy(&mut from, &mut to));
                });
            }
        });
        Self { port, kept_back }
    }

    pub(crate) fn has_kept(&self, text: &str) -> bool {
        let kept = self.kept_back.lock().unwrap();
        String::from_utf8_lossy(&kept).contains(text)
    }
}

/// The first two frames: CONNECT and SUBSCRIBE.
fn let_through(mut site: TcpStream, mut broker: TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut ends = 0;
    let mut byte = [0];
    while let Ok(1) = site.read(&mut byte) {
        if ends == 2 {
            kept.lock().unwrap().push(byte[0]);
            continue;
        }
        ends += u32::from(byte[0] == 0);
        if broker.write_all(&byte).is_err() {
            break;
        }
    }
    // The broker learns that the site has gone.
    drop(broker.shutdown(Shutdown::Both));
}
