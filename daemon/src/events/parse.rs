//! Reads messages: from bytes that anybody may have sent to hints, or to the reason why not.
//!
//! A message is a JSON object with `event_type` and `payload`, as Rucio's Hermes writes it
//! (`lib/rucio/daemons/hermes/hermes.py`). Names of events and keys mix dashes and underscores; both
//! are taken. Only what a hint needs is read, and nothing that is read is opened, resolved or looked up.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::noting::About;
use super::source::Message;
use crate::ledger::record::{HintKind, NewHint};

/// Longest scope: more than any schema of Rucio allows.
const SCOPE_BYTES_MAX: usize = 250;
/// Longest name of a DID: Rubin's schema allows 500 characters.
const NAME_BYTES_MAX: usize = 2000;
/// Largest payload that is kept: those of Rubin's senders have a few kilobytes.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Bytes of an event's name that are shown.
const EVENT_SHOWN: usize = 60;

/// What stands for events that nobody here has heard of.
const OTHER: &str = "other";
/// Events that are known and that nothing follows from here.
const OTHERS: &[&str] = &[
    "close",
    "create-cnt",
    "create-dts",
    "deletion-failed",
    "deletion-planned",
    "detach",
    "email",
    "erase",
    "erase-cnt",
    "incomplete",
    "lost",
    "open",
    "register-cnt",
    "rule-progress",
    "stagein-failed",
    "stagein-queued",
    "stagein-submitted",
    "stageout-failed",
    "stageout-queued",
    "stageout-submitted",
    "transfer-failed",
    "transfer-lost",
    "transfer-queued",
    "transfer-submission-failed",
    "transfer-submitted",
];

/// What a message comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// What it hints at here; none: it is about somewhere else, or about nothing that matters.
    pub(super) hint: Option<NewHint>,
    /// Its event, spelled with dashes; [`OTHER`] where nobody here has heard of it.
    pub(super) event: &'static str,
    /// When it was written, as it says.
    pub(super) created_at: Option<Timestamp>,
}

impl Read {
    /// Whether nobody here has heard of its event.
    pub(super) fn is_unknown(&self) -> bool {
        self.event == OTHER
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it has {size} bytes, and at most {most} are read")]
    TooLarge { size: u64, most: u64 },
    #[error("it is no UTF-8")]
    Encoding,
    #[error("it is no message of Rucio's: {0}")]
    Form(String),
    #[error("a {event} has no {key}")]
    Missing {
        event: &'static str,
        key: &'static str,
    },
    #[error("the {key} of a {event} has {bytes} bytes, and at most {most} are read")]
    TooLong {
        event: &'static str,
        key: &'static str,
        bytes: usize,
        most: usize,
    },
    #[error("the {key} of a {event} holds control characters")]
    Control {
        event: &'static str,
        key: &'static str,
    },
}

/// Reads messages for one site.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    about: About,
    /// Largest message that is read.
    most: u64,
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    event_type: Cow<'m, str>,
    #[serde(borrow)]
    payload: &'m RawValue,
    #[serde(default, borrow)]
    created_at: Option<Cow<'m, str>>,
}

/// The keys of a payload that matter; Rucio writes `null` for what it does not know.
#[derive(Deserialize)]
struct Payload<'m> {
    #[serde(default, borrow)]
    scope: Option<Cow<'m, str>>,
    #[serde(default, borrow)]
    name: Option<Cow<'m, str>>,
    #[serde(default, borrow)]
    rse: Option<Cow<'m, str>>,
    #[serde(default, borrow, rename = "dst-rse", alias = "dst_rse")]
    dst_rse: Option<Cow<'m, str>>,
    /// A word of Rubin's, or the number 1 of earlier senders: that it is there is what counts.
    #[serde(default, borrow)]
    rubin_butler: Option<&'m RawValue>,
}

/// What an event is about here.
#[derive(Debug, Clone, Copy)]
struct Event {
    name: &'static str,
    kind: HintKind,
    /// The key that holds the RSE; none: such an event names no RSE.
    rse: Option<&'static str>,
}

impl Event {
    /// The event of a name, spelled with dashes.
    fn of(name: &str) -> Option<Self> {
        let event = |name, kind, rse| Some(Self { name, kind, rse });
        match name {
            "transfer-done" => event("transfer-done", HintKind::Arrived, Some("dst-rse")),
            "stagein-done" => event("stagein-done", HintKind::Arrived, Some("dst-rse")),
            "deletion-done" => event("deletion-done", HintKind::Deleted, Some("rse")),
            "deletion-not-found" => event("deletion-not-found", HintKind::Deleted, Some("rse")),
            "rule-ok" => event("rule-ok", HintKind::Settled, None),
            "datasetlock-ok" => event("datasetlock-ok", HintKind::Settled, Some("rse")),
            _ => None,
        }
    }
}

