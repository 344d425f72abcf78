//! Datastore roots.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use runsync_manifest::name::RseName;
use serde::{Deserialize, Serialize};

/// The short name of a datastore root within its site, such as `main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RootName(String);

impl RootName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RootName {
    type Err = &'static str;

    /// A name starts with a letter and holds letters, digits, `_` and `-`, at most 64.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.len() > 64
            || !text.starts_with(|c: char| c.is_ascii_alphabetic())
            || !text.chars().all(allowed)
        {
            return Err(
                "a root's name starts with a letter and holds at most 64 letters, digits, `_` and `-`",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for RootName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How an artifact is confirmed here before it gets a datastore record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmLevel {
    /// The manifest's word is taken: records are added at registration.
    Trust,
    /// The artifact is there and has the manifest's size.
    Size,
    /// Also its checksums are those of the manifest.
    Checksum,
}

/// One datastore root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Its name within the site.
    pub name: RootName,
    /// The folder of its `file:///` URL.
    pub directory: PathBuf,
    /// The RSE it is, where Rucio knows it.
    pub rse: Option<RseName>,
    /// How arrivals are confirmed.
    pub confirm: ConfirmLevel,
    /// Whether to use inotify; without it the sweep alone finds arrivals.
    pub events: bool,
    /// How often the manifest folder is swept whatever the events say.
    pub sweep_interval: Duration,
    /// How long a broken file must have been unchanged before it counts as broken.
    pub settle: Duration,
    /// After this long unchanged, a file without its whole trailer is quarantined.
    pub torn_deadline: Duration,
    /// After this long, a run that still waits for artifacts is reported.
    pub waiting_deadline: Duration,
    /// Most artifact directories watched by inotify at once.
    pub watched_directories_max: usize,
    /// Threads that confirm artifacts.
    pub confirm_threads: usize,
}
