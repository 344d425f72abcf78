//! The least that a program could do: plain threads over plain files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// What one reading takes at most: more gains nothing.
const BUFFER_BYTES: usize = 256 << 10;

/// Lists every folder, opens every file in it, reads it to its end and computes its Adler-32, in
/// so many threads, each of which takes the next folder when it is done with one. Fails where it
/// does not meet `files` files.
pub(crate) fn read_all(folders: &[PathBuf], files: u64, threads: usize) -> Result<Duration> {
    each_folder(folders, files, threads, |folder, buffer| {
        let mut count = 0;
        for entry in fs::read_dir(folder)? {
            read_one(&entry?.path(), buffer)?;
            count += 1;
        }
        Ok(count)
    })
}

/// Lists every folder and asks for the size of every file in it; as [`read_all`].
pub(crate) fn stat_all(folders: &[PathBuf], files: u64, threads: usize) -> Result<Duration> {
    each_folder(folders, files, threads, |folder, _| {
        let mut count = 0;
        for entry in fs::read_dir(folder)? {
            std::hint::black_box(entry?.metadata()?.len());
            count += 1;
        }
        Ok(count)
    })
}

fn each_folder(
    folders: &[PathBuf],
    files: u64,
    threads: usize,
    work: impl Fn(&Path, &mut [u8]) -> std::io::Result<u64> + Sync,
) -> Result<Duration> {
    let start = Instant::now();
    let (next, met) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let worker = || -> std::io::Result<()> {
            let mut buffer = vec![0; BUFFER_BYTES];
            while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                met.fetch_add(work(folder, &mut buffer)?, Ordering::Relaxed);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for thread in threads {
            let ended = thread.join().ok().context("a thread panicked")?;
            ended.context("the bare program cannot read")?;
        }
        anyhow::Ok(())
    })?;
    let taken = start.elapsed();
    let met = met.into_inner();
    ensure!(
        met == files,
        "the bare program has met {met} files, not {files}"
    );
    Ok(taken)
}

fn read_one(path: &Path, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut adler32 = simd_adler32::Adler32::new();
    loop {
        let count = file.read(buffer)?;
        if count == 0 {
            break;
        }
        adler32.write(buffer.get(..count).unwrap_or_default());
    }
    std::hint::black_box(adler32.finish());
    Ok(())
}
