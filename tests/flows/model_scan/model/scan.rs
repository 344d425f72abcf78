//! What scans find, and what heals.

use jiff::Timestamp;
use runsync::file_identity::FileIdentity;
use runsync::ledger::scans::{DriftKind, Span};

use super::{Lying, Model, Standing, fold, is_temporary};
use crate::scene::bytes;

/// A finding, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: DriftKind,
    pub(crate) size: Option<u64>,
    pub(crate) identity: Option<FileIdentity>,
    pub(crate) claimed: bool,
    pub(crate) last_seen: Timestamp,
    pub(crate) times: u64,
    pub(crate) ignored: bool,
    /// The pass that saw it last.
    scan: u64,
    era: u64,
    since: Timestamp,
    since_scan: u64,
}

/// A pass over a scope, under way or the last one.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) number: u64,
    /// Where it goes on; none: it is through.
    pub(crate) position: Option<String>,
    pub(crate) tried_at: Timestamp,
    begun_at: Timestamp,
    /// When the last one began that went through.
    pub(crate) whole_begun_at: Option<Timestamp>,
    /// The least share that was read.
    share: Option<f64>,
}

/// What is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Whole,
    Below(String),
    Run(String),
}

impl Scope {
    /// As the ledger calls it.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Below(folder) => folder.clone(),
            Self::Run(run) => format!("/runs {run}"),
        }
    }

    /// All that lies below its folder.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Whole => Span::all(),
            Self::Below(folder) | Self::Run(folder) => Span {
                from: format!("{folder}/"),
                until: Some(format!("{folder}0")),
            },
        }
    }
}

/// Which artifacts are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reads {
    None,
    Share(f64),
    All,
}

impl Reads {
    pub(crate) const fn share(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Share(share) => share,
            Self::All => 1.0,
        }
    }
}

/// A scan that has begun.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) scope: Scope,
    pub(crate) reads: Reads,
    /// Where it begins.
    pub(crate) from: String,
    pub(crate) goes_on: bool,
    pub(crate) doubts: bool,
}

/// What is said of a path.
#[derive(Debug)]
pub(crate) enum Word {
    Found(DriftKind, Option<FileIdentity>, Option<u64>),
    Well,
    /// Nothing is concluded.
    Open,
    /// It is corrupt, and may not have been read.
    Unsure(FileIdentity),
}

impl Model {
    /// Begins a scan, or goes on with the pass under way.
    pub(crate) fn begin_scan(
        &mut self,
        scope: Scope,
        reads: Reads,
        anew: bool,
        now: Timestamp,
    ) -> Way {
        let doubts = self.doubts_ages(now);
        let key = scope.key();
        let known = self.passes.get(&key);
        let is_enough = |pass: &&Pass| {
            pass.position.is_some() && pass.share.is_none_or(|share| share >= reads.share())
        };
        let under_way = known.filter(is_enough).filter(|_| !anew);
        let from = under_way.and_then(|pass| pass.position.clone());
        let goes_on = from.is_some();
        let first = match &scope {
            Scope::Whole | Scope::Run(_) => String::new(),
            Scope::Below(_) => scope.span().from,
        };
        let from = from.unwrap_or(first);
        if !goes_on {
            self.watch.witness(now);
            self.number += 1;
            let pass = Pass {
                number: self.number,
                position: Some(from.clone()),
                tried_at: now,
                begun_at: now,
                whole_begun_at: known.and_then(|pass| pass.whole_begun_at),
                share: None,
            };
            self.passes.insert(key, pass);
        }
        Way {
            scope,
            reads,
            from,
            goes_on,
            doubts,
        }
    }

    /// The paths that a scan meets from where it is on, in order.
    pub(crate) fn ahead(&self, way: &Way) -> Vec<String> {
        let paths = self.paths().into_iter();
        let is_met = |path: &String| {
            *path >= way.from && (way.scope.span().holds(path) || self.is_beside(way, path))
        };
        paths.filter(is_met).collect()
    }

    /// Whether a path belongs to the run that is scanned, and lies beside its folder.
    fn is_beside(&self, way: &Way, path: &str) -> bool {
        let Scope::Run(run) = &way.scope else {
            return false;
        };
        let claim = self.claims.get(path);
        !way.scope.span().holds(path)
            && claim.is_some_and(|claim| claim.run == *run && claim.standing != Standing::Absent)
            && !self.is_busy(path)
    }

    /// What a scan says of a path.
    pub(crate) fn word(&self, way: &Way, path: &str, now: Timestamp) -> Word {
        let (file, standing) = (self.files.get(path), self.standing(path));
        if self.is_busy(path) {
            return Word::Open;
        }
        match (file, standing) {
            (None, Some(Standing::Recorded)) if self.links.contains(path) => {
                Word::Found(DriftKind::Irregular, None, None)
            }
            (None, Some(Standing::Recorded)) => {
                Word::Found(DriftKind::Lost, None, Some(bytes(path).len() as u64))
            }
            (Some(file), Some(Standing::Recorded)) => self.compared(way, path, file),
            (_, Some(Standing::Awaited)) | (None, _) => Word::Well,
            (Some(file), Some(Standing::Absent) | None) => self.unnamed(way, path, file, now),
        }
    }

