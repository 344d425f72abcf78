//! `cargo xtask walkthrough`: types every command of docs/WALKTHROUGH.md, and compares what each
//! prints with what the page says.
//!
//! One shell runs the page from top to bottom. In blocks marked `console`, lines that begin with `$ `
//! are commands and the others what they print; blocks marked `sh` are run, and may print anything.
//! Each command is followed by a line that nothing else prints, so that it is known what is whose.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::out::say;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};
use crate::{files, process};

/// The page.
const PAGE: &str = "docs/WALKTHROUGH.md";
/// What two texts may differ in.
const ANYTHING: char = '…';
/// Ends what a command has printed.
const MARK: &str = "walkthrough-command-ended";
/// Longer the whole page does not take.
const DEADLINE: Duration = Duration::from_secs(300);
/// Commands below which something is wrong with reading the page.
const COMMANDS_MIN: usize = 20;

/// A command, and what it prints; none: anything.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    prints: Option<String>,
}

/// Walks through the page.
pub(crate) fn run() -> Result<Outcome> {
    let binary = workspace::build_runsync(Profile::Dev)?;
    let page = files::read(&workspace::root().join(PAGE))?;
    let steps = steps(&page);
    let compared = steps.iter().filter(|step| step.prints.is_some()).count();
    ensure!(
        compared >= COMMANDS_MIN,
        "only {compared} commands in {PAGE}"
    );
    let folder = tempfile::Builder::new()
        .prefix("runsync-walkthrough-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let printed = walk(&steps, folder.path(), &binary)?;
    let mut different = 0;
    for (step, printed) in steps.iter().zip(&printed) {
        let Some(expected) = &step.prints else {
            continue;
        };
        if is_alike(expected, printed) {
            say!("as it says: {}", step.command);
        } else {
            different += 1;
            say!("{} prints\n{printed}and not\n{expected}", step.command);
        }
    }
    ensure!(
        printed.len() == steps.len(),
        "the page was not walked to its end"
    );
    Ok(Outcome::Measured(Verdict {
        task: "walkthrough",
        measured: format!(
            "{} of {compared} commands print what {PAGE} says",
            compared - different
        ),
        bar: "all".to_owned(),
        met: different == 0,
    }))
}

/// What each step has printed.
fn walk(steps: &[Step], folder: &Path, binary: &Path) -> Result<Vec<String>> {
    let mut script = "exec 2>&1\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n".to_owned();
    for step in steps {
        writeln!(script, "{}\necho '{MARK}'", step.command)?;
    }
    let file = folder.join("walk.sh");
    files::write(&file, script.as_bytes())?;
    let path = std::env::var("PATH").unwrap_or_default();
    let beside = binary.parent().context("the binary lies nowhere")?;
    let mut shell = Command::new("timeout");
    shell
        .arg(DEADLINE.as_secs().to_string())
        .args(["bash", "-u"])
        .arg(&file)
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", beside.display()))
        .env_remove("RUNSYNC_CONFIG");
    let output = process::output(&mut shell)?;
    let text = String::from_utf8(output).context("what was printed is no text")?;
    let end = format!("{MARK}\n");
    let mut printed: Vec<String> = text.split(&end).map(str::to_owned).collect();
    match printed.pop() {
        Some(rest) if rest.is_empty() => Ok(printed),
        rest => bail!("the shell ended early, after {rest:?}"),
    }
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let block: Vec<&str> = match line {
            "```sh" | "```console" => lines.by_ref().take_while(|line| *line != "```").collect(),
            _ => continue,
        };
        if line == "```sh" {
            steps.push(Step {
                command: block.join("\n"),
                prints: None,
            });
            continue;
        }
        for line in block {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    command: command.to_owned(),
                    prints: Some(String::new()),
                });
            } else if let Some(Step {
                prints: Some(prints),
                ..
            }) = steps.last_mut()
            {
                prints.push_str(line);
                prints.push('\n');
            }
        }
    }
    steps
}

/// Compares two texts line by line: [`ANYTHING`] stands for any characters of a line.
fn is_alike(expected: &str, printed: &str) -> bool {
    let (mut expected, mut printed) = (expected.lines(), printed.lines());
    loop {
        match (expected.next(), printed.next()) {
            (None, None) => return true,
            (Some(expected), Some(printed)) if is_alike_line(expected, printed.trim_end()) => {}
            _ => return false,
        }
    }
}

fn is_alike_line(expected: &str, printed: &str) -> bool {
    let Some((first, rest)) = expected.split_once(ANYTHING) else {
        return expected.trim_end() == printed;
    };
    let Some(mut printed) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split(ANYTHING).collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = printed.split_once(part) else {
            return false;
        };
        printed = after;
    }
    printed.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_commands_and_what_they_print() {
        let page = "# Title\n```sh\na=1\nb=2\n```\ntext\n```console\n$ one\nx\n  y\n$ two\n```\n```toml\nno\n```\n";
        let step = |command: &str, prints: Option<&str>| Step {
            command: command.to_owned(),
            prints: prints.map(str::to_owned),
        };
        let expected = [
            step("a=1\nb=2", None),
            step("one", Some("x\n  y\n")),
            step("two", Some("")),
        ];
        assert_eq!(steps(page), expected);
    }

    #[test]
    fn texts_are_alike_but_for_what_may_differ() {
        assert!(is_alike("plan …: purge\n  a\n", "plan 12ab: purge\n  a\n"));
        assert!(is_alike("…: x, … of 3\n", "/p: x, 2 of 3\n"));
        assert!(is_alike("", ""));
        for printed in [
            "plan 12: purg\n",
            "plan: purge\n",
            "plan 1: purge\nmore\n",
            "",
        ] {
            assert!(!is_alike("plan …: purge\n", printed), "{printed:?}");
        }
        assert!(!is_alike("a\n", ""));
    }
}
