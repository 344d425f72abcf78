//! `[[schedule]]`: what is done at which times.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use toml::de::DeValue;

use crate::bytes::Bytes;
use crate::problem::Reason;
use crate::raw::Section;
use crate::root::RootName;
pub use crate::schedule::Schedule;
use crate::value::{Value, text, word};

/// What the job is called that `[rucio.sync]` describes. No configured job can be called so.
pub const RUCIO_SYNC: &str = "rucio.sync";
/// Of a million, how many a sampled scan reads unless configured: one per cent.
const SAMPLE: Sample = Sample(10_000);

/// The name of a job, such as `nightly-scan`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct JobName(Arc<str>);

impl JobName {
    /// The job that `[rucio.sync]` describes.
    pub fn rucio_sync() -> Self {
        Self(RUCIO_SYNC.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobName {
    type Err = &'static str;

    /// A name starts with a letter and holds letters, digits, `_` and `-`, at most 64; or it is that of the
    /// job that `[rucio.sync]` describes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.parse::<RootName>().is_ok();
        if is_plain || text == RUCIO_SYNC {
            Ok(Self(text.into()))
        } else {
            Err(
                "a job's name starts with a letter and holds at most 64 letters, digits, `_` and `-`",
            )
        }
    }
}

impl<'de> Deserialize<'de> for JobName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Value for JobName {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        match text(value, "a job's name")?.parse::<Self>() {
            Ok(name) if name.as_str() == RUCIO_SYNC => {
                Err("is that of the job that `[rucio.sync]` describes".into())
            }
            Ok(name) => Ok(name),
            Err(error) => Err(format!("is refused: {error}").into()),
        }
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Compares roots with their records.
    Scan,
    /// Compares roots with Rucio.
    Sync,
    /// Compares records with Rucio's replicas, file by file.
    #[serde(rename = "rucio-scan")]
    RucioScan,
    /// Repairs what scans have found, as `[repair]` says.
    Repair,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scan, Self::Sync, Self::RucioScan, Self::Repair];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Sync => "sync",
            Self::RucioScan => "rucio-scan",
            Self::Repair => "repair",
        }
    }

    /// Whether it asks Rucio about roots that are RSEs.
    pub const fn is_about_rucio(self) -> bool {
        match self {
            Self::Sync | Self::RucioScan => true,
            Self::Scan | Self::Repair => false,
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value for JobKind {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &Self::ALL.map(|kind| (kind.as_str(), kind)))
    }
}

/// What becomes of times that passed while the daemon was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// The job is run once when the daemon starts.
    Run,
    /// It waits for its next time.
    Skip,
}

impl Value for Missed {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("run", Self::Run), ("skip", Self::Skip)])
    }
}

/// Which artifacts a scan reads, to compare their checksums with their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// None but those that were found amiss before.
    None,
    /// Also a share of the others.
    Sampled,
    /// All.
    Full,
}

impl Value for Checksum {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [
            ("none", Self::None),
            ("sampled", Self::Sampled),
            ("full", Self::Full),
        ];
        word(value, &words)
    }
}

/// A share of artifacts, written as `"0.1%"`: parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample(u32);

impl Sample {
    /// The share, from 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1_000_000.0
    }
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}%", f64::from(self.0) / 10_000.0))
    }
}

impl Value for Sample {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "a share carries its sign, such as \"0.1%\"";
        let text = text(value, "a share").map_err(|reason| reason.hint(hint))?;
        let number = text
            .strip_suffix('%')
            .and_then(|text| text.parse::<f64>().ok());
        match number {
            Some(number) if (0.0..=100.0).contains(&number) => Ok(Self(parts(number))),
            Some(_) | None => Err(Reason::new("must be from \"0%\" to \"100%\"").hint(hint)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to a million"
)]
fn parts(percent: f64) -> u32 {
    (percent * 10_000.0).round() as u32
}

/// How much a scan by schedule may use at a time, and what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScanLimits {
    /// Files and records, each path once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_max: Option<u64>,
    /// Bytes read for checksums.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bytes")]
    pub bytes_max: Option<u64>,
    /// Time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "duration")]
    pub time_max: Option<Duration>,
    /// Calls to storage in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<NonZeroU64>,
    /// What is read.
    pub checksum: Checksum,
    /// The share that is read where it is `sampled`.
    pub sample: Sample,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            objects_max: None,
            bytes_max: None,
            time_max: None,
            calls_per_second: None,
            checksum: Checksum::None,
            sample: SAMPLE,
        }
    }
}

impl ScanLimits {
    /// The keys that they are read from.
    const KEYS: [&'static str; 6] = [
        "objects_max",
        "bytes_max",
        "time_max",
        "calls_per_second",
        "checksum",
        "sample",
    ];

    fn read(section: &mut Section<'_, '_>) -> Self {
        let checksum = section.or("checksum", Checksum::None);
        if section.has("sample") && checksum != Checksum::Sampled {
            section.report("sample", "goes with `checksum = \"sampled\"` alone");
        }
        Self {
            objects_max: at_least_one(section, "objects_max").map(NonZeroU64::get),
            bytes_max: section.optional("bytes_max").map(|Bytes(bytes)| bytes),
            time_max: section.optional("time_max"),
            calls_per_second: at_least_one(section, "calls_per_second"),
            checksum,
            sample: section.or("sample", SAMPLE),
        }
    }
}

fn at_least_one(section: &mut Section<'_, '_>, key: &'static str) -> Option<NonZeroU64> {
    let number: Option<u64> = section.optional(key);
    let nonzero = number.and_then(NonZeroU64::new);
    if number.is_some() && nonzero.is_none() {
        let reason = Reason::new("must be at least 1");
        section.report(key, reason.hint("leave it out for no limit"));
    }
    nonzero
}

