//! A site, what should be there, and what was done to it.

use std::any::Any;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use jiff::Timestamp;
use runsync::clock::ManualClock;
use runsync_config::root::RootName;

use crate::guard::Sightings;
use crate::model::{Coming, Model, Policy};
use crate::scene::{PATHS, RUN};
use crate::site::with_root;
use crate::support::{OpenSite, TestSite, write};
use crate::tally::Tally;

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The other run that is here from the beginning.
pub(crate) const MORE: &str = "u/more";

/// Where a process dies: what it holds is dropped, and nothing is tidied up.
struct Died;

/// Goes through something that may die, and says whether it did.
pub(crate) fn dying<T>(going: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(going)) {
        Ok(ended) => Some(ended),
        Err(payload) if is_death(&*payload) => None,
        Err(payload) => resume_unwind(payload),
    }
}

fn is_death(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Died>()
}

/// Dies, without a word.
pub(crate) fn die() -> ! {
    resume_unwind(Box::new(Died))
}

/// All of it.
pub(crate) struct World {
    pub(crate) site: TestSite,
    open: Option<OpenSite>,
    pub(crate) model: Model,
    pub(crate) rng: Rng,
    pub(crate) tally: Tally,
    /// Runs whose manifest has not been put into the root.
    pub(crate) announced: Vec<Coming>,
    /// Runs that have come so far.
    pub(crate) runs: u32,
    pub(crate) sightings: Sightings,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let site = with_root("");
        let mut model = Model::new(Policy::everything(), site.now());
        let more: Vec<String> = (21..37).map(|number| format!("{MORE}/{number}")).collect();
        let paths = PATHS.map(str::to_owned);
        model.found_run(&site.root(), RUN, 1, &paths);
        model.found_run(&site.root(), MORE, 21, &more);
        let mut world = Self {
            site,
            open: None,
            model,
            rng: Rng::with_seed(seed),
            tally: Tally::default(),
            announced: Vec::new(),
            runs: 0,
            sightings: Sightings::default(),
        };
        world.configure();
        world
    }

    pub(crate) fn open(&mut self) -> &mut OpenSite {
        self.open.as_mut().unwrap()
    }

    pub(crate) fn opened(&self) -> &OpenSite {
        self.open.as_ref().unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.site.now()
    }

    pub(crate) fn root(&self) -> RootName {
        self.opened().flow().root().name.clone()
    }

    /// Closes everything, and opens it again, as after a crash.
    pub(crate) fn reopen(&mut self) {
        self.open = None;
        self.open = Some(self.site.open());
    }

    /// Has the model's policy be the site's.
    pub(crate) fn configure(&mut self) {
        let policy = &self.model.policy;
        self.site.configure(policy.level(), &policy.toml());
        self.reopen();
    }

    /// Sets the clock to another time than it has come to.
    pub(crate) fn set_clock(&mut self, to: Timestamp) {
        self.open = None;
        self.site.clock = Arc::new(ManualClock::new(to));
        self.open = Some(self.site.open());
    }

    /// How far the site's clock is ahead of the machine's, by which its files are old.
    pub(crate) fn ahead(&self) -> Duration {
        let ahead = self.now().duration_since(self.machine());
        Duration::try_from(ahead).unwrap_or_default()
    }

    /// The machine's clock, as the newest file has it.
    pub(crate) fn machine(&self) -> Timestamp {
        let changed = self.model.files.values().map(|file| file.changed_ns);
        Timestamp::from_nanosecond(changed.max().unwrap().into()).unwrap()
    }

    pub(crate) fn put(&mut self, path: &str, bytes: &[u8]) {
        self.site.put(path, bytes);
        self.model.see(&self.site.root(), path);
    }

    pub(crate) fn lose(&mut self, path: &str) {
        fs::remove_file(self.site.root().join(path)).unwrap();
        self.model.see(&self.site.root(), path);
    }

    /// Sets a file's time of modification, and nothing else.
    pub(crate) fn touch(&mut self, path: &str) {
        let modified = self.model.files[path].identity.modified_ns - 1_000_000_000;
        self.set_modified(path, modified);
    }

    /// A disk gives back other bytes than it was given: neither size, time of modification nor inode tell.
    pub(crate) fn rot(&mut self, path: &str, bytes: &[u8]) {
        let before = self.model.files[path].identity;
        assert_eq!(bytes.len() as u64, before.size);
        write(&self.site.root().join(path), bytes);
        self.set_modified(path, before.modified_ns);
        assert_eq!(self.model.files[path].identity, before);
    }

    fn set_modified(&mut self, path: &str, nanoseconds: i64) {
        let file = File::options()
            .append(true)
            .open(self.site.root().join(path));
        let since = Duration::from_nanos(u64::try_from(nanoseconds).unwrap());
        file.unwrap().set_modified(UNIX_EPOCH + since).unwrap();
        self.model.see(&self.site.root(), path);
    }

    pub(crate) fn one_of(&mut self, of: &[String]) -> Option<String> {
        let at = self.rng.usize(0..of.len().max(1));
        of.get(at).cloned()
    }

    /// Whether something of a probability of one in so many happens.
    pub(crate) fn chance(&mut self, one_in: u32) -> bool {
        self.rng.u32(0..one_in) == 0
    }
}
