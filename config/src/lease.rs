//! How long the lease of a site holds.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;

use crate::duration;
use crate::raw::Section;

/// Shorter ones would be lost to a slow disk; longer ones leave a site idle for too long.
const DURATIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Long enough that no stall of a disk loses it, short enough that nobody misses the site.
const DEFAULT: Duration = Duration::from_secs(30);

/// The lease that one daemon of a site holds while it runs the site's loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// How long it stays its holder's without being renewed.
    #[serde(serialize_with = "duration::serialize")]
    pub duration: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { duration: DEFAULT }
    }
}

impl Lease {
    /// Reads `[lease]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let lease = Self {
            duration: section.or("duration", DEFAULT),
        };
        if !DURATIONS.contains(&lease.duration) {
            section.report("duration", "must be from 1s to 1h");
        }
        section.finish();
        lease
    }
}
