//! What the broker tells.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use harness::Broker;

use crate::{DEADLINE, text};

/// A subscriber to the broker that speaks as little STOMP as it can.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// Subscribes, and waits until messages come its way.
    pub(crate) fn subscribe(broker: &Broker) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", broker.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut events = Self(BufReader::new(stream));
        events.send(&format!(
            "CONNECT\naccept-version:1.2\nhost:{}\nlogin:{}\npasscode:{}\n\n",
            Broker::VIRTUAL_HOST,
            Broker::LOGIN,
            Broker::PASSCODE
        ));
        assert!(events.frame().starts_with("CONNECTED"));
        let destination = Broker::DESTINATION;
        events.send(&format!(
            "SUBSCRIBE\nid:0\ndestination:{destination}\nack:auto\ndurable:true\nauto-delete:false\nreceipt:subscribed\n\n"
        ));
        assert!(events.frame().starts_with("RECEIPT"));
        events
    }

    fn send(&mut self, frame: &str) {
        let bytes = [frame.as_bytes(), b"\0"].concat();
        self.0.get_mut().write_all(&bytes).unwrap();
    }

    fn frame(&mut self) -> String {
        let mut frame = Vec::new();
        self.0.read_until(0, &mut frame).unwrap();
        text(&frame).trim_start().to_owned()
    }

    /// The next message of that type.
    pub(crate) fn wait_for(&mut self, kind: &str) -> String {
        loop {
            let frame = self.frame();
            assert!(frame.starts_with("MESSAGE"), "{kind}: {frame}");
            if frame.contains(&format!("event_type:{kind}")) {
                return frame;
            }
        }
    }
}
