//! What is fetched once and kept: tools by version, real input.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The folder `name` of this project's cache: below `$XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let caches = env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home folder is known")?;
    Ok(caches.join("runsync-xtask").join(name))
}
