//! Datastore roots.

use std::fmt;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use runsync_manifest::name::{ArtifactPath, RseName};
use serde::{Deserialize, Serialize, Serializer};
use toml::de::DeValue;

use crate::bytes::Bytes;
use crate::problem::Reason;
use crate::raw::Section;
use crate::value::{Value, text, word};

/// Events may be lost (queue overflow, network filesystems); the sweep bounds how long that hides
/// an arrival.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Longer than the pauses of a transfer tool that writes in place.
const SETTLE: Duration = Duration::from_secs(10);
/// A transfer is retried for about a day before somebody looks at it.
const TORN_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// The same day, for the files of a run.
const WAITING_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// Well below the usual limit of 8192 watches of one user.
const WATCHED_DIRECTORIES_MAX: usize = 1024;
/// Confirming is bound by the disk, not by processors.
const CONFIRM_THREADS: usize = 2;

/// All but the unreserved characters of RFC 3986, and the `/` between a path's parts.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The short name of a datastore root within its site, such as `main`.
///
/// Cloned for every row that is read: a clone takes no memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RootName(Arc<str>);

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
        Ok(Self(text.into()))
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

/// How an artifact's path in the root follows from where Rucio has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PathMapping {
    /// It is the name of its DID: the root is the folder that the RSE keeps the scope's files in.
    Identity,
    /// It is the name of its DID, and Rucio has the artifact elsewhere in the root: by the RSE's own
    /// algorithm. It has two names there, and one copy.
    Rucio,
}

impl Value for PathMapping {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("identity", Self::Identity), ("rucio", Self::Rucio)],
        )
    }
}

/// Who deletes the artifacts of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deleter {
    /// runsync unlinks them.
    Runsync,
    /// Rucio's reaper does, once no rule keeps them any more: runsync ends its own rules, unlinks nothing
    /// that Rucio has, and waits.
    Rucio,
}

impl Value for Deleter {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("runsync", Self::Runsync), ("rucio", Self::Rucio)])
    }
}

/// What the PFNs of a root's files begin with, where that is not the root's own URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PfnPrefix(String);

impl PfnPrefix {
    /// The prefix; it ends with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for PfnPrefix {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let text = text(value, "the beginning of PFNs")?;
        if !text.contains("://") || !text.ends_with('/') {
            return Err(Reason::new("must be a URL that ends with `/`")
                .hint("such as \"davs://dav.example.org:443/rucio/hsc/\""));
        }
        Ok(Self(text.to_owned()))
    }
}

/// One datastore root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Its name within the site.
    pub name: RootName,
    /// The folder of its `file:///` URL.
    #[serde(rename = "url", serialize_with = "serialize_url")]
    pub directory: PathBuf,
    /// The RSE it is, where Rucio knows it.
    pub rse: Option<RseName>,
    /// How its paths follow from Rucio's.
    pub path_mapping: PathMapping,
    /// What the PFNs of its files begin with; none: its own URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pfn_prefix: Option<PfnPrefix>,
    /// Who deletes its artifacts.
    pub deleter: Deleter,
    /// Whether a repair may delete dark artifacts here, when it is told to.
    pub scan_deletes: bool,
    /// How arrivals are confirmed.
    pub confirm: ConfirmLevel,
    /// Whether to use inotify; without it the sweep alone finds arrivals.
    pub events: bool,
    /// How often the manifest folder is swept whatever the events say.
    #[serde(serialize_with = "crate::duration::serialize")]
    pub sweep_interval: Duration,
    /// How long a broken file must have been unchanged before it counts as broken.
    #[serde(serialize_with = "crate::duration::serialize")]
    pub settle: Duration,
    /// After this long unchanged, a file without its whole trailer is quarantined.
    #[serde(serialize_with = "crate::duration::serialize")]
    pub torn_deadline: Duration,
    /// After this long, a run that still waits for artifacts is reported.
    #[serde(serialize_with = "crate::duration::serialize")]
    pub waiting_deadline: Duration,
    /// In this time scans by schedule see everything once; none: as their own limits have it.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_duration"
    )]
    pub scan_period: Option<Duration>,
    /// Most artifact directories watched by inotify at once.
    pub watched_directories_max: usize,
    /// Threads that confirm artifacts.
    pub confirm_threads: usize,
    /// Most artifacts looked at in a second, there or not; unlimited where it is missing.
    pub confirm_files_per_second: Option<NonZeroU64>,
    /// Most bytes of artifacts read in a second; unlimited where it is missing.
    #[serde(serialize_with = "serialize_bytes")]
    pub confirm_bytes_per_second: Option<NonZeroU64>,
}

impl Root {
    /// Its URL.
    pub fn url(&self) -> String {
        url(&self.directory)
    }

    /// The URI of an artifact: what RFC 3986 does not allow in a path is percent-encoded.
    pub fn uri(&self, path: &ArtifactPath) -> String {
        let (folder, path) = (self.directory.as_os_str(), path.as_str());
        let mut uri = String::with_capacity("file:///".len() + folder.len() + path.len());
        uri.push_str("file://");
        uri.extend(percent_encode(folder.as_bytes(), ENCODED));
        uri.push('/');
        uri.extend(percent_encode(path.as_bytes(), ENCODED));
        uri
    }

