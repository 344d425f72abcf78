//! Kafka against a broker that speaks its protocol: the suite of all sources, and what is Kafka's own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Door, Kafka};
use runsync::events::{self, EventSource, Message};
use runsync_config::events::EventSource as Config;
use tempfile::TempDir;

use crate::event_source::{Brokers, MESSAGE_BYTES_MAX, Place, every_case};
use crate::support::write;

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

/// The configuration of a source that comes in by plain TCP, whose file is in `folder`.
fn config(folder: &TempDir, port: u16, text: &str) -> Config {
    let path = folder.path().join("site.toml");
    let root = folder.path().display();
    let text = format!(
        "[site]\nname = \"SITE_A\"\n[[root]]\nname = \"main\"\nurl = \"file://{root}/root\"\nrse = \"SITE_A\"\n\
         [[event_source]]\nname = \"hermesk\"\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{port}\"]\ntls = false\n{text}\n"
    );
    write(&path, text.as_bytes());
    let site = runsync_config::load(&path).unwrap();
    site.event_sources[0].clone()
}

#[test]
fn kafka_keeps_to_what_every_source_does() {
    every_case(&Cluster {
        kafka: Kafka::start(Door::Open).unwrap(),
        folder: tempfile::tempdir().unwrap(),
        places: AtomicU32::new(0),
    });
}

const PATIENCE: Duration = Duration::from_millis(100);

fn bodies(messages: &[Message]) -> impl Iterator<Item = Vec<u8>> {
    messages.iter().map(|message| {
        let body = match message {
            Message::Whole(body) => Some(body.clone()),
            Message::TooLarge { .. } => None,
        };
        body.unwrap()
    })
}

/// What a member was given before its partitions went to another is not acknowledged by it: the other gets it.
#[test]
fn partitions_that_are_taken_away_are_not_acknowledged() {
    let kafka = Kafka::start(Door::Open).unwrap();
    let folder = tempfile::tempdir().unwrap();
    kafka.make_topic("shared", 4).unwrap();
    let text = "topics = [\"shared\"]\ngroup = \"site\"";
    let config = config(&folder, kafka.port(), text);
    let open = || events::open(&config, MESSAGE_BYTES_MAX).unwrap();
    let mut all = BTreeSet::new();
    for partition in 0..4 {
        let sent: Vec<Vec<u8>> = (0..10)
            .map(|number| format!("{partition}.{number}").into_bytes())
            .collect();
        kafka.send("shared", partition, &sent).unwrap();
        all.extend(sent);
    }
    let mut first = open();
    let mut given = BTreeSet::new();
    crate::process::until("the first member has all", || {
        given.extend(bodies(&first.receive(100, PATIENCE).unwrap()));
        given == all
    });
    // The second gets a share as soon as the first lets go of it, which it does when it is asked for more.
    let mut second = open();
    let mut of_second = BTreeSet::new();
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            crate::process::until("the second member has half", || {
                of_second.extend(bodies(&second.receive(100, PATIENCE).unwrap()));
                of_second.len() == 20
            });
        });
        crate::process::until("the first member lets go", || {
            // What stays its own comes again: it was not acknowledged before the change.
            drop(first.receive(100, PATIENCE).unwrap());
            taker.is_finished()
        });
    });
    first.acknowledge().unwrap();
    first.leave().unwrap();
    // What the second was given is still nobody's.
    second.leave().unwrap();
    let mut third = open();
    let mut again = BTreeSet::new();
    crate::process::until("what the second member had comes again", || {
        again.extend(bodies(&third.receive(100, PATIENCE).unwrap()));
        again.len() >= 20
    });
    assert_eq!(again, of_second);
}
