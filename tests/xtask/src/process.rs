//! Runs other programs and says which.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::out::say;

/// How often a measured child's memory is read.
const MEMORY_PERIOD: Duration = Duration::from_millis(5);

/// Shows the command, runs it with its output shown, and fails where it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    say!("$ {words}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{words}`"))?;
    succeeded(status, &words)
}

/// Runs the command and returns its standard output; its standard error is shown.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let words = words(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{words}`"))?;
    succeeded(output.status, &words)?;
    Ok(output.stdout)
}

/// Runs the command and hands each line of its standard output on as it comes; its standard error
/// is shown.
pub(crate) fn for_each_line(command: &mut Command, mut each: impl FnMut(&str)) -> Result<()> {
    let words = words(command);
    say!("$ {words}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let output = child.stdout.take().context("no pipe to read from")?;
    for line in BufReader::new(output).lines() {
        each(&line.with_context(|| format!("cannot read what `{words}` prints"))?);
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{words}`"))?;
    succeeded(status, &words)
}

/// What a child took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From start to end.
    pub(crate) wall: Duration,
    /// What all its threads computed, in user mode and in the kernel, as `/proc` last told it.
    pub(crate) cpu: Duration,
    /// Most resident memory, in bytes, as `/proc` last told it.
    pub(crate) memory_bytes_max: u64,
}

/// Runs the command to its end and measures it.
pub(crate) fn measure(command: &mut Command) -> Result<Taken> {
    let words = words(command);
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let folder = format!("/proc/{}", child.id());
    let file = format!("{folder}/status");
    let ended = AtomicBool::new(false);
    let (status, wall, (memory_bytes_max, cpu)) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut most, mut cpu) = (0, Duration::ZERO);
            while !ended.load(Ordering::Relaxed) {
                most = most.max(peak_memory_bytes(&file).unwrap_or(0));
                cpu = cpu.max(cpu_time_of(&folder).unwrap_or_default());
                thread::sleep(MEMORY_PERIOD);
            }
            (most, cpu)
        });
        let status = child.wait();
        let wall = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        (status, wall, watch.join().unwrap_or_default())
    });
    succeeded(
        status.with_context(|| format!("cannot wait for `{words}`"))?,
        &words,
    )?;
    Ok(Taken {
        wall,
        cpu,
        memory_bytes_max,
    })
}

/// The kernel's own high-water mark of a process, in bytes; `None` once it has ended.
pub(crate) fn peak_memory_bytes(status_file: &str) -> Option<u64> {
    memory_bytes(status_file, "VmHWM:")
}

/// The memory that a process has in use now, in bytes; `None` once it has ended.
pub(crate) fn resident_bytes(status_file: &str) -> Option<u64> {
    memory_bytes(status_file, "VmRSS:")
}

fn memory_bytes(status_file: &str, name: &str) -> Option<u64> {
    let status = fs::read_to_string(status_file).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What all threads of a process, whose folder in `/proc` is named, have computed so far, in user
/// mode and in the kernel.
pub(crate) fn cpu_time_of(folder: &str) -> Result<Duration> {
    /// `USER_HZ`, in which the kernel tells times since ever.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("{folder}/stat"))
        .with_context(|| format!("cannot read {folder}/stat"))?;
    // The name in parentheses may hold anything; user and system time are fields 14 and 15.
    let (_, fields) = stat
        .rsplit_once(") ")
        .with_context(|| format!("{folder}/stat has no name"))?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks
        .sum::<Result<_, _>>()
        .with_context(|| format!("{folder}/stat has no times"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn succeeded(status: ExitStatus, words: &str) -> Result<()> {
    if !status.success() {
        bail!("`{words}` failed: {status}");
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words: Vec<_> = std::iter::once(program.file_name().unwrap_or(program.as_os_str()))
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let error = run(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().contains("`false` failed"), "{error}");
    }

    #[test]
    fn this_process_has_computed_something() {
        let before = cpu_time_of("/proc/self").unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while cpu_time_of("/proc/self").unwrap() == before {
            assert!(Instant::now() < until);
        }
    }

    #[test]
    fn a_measured_child_has_a_peak_of_memory() {
        let taken = measure(Command::new("sleep").arg("0.1")).unwrap();
        assert!(taken.memory_bytes_max > 0);
        assert!(taken.wall >= Duration::from_millis(100));
    }
}
