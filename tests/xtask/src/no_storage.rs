//! `cargo xtask no-storage`: existence is answered from records alone.
//!
//! A site registers a large run at level `trust`. `runsync exists` is asked for every UUID, once
//! as the site stands and once under strace with the root moved away. The answers must be the
//! same, byte for byte, and no system call may name a path below the root.
//!
//! In this process the same questions are asked through what the command opens, beside the flows
//! of the same site over roots that count the calls that reach them. What the command opens takes
//! no root, so none can come: the count shows that it stays so.
//!
//! Both counters are first shown to count: strace with a command that reads the root, the roots
//! with a sweep.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use runsync::assembly::Readers;
use runsync::datastore::counted::Counted;
use runsync::datastore::{Datastore, LocalRoot};
use runsync::ingest::flow::Flow;
use runsync::ingest::sweep::Arrivals;
use runsync_manifest::name::DatasetId;

use crate::out::{grouped, say};
use crate::runsync_command::{self, Existence, Site};
use crate::synthetic::{self, Row};
use crate::tools::STRACE;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files, process, tools, workspace};

/// UUIDs asked for at once in this process.
const BATCH: usize = 10_000;

/// What to ask.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets registered and asked for
    #[arg(long, default_value_t = 1_000_000)]
    datasets: u64,
}

/// Runs the proof.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    tools::ensure(&[STRACE])?;
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = synthetic::registered_site(&binary, folder.path(), arguments.datasets)?;

    let present = folder.path().join("present.ndjson");
    let yes = answers(&mut site.exists(), arguments.datasets, &present)?;
    let reached = calls_at_the_seam(&site, arguments.datasets)?;
    let trace = folder.path().join("trace");
    strace_sees_the_root(&site, &trace)?;

    let away = folder.path().join("away");
    files::rename(&site.root, &away)?;
    say!("the root is moved away");
    let absent = folder.path().join("absent.ndjson");
    answers(
        &mut traced(&site.exists(), &trace),
        arguments.datasets,
        &absent,
    )?;
    let same = same_bytes(&present, &absent)?;
    let named = calls_that_name(&trace, &[&site.root, &away])?;
    say!(
        "{} system calls name a path, {} of them one below the root",
        grouped(named.calls),
        named.below.len()
    );
    for line in &named.below {
        say!("names the root: {line}");
    }
    ensure!(named.calls > 0, "strace has seen no system call at all");
    let below = named.below.len();
    let Reached { sweep, questions } = reached;
    Ok(Outcome::Measured(Verdict {
        task: "no-storage",
        measured: format!(
            "{} of {} UUIDs answered yes, {} answers with the root away, {below} system calls \
             below the root, {questions} calls at the datastore seam (a sweep: {sweep})",
            grouped(yes),
            grouped(arguments.datasets),
            if same { "the same" } else { "OTHER" }
        ),
        bar: "all, the same, 0, 0".to_owned(),
        met: yes == arguments.datasets && same && below == 0 && questions == 0,
    }))
}

/// Calls that reached the roots of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    /// While each root was swept once.
    sweep: u64,
    /// While the site was asked for every UUID.
    questions: u64,
}

/// Opens the site over roots that count, sweeps them, and then asks for every UUID.
fn calls_at_the_seam(site: &Site, datasets: u64) -> Result<Reached> {
    let configured = runsync_config::load(&site.config)?;
    let (_held, assembly) = site.open()?;
    let mut counters = Vec::new();
    let mut flows = Vec::new();
    for root in &configured.roots {
        let counted = Arc::new(Counted::new(LocalRoot::open(&root.directory)?));
        let datastore: Arc<dyn Datastore> = Arc::<Counted<LocalRoot>>::clone(&counted);
        flows.push(Flow::new(
            Arc::clone(&assembly.parts),
            root.clone(),
            datastore,
        ));
        counters.push(counted);
    }
    let calls = || -> u64 { counters.iter().map(|root| root.calls().total()).sum() };

    let mut files = 0;
    for flow in flows {
        files += Arrivals::new(flow).sweep()?.files;
    }
    let sweep = calls();
    ensure!(sweep > 0, "the roots have counted no call of a sweep");
    ensure!(files == 1, "the sweep has seen {files} manifests, not 1");

    let readers = Readers::open(&configured)?;
    let mut uuids = (0..datasets).map(|at| DatasetId(Row::new(at).uuid));
    loop {
        let batch: Vec<DatasetId> = uuids.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let answers = readers.registry.exists(&batch)?;
        ensure!(answers.len() == batch.len(), "an answer is missing");
    }
    let questions = calls() - sweep;
    say!(
        "the datastore seam counted {sweep} calls during a sweep and {questions} during the \
         look-ups (what `exists` opens takes no root)"
    );
    Ok(Reached { sweep, questions })
}

