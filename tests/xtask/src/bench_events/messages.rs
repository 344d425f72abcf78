//! The messages, as Rucio's Hermes writes them, and how they are sent.

use std::path::Path;

use anyhow::{Result, ensure};
use harness::{Broker, Kafka};
use serde_json::json;

use super::STOMP;

/// The topic of Kafka that the daemon reads.
pub(super) const OURS: &str = "ours";
/// What the daemon subscribes to.
pub(super) const OUR_DESTINATION: &str = "/topic/bench.ours";
/// What the bare consumer subscribes to.
pub(super) const BARE_DESTINATION: &str = "/topic/bench.bare";
/// The RSE that the root is.
pub(super) const RSE: &str = "BENCH";
/// The scope, which is the name of the root's folder: the RSE has `<prefix>/<scope>/<name>`.
pub(super) const SCOPE: &str = "root";

/// The brokers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'b> {
    pub(super) stomp: &'b Broker,
    pub(super) kafka: &'b Kafka,
}

impl Sending<'_> {
    /// Sends messages to where the daemon hears those of that kind.
    pub(super) fn send(&self, kind: &str, bodies: &[Vec<u8>]) -> Result<()> {
        if kind == STOMP {
            self.stomp.send(OUR_DESTINATION, bodies)
        } else {
            self.kafka.send(OURS, 0, bodies)
        }
    }
}

/// That a file has come.
pub(super) fn arrival(root: &Path, name: &str, bytes: usize) -> Vec<u8> {
    let message = json!({
        "event_type": "transfer-done",
        "payload": {
            "activity": "User Subscriptions", "request-id": "82b7f7a1c9d64f0f8a3f5f3a1d2e4c5b",
            "duration": 3, "checksum-adler": "2e94f1dd", "checksum-md5": null, "file-size": bytes,
            "bytes": bytes, "guid": null, "previous-request-id": null, "protocol": "file",
            "scope": SCOPE, "name": name, "dataset": "runsync/instalments/bench/1-1",
            "datasetScope": SCOPE, "src-type": "DISK", "src-rse": "ELSEWHERE",
            "src-url": format!("file://localhost/elsewhere/{SCOPE}/{name}"), "dst-type": "DISK",
            "dst-rse": RSE, "dst-url": format!("file://localhost{}/{name}", root.display()),
            "reason": "", "transfer-endpoint": "https://fts.example.org:8446",
            "transfer-id": "b1b4d5a2-9f0b-4a52-9f29-b6b4c1b0a0c3", "account": "runsync",
            "transferred_at": "2026-11-22 03:15:21", "started_at": "2026-11-22 03:15:18",
            "transfer_link": "https://fts.example.org:8449/fts3/ftsmon/#/job/b1b4d5a2",
        },
        "created_at": "2026-11-22 03:15:22.290612",
    });
    message.to_string().into_bytes()
}

/// What a bare consumer makes of a message: whether the file is there in its size.
pub(super) fn look(body: &[u8]) -> Result<()> {
    let message: serde_json::Value = serde_json::from_slice(body)?;
    let payload = message.get("payload");
    let text = |key: &str| payload.and_then(|payload| payload.get(key)?.as_str());
    let url = text("dst-url").and_then(|url| url.strip_prefix("file://localhost"));
    let bytes = payload.and_then(|payload| payload.get("bytes")?.as_u64());
    let is_ours = text("dst-rse") == Some(RSE);
    let (Some(path), Some(bytes), true) = (url, bytes, is_ours) else {
        anyhow::bail!("a message of something else");
    };
    ensure!(std::fs::metadata(path)?.len() == bytes, "{path} has another size");
    Ok(())
}