impl Reader {
    /// A reader of messages of at most `most` bytes.
    pub(super) fn new(about: About, most: u64) -> Self {
        Self { about, most }
    }

    /// Reads a message that came at `heard_at`.
    pub(super) fn read(&self, message: &Message, heard_at: Timestamp) -> Result<Read, Unreadable> {
        let body = match message {
            Message::Whole(body) => body,
            Message::TooLarge { size, .. } => {
                let (size, most) = (*size, self.most);
                return Err(Unreadable::TooLarge { size, most });
            }
        };
        let text = str::from_utf8(body).map_err(|_| Unreadable::Encoding)?;
        let envelope: Envelope<'_> = object(text, "a message")?;
        let name = envelope.event_type.to_ascii_lowercase().replace('_', "-");
        let created_at = envelope.created_at.as_deref().and_then(time);
        // Whatever the event: a payload that is no object is no message of Rucio's.
        let payload: Payload<'_> = object(envelope.payload.get(), "a payload")?;
        let Some(event) = Event::of(&name) else {
            let known = OTHERS.iter().find(|known| **known == name);
            return Ok(Read {
                hint: None,
                event: known.copied().unwrap_or(OTHER),
                created_at,
            });
        };
        let hint = self.hint(event, &payload, envelope.payload, heard_at)?;
        Ok(Read {
            hint,
            event: event.name,
            created_at,
        })
    }

    fn hint(
        &self,
        event: Event,
        payload: &Payload<'_>,
        whole: &RawValue,
        heard_at: Timestamp,
    ) -> Result<Option<NewHint>, Unreadable> {
        let scope = text(event, "scope", payload.scope.as_deref(), SCOPE_BYTES_MAX)?;
        let name = text(event, "name", payload.name.as_deref(), NAME_BYTES_MAX)?;
        let rse = match event.rse {
            None => None,
            Some(key) => {
                let named = match key {
                    "rse" => payload.rse.as_deref(),
                    _ => payload.dst_rse.as_deref(),
                };
                let named = named.ok_or(Unreadable::Missing {
                    event: event.name,
                    key,
                })?;
                let Some(rse) = self.about.rses.iter().find(|rse| rse.as_str() == named) else {
                    return Ok(None);
                };
                Some(rse.clone())
            }
        };
        let tells = event.kind == HintKind::Arrived && payload.rubin_butler.is_some();
        let per_file = self.about.adopts && tells;
        Ok(Some(NewHint {
            kind: if per_file {
                HintKind::PerFile
            } else {
                event.kind
            },
            rse,
            scope,
            name,
            detail: per_file.then(|| kept(whole)).transpose()?,
            heard_at,
        }))
    }
}

/// A payload as it is kept: on one line, and no deeper than whoever reads it can follow. Ends of lines are no part of
/// a text in JSON, but between its parts.
fn kept(payload: &RawValue) -> Result<String, Unreadable> {
    let text = payload.get().replace(['\r', '\n'], " ");
    if text.len() > KEPT_BYTES_MAX {
        return Err(Unreadable::TooLarge {
            size: text.len() as u64,
            most: KEPT_BYTES_MAX as u64,
        });
    }
    serde_json::from_str::<serde_json::Value>(&text).map_err(|error| form(&error))?;
    Ok(text)
}

fn text(
    event: Event,
    key: &'static str,
    value: Option<&str>,
    most: usize,
) -> Result<String, Unreadable> {
    let event = event.name;
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or(Unreadable::Missing { event, key })?;
    let bytes = value.len();
    if bytes > most {
        return Err(Unreadable::TooLong {
            event,
            key,
            bytes,
            most,
        });
    }
    if value.contains(char::is_control) {
        return Err(Unreadable::Control { event, key });
    }
    Ok(value.to_owned())
}

/// Reads an object; a list would be taken for one, each item for the next key.
fn object<'m, T: Deserialize<'m>>(text: &'m str, what: &str) -> Result<T, Unreadable> {
    let first = text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .chars()
        .next();
    if first.is_some_and(|first| first != '{') {
        return Err(Unreadable::Form(format!("{what} is no object")));
    }
    serde_json::from_str(text).map_err(|error| form(&error))
}

/// What serde found, without what the message says: that may be long, and is kept beside it.
fn form(error: &serde_json::Error) -> Unreadable {
    let text = error.to_string();
    let shown = text
        .chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c });
    Unreadable::Form(shown.collect())
}

