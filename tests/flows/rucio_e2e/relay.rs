//! Stands between the broker and the sites: what Rucio tells comes twice, and in another order.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::Broker;

/// Where the sites hear it.
pub(crate) const DESTINATION: &str = "/topic/rucio.events.twice";
/// Messages that are shuffled at once.
const SHUFFLED: usize = 50;
/// When nothing more comes for as long, what has come is sent.
const PAUSE: Duration = Duration::from_millis(200);

/// A thread that hears and tells until it is stopped.
pub(crate) struct Relay {
    stopping: Arc<AtomicBool>,
    told: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Relay {
    pub(crate) fn start(broker: &Broker) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", broker.port())).unwrap();
        let login = format!(
            "accept-version:1.2\nhost:{}\nlogin:{}\npasscode:{}",
            Broker::VIRTUAL_HOST,
            Broker::LOGIN,
            Broker::PASSCODE
        );
        send(&mut stream, "CONNECT", &login, b"");
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        assert_eq!(read(&mut reader).unwrap().0, "CONNECTED");
        let subscription = format!(
            "id:relay\ndestination:{}\nack:auto\nreceipt:subscribed",
            Broker::DESTINATION
        );
        send(&mut stream, "SUBSCRIBE", &subscription, b"");
        assert_eq!(read(&mut reader).unwrap().0, "RECEIPT");
        stream.set_read_timeout(Some(PAUSE)).unwrap();
        let (stopping, told) = (Arc::default(), Arc::default());
        let (stop, count) = (Arc::clone(&stopping), Arc::clone(&told));
        let thread = std::thread::spawn(move || relay(&mut stream, &mut reader, &stop, &count));
        Self {
            stopping,
            told,
            thread,
        }
    }

    /// Ends it, and says how many messages it has told twice.
    pub(crate) fn stop(self) -> usize {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.told.load(Ordering::Relaxed)
    }
}

fn relay(
    stream: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    stop: &AtomicBool,
    told: &AtomicUsize,
) {
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    let mut random: usize = 7;
    while !stop.load(Ordering::Relaxed) {
        if let Some((command, body)) = read(reader) {
            assert_eq!(command, "MESSAGE");
            waiting.push(body);
            if waiting.len() < SHUFFLED {
                continue;
            }
        }
        told.fetch_add(waiting.len(), Ordering::Relaxed);
        let mut twice = [waiting.clone(), std::mem::take(&mut waiting)].concat();
        while !twice.is_empty() {
            // Numerical Recipes' constants: any order will do that is not the one they came in.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let message = twice.swap_remove((random >> 16) % twice.len());
            send(
                stream,
                "SEND",
                &format!("destination:{DESTINATION}"),
                &message,
            );
        }
    }
}

fn send(stream: &mut TcpStream, command: &str, headers: &str, body: &[u8]) {
    let head = format!("{command}\n{headers}\ncontent-length:{}\n\n", body.len());
    let frame = [head.as_bytes(), body, b"\0"].concat();
    stream.write_all(&frame).unwrap();
}

/// A frame's command and body; nothing where none comes within the pause.
fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    loop {
        match reader.fill_buf() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            buffered => match buffered.unwrap().first() {
                None => return None,
                // Ends of lines may stand between frames.
                Some(b'\n' | b'\r') => reader.consume(1),
                Some(_) => break,
            },
        }
    }
    reader
        .get_ref()
        .set_read_timeout(Some(crate::process::DEADLINE))
        .unwrap();
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    let command = line();
    let mut length = 0;
    loop {
        let header = line();
        if header.is_empty() {
            break;
        }
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.parse().unwrap();
        }
    }
    let mut body = vec![0; length + 1];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(body.pop(), Some(0));
    reader.get_ref().set_read_timeout(Some(PAUSE)).unwrap();
    Some((command, body))
}
