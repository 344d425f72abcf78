//! What is done about drift that scans have found, and how much of it at most.

use std::time::Duration;

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::bytes::Bytes;
use crate::duration;
use crate::problem::Reason;
use crate::ratio::Ratio;
use crate::raw::Section;
use crate::sync::Declare;
use crate::value::{Value, word};

/// What is away for a day was not just being mended.
const APART: Duration = Duration::from_secs(24 * 60 * 60);
/// Two passes closer than this see the same outage.
const APART_LEAST: Duration = Duration::from_secs(60 * 60);
/// A week: whoever put a file there has had time to say so.
const DARK_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Transfers are tried again for a day.
const DARK_AGE_LEAST: Duration = Duration::from_secs(24 * 60 * 60);
/// A site of a million artifacts loses some thousands with a disk; more is likely a mount that is away.
const SHARE_MAX: Ratio = Ratio::percent(1);
/// More than an operator looks through.
const ARTIFACTS_MAX: u64 = 10_000;
/// What a night of a large camera comes to.
const BYTES_MAX: u64 = 20 << 40;

/// What is done about records whose artifact is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lost {
    /// Nothing.
    Report,
    /// The record goes, and the artifact is waited for again; its replica is declared to Rucio.
    Forget,
}

/// What is done about artifacts without a record that a dataset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Claimed {
    /// Nothing.
    Report,
    /// One that is what the dataset says gets its record again.
    Register,
}

/// What is done about artifacts that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dark {
    /// Nothing.
    Report,
    /// They are moved into the root's quarantine.
    Quarantine,
}

/// What is done about artifacts that are not what their records say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Corrupt {
    /// Nothing.
    Report,
    /// The record goes, the file is moved into the root's quarantine, and a right one is waited for; the
    /// replica is declared to Rucio.
    Unstore,
}

/// What is done about records of which Rucio has no replica at the root's RSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteOnly {
    /// Nothing.
    Report,
    /// Where the file is there and right, Rucio is told of it again.
    AddReplica,
}

impl Value for SiteOnly {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("report", Self::Report), ("add-replica", Self::AddReplica)],
        )
    }
}

impl Value for Lost {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("report", Self::Report), ("forget", Self::Forget)])
    }
}

impl Value for Claimed {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("report", Self::Report), ("register", Self::Register)],
        )
    }
}

impl Value for Dark {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("report", Self::Report), ("quarantine", Self::Quarantine)],
        )
    }
}

impl Value for Corrupt {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("report", Self::Report), ("unstore", Self::Unstore)],
        )
    }
}

/// What is done about drift, and how much of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Two passes this far apart must have seen the same.
    #[serde(serialize_with = "duration::serialize")]
    pub apart: Duration,
    /// A dark file must not have changed for this long.
    #[serde(serialize_with = "duration::serialize")]
    pub dark_age: Duration,
    /// About what is lost.
    pub lost: Lost,
    /// About what is dark and a dataset names.
    pub claimed: Claimed,
    /// About what else is dark.
    pub dark: Dark,
    /// About what is corrupt.
    pub corrupt: Corrupt,
    /// About records of which Rucio has no replica here.
    pub site_only: SiteOnly,
    /// What Rucio is told of the replicas of what is lost or corrupt.
    pub declare: Declare,
    /// The share of a root's records above which nothing is repaired there.
    pub share_max: Ratio,
    /// Artifacts that are repaired without approval while two passes must lie apart.
    pub artifacts_max: u64,
    /// Their bytes.
    #[serde(serialize_with = "bytes")]
    pub bytes_max: u64,
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            apart: APART,
            dark_age: DARK_AGE,
            lost: Lost::Report,
            claimed: Claimed::Report,
            dark: Dark::Report,
            corrupt: Corrupt::Report,
            site_only: SiteOnly::Report,
            declare: Declare::Bad,
            share_max: SHARE_MAX,
            artifacts_max: ARTIFACTS_MAX,
            bytes_max: BYTES_MAX,
        }
    }
}

impl Repair {
    /// Reads `[repair]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let usual = Self::default();
        let repair = Self {
            apart: at_least(&mut section, "apart", usual.apart, APART_LEAST),
            dark_age: at_least(&mut section, "dark_age", usual.dark_age, DARK_AGE_LEAST),
            lost: section.or("lost", usual.lost),
            claimed: section.or("claimed", usual.claimed),
            dark: section.or("dark", usual.dark),
            corrupt: section.or("corrupt", usual.corrupt),
            site_only: section.or("site_only", usual.site_only),
            declare: section.or("declare", usual.declare),
            share_max: section.or("share_max", usual.share_max),
            artifacts_max: section.or("artifacts_max", usual.artifacts_max),
            bytes_max: section.or("bytes_max", Bytes(usual.bytes_max)).0,
        };
        section.finish();
        repair
    }
}

/// A time that may not be shorter than a floor.
fn at_least(
    section: &mut Section<'_, '_>,
    key: &'static str,
    usual: Duration,
    least: Duration,
) -> Duration {
    let read = section.or(key, usual);
    if read < least {
        let least = humantime::format_duration(least);
        section.report(key, format!("must be at least \"{least}\""));
    }
    read
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn bytes<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    Bytes(*bytes).serialize(to)
}