    fn compared(&self, way: &Way, path: &str, file: &Lying) -> Word {
        let right = bytes(path);
        if file.bytes == right {
            return Word::Well;
        }
        let found = Word::Found(
            DriftKind::Corrupt,
            Some(file.identity),
            Some(file.bytes.len() as u64),
        );
        let earlier = self.findings.get(path);
        let is_read = way.reads == Reads::All
            || file.bytes.len() != right.len()
            || earlier.is_some_and(|finding| finding.kind != DriftKind::Dark);
        match way.reads {
            _ if is_read => found,
            Reads::Share(_) => Word::Unsure(file.identity),
            Reads::None | Reads::All => Word::Well,
        }
    }

    fn unnamed(&self, way: &Way, path: &str, file: &Lying, now: Timestamp) -> Word {
        if self.is_spoken_for(path) {
            Word::Open
        } else if is_temporary(path) {
            Word::Well
        } else if way.doubts || !self.has_waited(file.changed_ns, now) || self.is_beside(way, path)
        {
            Word::Open
        } else {
            let size = Some(file.bytes.len() as u64);
            Word::Found(DriftKind::Dark, Some(file.identity), size)
        }
    }

    /// A scan has gone through all paths before `until`, or to the end; `was_found` says whether it called an
    /// artifact corrupt that it need not have read.
    pub(crate) fn note_scan(
        &mut self,
        way: &Way,
        until: Option<&str>,
        now: Timestamp,
        was_found: &dyn Fn(&str) -> bool,
    ) {
        let passed = |path: &str| until.is_none_or(|until| path < until);
        let mut concluded = Vec::new();
        let mut found = Vec::new();
        for path in self.ahead(way).into_iter().filter(|path| passed(path)) {
            match self.word(way, &path, now) {
                Word::Found(kind, identity, size) => found.push((path, kind, identity, size)),
                Word::Unsure(identity) if was_found(&path) => {
                    let of_file = (Some(identity), Some(identity.size));
                    found.push((path, DriftKind::Corrupt, of_file.0, of_file.1));
                }
                Word::Unsure(_) | Word::Well => concluded.push(path),
                Word::Open => {}
            }
        }
        // What is not there, and nobody names, is well too.
        let met = self.ahead(way);
        let gone = self.findings.keys().filter(|path| {
            way.scope.span().holds(path)
                && **path >= way.from
                && passed(path)
                && met.binary_search(path).is_err()
        });
        concluded.extend(gone.cloned());
        self.watch.witness(now);
        let number = self.passes[&way.scope.key()].number;
        for path in concluded {
            self.findings.remove(&path);
        }
        for (path, kind, identity, size) in found {
            self.keep(number, path, (kind, identity, size), now);
        }
        self.advance(way, until, now);
    }

    fn advance(&mut self, way: &Way, until: Option<&str>, now: Timestamp) {
        let pass = self.passes.get_mut(&way.scope.key()).unwrap();
        let asked = way.reads.share();
        pass.share = Some(pass.share.map_or(asked, |share| share.min(asked)));
        pass.tried_at = now;
        pass.position = until.map(str::to_owned);
        if until.is_none() {
            pass.whole_begun_at = Some(pass.begun_at);
        }
    }

    fn keep(
        &mut self,
        scan: u64,
        path: String,
        (kind, identity, size): (DriftKind, Option<FileIdentity>, Option<u64>),
        now: Timestamp,
    ) {
        let before = self.findings.get(&path);
        let is_same = |before: &&Finding| {
            (before.kind, before.identity, before.size) == (kind, identity, size)
        };
        let same = before.filter(is_same);
        let era = self.watch.era;
        let since = same.filter(|before| before.era == era);
        let finding = Finding {
            kind,
            size,
            identity,
            claimed: self.claims.contains_key(&path),
            last_seen: now,
            times: same.map_or(1, |same| same.times + u64::from(same.scan != scan)),
            ignored: same.is_some_and(|same| same.ignored),
            scan,
            era,
            since: since.map_or(now, |before| before.since),
            since_scan: since.map_or(scan, |before| before.since_scan),
        };
        self.findings.insert(path, finding);
    }

    /// Since when passes have seen the same.
    pub(crate) fn unchanged_since(&self, finding: &Finding) -> Option<Timestamp> {
        (finding.era == self.watch.era && finding.since_scan != finding.scan)
            .then_some(finding.since)
    }

    /// Whether another finding is of another spelling of a name.
    pub(crate) fn has_twin(&self, path: &str) -> bool {
        let is_twin = |other: &String| other != path && fold(other) == fold(path);
        self.findings.keys().any(is_twin)
    }
}
