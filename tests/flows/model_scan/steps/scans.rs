//! Scans, whole and of parts, limited, broken off, and killed.

use std::ops::ControlFlow;
use std::time::Duration;

use runsync::ledger::scans::DriftKind;
use runsync::recovery::{Checks, Limits, Order, RunScope, ScanCounts, ScanError, ScanReport};

use crate::model::{Reads, Scope, Way, later};
use crate::scene::{RUN, drift};
use crate::world::{HOUR, MORE, World, die, dying};

/// How a scan ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// It may take so many paths.
    Objects(u64),
    /// It may read so many bytes.
    Bytes(u64),
    /// It has no time: it comes further by a path all the same.
    NoTime,
    /// Somebody breaks it off after so many paths.
    BrokenOff(u64),
    /// The process dies after so many paths.
    Killed(u64),
}

impl World {
    /// A whole scan that reads everything.
    pub(crate) fn scan_whole(&mut self) {
        self.scan(Scope::Whole, Reads::All, true, End::Never);
    }

    pub(super) fn scan_some(&mut self) -> String {
        let scope = self.some_scope();
        let reads = match self.rng.u32(0..4) {
            0 => Reads::None,
            1 => Reads::Share(0.5),
            _ => Reads::All,
        };
        let few = self.rng.u64(1..40);
        let end = match self.rng.u32(0..8) {
            0 => End::Objects(few),
            1 => End::Bytes(few * 20),
            4 => End::NoTime,
            2 => End::BrokenOff(few),
            3 => End::Killed(few),
            _ => End::Never,
        };
        let anew = self.chance(4);
        self.scan(scope, reads, anew, end)
    }

    /// Two whole scans, as they make findings ripe; or one of them.
    pub(super) fn scan_days_on(&mut self) -> String {
        if self.rng.bool() {
            self.scan_whole();
        }
        self.pass_apart();
        let anew = self.rng.bool();
        self.scan(Scope::Whole, Reads::All, anew, End::Never);
        "scan, and scan later".to_owned()
    }

    fn some_scope(&mut self) -> Scope {
        match self.rng.u32(0..8) {
            0 => Scope::Below(MORE.to_owned()),
            1 => Scope::Below("u/test/run".to_owned()),
            2 => Scope::Run(RUN.to_owned()),
            3 => {
                let is_busy = |run: &String| {
                    let removal = self.model.removal.as_ref();
                    removal.is_some_and(|removal| removal.run == *run)
                };
                let runs = self.model.runs.keys().filter(|run| !is_busy(run));
                let runs: Vec<String> = runs.cloned().collect();
                Scope::Run(self.one_of(&runs).unwrap())
            }
            _ => Scope::Whole,
        }
    }

    fn scan(&mut self, scope: Scope, reads: Reads, anew: bool, end: End) -> String {
        let told = format!("scan {scope:?}, {reads:?}, anew: {anew}, {end:?}");
        let now = self.now();
        let way = self.model.begin_scan(scope, reads, anew, now);
        let reported = self.scan_really(&way, anew, end);
        let ahead = self.model.ahead(&way);
        let until = match end {
            End::Killed(paths) if paths <= ahead.len() as u64 => {
                assert!(reported.is_none(), "it was not killed");
                self.tally.count("crash: scan");
                self.reopen();
                return told;
            }
            End::Never | End::Killed(_) => None,
            End::Objects(paths) | End::BrokenOff(paths) => place_after(&ahead, paths),
            End::Bytes(_) | End::NoTime => self.position(&way),
        };
        let report = reported.unwrap().unwrap();
        assert_eq!(report.whole, until.is_none(), "{told}: {report:?}");
        self.count_scan(&way, end, until.is_some());
        let findings = drift(self.opened().ledger());
        let was_found = |path: &str| {
            let mut findings = findings.iter();
            findings.any(|one| one.path.as_str() == path && one.kind == DriftKind::Corrupt)
        };
        self.model
            .note_scan(&way, until.as_deref(), now, &was_found);
        let met = ahead
            .iter()
            .take_while(|path| until.as_ref().is_none_or(|until| *path < until));
        self.sight(&met.cloned().collect::<Vec<_>>(), now);
        if matches!(end, End::BrokenOff(_)) && until.is_some() {
            self.reopen();
        }
        told
    }

