//! Kafka against a broker that speaks its protocol: the suite of all sources, and what is Kafka's own.

use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Door, Kafka};
use runsync::events::{self, EventSource};
use runsync_config::events::EventSource as Config;
use tempfile::TempDir;

use crate::event_source::{Brokers, MESSAGE_BYTES_MAX, Place, every_case};

struct Cluster {
    kafka: Kafka,
    folder: TempDir,
    places: AtomicU32,
}

struct Topic<'c> {
    cluster: &'c Cluster,
    name: String,
    config: Config,
}

impl Brokers for Cluster {
    fn place(&self) -> Box<dyn Place + '_> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let name = format!("events.{number}");
        // One partition: the suite looks at the order, too.
        self.kafka.make_topic(&name, 1).unwrap();
        let text = format!("topics = [\"{name}\"]\ngroup = \"site-{number}\"");
        Box::new(Topic {
            config: config(&self.folder, self.kafka.port(), &text),
            cluster: self,
            name,
        })
    }

    fn cut(&self) {
        self.kafka.restart().unwrap();
    }
}

impl Place for Topic<'_> {
    fn source(&self) -> Box<dyn EventSource> {
        events::open(&self.config, MESSAGE_BYTES_MAX).unwrap()
    }

    fn send(&self, bodies: &[Vec<u8>]) {
        self.cluster.kafka.send(&self.name, 0, bodies).unwrap();
    }
}

/// The configuration of a source that comes in by plain TCP.
fn config(folder: &TempDir, port: u16, text: &str) -> Config {
    let brokers = format!("brokers = [\"127.0.0.1:{port}\"]\ntls = false\n{text}");
    crate::config(folder, "kafka", &brokers)
}

#[test]
fn kafka_keeps_to_what_every_source_does() {
    every_case(&Cluster {
        kafka: Kafka::start(Door::Open).unwrap(),
        folder: tempfile::tempdir().unwrap(),
        places: AtomicU32::new(0),
    });
}
