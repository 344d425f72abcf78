//! Site B as it lives: its jobs are done when their times come, by a clock that is moved an hour at a time.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harness::{Daemon, Naming, Rucio};
use runsync::clock::Clock;
use runsync::jobs::{GoOn, JobStatus, JobWorker, statuses};
use runsync::ledger::repairs::{RepairRow, WhichRepairs};
use runsync::ledger::scans::{DriftFilter, DriftFinding, DriftKind, Span};
use runsync::registry::record::Presence;

use crate::rucio::uuid;
use crate::scene::{FILES, Scene};

const HOUR: Duration = Duration::from_secs(3_600);
/// A day, in hours.
pub(crate) const DAY: u32 = 24;

/// Everything that may be repaired is, and a run of seven artifacts may have one amiss.
pub(crate) const POLICY: &str = "[repair]\nlost = \"forget\"\ncorrupt = \"unstore\"\nsite_only = \"add-replica\"\nshare_max = 0.25\n";

/// Jobs: at three a scan that reads everything, at four repairs, at five Rucio's view, and at half past each
/// hour a comparison with Rucio. The clock begins at a full hour.
const JOBS: &str = "
[[schedule]]
name = \"scan\"
job = \"scan\"
at = \"0 0 3 * * *\"
checksum = \"full\"
[[schedule]]
name = \"repair\"
job = \"repair\"
at = \"0 0 4 * * *\"
[[schedule]]
name = \"view\"
job = \"rucio-scan\"
at = \"0 0 5 * * *\"
[[schedule]]
name = \"sync\"
job = \"sync\"
at = \"0 30 * * * *\"
";

/// Two sites, the server between them, and a run that site B has whole.
pub(crate) struct Living<'s> {
    pub(crate) scene: Scene<'s>,
    pub(crate) run: String,
}

impl<'s> Living<'s> {
    /// Makes them; site B acts as an account that may declare replicas bad.
    pub(crate) fn new(server: &'s Rucio, name: &str, naming: Naming) -> Self {
        let living = Self::as_sites_do(server, name, naming);
        living.scene.as_root();
        living
    }

    /// The same with the account that sites act as elsewhere, which may not.
    pub(crate) fn as_sites_do(server: &'s Rucio, name: &str, naming: Naming) -> Self {
        let scene = Scene::new(server, name, naming);
        scene.configure_b("size", &server.url(), &format!("{POLICY}{JOBS}"));
        // To one in the night, and full.
        let now = u64::try_from(scene.b.site.clock.now().as_second()).unwrap();
        let rest = 86_400 - now % 86_400;
        scene.b.site.pass(Duration::from_secs(rest) + HOUR);
        Self {
            run: format!("u/{}/run", name.to_lowercase()),
            scene,
        }
    }

    /// Has Rucio bring the run, and site B take it in by itself.
    pub(crate) fn bring(&self) {
        self.scene.bring(&self.run);
        self.live(DAY);
        assert_eq!(self.standing(), (FILES.into(), 0));
        assert_eq!(self.found(), []);
    }

    /// Lets hours pass: whatever job is due at the end of one is done, in the order of configuration.
    pub(crate) fn live(&self, hours: u32) {
        self.live_with(hours, || ());
    }

    /// The same; something happens once the site is open.
    pub(crate) fn live_with(&self, hours: u32, happens: impl FnOnce()) {
        let site = &self.scene.b.site;
        let open = site.open();
        let go_on: GoOn = Arc::new(|| ControlFlow::Continue(()));
        let jobs = open.assembly.jobs.iter();
        let mut workers: Vec<JobWorker> = jobs
            .map(|one| JobWorker::new(Arc::clone(&one.job), Arc::clone(&one.work)))
            .collect();
        happens();
        for hour in 0..=hours {
            if hour > 0 {
                site.pass(HOUR);
            }
            for worker in &mut workers {
                worker.work(&go_on).unwrap();
            }
        }
    }

    /// What a job last came to.
    pub(crate) fn job(&self, name: &str) -> JobStatus {
        let site = &self.scene.b.site;
        let open = site.open();
        let all = statuses(&site.site(), open.ledger(), site.clock.now()).unwrap();
        let mut named = all.into_iter().filter(|job| job.name.as_str() == name);
        named.next().unwrap()
    }

    /// What a job that has not failed said of its last time.
    pub(crate) fn said(&self, name: &str) -> String {
        let job = self.job(name);
        assert_eq!(job.failures, 0, "{job:?}");
        job.detail.unwrap()
    }

    /// All findings at site B, those of Rucio's view among them.
    pub(crate) fn found(&self) -> Vec<DriftFinding> {
        let filter = DriftFilter {
            root: None,
            kind: None,
            side: None,
            span: Span::all(),
            ignored: true,
        };
        let open = self.scene.b.site.open();
        open.ledger().drift(&filter, None, 1_000).unwrap()
    }

    /// What kinds of findings there are, and how often each was seen.
    pub(crate) fn kinds(&self) -> Vec<(DriftKind, u64)> {
        let found = self.found();
        found.iter().map(|one| (one.kind, one.times)).collect()
    }

    /// What was repaired, the last first.
    pub(crate) fn repairs(&self) -> Vec<RepairRow> {
        let open = self.scene.b.site.open();
        let which = WhichRepairs::Done;
        open.ledger().repairs(which, None, 1_000).unwrap()
    }

    /// What Rucio has heard of the run's artifacts.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.scene.heard(&self.run)
    }

    pub(crate) fn standing(&self) -> (u64, u64) {
        self.scene.standing(&self.run)
    }

    /// What site B answers about the dataset of that number.
    pub(crate) fn exists(&self, number: u32) -> Presence {
        self.scene.b.site.watch().presence(uuid(&self.run, number))
    }

    /// The path of the artifact of that number.
    pub(crate) fn path(&self, number: u32) -> String {
        format!("{}/calexp/{number}.fits", self.run)
    }

    /// Its file under its own name.
    pub(crate) fn own(&self, number: u32) -> PathBuf {
        self.scene.b.site.root().join(self.path(number))
    }

    /// Its file where Rucio has it.
    pub(crate) fn rucios(&self, number: u32) -> PathBuf {
        let b = &self.scene.b;
        b.rse.path(&b.scope, &self.path(number))
    }

    /// Deletes its file behind everybody's back, under each of its names.
    pub(crate) fn delete(&self, number: u32) {
        let (site, name) = (&self.scene.b.site, self.path(number));
        let files = crate::pair::files_below(site, "").into_iter();
        let names: Vec<String> = files.filter(|file| file.ends_with(&name)).collect();
        assert!(!names.is_empty());
        for name in names {
            std::fs::remove_file(site.root().join(name)).unwrap();
        }
    }

    /// Has Rucio copy anew what it knows to be bad.
    pub(crate) fn carry_again(&self) {
        self.scene.step(&[Daemon::Necromance]);
        self.scene.transfer();
    }

    /// Site B has all of the run as site A does, Rucio counts on all of it, and nothing is found.
    pub(crate) fn is_whole(&self) {
        assert_eq!(self.standing(), (FILES.into(), 0));
        for number in 0..FILES {
            assert_eq!(self.exists(number), Presence::Yes);
            let theirs = std::fs::read(self.scene.a.site.root().join(self.path(number))).unwrap();
            for place in [self.own(number), self.rucios(number)] {
                assert!(
                    std::fs::read(&place).unwrap() == theirs,
                    "{}",
                    place.display()
                );
            }
        }
        assert!(self.scene.is_available(&self.run, FILES));
        assert_eq!(self.found(), []);
    }
}
