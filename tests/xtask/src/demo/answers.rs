//! Asks B for every dataset and compares.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::out::say;
use crate::runsync_command::{self, Existence, Site};

use super::manifests::Expected;

/// Wrong answers that are printed; the rest is only counted.
const SHOWN_MAX: usize = 10;

/// The number of datasets that B answers rightly for.
pub(super) fn count_right(b: &Site, expected: &Expected) -> Result<usize> {
    let uuids = expected.datasets.keys().copied();
    let mut answered = BTreeSet::new();
    let mut wrong = 0;
    runsync_command::ask(&mut b.exists(), uuids, |line| {
        let answer: Existence =
            serde_json::from_slice(line).context("cannot understand an answer of `exists`")?;
        ensure!(
            answered.insert(answer.uuid),
            "{} is answered twice",
            answer.uuid
        );
        if !is_right(&answer, expected) {
            wrong += 1;
            if wrong <= SHOWN_MAX {
                say!("wrong: {}", String::from_utf8_lossy(line).trim_end());
            }
        }
        Ok(())
    })?;
    Ok(answered.len() - wrong)
}

fn is_right(answer: &Existence, expected: &Expected) -> bool {
    let Some(wanted) = expected.datasets.get(&answer.uuid) else {
        return false;
    };
    let [artifact] = answer.artifacts.as_slice() else {
        return false;
    };
    answer.exists == "yes"
        && artifact.path == wanted.path
        && artifact.size == wanted.size
        && artifact.checksums.get("adler32") == Some(&wanted.adler32)
}
