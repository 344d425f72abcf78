//! Which per-file messages become runs of this site: those of Rubin's senders, as `ctrl_ingestd` takes them.
//!
//! The section may be missing: then nothing is adopted.

use std::collections::BTreeSet;
use std::time::Duration;

use runsync_manifest::name::{RseName, RunName, RunPrefix, StorageClassName};
use runsync_manifest::universe;
use serde::Serialize;

use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;

/// As many messages as are handed on at once.
const BATCH_FILES: usize = 1000;
/// Two manifests of a run a minute at most, unless they are full.
const BATCH_AGE: Duration = Duration::from_secs(30);
/// What a sweep reads within a second.
const MANIFESTS_MAX: usize = 200;
/// A dimension file comes with the files that need it, or the sender has forgotten it.
const DIMENSION_PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Longer would outlive what is kept of messages (a day).
const DIMENSION_PATIENCE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The longest age of a batch: whoever waits longer wants no events.
const BATCH_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// What is adopted, and how it is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adopt {
    /// RSEs whose files are adopted; each is the `rse` of a root.
    pub rses: Vec<RseName>,
    /// Run names that may be adopted; empty: any.
    pub run_prefixes: Vec<RunPrefix>,
    /// Version of the Butler's dimension universe that messages mean: they do not name one.
    pub universe: u32,
    /// Most files of one manifest.
    pub batch_files: usize,
    /// How long files of a run are gathered for one manifest.
    #[serde(serialize_with = "duration::serialize")]
    pub batch_age: Duration,
    /// Additions manifests of one run from which on one snapshot takes their place.
    pub manifests_max: usize,
    /// How long files wait for dimension records before they are put into a manifest that is blocked.
    #[serde(serialize_with = "duration::serialize")]
    pub dimension_patience: Duration,
    /// Formatters by storage class: messages do not name them.
    #[serde(rename = "formatter", skip_serializing_if = "Vec::is_empty")]
    pub formatters: Vec<FormatterRule>,
}

/// The formatter of one storage class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormatterRule {
    /// The storage class.
    pub storage_class: StorageClassName,
    /// The Python class that reads artifacts of it.
    pub formatter: String,
}

impl Adopt {
    /// Whether files of an RSE are adopted.
    pub fn takes_rse(&self, rse: &RseName) -> bool {
        self.rses.contains(rse)
    }

    /// Whether a run of that name may be adopted.
    pub fn takes_run(&self, run: &RunName) -> bool {
        self.run_prefixes.is_empty() || self.run_prefixes.iter().any(|prefix| prefix.owns(run))
    }

    /// The formatter of a storage class, where configuration names one.
    pub fn formatter(&self, storage_class: &StorageClassName) -> Option<&str> {
        let rule = |rule: &&FormatterRule| rule.storage_class == *storage_class;
        self.formatters
            .iter()
            .find(rule)
            .map(|rule| rule.formatter.as_str())
    }

    /// Reads `[adopt]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let rses: Vec<RseName> = section.list("rses");
        if rses.is_empty() {
            let reason = Reason::new("must name at least one RSE");
            section.report("rses", reason.hint("add `rses = [\"SITE_A_DISK\"]`"));
        }
        let run_prefixes = section.list("run_prefixes");
        let universe = section.or("universe", universe::VERSION);
        if universe == 0 || universe > universe::VERSION {
            let known = format!("must be from 1 to {}", universe::VERSION);
            section.report("universe", known);
        }
        let batch_files = section.or("batch_files", BATCH_FILES);
        if !(1..=BATCH_FILES).contains(&batch_files) {
            section.report("batch_files", format!("must be from 1 to {BATCH_FILES}"));
        }
        let batch_age = section.or("batch_age", BATCH_AGE);
        if batch_age.is_zero() || batch_age > BATCH_AGE_MAX {
            section.report("batch_age", "must be more than nothing and at most an hour");
        }
        let manifests_max = section.or("manifests_max", MANIFESTS_MAX);
        if manifests_max < 2 {
            section.report("manifests_max", "must be at least 2");
        }
        let dimension_patience = section.or("dimension_patience", DIMENSION_PATIENCE);
        if dimension_patience > DIMENSION_PATIENCE_MAX {
            section.report("dimension_patience", "must be at most 12 hours");
        }
        let formatters = formatters(section.sections("formatter"));
        section.finish();
        Some(Self {
            rses,
            run_prefixes,
            universe,
            batch_files,
            batch_age,
            manifests_max,
            dimension_patience,
            formatters: formatters?,
        })
    }
}

fn formatters(sections: Vec<Section<'_, '_>>) -> Option<Vec<FormatterRule>> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::with_capacity(sections.len());
    for mut section in sections {
        let storage_class: Option<StorageClassName> =
            section.required("storage_class", "\"ExposureF\"");
        let formatter: Option<String> = section.required(
            "formatter",
            "\"lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter\"",
        );
        if let Some(formatter) = &formatter
            && (formatter.is_empty() || formatter.chars().any(char::is_control))
        {
            section.report("formatter", "must be the name of a Python class");
        }
        if let Some(class) = &storage_class
            && !seen.insert(class.as_str().to_owned())
        {
            section.report(
                "storage_class",
                format!("`{class}` has a formatter already"),
            );
        }
        section.finish();
        rules.push(storage_class.zip(formatter));
    }
    rules
        .into_iter()
        .map(|rule| {
            let (storage_class, formatter) = rule?;
            Some(FormatterRule {
                storage_class,
                formatter,
            })
        })
        .collect()
}
