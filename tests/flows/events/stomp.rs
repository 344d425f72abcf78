//! STOMP against RabbitMQ: the suite of all sources, and what is STOMP's own.

use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Broker, RabbitMq};
use runsync::events::{self, EventSource};
use runsync_config::events::EventSource as Config;
use tempfile::TempDir;

use crate::event_source::{Brokers, MESSAGE_BYTES_MAX, Place, every_case};
use crate::support::{private, write};

/// The configuration of a source: `text` is TOML of `[[event_source]]`, whose files are in `folder`.
pub(crate) fn config(folder: &TempDir, text: &str) -> Config {
    let path = folder.path().join("site.toml");
    let password = folder.path().join("broker.password");
    write(&password, Broker::PASSCODE.as_bytes());
    private(&password);
    let root = folder.path().display();
    let text = format!(
        "[site]\nname = \"SITE_A\"\n[[root]]\nname = \"main\"\nurl = \"file://{root}/root\"\nrse = \"SITE_A\"\n\
         [[event_source]]\nname = \"hermes\"\nkind = \"stomp\"\n{text}\n"
    );
    write(&path, text.as_bytes());
    let site = runsync_config::load(&path).unwrap();
    site.event_sources[0].clone()
}

/// TOML of the login that a broker of the harness takes.
pub(crate) fn login() -> String {
    let username = Broker::LOGIN;
    format!("username = \"{username}\"\npassword_file = \"broker.password\"\n")
}

struct Rabbit {
    server: RabbitMq,
    folder: TempDir,
    places: AtomicU32,
}

struct Topic<'r> {
    rabbit: &'r Rabbit,
    name: String,
    config: Config,
}

impl Brokers for Rabbit {
    fn place(&self) -> Box<dyn Place + '_> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let name = format!("/topic/events.{number}");
        let port = self.server.broker().port();
        let text = format!(
            "brokers = [\"127.0.0.1:{port}\"]\ntls = false\n{}destination = \"{name}\"\n\
             subscription = \"site-{number}\"\nheart_beat = \"1s\"",
            login()
        );
        Box::new(Topic {
            rabbit: self,
            name,
            config: config(&self.folder, &text),
        })
    }

    fn cut(&self) {
        self.server.restart().unwrap();
    }
}

impl Place for Topic<'_> {
    fn source(&self) -> Box<dyn EventSource> {
        events::open(&self.config, MESSAGE_BYTES_MAX).unwrap()
    }

    fn send(&self, bodies: &[Vec<u8>]) {
        let broker = self.rabbit.server.broker();
        broker.send(&self.name, bodies).unwrap();
    }
}

#[test]
fn stomp_keeps_to_what_every_source_does() {
    every_case(&Rabbit {
        server: RabbitMq::start().unwrap(),
        folder: tempfile::tempdir().unwrap(),
        places: AtomicU32::new(0),
    });
}
