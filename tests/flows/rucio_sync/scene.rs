//! An origin that publishes, and a site that is to have copies of its runs and hears nothing.

use std::ops::ControlFlow;

use harness::{Daemon, Naming, Rucio};
use runsync::ledger::hints::HintTaker;
use runsync::ledger::record::{Finding, Hint, HintKind, Taken};
use runsync::registry::record::RunRow;
use runsync::sync::{Measure, SyncError, SyncReport};
use runsync_manifest::content::Content;

use crate::pair;
use crate::rucio::{ACCOUNT, RucioSite, rucio_section};
use crate::support::{OpenSite, private, write};

/// Artifacts of a run's first instalment.
pub(crate) const FILES: u32 = 7;

/// Never breaks off.
pub(crate) fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Two sites and the server between them.
pub(crate) struct Scene<'s> {
    pub(crate) server: &'s Rucio,
    pub(crate) a: RucioSite,
    pub(crate) b: RucioSite,
}

impl<'s> Scene<'s> {
    /// Site A names files by identity; site B as it is told, and it confirms at level `size`.
    pub(crate) fn new(server: &'s Rucio, name: &str, naming: Naming) -> Self {
        Self::confirming(server, name, naming, "size")
    }

    pub(crate) fn confirming(server: &'s Rucio, name: &str, naming: Naming, level: &str) -> Self {
        let a = RucioSite::new(server, &format!("{name}_A"), Naming::Identity, "");
        let b = a.copy(server, &format!("{name}_B"), naming);
        let there = &b.rse.name;
        let published = format!(
            "[rucio.publish]\ncontrol_rses = \"{there}\"\n[[rucio.rule]]\nrse_expression = \"{there}\"\n"
        );
        a.configure(&server.url(), &published);
        pair::trust(&b.site, &a.site);
        let scene = Self { server, a, b };
        scene.configure_b(level, &server.url(), "");
        scene
    }

    /// Configures site B, for a server at `url`; `more` is TOML that follows `[rucio]`.
    pub(crate) fn configure_b(&self, level: &str, url: &str, more: &str) {
        let b = &self.b;
        // The same file that the origin logs in with.
        let password = "keys/rucio.password";
        let bytes = std::fs::read(self.a.site.folder.path().join(password)).unwrap();
        let password = b.site.folder.path().join(password);
        write(&password, &bytes);
        private(&password);
        let mapping = match b.rse.naming {
            Naming::Identity => "identity",
            Naming::Hash | Naming::NonDeterministic => "rucio",
        };
        let root = format!("rse = \"{}\"\npath_mapping = \"{mapping}\"", b.rse.name);
        let rucio = rucio_section(url, &b.scope, more);
        let peer = pair::peer(&self.a.site, "apply");
        b.site
            .configure_daemon(level, &root, &format!("{rucio}{peer}"));
    }

    /// Has a run's instalment made at site A, and published.
    pub(crate) fn publish(&self, run: &str, generation: &str, numbers: std::ops::Range<u32>) {
        self.a.add(run, generation, Content::Additions, numbers);
        self.a.site.directly(&["publish", run]);
    }

    /// A run of seven artifacts that Rucio has brought to site B.
    pub(crate) fn bring(&self, run: &str) {
        self.publish(run, "1-1", 0..FILES);
        self.transfer();
    }

    /// Has Rucio carry what its rules want, to the end: each cycle takes only so many.
    pub(crate) fn transfer(&self) {
        crate::process::until("Rucio has carried all", || {
            self.step(&[
                Daemon::Evaluate,
                Daemon::Submit,
                Daemon::Poll,
                Daemon::Finish,
            ]);
            self.left_to_carry() == 0
        });
    }

    fn left_to_carry(&self) -> usize {
        let there = &self.b.rse.name;
        let sql = format!(
            "select name from requests join rses on rses.id = dest_rse_id where rse = '{there}'"
        );
        self.server.sql(&sql).unwrap().len()
    }

    /// Has Rucio carry bytes, and not know yet that they have arrived.
    pub(crate) fn carry(&self) {
        self.step(&[Daemon::Evaluate, Daemon::Submit]);
    }

    pub(crate) fn step(&self, daemons: &[Daemon]) {
        self.server.step(daemons).unwrap();
    }

    /// Ends the rules of a run at site B, and has Rucio delete what nothing keeps.
    pub(crate) fn delete_at_b(&self, run: &str) {
        for rule in self.rules_at_b(run) {
            self.server.end_rule(&rule).unwrap();
        }
        let left = || self.replicas_at_b(run);
        // What has just been told ends with the next second.
        crate::process::until("Rucio deletes the run at B", || {
            self.step(&[Daemon::Clean, Daemon::Reap]);
            left() == 0
        });
    }

    fn rules_at_b(&self, run: &str) -> Vec<String> {
        let there = &self.b.rse.name;
        let sql = format!(
            "select id from rules where position('{run}' in name) > 0 and rse_expression = '{there}' \
               and position('runsync/manifests' in name) = 0"
        );
        let rows = self.server.sql(&sql).unwrap();
        // Rucio's tables have them without hyphens, or with, and its interface takes both.
        rows.into_iter()
            .map(|row| row[0].replace('-', ""))
            .collect()
    }

    /// How many artifacts of a run Rucio has at site B.
    pub(crate) fn replicas_at_b(&self, run: &str) -> usize {
        let there = &self.b.rse.name;
        let sql = format!(
            "select name from replicas join rses on rses.id = rse_id where rse = '{there}' \
               and position('{run}/calexp' in name) = 1"
        );
        self.server.sql(&sql).unwrap().len()
    }

