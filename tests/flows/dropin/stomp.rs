//! The way through RabbitMQ, by STOMP.

use harness::{Broker, RabbitMq};

use crate::support::{private, write};
use crate::way::{Carrier, go};

const TOPIC: &str = "/topic/hermes";

struct Rabbit {
    rabbit: RabbitMq,
    folder: tempfile::TempDir,
}

impl Carrier for Rabbit {
    fn name(&self) -> &'static str {
        "STOMP"
    }

    fn toml(&self) -> String {
        let password = self.folder.path().join("password");
        let (port, user) = (self.rabbit.broker().port(), Broker::LOGIN);
        format!(
            "[[event_source]]\nname = \"hermes\"\nkind = \"stomp\"\nbrokers = [\"127.0.0.1:{port}\"]\ntls = false\n\
             username = \"{user}\"\npassword_file = \"{}\"\ndestination = \"{TOPIC}\"\nsubscription = \"site-b\"\n\
             heart_beat = \"1s\"\n",
            password.display()
        )
    }

    fn send(&self, messages: &[Vec<u8>]) {
        self.rabbit.broker().send(TOPIC, messages).unwrap();
    }

    fn again(&mut self, all: &[Vec<u8>]) {
        // The subscription is durable: the broker keeps them until the daemon is back.
        self.send(all);
    }
}

#[test]
fn stomp_carries_what_ctrl_ingestd_took() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write(&password, Broker::PASSCODE.as_bytes());
    private(&password);
    let rabbit = RabbitMq::start().unwrap();
    go(&mut Rabbit { rabbit, folder });
}
