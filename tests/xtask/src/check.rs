//! `cargo xtask check`: what every commit must pass.

use std::fmt;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::out::say;
use crate::tools::CARGO_DENY;
use crate::verdict::{Outcome, Verdict};
use crate::{links, process, workspace};

/// Whether a part could be gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It was, and nothing is to be mended.
    Passed,
    /// It was not, for a reason that is no fault of the commit.
    NotChecked(&'static str),
}

/// Goes through a part; an error is something to mend.
type Run = fn() -> Result<Part>;

/// The parts, in the order of how soon they fail.
const PARTS: &[(&str, Run)] = &[
    ("formatting", formatting),
    ("links", links),
    ("lints", lints),
    ("documentation", documentation),
    ("layers", layers),
    ("dependencies", dependencies),
    ("advisories", advisories),
];

/// Runs every part, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn run() -> Outcome {
    let mut tally = Tally::default();
    for (name, part) in PARTS {
        let result = part();
        match &result {
            Ok(Part::Passed) => {}
            Ok(Part::NotChecked(reason)) => say!("{name}: NOT CHECKED ({reason})"),
            Err(error) => say!("{name}: {error:#}"),
        }
        tally.count(name, &result);
    }
    Outcome::Measured(Verdict {
        task: "check",
        measured: tally.to_string(),
        bar: "all".to_owned(),
        met: tally.failed.is_empty(),
    })
}

/// What became of the parts. One that was not checked is not among those that pass.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: Vec<&'static str>,
    not_checked: Vec<&'static str>,
}

impl Tally {
    fn count(&mut self, name: &'static str, result: &Result<Part>) {
        match result {
            Ok(Part::Passed) => self.passed += 1,
            Ok(Part::NotChecked(_)) => self.not_checked.push(name),
            Err(_) => self.failed.push(name),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checked = self.passed + self.failed.len();
        write!(f, "{} of {checked} parts pass", self.passed)?;
        if !self.not_checked.is_empty() {
            write!(f, ", {} NOT CHECKED", self.not_checked.join(", "))?;
        }
        if !self.failed.is_empty() {
            write!(f, "; failed: {}", self.failed.join(", "))?;
        }
        Ok(())
    }
}

fn formatting() -> Result<Part> {
    passes(workspace::cargo().args(["fmt", "--all", "--", "--check"]))
}

fn links() -> Result<Part> {
    links::check()?;
    Ok(Part::Passed)
}

fn lints() -> Result<Part> {
    passes(workspace::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]))
}

fn documentation() -> Result<Part> {
    passes(
        workspace::cargo()
            .env("RUSTDOCFLAGS", "--deny=warnings")
            .args(["doc", "--locked", "--workspace", "--no-deps"]),
    )
}

/// Of the whole workspace, as `cargo xtask test` does it: one package alone would have its
/// dependencies built again, with features of its own.
fn layers() -> Result<Part> {
    passes(
        workspace::cargo()
            .args(["test", "--locked", "--quiet", "--workspace"])
            .args(["--test", "layers"]),
    )
}

/// Bans, licences and sources.
fn dependencies() -> Result<Part> {
    passes(&mut deny(&[
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ])?)
}

/// Known faults of dependencies, where their database can be reached.
fn advisories() -> Result<Part> {
    let fetched = deny(&["fetch", "db"])?
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|fetch| fetch.status.success());
    if !fetched {
        return Ok(Part::NotChecked(
            "their database cannot be fetched from here",
        ));
    }
    passes(&mut deny(&[
        "check",
        "--disable-fetch",
        "--hide-inclusion-graph",
        "advisories",
    ])?)
}

fn deny(arguments: &[&str]) -> Result<Command> {
    let mut deny = Command::new(CARGO_DENY.path()?);
    deny.current_dir(workspace::root())
        .args(["--locked", "--log-level", "error"])
        .args(arguments);
    Ok(deny)
}

fn passes(command: &mut Command) -> Result<Part> {
    process::run(command)?;
    Ok(Part::Passed)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_what_was_checked_is_counted() {
        let mut tally = Tally::default();
        tally.count("one", &Ok(Part::Passed));
        tally.count("two", &Ok(Part::Passed));
        assert_eq!(tally.to_string(), "2 of 2 parts pass");
        tally.count("three", &Ok(Part::NotChecked("no way there")));
        assert_eq!(tally.to_string(), "2 of 2 parts pass, three NOT CHECKED");
        tally.count("four", &Err(anyhow!("wrong")));
        assert_eq!(
            tally.to_string(),
            "2 of 3 parts pass, three NOT CHECKED; failed: four"
        );
    }
}
