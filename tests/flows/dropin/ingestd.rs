//! What `ctrl_ingestd` would have made of a message, by its documentation and its published source: it takes the
//! payload's `dst-url`, puts `fs_prefix` in the place of `rucio_prefix`, and ingests that file as the dataset of the
//! sidecar. It knows nothing of sizes and checksums, and drops what fails.

use std::collections::BTreeSet;

use serde_json::Value;

/// A dataset that it would have ingested.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ingested {
    pub(crate) uuid: String,
    pub(crate) run: String,
    pub(crate) dataset_type: String,
    /// The file, by an absolute path.
    pub(crate) file: String,
}

/// Its configuration of one topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) rucio_prefix: String,
    pub(crate) fs_prefix: String,
}

/// What it would have ingested of messages, where all that a dataset needs is in its Butler.
pub(crate) fn ingested(topic: &Topic, messages: &[Vec<u8>]) -> BTreeSet<Ingested> {
    let all = messages.iter();
    all.filter_map(|message| of_message(topic, message))
        .collect()
}

fn of_message(topic: &Topic, message: &[u8]) -> Option<Ingested> {
    let message: Value = serde_json::from_slice(message).ok()?;
    let payload = message.get("payload")?;
    let kind = payload.get("rubin_butler")?;
    if kind != "data_product" && *kind != 1 {
        return None;
    }
    let sidecar: Value = serde_json::from_str(payload.get("rubin_sidecar")?.as_str()?).ok()?;
    let text = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
    let url = text(payload.get("dst-url"))?;
    let file = url.replace(&topic.rucio_prefix, &topic.fs_prefix);
    Some(Ingested {
        uuid: text(sidecar.get("id"))?,
        run: text(sidecar.get("run"))?,
        dataset_type: text(sidecar.pointer("/datasetType/name"))?,
        file: file.strip_prefix("file://").unwrap_or(&file).to_owned(),
    })
}