/// Shows that strace would see a look at the root: `config check` reads there.
fn strace_sees_the_root(site: &Site, trace: &Path) -> Result<()> {
    let mut check = site.command();
    check.args(["config", "check"]);
    process::output(&mut traced(&check, trace))?;
    let below = calls_that_name(trace, &[&site.root])?.below.len();
    say!("strace sees {below} system calls of `config check` below the root");
    ensure!(below > 0, "strace has seen no look at the root");
    Ok(())
}

/// Asks for every UUID, keeps the answers in `to` and returns how many are `yes`.
fn answers(exists: &mut Command, datasets: u64, to: &Path) -> Result<u64> {
    let start = Instant::now();
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut output = BufWriter::new(file);
    let (mut yes, mut lines) = (0, 0);
    let uuids = (0..datasets).map(|at| Row::new(at).uuid);
    runsync_command::ask(exists, uuids, |line| {
        let answer: Existence =
            serde_json::from_slice(line).context("cannot understand an answer of `exists`")?;
        yes += u64::from(answer.exists == "yes" && !answer.artifacts.is_empty());
        lines += 1;
        output.write_all(line).context("cannot keep the answer")
    })?;
    output.flush().context("cannot keep the answers")?;
    ensure!(
        lines == datasets,
        "{lines} answers for {datasets} questions"
    );
    say!(
        "{} answers in {:.1} s",
        grouped(lines),
        start.elapsed().as_secs_f64()
    );
    Ok(yes)
}

/// The command under strace, which writes every call that names a file into `trace`.
fn traced(command: &Command, trace: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace
        // -y: a descriptor is shown with its path, so that no openat hides behind one.
        .args(["--follow-forks", "-y", "--string-limit=4096"])
        .args(["--trace=%file", "--output"])
        .arg(trace)
        .arg(command.get_program())
        .args(command.get_args());
    strace
}

/// System calls that name a path.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// All of them.
    calls: u64,
    /// As strace shows them, those that name one of the folders or what is below it.
    below: Vec<String>,
}

/// The calls in a trace, and those below one of the folders.
fn calls_that_name(trace: &Path, folders: &[&Path]) -> Result<Named> {
    let names: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let file = File::open(trace).with_context(|| format!("cannot open {}", trace.display()))?;
    let (mut calls, mut below) = (0, Vec::new());
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {}", trace.display()))?;
        // The program's own arguments name nothing that it then touches.
        if !line.contains('(') || line.contains("execve(") {
            continue;
        }
        calls += 1;
        if names.iter().any(|name| line.contains(name.as_str())) {
            below.push(line);
        }
    }
    Ok(Named { calls, below })
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| {
        File::open(path)
            .map(|file| BufReader::with_capacity(1 << 20, file))
            .with_context(|| format!("cannot open {}", path.display()))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let length = a.len().min(b.len());
        if length == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a.get(..length) != b.get(..length) {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_below_a_folder_are_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let lines = "1 execve(\"/b/runsync\", [\"/r/root\"], 0x7) = 0\n\
                     1 openat(AT_FDCWD</x>, \"/etc/hosts\", O_RDONLY) = 3\n\
                     1 openat(AT_FDCWD</x>, \"/r/root/a\", O_RDONLY) = -1 ENOENT\n\
                     1 +++ exited with 0 +++\n";
        files::write(&trace, lines.as_bytes()).unwrap();
        let named = calls_that_name(&trace, &[Path::new("/r/root")]).unwrap();
        assert_eq!(named.calls, 2);
        assert_eq!(
            named.below,
            ["1 openat(AT_FDCWD</x>, \"/r/root/a\", O_RDONLY) = -1 ENOENT"]
        );
    }

    #[test]
    fn files_are_compared_to_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            files::write(&path, text.as_bytes()).unwrap();
            path
        };
        let (one, longer, other) = (file("a", "abc"), file("b", "abcd"), file("c", "abd"));
        assert!(same_bytes(&one, &one).unwrap());
        assert!(!same_bytes(&one, &longer).unwrap());
        assert!(!same_bytes(&one, &other).unwrap());
    }
}