#[expect(clippy::ref_option, reason = "what serde calls it with")]
fn bytes<S: Serializer>(bytes: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    bytes.map(Bytes).serialize(to)
}

#[expect(clippy::ref_option, reason = "what serde calls it with")]
fn duration<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => crate::duration::serialize(time, to),
        None => to.serialize_none(),
    }
}

/// One `[[schedule]]`: a job, and when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scheduled {
    /// What it is called; no two are called the same.
    pub name: JobName,
    /// What is done.
    pub job: JobKind,
    /// When.
    pub at: Schedule,
    /// In these roots; in all where none is named.
    pub roots: Vec<RootName>,
    /// What becomes of times that passed while the daemon was down.
    pub missed: Missed,
    /// How much a scan may use; none where it is no scan.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanLimits>,
}

impl Scheduled {
    /// Whether it concerns a root.
    pub fn concerns(&self, root: &RootName) -> bool {
        self.roots.is_empty() || self.roots.contains(root)
    }

    /// Reads one `[[schedule]]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let name = section.required("name", "\"nightly\"");
        let job = section.required("job", "\"scan\"");
        let at = section.required("at", "\"0 0 3 * * *\"");
        let roots = section.list("roots");
        let missed = section.or("missed", Missed::Run);
        let limits = ScanLimits::read(&mut section);
        if let Some(job) = job.filter(|job| *job != JobKind::Scan) {
            for key in ScanLimits::KEYS {
                if section.has(key) {
                    section.report(
                        key,
                        format!("goes with `job = \"scan\"`, and this is a {job}"),
                    );
                }
            }
        }
        section.finish();
        let job = job?;
        Some(Self {
            name: name?,
            job,
            at: at?,
            roots,
            missed,
            scan: (job == JobKind::Scan).then_some(limits),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::load::parse;
    use crate::problem::Problem;
    use crate::site::Site;

    fn read(root: &str, schedules: &str) -> Result<Site, Vec<Problem>> {
        let text = format!(
            "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'\n{root}\n{schedules}"
        );
        parse(Path::new("/etc/runsync/site.toml"), &text)
    }

    fn problems(root: &str, schedules: &str) -> Vec<String> {
        let problems = read(root, schedules).unwrap_err();
        problems
            .iter()
            .map(|problem| format!("{} {}", problem.key, problem.reason))
            .collect()
    }

    const NIGHTLY: &str = "[[schedule]]\nname = 'nightly'\njob = 'scan'\nat = '0 0 3 * * *'\n";

    #[test]
    fn a_job_has_a_time_and_limits() {
        let site = read(
            "scan_period = '30days'",
            &format!(
                "{NIGHTLY}time_max = '4h'\nbytes_max = '1TiB'\ncalls_per_second = 500\n\
                 checksum = 'sampled'\nsample = '0.1%'\nmissed = 'skip'\n"
            ),
        )
        .unwrap();
        let job = site.schedules.first().unwrap();
        assert_eq!((job.name.as_str(), job.job), ("nightly", JobKind::Scan));
        assert_eq!(job.missed, Missed::Skip);
        let limits = job.scan.unwrap();
        assert_eq!(limits.time_max, Some(Duration::from_secs(4 * 60 * 60)));
        assert_eq!(limits.bytes_max, Some(1 << 40));
        assert!((limits.sample.share() - 0.001).abs() < 1e-9);
        assert_eq!(serde_json::to_value(limits.sample).unwrap(), "0.1%");
        let root = site.roots.first().unwrap();
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(root.scan_period, Some(month));
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let sync = NIGHTLY.replace("'scan'", "'sync'");
        for (root, schedules, expected) in [
            (
                "",
                format!("{NIGHTLY}{NIGHTLY}"),
                "schedule[1].name is the name `nightly`, as is `schedule[0].name`",
            ),
            (
                "",
                format!("{NIGHTLY}roots = ['other']"),
                "schedule[0].roots[0] is `other`, and no root is called so",
            ),
            (
                "",
                sync.clone(),
                "schedule[0].job is \"sync\", and the site has no Rucio",
            ),
            (
                "",
                NIGHTLY.replace("'scan'", "'repaint'"),
                "schedule[0].job must be one of `scan`, `sync`, `rucio-scan`, `repair`",
            ),
            (
                "",
                format!("{NIGHTLY}sample = '1%'"),
                "schedule[0].sample goes with `checksum = \"sampled\"` alone",
            ),
            (
                "",
                format!("{NIGHTLY}objects_max = 0"),
                "schedule[0].objects_max must be at least 1",
            ),
            (
                "",
                NIGHTLY.replace("'nightly'", "'rucio.sync'"),
                "schedule[0].name is that of the job that `[rucio.sync]` describes",
            ),
            (
                "",
                NIGHTLY.replace("0 0 3", "TZ=Europe/Paris 0 0 3"),
                "schedule[0].at names a time zone, and schedules are in UTC",
            ),
            (
                "scan_period = '7days'",
                String::new(),
                "root[0].scan_period is of no use: no `[[schedule]]` scans this root",
            ),
            (
                "scan_period = '23h'",
                NIGHTLY.to_owned(),
                "root[0].scan_period is 23h, and up to 1day pass between two times at which this root is scanned",
            ),
            (
                "",
                NIGHTLY.replace("0 0 3 * * *", "0 0 0 30 2 *"),
                "schedule[0].at never comes",
            ),
        ] {
            let found = problems(root, &schedules);
            assert!(found.iter().any(|one| one == expected), "{found:?}");
        }
        let found = problems("", &format!("{sync}time_max = '1h'"));
        assert!(
            found.contains(
                &"schedule[0].time_max goes with `job = \"scan\"`, and this is a sync".to_owned()
            ),
            "{found:?}"
        );
    }
}