    /// Reads one `[[root]]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let name = section.required("name", "\"main\"");
        let directory = section.required::<Directory>("url", "\"file:///data/site_a\"");
        let rse = section.optional("rse");
        let path_mapping = section.or("path_mapping", PathMapping::Identity);
        let pfn_prefix = section.optional("pfn_prefix");
        let deleter = section.or("deleter", Deleter::Runsync);
        let scan_deletes = section.or("scan_deletes", false);
        let confirm = section.or("confirm", ConfirmLevel::Size);
        let events = section.or("events", true);
        let sweep_interval = section.or("sweep_interval", SWEEP_INTERVAL);
        let settle = section.or("settle", SETTLE);
        let torn_deadline = section.or("torn_deadline", TORN_DEADLINE);
        let waiting_deadline = section.or("waiting_deadline", WAITING_DEADLINE);
        let scan_period = section.optional("scan_period");
        let watched_directories_max =
            section.or("watched_directories_max", WATCHED_DIRECTORIES_MAX);
        let confirm_threads = section.or("confirm_threads", CONFIRM_THREADS);
        if confirm_threads == 0 {
            section.report("confirm_threads", "must be at least 1");
        }
        let files = section.optional("confirm_files_per_second");
        let confirm_files_per_second = rate(&section, "confirm_files_per_second", files);
        let bytes = section.optional("confirm_bytes_per_second");
        let bytes = bytes.map(|Bytes(bytes)| bytes);
        let confirm_bytes_per_second = rate(&section, "confirm_bytes_per_second", bytes);
        section.finish();
        Some(Self {
            name: name?,
            directory: directory?.0,
            rse,
            path_mapping,
            pfn_prefix,
            deleter,
            scan_deletes,
            confirm,
            events,
            sweep_interval,
            settle,
            torn_deadline,
            waiting_deadline,
            scan_period,
            watched_directories_max,
            confirm_threads,
            confirm_files_per_second,
            confirm_bytes_per_second,
        })
    }
}

/// A number a second, which may be missing and must not be nothing.
fn rate(section: &Section<'_, '_>, key: &'static str, rate: Option<u64>) -> Option<NonZeroU64> {
    let nonzero = NonZeroU64::new(rate?);
    if nonzero.is_none() {
        let reason = Reason::new("must be at least 1");
        section.report(key, reason.hint("leave it out for no limit"));
    }
    nonzero
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn serialize_bytes<S: Serializer>(bytes: &Option<NonZeroU64>, to: S) -> Result<S::Ok, S::Error> {
    bytes.map(|bytes| Bytes(bytes.get())).serialize(to)
}

#[expect(clippy::ref_option, reason = "what serde calls it with")]
fn serialize_duration<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => crate::duration::serialize(time, to),
        None => to.serialize_none(),
    }
}

/// The folder that a `file:///` URL names.
struct Directory(PathBuf);

impl Value for Directory {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let url = text(value, "a URL")?;
        let Some(path) = url.strip_prefix("file://") else {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            let reason = scheme.map_or("is no URL".to_owned(), |scheme| {
                format!("has the scheme `{scheme}`, which this version cannot serve")
            });
            return Err(Reason::new(reason).hint("a root is a folder: \"file:///data/site_a\""));
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let Some(parts) = path.strip_prefix('/') else {
            let reason = "must name a folder by an absolute path";
            return Err(Reason::new(reason).hint("such as \"file:///data/site_a\""));
        };
        if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("must not have empty parts, `.` or `..`".into());
        }
        if path.contains(|c: char| c.is_control() || "%?#".contains(c)) {
            let reason = "must not hold `%`, `?`, `#` or control characters";
            return Err(Reason::new(reason).hint("write other characters as they are, unescaped"));
        }
        Ok(Self(path.into()))
    }
}

/// The `file:///` URL of a folder.
pub fn url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

fn serialize_url<S: Serializer>(directory: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&url(directory))
}

/// Appends a path as RFC 3986 has it in a URI.
#[cfg(test)]
mod tests {
    use super::*;

    fn directory(url: &str) -> Result<PathBuf, Reason> {
        let url = DeValue::String(url.into());
        Directory::read(&url).map(|directory| directory.0)
    }

    #[test]
    fn a_file_url_names_a_folder() {
        for url in ["file:///data/site_a", "file:///data/site_a/"] {
            assert_eq!(directory(url).unwrap(), Path::new("/data/site_a"));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "/data/site_a",
            "s3://bucket/site_a",
            "file://host/data",
            "file:///",
            "file:///data/../etc",
            "file:///data//a",
            "file:///data/a%20b",
        ] {
            assert!(directory(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_uri_is_percent_encoded() {
        let uri = percent_encode("/a b/ü%#?~.fits".as_bytes(), ENCODED).to_string();
        assert_eq!(uri, "/a%20b/%C3%BC%25%23%3F~.fits");
    }

    #[test]
    fn a_roots_name_is_short_and_plain() {
        for name in ["main", "hsc-2_b"] {
            assert!(name.parse::<RootName>().is_ok(), "{name}");
        }
        for name in ["", "1st", "a/b", "a b", &"x".repeat(65)] {
            assert!(name.parse::<RootName>().is_err(), "{name}");
        }
    }
}
