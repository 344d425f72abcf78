//! Carries files and manifests from A to B as a transfer tool would on a bad day: in random
//! order, with pauses, manifests in two pieces, and B's daemon killed half-way.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::files;
use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::{Daemon, Site};

/// One file in so many is followed by a pause.
const PAUSE_EVERY: u64 = 200;
/// Longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 150;
/// While the daemon is dead, this share of the files arrives.
const UNWATCHED_SHARE: usize = 20;

/// Copies everything and returns B's daemon, which was killed and started again on the way.
pub(super) fn carry(a: &Site, b: &Site, log: &Path, random: &mut Random) -> Result<Daemon> {
    let mut cargo = cargo(&a.root)?;
    random.shuffle(&mut cargo);
    let killed_at = cargo.len() / 2;
    let restarted_at = killed_at + cargo.len() / UNWATCHED_SHARE;
    say!(
        "carrying {} files from A to B in random order, manifests in two pieces",
        grouped(cargo.len() as u64)
    );
    let mut daemon = Some(b.start_daemon(log)?);
    for (at, file) in cargo.iter().enumerate() {
        if at == killed_at
            && let Some(daemon) = daemon.take()
        {
            daemon.kill()?;
            say!("after {} files: kill -9 of B's daemon", grouped(at as u64));
        }
        if at == restarted_at && daemon.is_none() {
            daemon = Some(b.start_daemon(log)?);
            say!(
                "after {} files: B's daemon started again",
                grouped(at as u64)
            );
        }
        copy(&a.root.join(file), &b.root.join(file), random)?;
        if random.below(PAUSE_EVERY) == 0 {
            thread::sleep(Duration::from_millis(random.below(PAUSE_MS_MAX)));
        }
    }
    daemon.map_or_else(|| b.start_daemon(log), Ok)
}

/// What travels: artifacts and manifests, but nothing else of a root's own folder.
fn cargo(root: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = files::below(root)?;
    cargo.retain(|file| is_manifest(file) || !file.starts_with("runsync"));
    Ok(cargo)
}

fn is_manifest(file: &Path) -> bool {
    file.starts_with("runsync/manifests")
}

fn copy(from: &Path, to: &Path, random: &mut Random) -> Result<()> {
    files::make_parent(to)?;
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let cut = if from
        .components()
        .any(|part| part.as_os_str() == "manifests")
    {
        usize::try_from(random.below(bytes.len() as u64))?
    } else {
        bytes.len()
    };
    let (first, rest) = bytes.split_at(cut);
    let written = File::create(to).and_then(|mut file| {
        file.write_all(first)?;
        if !rest.is_empty() {
            thread::sleep(Duration::from_millis(random.below(PAUSE_MS_MAX)));
        }
        file.write_all(rest)
    });
    written.with_context(|| format!("cannot write {}", to.display()))
}
