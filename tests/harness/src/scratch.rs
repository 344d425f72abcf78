//! The few file operations of the harness. Its files are scratch: nothing here is durable.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Writes a file and the folders above it.
#[expect(clippy::disallowed_methods, reason = "scratch files of a harness")]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// A folder for a harness: its path is short, since those of sockets may not be long, and PostgreSQL's
/// user may enter it.
pub(crate) fn temporary_folder() -> Result<TempDir> {
    let made = tempfile::Builder::new()
        .prefix("rucio-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in("/tmp");
    made.context("cannot make a temporary folder")
}

/// Opens a file whose lock stands for something.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// The last lines of a log, for an error.
pub(crate) fn tail(log: &Path) -> String {
    /// Enough for a Python traceback.
    const LINES: usize = 30;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    let last: Vec<&str> = lines.into_iter().skip(skipped).collect();
    format!("{}:\n{}", log.display(), last.join("\n"))
}
