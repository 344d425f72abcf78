//! Questions on standard input, answers on standard output, both at once.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::process;

/// Asks `exists` (or a command that wraps it) for every UUID and hands each line of the answer on.
pub(crate) fn ask(
    exists: &mut Command,
    uuids: impl Iterator<Item = Uuid> + Send,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let words = process::words(exists);
    let mut child = exists
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let input = child.stdin.take().context("no pipe to write to")?;
    let mut output = BufReader::new(child.stdout.take().context("no pipe to read from")?);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(move || write_uuids(input, uuids));
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .context("cannot read the answer")?
            > 0
        {
            each(&line)?;
            line.clear();
        }
        writer.join().ok().context("the writing thread panicked")
    })?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{words}`"))?;
    ensure!(status.success(), "`{words}` failed: {status}");
    written.context("cannot write the UUIDs")
}

fn write_uuids(input: ChildStdin, uuids: impl Iterator<Item = Uuid>) -> std::io::Result<()> {
    let mut input = std::io::BufWriter::new(input);
    for uuid in uuids {
        writeln!(input, "{uuid}")?;
    }
    input.flush()
}