    fn scan_really(
        &mut self,
        way: &Way,
        anew: bool,
        end: End,
    ) -> Option<Result<ScanReport, ScanError>> {
        let (below, runs) = match &way.scope {
            Scope::Whole => (None, RunScope::default()),
            Scope::Below(folder) => (Some(folder.parse().unwrap()), RunScope::default()),
            Scope::Run(run) => {
                let names = vec![run.parse().unwrap()];
                let runs = RunScope {
                    names,
                    ..RunScope::default()
                };
                (None, runs)
            }
        };
        let mut limits = Limits::default();
        match end {
            End::Objects(paths) => limits.objects = Some(paths),
            End::Bytes(bytes) => limits.bytes = Some(bytes),
            End::NoTime => limits.time = Some(Duration::ZERO),
            End::Never | End::BrokenOff(_) | End::Killed(_) => {}
        }
        let order = Order {
            below,
            runs,
            limits,
            checks: match way.reads {
                Reads::None => Checks::None,
                Reads::Share(share) => Checks::Sampled(share),
                Reads::All => Checks::Full,
            },
            anew,
            ..Order::default()
        };
        let before = if way.goes_on { self.taken(way) } else { 0 };
        let mut progress = move |counts: &ScanCounts| {
            // Nothing is counted yet while manifests are read.
            let taken = counts.objects.saturating_sub(before);
            match end {
                End::BrokenOff(paths) if taken >= paths => ControlFlow::Break(()),
                End::Killed(paths) if taken >= paths => die(),
                End::Never
                | End::Objects(_)
                | End::Bytes(_)
                | End::NoTime
                | End::BrokenOff(_)
                | End::Killed(_) => ControlFlow::Continue(()),
            }
        };
        let scanning = &self.opened().assembly.scanning;
        dying(|| scanning.scan(&order, &mut progress).unwrap().remove(0))
    }

    /// Where a pass goes on, as the ledger has it; that is further on than it was.
    fn position(&mut self, way: &Way) -> Option<String> {
        let root = self.root();
        let row = self.opened().ledger().scan(&root, &way.scope.key());
        let position = row.unwrap().unwrap().position;
        if let Some(position) = &position {
            assert!(*position > way.from, "{position} is no further");
        }
        position
    }

    /// How many paths the pass under way has taken: it goes on counting from there.
    fn taken(&self, way: &Way) -> u64 {
        let row = (self.opened().ledger()).scan(&self.root(), &way.scope.key());
        let counts: ScanCounts = serde_json::from_str(&row.unwrap().unwrap().counts).unwrap();
        counts.objects
    }

    fn count_scan(&mut self, way: &Way, end: End, is_limited: bool) {
        let scope = match &way.scope {
            Scope::Whole => "whole",
            Scope::Below(_) => "of a part",
            Scope::Run(_) => "of a run",
        };
        self.tally.count(format!("scan: {scope}"));
        if way.reads != Reads::All {
            let reads = if way.reads == Reads::None {
                "not read"
            } else {
                "sampled"
            };
            self.tally.count(format!("scan: {reads}"));
        }
        if way.goes_on {
            self.tally.count("scan: gone on with");
        }
        if way.doubts {
            self.tally.count("scan: of a clock in doubt");
        }
        let ended = match end {
            End::NoTime => "scan: time spent",
            End::Bytes(_) => "scan: bytes spent",
            End::Objects(_) => "scan: paths spent",
            End::BrokenOff(_) => "crash: scan broken off",
            End::Never | End::Killed(_) => return,
        };
        if is_limited {
            self.tally.count(ended);
        }
    }

    /// Lets so much time pass that no clock is in doubt, and everything is old.
    pub(crate) fn let_rest(&mut self) {
        let leap = self.model.watch.leap;
        let apart = self.model.policy.apart;
        let until = leap.map(|leap| later(leap, apart.max(self.model.policy.dark_age)));
        let now = self.now();
        if let Some(until) = until.filter(|until| *until > now) {
            let left = until.duration_since(now);
            self.site.pass(Duration::try_from(left).unwrap() + HOUR);
        }
    }
}

/// Where a scan is that has taken so many of the paths ahead; none where it came to their end.
fn place_after(ahead: &[String], paths: u64) -> Option<String> {
    let last = usize::try_from(paths).unwrap().checked_sub(1)?;
    ahead.get(last).map(|path| format!("{path}\0"))
}
