//! What every [`EventSource`] keeps to, whatever its broker speaks.
//!
//! One suite: [`every_case`] runs it against whatever a [`Place`] leads to. Cases send real messages
//! through a real broker, and each has a place of its own there.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test support, of which each target uses a part"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use runsync::events::{EventSource, Message};

/// Largest message that the sources of the suite read.
pub const MESSAGE_BYTES_MAX: u64 = 10_000;
/// Long enough for a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long a call may wait.
const PATIENCE: Duration = Duration::from_millis(200);

/// A broker with places for messages.
pub trait Brokers {
    /// A place that nobody has used.
    fn place(&self) -> Box<dyn Place + '_>;
    /// Ends all connections: stops the broker, and starts it again with what it has kept.
    fn cut(&self);
}

/// Where messages are sent and heard: a topic, with the name that this site is known by there.
pub trait Place {
    /// Listens: all that are made are known by the same name. It reads messages of at most
    /// [`MESSAGE_BYTES_MAX`] bytes, and commits no more than it is told to.
    fn source(&self) -> Box<dyn EventSource>;
    /// Sends messages, and returns when the broker has them.
    fn send(&self, bodies: &[Vec<u8>]);
}

type Case = fn(&dyn Brokers);

const CASES: &[(&str, Case)] = &[
    ("what is sent is given as it is", what_is_sent_is_given),
    ("nothing is given where nothing came", nothing_is_given),
    ("no more is given than was asked for", no_more_than_asked),
    ("what nobody listened to is kept", what_nobody_heard_is_kept),
    ("what was acknowledged does not come again", acknowledged),
    ("what was not acknowledged comes again", not_acknowledged),
    ("a cut loses nothing", a_cut_loses_nothing),
    ("an acknowledgement is of what was given before", in_part),
    ("a message that is too large stops nothing", too_large),
    ("a check takes nothing", a_check_takes_nothing),
];

/// Runs all cases.
pub fn every_case(brokers: &dyn Brokers) {
    for (name, case) in CASES {
        let start = Instant::now();
        eprintln!("case: {name}");
        case(brokers);
        eprintln!("case: {name}: {:?}", start.elapsed());
    }
}

/// A source that is subscribed: what is sent from now on is kept for it.
fn listening(place: &dyn Place) -> Box<dyn EventSource> {
    let mut source = place.source();
    assert_eq!(source.receive(10, PATIENCE).unwrap(), []);
    assert!(source.connected_to().is_some());
    source
}

/// As many messages as that, in the order in which they came. A connection that fails is made again.
fn take(source: &mut dyn EventSource, count: usize) -> Vec<Message> {
    let start = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < count {
        match source.receive(count - taken.len(), PATIENCE) {
            Ok(messages) => taken.extend(messages),
            // What was given before counts as not given.
            Err(_) => taken.clear(),
        }
        let waited = start.elapsed();
        assert!(waited < DEADLINE, "{} of {count} messages", taken.len());
    }
    taken
}

fn whole(messages: &[Message]) -> BTreeSet<Vec<u8>> {
    let bodies = messages.iter().map(|message| match message {
        Message::Whole(body) => body.clone(),
        Message::TooLarge { .. } => panic!("{message:?}"),
    });
    bodies.collect()
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| format!("message {number}").into_bytes())
        .collect()
}

fn set(bodies: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    bodies.iter().cloned().collect()
}

/// Tells that nothing else waits: the next message to come is one that is sent now.
fn assert_nothing_waits(place: &dyn Place, source: &mut dyn EventSource) {
    let marker = vec![b"marker".to_vec()];
    place.send(&marker);
    assert_eq!(whole(&take(source, 1)), set(&marker));
    source.acknowledge().unwrap();
    assert_eq!(source.receive(10, PATIENCE).unwrap(), []);
}

fn what_is_sent_is_given(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    let bodies = vec![
        b"{\"event_type\": \"close\"}\n".to_vec(),
        "é: ☃".as_bytes().to_vec(),
        (0..=255).collect(),
        b"a\0b\0\n\n\0".to_vec(),
        vec![],
        vec![b'x'; usize::try_from(MESSAGE_BYTES_MAX).unwrap()],
    ];
    place.send(&bodies);
    let taken = take(&mut *source, bodies.len());
    assert_eq!(whole(&taken), set(&bodies));
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}

