//! What scans leave: how far each has come, and the drift that they saw.
//!
//! Apart from [`Finding`](crate::ledger::record::Finding), which has one text for its subject: drift is found
//! by the million and read by path, and it vanishes by stretches of paths that a scan has gone through.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunName};
use serde::{Deserialize, Serialize};

use crate::file_identity::FileIdentity;

/// A stretch of paths, in bytewise order: from one on, and before another. Both are any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first path that belongs to it.
    pub from: String,
    /// The first one after it; none: it has no end.
    pub until: Option<String>,
}

impl Span {
    /// All paths.
    pub const fn all() -> Self {
        Self {
            from: String::new(),
            until: None,
        }
    }

    /// One path alone.
    pub fn at(path: &str) -> Self {
        Self {
            from: path.to_owned(),
            until: Some(after(path)),
        }
    }

    /// All that lies below a folder; all paths where none is named.
    pub fn below(folder: Option<&ArtifactPath>) -> Self {
        // `0` is the character after `/`.
        folder.map_or_else(Self::all, |folder| Self {
            from: format!("{folder}/"),
            until: Some(format!("{folder}0")),
        })
    }

    /// Whether a path belongs to it.
    pub fn holds(&self, path: &str) -> bool {
        path >= self.from.as_str() && self.until.as_deref().is_none_or(|until| path < until)
    }

    /// Whether nothing can belong to it.
    pub fn is_empty(&self) -> bool {
        let until = self.until.as_deref();
        until.is_some_and(|until| until <= self.from.as_str())
    }
}

/// The first text after a path.
pub fn after(path: &str) -> String {
    format!("{path}\0")
}

/// How registry and datastore differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// A datastore record without its artifact.
    Lost,
    /// An artifact without a datastore record.
    Dark,
    /// Both are there and differ in size or checksum.
    Corrupt,
    /// A datastore record, and in its artifact's place a link, a folder or a device.
    Irregular,
    /// A datastore record, and no replica in Rucio at this RSE.
    #[serde(rename = "site-only")]
    SiteOnly,
    /// A datastore record, and a replica of another size or checksum.
    #[serde(rename = "rucio-differs")]
    RucioDiffers,
    /// A datastore record, and a replica that Rucio does not call available.
    #[serde(rename = "rucio-state")]
    RucioState,
    /// A replica in Rucio at this RSE, and no datastore record.
    #[serde(rename = "rucio-only")]
    RucioOnly,
}

/// What was gone through when drift was found: each has a finding of its own at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftSide {
    /// A root, joined with its records.
    Datastore,
    /// Records, asked of Rucio.
    Records,
    /// Rucio's replicas, asked of the registry.
    Replicas,
}

impl DriftSide {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Datastore => "datastore",
            Self::Records => "records",
            Self::Replicas => "replicas",
        }
    }

    /// What the passes through all of it are kept as, which is no folder's path.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Datastore => "",
            Self::Records => "/records",
            Self::Replicas => "/replicas",
        }
    }

    /// Of a pass that is kept as that.
    pub fn of_scope(scope: &str) -> Self {
        let others = [Self::Records, Self::Replicas].into_iter();
        let mut others = others.filter(|side| side.scope() == scope);
        others.next().unwrap_or(Self::Datastore)
    }
}

impl DriftKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Dark,
        Self::Corrupt,
        Self::Irregular,
        Self::SiteOnly,
        Self::RucioDiffers,
        Self::RucioState,
        Self::RucioOnly,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Dark => "dark",
            Self::Corrupt => "corrupt",
            Self::Irregular => "irregular",
            Self::SiteOnly => "site-only",
            Self::RucioDiffers => "rucio-differs",
            Self::RucioState => "rucio-state",
            Self::RucioOnly => "rucio-only",
        }
    }

    /// What is gone through to find it.
    pub const fn side(self) -> DriftSide {
        match self {
            Self::Lost | Self::Dark | Self::Corrupt | Self::Irregular => DriftSide::Datastore,
            Self::SiteOnly | Self::RucioDiffers | Self::RucioState => DriftSide::Records,
            Self::RucioOnly => DriftSide::Replicas,
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DriftKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or(())
    }
}

/// Drift at one path, as a scan has just seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub path: ArtifactPath,
    /// Which.
    pub kind: DriftKind,
    /// For people.
    pub detail: String,
    /// Size in bytes: the file's, or the record's where there is none.
    pub size: Option<u64>,
    /// The file that was seen.
    pub identity: Option<FileIdentity>,
    /// Whether a dataset names the path.
    pub claimed: bool,
    /// The run that it belongs to: one that names the path, else the one below whose name it lies.
    pub run: Option<RunName>,
    /// The path without what spellings of one name differ in.
    pub folded: String,
}

/// Drift at one path, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftFinding {
    /// The root.
    pub root: RootName,
    /// Where.
    pub path: ArtifactPath,
    /// Which.
    pub kind: DriftKind,
    /// For people.
    pub detail: String,
    /// Size in bytes: the file's, or the record's where there is none.
    pub size: Option<u64>,
    /// The file that was seen.
    pub identity: Option<FileIdentity>,
    /// Whether a dataset names the path.
    pub claimed: bool,
    /// The run that it belongs to: one that names the path, else the one below whose name it lies.
    #[serde(default)]
    pub run: Option<RunName>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// How many passes have seen it.
    pub times: u64,
    /// Since when passes have seen the same, by a clock that has not leapt since; none: one pass alone has.
    pub unchanged_since: Option<Timestamp>,
    /// Another finding whose path is this one in another spelling: the two may be one artifact.
    pub twin: Option<ArtifactPath>,
    /// Who has said that it is to be left out, and why.
    pub ignored: Option<Ignored>,
}

/// An operator's word that a finding is to be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// How far the scans of one root, or of one folder in it, have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRow {
    /// The root.
    pub root: RootName,
    /// Empty for all of it, else a folder, or [`DriftSide::scope`].
    pub scope: String,
    /// The number of the pass under way, or of the last one. A later pass of the site has a higher one.
    pub number: u64,
    /// All before this path is done; none: no pass is under way.
    pub position: Option<String>,
    /// When that pass began.
    pub begun_at: Timestamp,
    /// When it was last gone on with.
    pub tried_at: Timestamp,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// What the pass has seen so far, as JSON.
    pub counts: String,
    /// When the pass began that last went through: all has been seen since then.
    #[serde(default)]
    pub whole_begun_at: Option<Timestamp>,
    /// Files and records that it met, each path once.
    #[serde(default)]
    pub whole_objects: Option<u64>,
    /// What of these it could not look at.
    #[serde(default)]
    pub whole_unseen: u64,
}

/// Which findings are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftFilter {
    /// Only this root's.
    pub root: Option<RootName>,
    /// Only of this kind.
    pub kind: Option<DriftKind>,
    /// Only what was found there.
    pub side: Option<DriftSide>,
    /// Only at these paths.
    pub span: Span,
    /// Also those that are to be left out.
    pub ignored: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_spans_what_lies_below_it_and_nothing_beside() {
        let folder: ArtifactPath = "a/b".parse().unwrap();
        let span = Span::below(Some(&folder));
        for inside in ["a/b/", "a/b/c", "a/b/\u{10ffff}/x"] {
            assert!(span.holds(inside), "{inside}");
        }
        for outside in ["a/b", "a/b-1", "a/b.fits", "a/b0", "a/c/b"] {
            assert!(!span.holds(outside), "{outside}");
        }
        assert!(Span::all().holds("") && Span::all().holds("\u{10ffff}"));
        assert!(Span::at("a").holds("a") && !Span::at("a").holds("a/"));
    }
}
