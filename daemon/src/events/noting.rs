//! Takes messages: what they hint at goes into the ledger, and what cannot be read is set aside.
//!
//! The one place where messages become hints, whichever way they came. Once [`Noting::note`] has returned, a
//! message is safe, and whoever gave it is told so; before, it comes again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use runsync_config::events::Events;
use runsync_manifest::name::RseName;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;

use super::error::EventsError;
use super::parse::{self, Reader};
use super::source::{Message, beginning};
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::ledger::record::{HintKind, NewHint, NewPoison};
use crate::poison::lock;
use crate::telemetry::events as counted;
use crate::worker::Wake;

/// Names of events that nobody here has heard of, told in the log: once each, and no more than these.
const UNKNOWN_TOLD: usize = 100;

/// What stands for the event of a message that cannot be read, among the counts.
const UNREADABLE: &str = "unreadable";

/// Takes messages for one site.
#[derive(Debug)]
pub struct Noting {
    ledger: Arc<dyn Ledger>,
    reader: Reader,
    bounds: Events,
    /// Who acts on hints.
    wakes: Vec<Wake>,
    clock: Arc<dyn Clock>,
    told: Mutex<BTreeSet<String>>,
}

/// What messages matter at a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The RSEs of the site.
    pub rses: BTreeSet<RseName>,
    /// Whether somebody acts on messages that tell of the dataset in a file. Where nobody does, they are taken as
    /// Rucio's own: a file came.
    pub adopts: bool,
}

/// What came of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Noted {
    /// Messages.
    pub heard: u64,
    /// Hints that they came to.
    pub hints: u64,
    /// Hints that were not there already.
    pub new: u64,
    /// Messages of events that nobody here has heard of.
    pub unknown: u64,
    /// Messages that could not be read, and were set aside.
    pub poison: u64,
    /// Hints for which there was no room; everything is looked at instead.
    pub dropped: u64,
    /// When the newest of them was written, as it says.
    pub created_at: Option<Timestamp>,
}

impl Noted {
    fn tally(&self) -> counted::Tally {
        counted::Tally {
            hints: self.hints,
            unknown: self.unknown,
            poison: self.poison,
            dropped: self.dropped,
        }
    }
}

impl Noting {
    /// Takes messages, and wakes those who act on hints.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        about: About,
        bounds: Events,
        wakes: Vec<Wake>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            ledger,
            reader: Reader::new(about, bounds.message_bytes_max),
            bounds,
            wakes,
            clock,
            told: Mutex::default(),
        }
    }

    /// What is kept.
    pub fn bounds(&self) -> &Events {
        &self.bounds
    }

    /// Takes messages from `source`. When it returns, all of them are safe; to do it again changes nothing.
    ///
    /// # Errors
    ///
    /// Where the ledger fails, or there is no room for hints that nothing else tells of: then none of
    /// the messages counts as taken.
    pub fn note(&self, source: &str, messages: &[Message]) -> Result<Noted, EventsError> {
        let mut noted = Noted::default();
        let (mut hints, mut poison) = (Vec::new(), Vec::new());
        let mut events = Vec::with_capacity(messages.len());
        let now = self.clock.now();
        for message in messages {
            noted.heard += 1;
            match self.reader.read(message, now) {
                Ok(read) => {
                    events.push(read.event);
                    if read.is_unknown() {
                        noted.unknown += 1;
                        self.tell_unknown(source, message);
                    }
                    noted.created_at = noted.created_at.max(read.created_at);
                    hints.extend(read.hint);
                }
                Err(reason) => poison.push(set_aside(source, now, message, reason.to_string())),
            }
        }
        noted.hints = count(hints.len());
        noted.poison = count(poison.len());
        self.keep(hints, &mut noted)?;
        self.ledger.note_poison(&poison, self.bounds.poison_max)?;
        if let Some(first) = poison.first() {
            let (messages, reason) = (poison.len(), &first.reason);
            warn!(
                source,
                messages, reason, "messages that cannot be read are set aside"
            );
        }
        events.extend(poison.iter().map(|_| UNREADABLE));
        counted::heard(source, &events);
        counted::noted(source, noted.tally());
        if noted.hints > noted.dropped {
            self.wakes.iter().for_each(Wake::wake);
        }
        Ok(noted)
    }

    /// Keeps hints as far as there is room for them: first those that nothing else tells of.
    fn keep(&self, mut hints: Vec<NewHint>, noted: &mut Noted) -> Result<(), EventsError> {
        if hints.is_empty() {
            return Ok(());
        }
        let waiting: u64 = self
            .ledger
            .hint_counts()?
            .iter()
            .map(|(_, count)| count)
            .sum();
        let room = self.bounds.hints_max.saturating_sub(waiting);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if hints.len() > room {
            hints.sort_by_key(|hint| hint.kind != HintKind::PerFile);
            let needed = hints
                .iter()
                .take_while(|hint| hint.kind == HintKind::PerFile)
                .count();
            if needed > room {
                let more = needed - room;
                return Err(EventsError::Full { waiting, more });
            }
            noted.dropped = count(hints.len() - room);
            hints.truncate(room);
        }
        noted.new = count(self.ledger.note_hints(&hints)?);
        if noted.dropped > 0 {
            self.ledger.lose_hints(noted.dropped)?;
            let dropped = noted.dropped;
            warn!(
                dropped,
                waiting, "no room for hints: everything is looked at instead"
            );
        }
        Ok(())
    }

    fn tell_unknown(&self, source: &str, message: &Message) {
        let Some(event) = parse::shown(message) else {
            return;
        };
        let mut told = lock(&self.told);
        if told.len() < UNKNOWN_TOLD && told.insert(event.clone()) {
            info!(
                source,
                event, "messages of this event are not known here, and ignored"
            );
        }
    }
}

