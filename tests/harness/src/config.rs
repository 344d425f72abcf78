//! Rucio's configuration, and programs that find it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::scratch;

const CONFIG: &str = include_str!("../etc/rucio.cfg");
const ALEMBIC: &str = include_str!("../etc/alembic.ini");

/// What is filled into the configuration.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where the server answers.
    pub(crate) url: String,
    /// Where the broker listens, if there is one.
    pub(crate) stomp_port: u16,
    /// Whether transfers go to the FTS stand-in.
    pub(crate) transfers: bool,
    /// Whose tokens the server trusts.
    pub(crate) issuer: Option<String>,
}

/// Where Rucio's programs are, and the configuration that they read.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    venv: PathBuf,
    folder: PathBuf,
    pub(crate) config: PathBuf,
}

impl Config {
    /// Writes the configuration into the harness's folder.
    pub(crate) fn write(&self, venv: &Path, folder: &Path) -> Result<Programs> {
        let transfertool = if self.transfers { "fts3" } else { "mock" };
        let text = CONFIG
            .replace("@URL@", &self.url)
            .replace("@STOMP_PORT@", &self.stomp_port.to_string())
            .replace("@TRANSFERTOOL@", transfertool);
        let config = folder.join("etc/rucio.cfg");
        for (file, text) in [
            (&config, text.as_str()),
            (&folder.join("etc/alembic.ini"), ALEMBIC),
        ] {
            let text = text.replace("@FOLDER@", &folder.display().to_string());
            scratch::write(file, text.as_bytes())?;
        }
        if let Some(issuer) = &self.issuer {
            let secrets = issuer_secrets(issuer).to_string();
            scratch::write(&folder.join("etc/idpsecrets.json"), secrets.as_bytes())?;
        }
        Ok(Programs {
            venv: venv.to_path_buf(),
            folder: folder.to_path_buf(),
            config,
        })
    }
}

/// What the server knows of an issuer. It also wants to be its client, which no token needs.
fn issuer_secrets(issuer: &str) -> Value {
    let client = json!({
        "client_id": "rucio", "client_secret": "secret", "redirect_uris": [issuer],
    });
    let mut secrets = client.clone();
    if let Some(secrets) = secrets.as_object_mut() {
        secrets.insert("issuer".to_owned(), issuer.into());
        secrets.insert("SCIM".to_owned(), client);
    }
    json!({"harness": secrets})
}

impl Programs {
    /// A program of the virtual environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.in_environment(Command::new(self.path(program)))
    }

    /// One that is killed with its parent, for where the supervisor does not keep it.
    pub(crate) fn bound_command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.path(program));
        self.in_environment(command)
    }

    fn path(&self, program: &str) -> PathBuf {
        self.venv.join("bin").join(program)
    }

    fn in_environment(&self, mut command: Command) -> Command {
        command
            .env("RUCIO_CONFIG", &self.config)
            .env("RUCIO_HOME", &self.folder)
            // Some keep files in their user's home.
            .env("HOME", &self.folder)
            // None asks a proxy for what is on the loopback.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .current_dir("/");
        command
    }
}
