//! Sites of a test whose root is an RSE of a real Rucio server.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support, of which each target uses a part"
)]

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU8, Ordering};

use harness::{Naming, Rse, Rucio};
use runsync_manifest::content::Content;

use crate::process::text;
use crate::support::{Manifest, TestSite, artifact, entry, private, write};

/// The account that sites act as.
pub const ACCOUNT: &str = "runsync";
const USER: &str = "runsync";
const PASSWORD: &str = "not-so-secret";

/// Makes the account that sites act as.
pub fn add_account(rucio: &Rucio) {
    rucio.add_account(ACCOUNT, (USER, PASSWORD), true).unwrap();
}

/// Makes a scope, or finds that it is there.
pub fn add_scope(rucio: &Rucio, scope: &str) {
    rucio
        .rest("POST", &format!("/scopes/root/{scope}"), None)
        .unwrap();
}

/// A site whose root is an RSE.
pub struct RucioSite {
    pub site: TestSite,
    pub rse: Rse,
    pub scope: String,
}

impl RucioSite {
    /// Makes a site, an RSE and a scope of its own: the scope's files lie in the root.
    pub fn new(rucio: &Rucio, rse: &str, naming: Naming, more: &str) -> Self {
        let site = TestSite::in_memory_as("SITE_A", next_number(), "size");
        let (prefix, scope) = match naming {
            // The root is the folder of the scope, and the scope has its name.
            Naming::Identity | Naming::NonDeterministic => {
                (site.folder.path().to_owned(), "root".to_owned())
            }
            Naming::Hash => (site.root(), rse.to_lowercase()),
        };
        let rse = rucio.add_rse(rse, naming, Some(&prefix)).unwrap();
        add_scope(rucio, &scope);
        rucio.set_limit(ACCOUNT, &rse.name, None).unwrap();
        let this = Self { site, rse, scope };
        this.configure(&rucio.url(), more);
        this
    }

    /// Makes a site that is to hold copies of this one's runs, and an RSE of its own: the same scope's
    /// files lie in its root. It is not configured yet.
    pub fn copy(&self, rucio: &Rucio, rse: &str, naming: Naming) -> Self {
        let site = TestSite::in_memory_as("SITE_B", next_number(), "size");
        let prefix = match naming {
            Naming::Identity | Naming::NonDeterministic => site.folder.path().to_owned(),
            Naming::Hash => site.root(),
        };
        let rse = rucio.add_rse(rse, naming, Some(&prefix)).unwrap();
        rucio.set_limit(ACCOUNT, &rse.name, None).unwrap();
        let scope = self.scope.clone();
        Self { site, rse, scope }
    }

    /// Writes the configuration, for a server at `url`; `more` is TOML that follows `[rucio]`.
    pub fn configure(&self, url: &str, more: &str) {
        self.configure_scope(url, &self.scope, more);
    }

    /// The same with another scope: at an RSE that decides where files are.
    pub fn configure_scope(&self, url: &str, scope: &str, more: &str) {
        self.configure_root("", &rucio_section(url, scope, more));
    }

    /// The same with more TOML of the root, and with all that follows it: see [`rucio_section`].
    pub fn configure_root(&self, root: &str, rest: &str) {
        let password = self.site.folder.path().join("keys/rucio.password");
        write(&password, PASSWORD.as_bytes());
        private(&password);
        let mapping = match self.rse.naming {
            Naming::Hash => "rucio",
            Naming::Identity | Naming::NonDeterministic => "identity",
        };
        let rse = &self.rse.name;
        let root = format!("rse = \"{rse}\"\npath_mapping = \"{mapping}\"\n{root}");
        self.site.configure_daemon("size", &root, rest);
    }

    /// Puts a manifest and its artifacts into the root, and has it ingested.
    pub fn add(
        &self,
        run: &str,
        generation: &str,
        content: Content,
        numbers: std::ops::Range<u32>,
    ) {
        self.ingest(&[self.place(run, generation, content, numbers)]);
    }

    /// Has manifests ingested.
    pub fn ingest(&self, manifests: &[PathBuf]) {
        let paths = manifests.iter().map(|path| path.to_str().unwrap());
        let args: Vec<&str> = ["ingest", "--direct"].into_iter().chain(paths).collect();
        self.site.answer(&args);
    }

    /// Puts a manifest and its artifacts into the root.
    pub fn place(
        &self,
        run: &str,
        generation: &str,
        content: Content,
        numbers: std::ops::Range<u32>,
    ) -> PathBuf {
        let entries: Vec<_> = numbers
            .map(|number| {
                let path = format!("{run}/calexp/{number}.fits");
                let bytes = artifact(number.into(), 100 + number as usize % 50);
                self.site.put(&path, &bytes);
                entry(
                    uuid(run, number),
                    i64::from(number / 100),
                    i64::from(number % 100),
                    &path,
                    &bytes,
                )
            })
            .collect();
        let manifest = Manifest::new(self.site.repository, run, generation, content)
            .with_dimensions(100)
            .with_entries(entries);
        self.site.place(&manifest)
    }

    /// Runs an operator's command without a daemon.
    pub fn run(&self, args: &[&str]) -> Output {
        self.site.run_command(&[args, &["--direct"]].concat())
    }

    /// The error of a command that must fail.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            !output.status.success(),
            "{args:?}: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }
}

/// TOML of `[rucio]` for a server at `url`, and what follows it.
pub fn rucio_section(url: &str, scope: &str, more: &str) -> String {
    format!(
        "[rucio]\nurl = \"{url}\"\naccount = \"{ACCOUNT}\"\nscope = \"{scope}\"\n{more}\n\
         [rucio.userpass]\nusername = \"{USER}\"\npassword_file = \"keys/rucio.password\"\n"
    )
}

/// Origins differ, and so do their control Rucio datasets.
fn next_number() -> u8 {
    static NUMBER: AtomicU8 = AtomicU8::new(0x10);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The UUID of a run's dataset of that number.
pub fn uuid(run: &str, number: u32) -> u128 {
    u128::from(number) + 1 + (u128::from(seed(run)) << 32)
}

/// A number of a run's own.
fn seed(run: &str) -> u32 {
    run.bytes().fold(7, |seed: u32, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    })
}