fn set_aside(source: &str, at: Timestamp, message: &Message, reason: String) -> NewPoison {
    let (size, body) = match message {
        Message::Whole(body) => (count(body.len()), beginning(body)),
        Message::TooLarge { size, beginning } => (*size, &**beginning),
    };
    NewPoison {
        source: source.to_owned(),
        at,
        reason,
        size,
        body: body.to_vec(),
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::lease::{End, Fence, Tenure};
    use crate::ledger::SqliteLedger;

    struct Scene {
        ledger: Arc<dyn Ledger>,
        noting: Noting,
        tenure: Tenure,
        _folder: tempfile::TempDir,
    }

    /// A site that keeps so many hints, and two messages that cannot be read.
    fn scene(hints_max: u64) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.sqlite");
        SqliteLedger::create(&file).unwrap();
        let tenure = Tenure::begin(Fence::stored(1), || ());
        let ledger = SqliteLedger::open(&file, &tenure, Duration::ZERO).unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let about = About {
            rses: ["SITE_B".parse().unwrap()].into(),
            adopts: true,
        };
        let bounds = Events {
            hints_max,
            poison_max: 2,
            ..Events::default()
        };
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let noting = Noting::new(Arc::clone(&ledger), about, bounds, Vec::new(), clock);
        Scene {
            ledger,
            noting,
            tenure,
            _folder: folder,
        }
    }

    fn arrival(name: &str, tells: bool) -> Message {
        let mut payload = json!({"scope": "cms", "name": name, "dst-rse": "SITE_B"});
        if tells {
            payload["rubin_butler"] = "data_product".into();
        }
        let message = json!({"event_type": "transfer-done", "payload": payload});
        Message::Whole(message.to_string().into_bytes())
    }

    fn waiting(ledger: &dyn Ledger) -> Vec<String> {
        let hints = ledger.hints_after(None, 0, usize::MAX).unwrap();
        hints.into_iter().map(|hint| hint.name).collect()
    }

    #[test]
    fn where_there_is_no_room_what_nothing_else_tells_of_comes_first_and_is_never_dropped() {
        let scene = scene(2);
        let messages = [
            arrival("a", false),
            arrival("b", true),
            arrival("c", false),
            arrival("d", true),
        ];
        let noted = scene.noting.note("test", &messages).unwrap();
        assert_eq!((noted.hints, noted.new, noted.dropped), (4, 2, 2));
        assert_eq!(waiting(&*scene.ledger), ["b", "d"]);
        assert_eq!(scene.ledger.hints_lost().unwrap(), 2);

        // Others have no room at all, and are not acknowledged.
        let error = scene
            .noting
            .note("test", &[arrival("e", true)])
            .unwrap_err();
        assert!(
            matches!(
                error,
                EventsError::Full {
                    waiting: 2,
                    more: 1
                }
            ),
            "{error}"
        );
        assert_eq!(waiting(&*scene.ledger), ["b", "d"]);
        scene.ledger.hints_done(&[2]).unwrap();
        let noted = scene.noting.note("test", &[arrival("e", true)]);
        assert_eq!(noted.unwrap().new, 1);
    }

    #[test]
    fn of_what_cannot_be_read_the_newest_are_kept_with_their_beginning() {
        let scene = scene(10);
        let large = Message::of(&vec![b'x'; 3 << 20], 1 << 20);
        for message in [Message::Whole(vec![0xFF]), large, Message::Whole(vec![])] {
            let messages = [arrival("a", false), message];
            let noted = scene.noting.note("test", &messages).unwrap();
            assert_eq!((noted.heard, noted.poison, noted.hints), (2, 1, 1));
        }
        let kept = scene.ledger.poison_before(None, 10).unwrap();
        let kept: Vec<_> = kept
            .iter()
            .map(|poison| (poison.message.size, poison.message.body.len()))
            .collect();
        assert_eq!(kept, [(0, 0), (3 << 20, super::super::source::BEGINNING)]);
        assert_eq!(scene.ledger.poison_count().unwrap(), 2);
    }

    #[test]
    fn where_the_ledger_fails_no_message_counts_as_taken() {
        let scene = scene(10);
        scene.tenure.end(End::Overtaken);
        let error = scene
            .noting
            .note("test", &[arrival("a", false)])
            .unwrap_err();
        assert!(error.is_fenced(), "{error}");
    }
}
