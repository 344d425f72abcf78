//! Proofs whose cases are tests of the daemon: a task runs one target of the tests, and prints what each
//! case came to. Only a case that its test has reported counts.

use std::time::{Duration, Instant};

use crate::out::{grouped, say};
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// What the tests print before a case.
const CASE: &str = "case: ";
/// Between a case and what came of it.
const BETWEEN: &str = " | ";
/// How the outcome of a case begins that this machine did not let the test try.
const NOT_CHECKED: &str = "NOT CHECKED";

/// Runs a target of the tests and counts its cases.
pub(crate) fn prove(
    task: &'static str,
    target: &str,
    cases_bar: u64,
    settings: &[(&str, String)],
) -> Outcome {
    prove_some(task, (target, ""), cases_bar, settings)
}

/// The same with those tests of the target alone whose names hold `tests`.
pub(crate) fn prove_some(
    task: &'static str,
    (target, tests): (&str, &str),
    cases_bar: u64,
    settings: &[(&str, String)],
) -> Outcome {
    let start = Instant::now();
    let mut test = workspace::cargo();
    test.envs(settings.iter().map(|(name, value)| (name, value)))
        // The whole workspace: one package alone would have its dependencies built again.
        .args(["test", "--locked", "--workspace", "--test", target])
        .args(["--", "--nocapture", tests]);
    let mut table = Vec::new();
    let ended = process::for_each_line(&mut test, |line| match case(line) {
        Some(case) => table.push(case),
        None => say!("{line}"),
    });
    print(&mut table);
    if let Err(error) = &ended {
        say!("error: {error:#}");
    }
    let tally = Tally::of(&table);
    Outcome::Measured(verdict(
        task,
        (tally, cases_bar),
        ended.is_ok(),
        start.elapsed(),
    ))
}

/// How many cases there were.
#[derive(Debug, Clone, Copy)]
struct Tally {
    checked: u64,
    not_checked: u64,
}

impl Tally {
    fn of(table: &[(String, String)]) -> Self {
        let is_checked = |(_, outcome): &&(String, String)| !outcome.starts_with(NOT_CHECKED);
        let checked = table.iter().filter(is_checked).count();
        Self {
            checked: checked as u64,
            not_checked: (table.len() - checked) as u64,
        }
    }
}

/// A case and what came of it, where the line is about one.
fn case(line: &str) -> Option<(String, String)> {
    // The test harness writes the test's name before the first line of its output.
    let (_, line) = line.split_once(CASE)?;
    let (case, outcome) = line.split_once(BETWEEN)?;
    Some((case.to_owned(), outcome.to_owned()))
}

fn print(table: &mut [(String, String)]) {
    table.sort_by(|(a, _), (b, _)| natural(a).cmp(&natural(b)));
    let width = table.iter().map(|(case, _)| case.chars().count()).max();
    let width = width.unwrap_or(0);
    for (case, outcome) in table {
        say!("{case:width$}  {outcome}");
    }
}

/// Sorts `2` before `10`.
fn natural(text: &str) -> Vec<(u64, &str)> {
    let is_digit = |c: char| c.is_ascii_digit();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '`');
    let number = |word: &str| word.parse().unwrap_or(u64::MAX);
    words
        .map(|word| (number(word), word.trim_matches(is_digit)))
        .collect()
}

fn verdict(
    task: &'static str,
    (tally, bar): (Tally, u64),
    passed: bool,
    took: Duration,
) -> Verdict {
    let end = if passed {
        "each ends as it must"
    } else {
        "NOT all tests pass"
    };
    let not_checked = match tally.not_checked {
        0 => String::new(),
        some => format!(", {some} {NOT_CHECKED}"),
    };
    Verdict {
        task,
        measured: format!(
            "{} cases, {end}{not_checked}, in {:.0} s",
            grouped(tally.checked),
            took.as_secs_f64()
        ),
        bar: format!(">= {bar} cases, all as promised"),
        met: passed && tally.checked >= bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reported_case_counts() {
        let expected = Some(("killed 3".to_owned(), "gone".to_owned()));
        assert_eq!(case("case: killed 3 | gone"), expected);
        assert_eq!(case("test a_removal ... case: killed 3 | gone"), expected);
        assert_eq!(case("test a_removal ... ok"), None);
    }

    #[test]
    fn cases_are_shown_in_the_order_of_their_numbers() {
        let mut table =
            ["killed 10: b", "killed 2: c", "asked"].map(|it| (it.to_owned(), String::new()));
        print(&mut table);
        let order: Vec<&str> = table.iter().map(|(case, _)| case.as_str()).collect();
        assert_eq!(order, ["asked", "killed 2: c", "killed 10: b"]);
    }

    #[test]
    fn too_few_cases_are_no_proof() {
        let met = |checked, passed| {
            let not_checked = 0;
            let tally = Tally {
                checked,
                not_checked,
            };
            verdict("task", (tally, 2), passed, Duration::ZERO).met
        };
        assert!(met(2, true));
        assert!(!met(1, true) && !met(2, false));
    }

    #[test]
    fn a_case_that_was_not_tried_does_not_count_and_is_told() {
        let table = [("one", "left"), ("two", "NOT CHECKED: may not mount")];
        let table = table.map(|(case, outcome)| (case.to_owned(), outcome.to_owned()));
        let verdict = verdict("task", (Tally::of(&table), 2), true, Duration::ZERO);
        assert!(!verdict.met);
        let told = "1 cases, each ends as it must, 1 NOT CHECKED, in 0 s";
        assert_eq!(verdict.measured, told);
    }
}