    /// Whether Rucio calls so many artifacts of a run AVAILABLE at site B.
    pub(crate) fn is_available(&self, run: &str, count: u32) -> bool {
        let there = &self.b.rse.name;
        let sql = format!(
            "select name from replicas join rses on rses.id = rse_id where rse = '{there}' \
               and state = 'A' and position('{run}/calexp' in name) = 1"
        );
        self.server.sql(&sql).unwrap().len() == count as usize
    }

    /// Has site B compared with Rucio, without a daemon.
    pub(crate) fn pass(&self) -> SyncReport {
        self.try_pass().unwrap()
    }

    pub(crate) fn try_pass(&self) -> Result<SyncReport, SyncError> {
        let site = self.b.site.open();
        let syncing = &site.assembly.syncing;
        syncing.pass(syncing.rucio()?, None, Measure::Whole, &mut go_on)
    }

    /// Has site B look into hints, as the loop that hands them on does.
    pub(crate) fn take(&self, hints: &[Hint]) -> Vec<Taken> {
        let site = self.b.site.open();
        let taker: &dyn HintTaker = &*site.assembly.syncing;
        taker.take(hints, &mut go_on).unwrap()
    }

    pub(crate) fn try_take(&self, hints: &[Hint]) -> Result<Vec<Taken>, SyncError> {
        self.b.site.open().assembly.syncing.take(hints, &mut go_on)
    }

    /// A hint about a DID at site B.
    pub(crate) fn hint(&self, kind: HintKind, name: &str) -> Hint {
        Hint {
            id: 1,
            kind,
            rse: Some(self.b.rse.name.parse().unwrap()),
            scope: self.b.scope.clone(),
            name: name.to_owned(),
            detail: None,
            heard_at: jiff::Timestamp::UNIX_EPOCH,
            tries: 0,
            due: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// Hints about all artifacts of a run's first instalment.
    pub(crate) fn hints(&self, kind: HintKind, run: &str) -> Vec<Hint> {
        let name = |number| format!("{run}/calexp/{number}.fits");
        (0..FILES)
            .map(|number| self.hint(kind, &name(number)))
            .collect()
    }

    /// The name of a manifest, which is its path in each root.
    pub(crate) fn manifest(&self, run: &str, generation: &str) -> String {
        let origin = self.a.site.repository;
        format!("runsync/manifests/{origin}/{run}/{generation}.manifest.jsonl")
    }

    /// The run as site B knows it.
    pub(crate) fn run_at_b(&self, run: &str) -> Option<RunRow> {
        self.b.site.watch().run(run)
    }

    /// How many artifacts of a run site B has confirmed, and how many it waits for.
    pub(crate) fn standing(&self, run: &str) -> (u64, u64) {
        let row = self.run_at_b(run).unwrap();
        (row.claims - row.waiting, row.waiting)
    }

    pub(crate) fn findings(&self, kind: &str) -> Vec<Finding> {
        let mut findings = self.b.site.watch().findings();
        findings.retain(|finding| finding.kind == kind);
        findings
    }

    /// Site B has the run's files, and no others, under the names that its manifests know.
    pub(crate) fn has_files(&self, run: &str, count: u32) {
        let files = pair::files_below(&self.b.site, &format!("{run}/calexp"));
        assert_eq!(files.len(), count as usize, "{files:?}");
        self.are_equal(&files);
    }

    /// Site B has the run's files under those names, and maybe others.
    pub(crate) fn has_names(&self, run: &str, count: u32) {
        let names = (0..count).map(|number| format!("{run}/calexp/{number}.fits"));
        self.are_equal(&names.collect::<Vec<_>>());
    }

    fn are_equal(&self, files: &[String]) {
        for file in files {
            let ours = std::fs::read(self.b.site.root().join(file)).unwrap();
            let theirs = std::fs::read(self.a.site.root().join(file)).unwrap();
            assert!(ours == theirs, "{file}");
        }
    }

    /// Has site B act as the one account that may declare replicas bad under Rucio's generic policy.
    pub(crate) fn as_root(&self) {
        self.admit_to_root();
        let config = self.b.site.config();
        let text = std::fs::read_to_string(&config).unwrap();
        let (own, root) = (format!("account = \"{ACCOUNT}\""), "account = \"root\"");
        assert!(text.contains(&own));
        write(&config, text.replace(&own, root).as_bytes());
    }

    /// Lets sites act as root.
    fn admit_to_root(&self) {
        let path = format!("/accounts/{}/identities", Rucio::ACCOUNT);
        let identity = serde_json::json!({
            "identity": ACCOUNT, "authtype": "USERPASS", "email": "root@localhost",
            "password": "not-so-secret",
        });
        // It may have been done by another section.
        self.server.rest("POST", &path, Some(&identity)).unwrap();
    }

    /// How often Rucio has heard of artifacts of a run, and as what.
    pub(crate) fn heard(&self, run: &str) -> Vec<String> {
        let sql = format!(
            "select concat_ws(' ', substring(name from '[^/]*$'), state, count(*)) from bad_replicas \
               where position('{run}/' in name) = 1 group by name, state order by 1"
        );
        let rows = self.server.sql(&sql).unwrap();
        rows.into_iter().map(|row| row[0].clone()).collect()
    }

    pub(crate) fn open_b(&self) -> OpenSite {
        self.b.site.open()
    }
}
