//! The messages of a sender: good ones, and one of each kind of wrong ones.

use serde_json::{Value, json};

use crate::sender::{Sent, dimension_file, product, product_of};
use crate::support::TestSite;

/// What URLs of the RSE's files begin with.
pub(crate) const RUCIO_PREFIX: &str = "root://xrd1.example.org:1094//rucio/";
/// Another run than the sender's.
pub(crate) const OTHER_RUN: &str = "u/test/other";

/// Datasets of the first lot of good messages, by their numbers.
pub(crate) const FIRST: std::ops::RangeInclusive<u128> = 1..=40;
/// Those after which the daemon is killed.
pub(crate) const SECOND: std::ops::RangeInclusive<u128> = 41..=80;

/// Wrong messages, and how many of them are set aside for what reason.
pub(crate) struct Wrong {
    pub(crate) messages: Vec<Vec<u8>>,
    /// No message at all.
    pub(crate) poison: u64,
    /// By the word that findings have.
    pub(crate) aside: Vec<(&'static str, u64)>,
}

/// The message about a file, as `HermesK` writes it.
pub(crate) fn message(site: &TestSite, sent: &Sent) -> Vec<u8> {
    enveloped(&payload(site, sent))
}

fn payload(site: &TestSite, sent: &Sent) -> Value {
    let mut payload = sent.payload(site.root().to_str().unwrap());
    payload["dst-url"] = json!(format!("{RUCIO_PREFIX}{}", sent.path));
    // It has passed through Python's str() on its way.
    payload["guid"] = json!("None");
    payload
}

fn enveloped(payload: &Value) -> Vec<u8> {
    let message = json!({
        "id": "cd5a1016b084469c8a1f6f39c5f6d189",
        "created_at": "datetime.datetime(2025, 3, 19, 20, 58, 49, 551652)",
        "event_type": "transfer-done", "services": "kafka", "payload": payload
    });
    message.to_string().into_bytes()
}

/// The dataset of that number: every fourth is of another run, and every fifth from an older sender.
pub(crate) fn good(number: u128) -> Sent {
    let mut sent = match number % 4 {
        0 => product_of(OTHER_RUN, number),
        _ => product(number),
    };
    if number.is_multiple_of(5) {
        sent.kind = json!(1);
    }
    sent
}

/// Files arrive, and this is what is sent about them.
pub(crate) fn arriving(site: &TestSite, sent: &[Sent]) -> Vec<Vec<u8>> {
    for sent in sent {
        sent.arrives(site);
    }
    sent.iter().map(|sent| message(site, sent)).collect()
}

/// The dimension records that all need.
pub(crate) fn dimensions() -> Sent {
    dimension_file(500)
}

/// Wrong messages of all kinds.
pub(crate) fn wrong(site: &TestSite) -> Wrong {
    let sent = product(400);
    sent.arrives(site);
    let whole = payload(site, &sent);
    let mut number = 0;
    let mut with = |change: &dyn Fn(&mut Value)| {
        let mut payload = whole.clone();
        number += 1;
        // Each is about a file of its own.
        payload["name"] = json!(format!("wrong/{number}"));
        change(&mut payload);
        enveloped(&payload)
    };
    let mut messages = Vec::new();
    let step = sent.sidecar.len() / 20;
    let cuts: Vec<usize> = (0..20).map(|cut| cut * step).collect();
    for &cut in &cuts {
        messages.push(with(&|payload| {
            payload["rubin_sidecar"] = json!(sent.sidecar.get(..cut).unwrap());
        }));
    }
    messages.push(with(&|payload| payload["rubin_sidecar"] = Value::Null));
    messages.push(with(&|payload| payload["bytes"] = json!("many")));
    for kind in [json!("tarball"), json!(2), json!(true)] {
        messages.push(with(&|payload| payload["rubin_butler"] = kind.clone()));
    }
    messages.push(with(&|payload| payload["rubin_butler"] = json!("raw_file")));
    for _ in 0..2 {
        messages.push(with(&|payload| payload["rubin_butler"] = json!("zip_file")));
    }
    let root = site.root();
    for url in [
        format!("davs://other.example.org/{}", sent.path),
        // What is not anchored would take the prefix anywhere.
        format!("davs://other.example.org/{RUCIO_PREFIX}{}", sent.path),
        format!("{RUCIO_PREFIX}../../etc/passwd"),
        format!("{RUCIO_PREFIX}%2e%2e/{}", sent.path),
        format!("{RUCIO_PREFIX}runsync/repository.json"),
        format!("file://{}/{}", root.display(), sent.path),
    ] {
        messages.push(with(&|payload| payload["dst-url"] = json!(url)));
    }
    let aside = vec![
        ("broken", cuts.len() as u64 + 2),
        ("unknown kind", 3),
        ("raw_file", 1),
        ("zip_file", 2),
        ("elsewhere", 6),
    ];
    // About another RSE, and of events that nothing follows from: passed over.
    messages.push(with(&|payload| payload["dst-rse"] = json!("SITE_Z_DISK")));
    messages.push(br#"{"event_type": "something-new", "payload": {}}"#.to_vec());
    let cut = message(site, &sent);
    let broken: [&[u8]; 5] = [b"", b"{", b"[1, 2]", b"\xff\xfe", &cut[..cut.len() / 2]];
    messages.extend(broken.iter().map(|broken| broken.to_vec()));
    Wrong {
        messages,
        poison: broken.len() as u64,
        aside,
    }
}