fn nothing_is_given(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    source.acknowledge().unwrap();
    let start = Instant::now();
    assert_eq!(source.receive(10, PATIENCE).unwrap(), []);
    // It waits for a message, and no longer than it may.
    assert!(start.elapsed() >= PATIENCE / 2);
    assert!(start.elapsed() < DEADLINE / 4);
    assert_nothing_waits(&*place, &mut *source);
}

fn no_more_than_asked(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    let bodies = numbered(0..25);
    place.send(&bodies);
    let mut taken = Vec::new();
    let start = Instant::now();
    while taken.len() < bodies.len() {
        let messages = source.receive(10, PATIENCE).unwrap();
        assert!(messages.len() <= 10, "{}", messages.len());
        taken.extend(messages);
        assert!(start.elapsed() < DEADLINE, "{} came", taken.len());
    }
    assert_eq!(whole(&taken), set(&bodies));
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}

fn what_nobody_heard_is_kept(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    source.leave().unwrap();
    assert_eq!(source.connected_to(), None);
    drop(source);
    let bodies = numbered(0..5);
    place.send(&bodies);
    let mut source = place.source();
    assert_eq!(whole(&take(&mut *source, 5)), set(&bodies));
}

fn acknowledged(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    place.send(&numbered(0..50));
    // In two calls: one acknowledgement is of both.
    take(&mut *source, 20);
    take(&mut *source, 30);
    source.acknowledge().unwrap();
    source.leave().unwrap();
    // The same again, and another.
    assert_nothing_waits(&*place, &mut *source);
    source.leave().unwrap();
    assert_nothing_waits(&*place, &mut *place.source());
}

fn not_acknowledged(brokers: &dyn Brokers) {
    let place = brokers.place();
    let bodies = numbered(0..50);
    let mut source = listening(&*place);
    place.send(&bodies);
    take(&mut *source, 50);
    source.leave().unwrap();
    assert_eq!(whole(&take(&mut *source, 50)), set(&bodies));
    // As a process that is killed leaves it.
    drop(source);
    let mut source = place.source();
    assert_eq!(whole(&take(&mut *source, 50)), set(&bodies));
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}

fn a_cut_loses_nothing(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    let bodies = numbered(0..50);
    place.send(&bodies);
    let given = take(&mut *source, 30);
    brokers.cut();
    // It may or may not notice; what it was given before the cut is not safe by that.
    drop(source.acknowledge());
    let mut came = whole(&given);
    let start = Instant::now();
    while came.len() < bodies.len() {
        if let Ok(messages) = source.receive(50, PATIENCE) {
            came.extend(whole(&messages));
        }
        assert!(start.elapsed() < DEADLINE, "{} came", came.len());
    }
    assert_eq!(came, set(&bodies));
}

fn in_part(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    let bodies = numbered(0..20);
    place.send(&bodies);
    let first = whole(&take(&mut *source, 10));
    source.acknowledge().unwrap();
    let second = whole(&take(&mut *source, 10));
    source.leave().unwrap();
    let again = whole(&take(&mut *source, 10));
    assert_eq!(again, second);
    assert_eq!(first.union(&again).count(), 20);
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}

fn too_large(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    let large = vec![b'y'; 200_000];
    place.send(&[b"before".to_vec(), large, b"after".to_vec()]);
    let taken = take(&mut *source, 3);
    let [Message::Whole(before), middle, Message::Whole(after)] = &*taken else {
        panic!("{taken:?}")
    };
    assert_eq!((&**before, &**after), (&b"before"[..], &b"after"[..]));
    let Message::TooLarge { size, beginning } = middle else {
        panic!("{middle:?}")
    };
    assert_eq!(*size, 200_000);
    assert!(!beginning.is_empty() && beginning.len() < 10_000);
    assert!(beginning.iter().all(|byte| *byte == b'y'));
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}

fn a_check_takes_nothing(brokers: &dyn Brokers) {
    let place = brokers.place();
    let mut source = listening(&*place);
    source.leave().unwrap();
    let bodies = numbered(0..5);
    place.send(&bodies);
    let checked = place.source().check();
    assert!(!checked.is_empty());
    for checked in checked {
        assert!(checked.found.is_ok(), "{checked:?}");
    }
    assert_eq!(whole(&take(&mut *source, 5)), set(&bodies));
    // Also while it listens.
    assert!(
        place
            .source()
            .check()
            .iter()
            .all(|checked| checked.found.is_ok())
    );
    source.acknowledge().unwrap();
    assert_nothing_waits(&*place, &mut *source);
}