/// Rucio's times are in UTC and say so nowhere: `2026-11-22 03:15:22.290612`.
fn time(text: &str) -> Option<Timestamp> {
    let local: DateTime = text.get(..text.len().min(40))?.parse().ok()?;
    TimeZone::UTC.to_timestamp(local).ok()
}

/// A name of an event that nobody here has heard of, as it may be shown.
pub(super) fn shown(message: &Message) -> Option<String> {
    let Message::Whole(body) = message else {
        return None;
    };
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let name = envelope.event_type.chars().take(EVENT_SHOWN);
    Some(name.map(|c| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runsync_manifest::name::RseName;
    use serde_json::{Value, json};

    use super::*;

    fn reader() -> Reader {
        let rses = ["SITE_B", "SITE_B_TAPE"].map(|name| name.parse().unwrap());
        let about = About {
            rses: rses.into(),
            adopts: true,
        };
        Reader::new(about, 100_000)
    }

    fn read(message: &Value) -> Result<Read, Unreadable> {
        read_bytes(message.to_string().as_bytes())
    }

    fn read_bytes(bytes: &[u8]) -> Result<Read, Unreadable> {
        reader().read(&Message::of(bytes, 100_000), Timestamp::UNIX_EPOCH)
    }

    fn message(event: &str, payload: &Value) -> Value {
        let created_at = "2026-11-22 03:15:22.290612";
        json!({"event_type": event, "payload": payload, "created_at": created_at})
    }

    fn transfer() -> Value {
        json!({
            "activity": "User Subscriptions", "request-id": "82b7", "duration": 0,
            "checksum-adler": "2e94f1dd", "file-size": 2000, "bytes": 2000, "guid": null,
            "scope": "cms", "name": "r0", "dataset": "ds3", "datasetScope": "cms",
            "src-rse": "SITE_A", "dst-rse": "SITE_B",
            "dst-url": "file://localhost/data/SITE_B/cms/98/be/r0", "reason": "",
            "started_at": null, "transfer_link": null, "transfer-link": null,
        })
    }

    #[test]
    fn events_at_our_rses_are_hints() {
        use HintKind::{Arrived, Deleted, Settled};
        let at = |rse: &str| json!({"scope": "cms", "name": "r0", "rse": rse, "bytes": 4013.0});
        for (event, payload, kind, rse) in [
            ("transfer-done", transfer(), Arrived, Some("SITE_B")),
            ("TRANSFER_DONE", transfer(), Arrived, Some("SITE_B")),
            (
                "deletion-done",
                at("SITE_B_TAPE"),
                Deleted,
                Some("SITE_B_TAPE"),
            ),
            ("deletion-not-found", at("SITE_B"), Deleted, Some("SITE_B")),
            ("datasetlock_ok", at("SITE_B"), Settled, Some("SITE_B")),
            (
                "rule_ok",
                json!({"scope": "cms", "name": "r0", "rule_id": "8d"}),
                Settled,
                None,
            ),
        ] {
            let read = read(&message(event, &payload)).unwrap();
            let hint = read.hint.unwrap();
            assert_eq!((&*hint.scope, &*hint.name), ("cms", "r0"));
            assert_eq!(hint.kind, kind, "{event}");
            assert_eq!(hint.rse.as_ref().map(RseName::as_str), rse, "{event}");
            assert_eq!(hint.detail, None);
            let created = read.created_at.unwrap();
            assert_eq!(created.to_string(), "2026-11-22T03:15:22.290612Z");
        }
    }

    #[test]
    fn a_message_that_tells_of_a_dataset_is_kept_whole() {
        for butler in [json!("data_product"), json!(1)] {
            let mut payload = transfer();
            payload["rubin_butler"] = butler;
            payload["rubin_sidecar"] = json!("{\"id\": \"x\"}");
            let hint = read(&message("transfer-done", &payload))
                .unwrap()
                .hint
                .unwrap();
            assert_eq!(hint.kind, HintKind::PerFile);
            let kept: Value = serde_json::from_str(&hint.detail.unwrap()).unwrap();
            assert_eq!(kept, payload);
        }
        let mut payload = transfer();
        payload["rubin_butler"] = json!(1);
        payload["deep"] =
            serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
        let pretty = serde_json::to_string_pretty(&message("transfer-done", &payload)).unwrap();
        let hint = read_bytes(pretty.as_bytes()).unwrap().hint.unwrap();
        assert!(!hint.detail.unwrap().contains('\n'));
        let deep = pretty
            .replace('[', &"[".repeat(50))
            .replace(']', &"]".repeat(50));
        let error = read_bytes(deep.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("recursion"), "{error}");
        payload["rubin_butler"] = Value::Null;
        let hint = read(&message("transfer-done", &payload))
            .unwrap()
            .hint
            .unwrap();
        assert_eq!(hint.kind, HintKind::Arrived);
    }

    #[test]
    fn where_nobody_adopts_such_a_message_tells_of_a_file_like_any() {
        let mut payload = transfer();
        payload["rubin_butler"] = json!("data_product");
        let about = About {
            rses: ["SITE_B".parse().unwrap()].into(),
            adopts: false,
        };
        let body = message("transfer-done", &payload).to_string().into_bytes();
        let reader = Reader::new(about, 100_000);
        let read = reader.read(&Message::Whole(body), Timestamp::UNIX_EPOCH);
        let hint = read.unwrap().hint.unwrap();
        assert_eq!((hint.kind, hint.detail), (HintKind::Arrived, None));
    }

    #[test]
    fn what_is_about_others_is_no_hint_and_no_fault() {
        let mut elsewhere = transfer();
        elsewhere["dst-rse"] = json!("SITE_C");
        let odd = json!({"scope": "cms", "name": "r0", "rse": "../../etc/passwd"});
        for (event, payload, unknown) in [
            ("transfer-done", elsewhere, false),
            ("deletion-done", odd, false),
            ("transfer-queued", transfer(), false),
            ("create_dts", json!({}), false),
            ("something_new", json!({}), true),
            ("", json!({}), true),
        ] {
            let read = read(&message(event, &payload)).unwrap();
            assert_eq!(read.is_unknown(), unknown, "{event}");
            assert_eq!(read.hint, None, "{event}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_and_nothing_else_happens() {
        let without = |key: &str| {
            let mut payload = transfer();
            payload.as_object_mut().unwrap().remove(key);
            message("transfer-done", &payload).to_string()
        };
        let with = |key: &str, value: Value| {
            let mut payload = transfer();
            payload[key] = value;
            message("transfer-done", &payload).to_string()
        };
        let deep = format!(
            "{{\"event_type\":\"transfer-done\",\"payload\":{}{}}}",
            "[".repeat(5000),
            "]".repeat(5000)
        );
        let twice = "{\"event_type\":\"rule_ok\",\"event_type\":\"close\",\"payload\":{}}";
        for (text, reason) in [
            (String::new(), "EOF"),
            ("null".to_owned(), "a message is no object"),
            ("[\"close\", {}]".to_owned(), "a message is no object"),
            ("{}".to_owned(), "missing field `event_type`"),
            (
                "{\"event_type\": 5, \"payload\": {}}".to_owned(),
                "invalid type",
            ),
            (
                "{\"event_type\": \"rule_ok\"}".to_owned(),
                "missing field `payload`",
            ),
            (
                "{\"event_type\": \"close\", \"payload\": []}".to_owned(),
                "a payload is no object",
            ),
            (without("scope"), "no scope"),
            (without("name"), "no name"),
            (without("dst-rse"), "no dst-rse"),
            (with("name", json!("")), "no name"),
            (with("name", json!(7)), "invalid type"),
            (with("scope", json!({"a": 1})), "invalid type"),
            (with("name", json!("x".repeat(3000))), "at most 2000"),
            (with("name", json!("a\u{0}b")), "control characters"),
            (with("scope", json!("a\nb")), "control characters"),
            (
                with("comment", json!("x".repeat(200_000))),
                "at most 100000 are read",
            ),
            (transfer().to_string(), "missing field"),
            (
                message("transfer-done", &transfer()).to_string() + "}",
                "trailing",
            ),
            (twice.to_owned(), "duplicate field"),
            (deep, "a payload is no object"),
        ] {
            let error = read_bytes(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:.200}: {error}");
            assert!(error.len() < 400, "{error}");
        }
        let mut latin = message("transfer-done", &transfer())
            .to_string()
            .into_bytes();
        latin[20] = 0xE9;
        assert_eq!(read_bytes(&latin), Err(Unreadable::Encoding));
    }

    #[test]
    fn times_are_read_as_rucio_writes_them() {
        for (text, known) in [
            ("2026-11-22 03:15:22", true),
            ("2026-11-22T03:15:22.5", true),
            ("yesterday", false),
            ("", false),
            ("2026-13-45 99:99:99", false),
        ] {
            assert_eq!(time(text).is_some(), known, "{text}");
        }
        assert_eq!(time(&"é".repeat(100)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read_bytes(&bytes));
        }

        #[test]
        fn no_change_of_one_byte_does(at in 0_usize..300, to in any::<u8>()) {
            let mut bytes = message("transfer-done", &transfer()).to_string().into_bytes();
            bytes[at] = to;
            drop(read_bytes(&bytes));
        }
    }
}
