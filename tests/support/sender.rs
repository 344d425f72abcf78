//! What Rubin's senders do: files with sidecars, and a message for each that was transferred.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test support, of which each target uses a part"
)]

use std::fmt::Write as _;

use runsync::ledger::record::{HintKind, NewHint};
use runsync_manifest::checksum::{Wanted, checksum};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{OpenSite, TestSite, artifact};

/// The RSE that the site's root is.
pub const RSE: &str = "SITE_B_DISK";
/// The run that messages tell of.
pub const RUN: &str = "u/test/run";

/// A file that was transferred, and what the message says of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its path in the root.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `rubin_butler`.
    pub kind: Value,
    /// `rubin_sidecar`.
    pub sidecar: String,
}

/// UUID of the dataset of that number.
pub fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A calexp of visit `number` and detector 0 in `run`.
pub fn product_of(run: &str, number: u128) -> Sent {
    let sidecar = json!({
        "id": uuid(number),
        "datasetType": {
            "name": "calexp", "storageClass": "ExposureF",
            "dimensions": ["instrument", "detector", "visit", "band", "physical_filter", "day_obs"]
        },
        "dataId": {"dataId": {
            "instrument": "HSC", "visit": number, "detector": 0,
            "band": "r", "physical_filter": "HSC-R", "day_obs": 20_130_617
        }},
        "run": run
    });
    Sent {
        path: format!("{run}/{number}.fits"),
        bytes: artifact(u64::try_from(number).unwrap(), 50),
        kind: json!("data_product"),
        sidecar: sidecar.to_string(),
    }
}

/// A calexp of [`RUN`].
pub fn product(number: u128) -> Sent {
    product_of(RUN, number)
}

/// A file with the dimension records of visits below `most`, as a Butler exports them.
pub fn dimension_file(most: u32) -> Sent {
    let mut text = String::from(
        "description: Butler Data Repository Export\nversion: 1.0.2\nuniverse_version: 8\n\
         universe_namespace: daf_butler\ndata:\n",
    );
    let mut element = |name: &str, records: &[String]| {
        write!(text, "- type: dimension\n  element: {name}\n  records:\n").unwrap();
        for record in records {
            writeln!(text, "  - {record}").unwrap();
        }
    };
    element("instrument", &["{name: HSC, detector_max: 200}".to_owned()]);
    let filter = "{instrument: HSC, name: HSC-R, band: r}".to_owned();
    element("physical_filter", &[filter]);
    element("day_obs", &["{instrument: HSC, id: 20130617}".to_owned()]);
    element(
        "detector",
        &["{instrument: HSC, id: 0, full_name: '0'}".to_owned()],
    );
    let visits: Vec<String> = (0..most)
        .map(|id| {
            format!("{{instrument: HSC, id: {id}, day_obs: 20130617, physical_filter: HSC-R, name: v{id}}}")
        })
        .collect();
    element("visit", &visits);
    Sent {
        path: format!("dimensions/{most}.yaml"),
        bytes: text.into_bytes(),
        kind: json!("dim_file"),
        sidecar: String::new(),
    }
}

impl Sent {
    /// The payload of the message about it.
    pub fn payload(&self, root: &str) -> Value {
        let wanted = Wanted {
            md5: true,
            sha256: false,
        };
        let (size, checksums) = checksum(&*self.bytes, wanted).unwrap();
        json!({
            "activity": "User Subscriptions", "request-id": "82b7", "transfer-id": "47", "duration": 1,
            "checksum-adler": checksums.adler32.to_string(),
            "checksum-md5": checksums.md5.map(|md5| md5.to_string()),
            "file-size": size, "bytes": size, "guid": null, "previous-request-id": null,
            "protocol": "file", "scope": "test", "name": self.path, "dataset": "ds", "datasetScope": "test",
            "src-type": "DISK", "src-rse": "SITE_A_DISK", "src-url": format!("file:///elsewhere/{}", self.path),
            "dst-type": "DISK", "dst-rse": RSE, "dst-url": format!("file://localhost{root}/{}", self.path),
            "rubin_butler": self.kind, "rubin_sidecar": self.sidecar
        })
    }

    /// Puts the file where a transfer puts it.
    pub fn arrives(&self, site: &TestSite) {
        site.put(&self.path, &self.bytes);
    }
}

/// The message about a file, as it is kept.
pub fn hint(site: &TestSite, sent: &Sent) -> NewHint {
    let root = site.root();
    hint_of(site, &sent.path, &sent.payload(root.to_str().unwrap()))
}

/// A message with that payload.
pub fn hint_of(site: &TestSite, name: &str, payload: &Value) -> NewHint {
    NewHint {
        kind: HintKind::PerFile,
        rse: Some(RSE.parse().unwrap()),
        scope: "test".to_owned(),
        name: name.to_owned(),
        detail: Some(payload.to_string()),
        heard_at: runsync::clock::Clock::now(&*site.clock),
    }
}

/// Files arrive, and messages about them are heard.
pub fn send(site: &TestSite, open: &OpenSite, sent: &[Sent]) {
    let hints: Vec<NewHint> = sent
        .iter()
        .map(|sent| {
            sent.arrives(site);
            hint(site, sent)
        })
        .collect();
    open.ledger().note_hints(&hints).unwrap();
}
