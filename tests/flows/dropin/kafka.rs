//! The way through Kafka, with what `runsync config import-ingestd` makes of `ctrl_ingestd`'s configuration.

use std::path::Path;
use std::process::Command;

use harness::{Door, Kafka};

use crate::sender::RSE;
use crate::support::write;
use crate::traffic::RUCIO_PREFIX;
use crate::way::{Carrier, go};

/// As Rubin's topics are called: the RSE, and the scope.
const TOPIC: &str = "SITE_B_DISK-test";

struct Hermesk {
    kafka: Kafka,
    folder: tempfile::TempDir,
    /// Consumer groups before this one.
    groups: u32,
}

impl Carrier for Hermesk {
    fn name(&self) -> &'static str {
        "Kafka"
    }

    fn toml(&self) -> String {
        let file = self.folder.path().join("ingestd.yml");
        let text = format!(
            "brokers:\n    - 127.0.0.1:{}\ngroup_id: \"ingestd-{}\"\nnum_messages: 50\nbutler_repo: /tmp/repo\n\
             topics:\n    {TOPIC}:\n        rucio_prefix: {RUCIO_PREFIX}\n        fs_prefix: file:///replaced\n",
            self.kafka.port(),
            self.groups
        );
        write(&file, text.as_bytes());
        let toml = imported(&file);
        assert!(toml.contains(&format!("rse = \"{RSE}\"")), "{toml}");
        let (_, source) = toml.split_once("[[event_source]]").unwrap();
        format!("[[event_source]]{source}")
    }

    fn send(&self, messages: &[Vec<u8>]) {
        // As keys would: what is of one partition comes in order, and nothing else does.
        for partition in 0..2_u8 {
            let of = messages.iter().skip(partition.into()).step_by(2);
            self.kafka.send(TOPIC, partition.into(), of).unwrap();
        }
    }

    fn again(&mut self, _all: &[Vec<u8>]) {
        // A group that has read nothing yet begins with the oldest message there is.
        self.groups += 1;
    }
}

#[test]
fn kafka_carries_what_ctrl_ingestd_took() {
    let kafka = Kafka::start(Door::Open).unwrap();
    kafka.make_topic(TOPIC, 2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    go(&mut Hermesk {
        kafka,
        folder,
        groups: 0,
    });
}

/// What `runsync config import-ingestd` prints.
fn imported(file: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsync"));
    let output = command
        .args(["config", "import-ingestd"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
