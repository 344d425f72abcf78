//! What every command is given: the global arguments and, when asked for, the site.

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};

use runsync_config::site::Site;

use crate::cli::failure::{Failure, Hint};
use crate::cli::output::Output;

/// Where a system-wide site is configured.
const SYSTEM_FILE: &str = "/etc/runsync/site.toml";

/// The global arguments and what follows from them.
#[derive(Debug)]
pub(crate) struct Context {
    config: Option<PathBuf>,
    json: bool,
    site: OnceCell<Site>,
}

impl Context {
    pub(crate) fn new(config: Option<PathBuf>, json: bool) -> Self {
        let site = OnceCell::new();
        Self { config, json, site }
    }

    /// Standard output.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// Whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// The site, loaded when first asked for.
    pub(crate) fn site(&self) -> Result<&Site, Failure> {
        if self.site.get().is_none() {
            let site = runsync_config::load(&self.config_file()?)?;
            // Nobody else can have set it since: the cell is not shared between threads.
            drop(self.site.set(site));
        }
        self.site
            .get()
            .ok_or_else(|| Failure::new("cannot load the configuration"))
    }

    /// The configuration file: the one named, else where a new one would be made. A user's file
    /// that does not exist gives way to the system's.
    pub(crate) fn config_file(&self) -> Result<PathBuf, Failure> {
        let file = self.new_config_file()?;
        let system = Path::new(SYSTEM_FILE);
        let other = self.config.is_none() && !file.is_file() && system.is_file();
        Ok(if other { system.to_owned() } else { file })
    }

    /// Where `init` makes the configuration file; always absolute.
    pub(crate) fn new_config_file(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = &self.config {
            return std::path::absolute(named)
                .while_doing(format!("cannot find the folder of {}", named.display()));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(SYSTEM_FILE.into());
        }
        let folder = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
        let file = folder.map(|folder| folder.join("runsync/site.toml"));
        file.ok_or_else(|| {
            Failure::new("cannot find the configuration: neither XDG_CONFIG_HOME nor HOME is set")
                .hint("name the file with `--config FILE`")
                .usage()
        })
    }

    /// Whether a configuration file is the system's.
    pub(crate) fn is_system_file(file: &Path) -> bool {
        file == Path::new(SYSTEM_FILE)
    }
}
