//! Ways to Rucio, as configuration describes them.

use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runsync::clock::SystemClock;
use runsync::rucio::{Patience, Rucio};
use runsync_config::rucio::Rucio as Config;
use tempfile::TempDir;

use crate::front::Front;
use crate::told;

pub(crate) const ACCOUNT: &str = "runsync";
pub(crate) const PASSWORD: &str = "a-secret-word";

/// As patient as the default is, in milliseconds.
pub(crate) const PATIENCE: Patience = Patience {
    tries: 4,
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    asked: Duration::from_secs(2),
    failures: 100,
    rest: Duration::from_secs(3600),
    rest_longest: Duration::from_secs(3600),
};

/// What a site's configuration says of Rucio, in a folder with its secrets.
pub(crate) struct Way {
    pub(crate) folder: TempDir,
    pub(crate) config: Config,
}

impl Way {
    /// Logs in with name and password.
    pub(crate) fn userpass(url: &str) -> Self {
        Self::as_account(url, ACCOUNT, PASSWORD, "")
    }

    /// The same with another account and password, and more lines of `[rucio]`.
    pub(crate) fn as_account(url: &str, account: &str, password: &str, more: &str) -> Self {
        told::is_secret(password);
        Self::new(
            url,
            account,
            more,
            "[rucio.userpass]\nusername = \"runsync\"\npassword_file = \"secret\"\n",
            password,
        )
    }

    /// Logs in with the token in a file.
    pub(crate) fn token(url: &str, token: &str) -> Self {
        told::is_secret(token);
        Self::new(
            url,
            ACCOUNT,
            "",
            "[rucio.token]\nfile = \"secret\"\n",
            token,
        )
    }

    pub(crate) fn new(url: &str, account: &str, more: &str, login: &str, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[site]\nname = \"SITE_A\"\n[[root]]\nname = \"main\"\nurl = \"file://{}/root\"\n\
             rse = \"SITE_A\"\n[rucio]\nurl = \"{url}\"\naccount = \"{account}\"\nscope = \"hsc\"\n\
             timeout = \"60s\"\n{more}\n{login}",
            folder.path().display()
        );
        let file = folder.path().join("site.toml");
        write(&file, &text);
        write(&folder.path().join("secret"), secret);
        let site = runsync_config::load(&file).unwrap();
        Self {
            folder,
            config: site.rucio.unwrap(),
        }
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    pub(crate) fn client(&self) -> Rucio {
        self.client_with(PATIENCE)
    }

    pub(crate) fn client_with(&self, patience: Patience) -> Rucio {
        Rucio::with(&self.config, patience, Arc::new(SystemClock)).unwrap()
    }
}

/// A client of a server that answers as it is told.
pub(crate) fn client_of(front: &Front) -> (Way, Rucio) {
    let way = Way::userpass(&front.url());
    let client = way.client();
    (way, client)
}

/// Writes a file that its owner alone reads.
#[expect(clippy::disallowed_methods, reason = "a file of a test")]
pub(crate) fn write(file: &Path, text: &str) {
    let part = file.with_extension("part");
    fs::write(&part, text).unwrap();
    fs::set_permissions(&part, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&part, file).unwrap();
}

/// Goes on, and does something at one of the moments at which it is asked.
pub(crate) fn at_moment(
    moment: usize,
    act: impl Fn() -> ControlFlow<()> + Send + Sync + 'static,
) -> Arc<runsync::rucio::client::Waiting> {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Arc::new(move || {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number == moment {
            act()
        } else {
            ControlFlow::Continue(())
        }
    })
}
