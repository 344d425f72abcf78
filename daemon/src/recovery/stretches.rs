//! The part of a root that belongs to runs: the folders of their names, and the paths of their records that lie
//! elsewhere, in the bytewise order of paths.
//!
//! Folders are few and held in memory; paths may be as many as the records, and are sorted, on disk where they
//! are many.

use std::collections::{BTreeSet, HashMap};
use std::io;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunKey, RunName};

use super::ScanError;
use super::order::RunScope;
use crate::ingest::Flow;
use crate::ledger::Ledger;
use crate::ledger::scans::{DriftFilter, DriftKind, DriftSide, Span};
use crate::sorting::{self, Sorted, Sorter};

/// Paths held in memory, in bytes; the rest goes to disk.
const MEMORY_BYTES: usize = 8 << 20;
/// Records read at once.
const PAGE: usize = 10_000;
/// Paths looked at together.
const TOGETHER: usize = 1_000;

/// All of it.
#[derive(Debug)]
pub(super) struct Stretches {
    folders: Folders,
    strays: Sorted,
    /// Names of the runs.
    runs: BTreeSet<RunName>,
}

/// A piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stretch {
    /// All that lies below a folder.
    Folder(ArtifactPath),
    /// Some paths, ascending, none of which is below a folder of the part.
    Paths(Vec<ArtifactPath>),
}

impl Stretches {
    /// Finds what belongs to runs in a root; `alive` is called from time to time.
    ///
    /// # Errors
    ///
    /// [`ScanError::NoRun`] where a run is named that this site does not know; where the registry or the ledger
    /// does not answer.
    pub(super) fn find(
        flow: &Flow,
        scope: &RunScope,
        alive: &mut dyn FnMut(),
    ) -> Result<Self, ScanError> {
        let keys = runs(flow, scope)?;
        let folders = Folders::new(keys.iter().filter_map(|key| key.name.as_str().parse().ok()));
        let (root, site) = (&flow.root().name, flow.site());
        let mut strays = Sorter::new(&site.scratch, MEMORY_BYTES);
        for key in &keys {
            let mut after = None;
            loop {
                alive();
                let page = site.registry.records(key, after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some(last.uuid);
                let here = page.iter().filter(|record| record.root == *root);
                for record in here.filter(|record| !folders.hold(record.path.as_str())) {
                    strays.push(record.path.as_str().as_bytes())?;
                }
            }
        }
        Ok(Self {
            folders,
            strays: strays.sort()?,
            runs: keys.into_iter().map(|key| key.name).collect(),
        })
    }

    /// How much there is of what was found here, whichever run it is written down of: an artifact may be of
    /// several, and the names of some lie below those of others.
    pub(super) fn findings(
        &self,
        ledger: &dyn Ledger,
        root: &RootName,
    ) -> Result<Vec<(DriftKind, u64)>, ScanError> {
        let filter = DriftFilter {
            root: Some(root.clone()),
            kind: None,
            side: Some(DriftSide::Datastore),
            span: Span::all(),
            ignored: false,
        };
        let mut counts: Vec<_> = DriftKind::ALL.into_iter().map(|kind| (kind, 0)).collect();
        let mut strays = self.strays.cursor()?;
        let (mut stray, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = ledger.drift(&filter, after.as_deref().map(|path| (root, path)), PAGE)?;
            for finding in &page {
                let path = finding.path.as_str();
                while stray.as_slice() < path.as_bytes() {
                    let Some(next) = strays.next()? else { break };
                    stray = next.to_vec();
                }
                if self.folders.hold(path) || stray == path.as_bytes() {
                    let of_kind = counts.iter_mut().filter(|(kind, _)| *kind == finding.kind);
                    of_kind.for_each(|(_, count)| *count += 1);
                }
            }
            if page.len() < PAGE {
                return Ok(counts);
            }
            after = page.last().map(|last| last.path.to_string());
        }
    }

    /// Names of the runs.
    pub(super) fn runs(&self) -> Vec<&str> {
        self.runs.iter().map(RunName::as_str).collect()
    }

    /// Its pieces, from a position on.
    pub(super) fn course(&self, position: &str) -> io::Result<Course<'_>> {
        Ok(Course {
            folders: self.folders.0.iter().map(|(_, folder)| folder).collect(),
            at: 0,
            strays: self.strays.cursor()?,
            stray: None,
            position: position.to_owned(),
        })
    }

    /// Whether a path lies below one of its folders.
    pub(super) fn folders_hold(&self, path: &str) -> bool {
        self.folders.hold(path)
    }

    /// What of a stretch of paths belongs to it: what lies below its folders, and these single paths.
    pub(super) fn within(&self, span: &Span, singles: &[Span]) -> Vec<Span> {
        let folders = self.folders.0.iter();
        let clipped = folders.filter_map(|(_, folder)| clip(&Span::below(Some(folder)), span));
        clipped.chain(singles.iter().cloned()).collect()
    }
}

/// What two stretches have in common.
fn clip(one: &Span, other: &Span) -> Option<Span> {
    let from = one.from.as_str().max(other.from.as_str()).to_owned();
    let ends = [&one.until, &other.until].into_iter().flatten();
    let span = Span {
        from,
        until: ends.min().cloned(),
    };
    (!span.is_empty()).then_some(span)
}

/// The runs that a scope means.
fn runs(flow: &Flow, scope: &RunScope) -> Result<Vec<RunKey>, ScanError> {
    let site = flow.site();
    let times: HashMap<RunKey, Timestamp> = if scope.since.is_some() || scope.until.is_some() {
        site.ledger.runs_registered()?.into_iter().collect()
    } else {
        HashMap::new()
    };
    let known = site.registry.runs(None)?;
    for name in &scope.names {
        if !known.iter().any(|run| run.key.name == *name) {
            return Err(ScanError::NoRun { run: name.clone() });
        }
    }
    let keys = known.into_iter().map(|run| run.key);
    let is_meant = |key: &RunKey| scope.holds(&key.name, times.get(key).copied());
    Ok(keys.filter(is_meant).collect())
}

/// Folders of which none lies below another, ascending, each with what the paths below it begin with.
#[derive(Debug)]
struct Folders(Vec<(String, ArtifactPath)>);

impl Folders {
    fn new(folders: impl Iterator<Item = ArtifactPath>) -> Self {
        let mut all: Vec<_> = folders
            .map(|folder| (format!("{folder}/"), folder))
            .collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut outer: Vec<(String, ArtifactPath)> = Vec::new();
        for one in all {
            if outer.last().is_none_or(|last| !one.0.starts_with(&last.0)) {
                outer.push(one);
            }
        }
        Self(outer)
    }

    fn hold(&self, path: &str) -> bool {
        let after = self.0.partition_point(|(start, _)| start.as_str() <= path);
        let before = after.checked_sub(1).and_then(|index| self.0.get(index));
        before.is_some_and(|(start, _)| path.starts_with(start))
    }
}

/// Pieces on their way.
pub(super) struct Course<'s> {
    folders: Vec<&'s ArtifactPath>,
    /// The next folder.
    at: usize,
    strays: sorting::Cursor<'s>,
    /// The next path.
    stray: Option<ArtifactPath>,
    /// What comes before it is done.
    position: String,
}

impl Course<'_> {
    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Stretch>> {
        self.skip_folders();
        self.read_stray()?;
        let folder = self.folders.get(self.at).copied();
        let start = folder.map(|folder| format!("{folder}/"));
        let mut paths = Vec::new();
        while let Some(stray) = &self.stray {
            let is_earlier = start
                .as_ref()
                .is_none_or(|start| stray.as_str() < start.as_str());
            if !is_earlier || paths.len() == TOGETHER {
                break;
            }
            self.position = crate::ledger::scans::after(stray.as_str());
            paths.extend(self.stray.take());
            self.read_stray()?;
        }
        if !paths.is_empty() {
            return Ok(Some(Stretch::Paths(paths)));
        }
        self.at += usize::from(folder.is_some());
        Ok(folder.cloned().map(Stretch::Folder))
    }

    fn skip_folders(&mut self) {
        while let Some(folder) = self.folders.get(self.at) {
            let until = Span::below(Some(folder)).until;
            if until.is_none_or(|until| until > self.position) {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the next path that is not done, where none is at hand. Each comes once.
    fn read_stray(&mut self) -> io::Result<()> {
        while self.stray.is_none() {
            let Some(bytes) = self.strays.next()? else {
                return Ok(());
            };
            let path = str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse::<ArtifactPath>().ok());
            self.stray = path.filter(|path| *path.as_str() >= *self.position);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ArtifactPath {
        text.parse().unwrap()
    }

    fn stretches(folders: &[&str], strays: &[&str]) -> Stretches {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), MEMORY_BYTES);
        for stray in strays {
            sorter.push(stray.as_bytes()).unwrap();
        }
        Stretches {
            folders: Folders::new(folders.iter().map(|text| path(text))),
            strays: sorter.sort().unwrap(),
            runs: BTreeSet::new(),
        }
    }

    fn all(stretches: &Stretches, position: &str) -> Vec<Stretch> {
        let mut course = stretches.course(position).unwrap();
        let mut all = Vec::new();
        while let Some(stretch) = course.next().unwrap() {
            all.push(stretch);
        }
        all
    }

    #[test]
    fn pieces_come_in_the_order_of_paths_and_each_once() {
        let part = stretches(&["b", "d", "b/x"], &["c", "a", "c", "b-1", "e"]);
        let paths = |all: &[&str]| Stretch::Paths(all.iter().map(|text| path(text)).collect());
        let folder = |text: &str| Stretch::Folder(path(text));
        let expected = [
            paths(&["a", "b-1"]),
            folder("b"),
            paths(&["c"]),
            folder("d"),
            paths(&["e"]),
        ];
        assert_eq!(all(&part, ""), expected);
        assert_eq!(
            all(&part, "a\0"),
            [&[paths(&["b-1"])], &expected[1..]].concat()
        );
        assert_eq!(all(&part, "b/7"), expected[1..]);
        assert_eq!(all(&part, "b0"), expected[2..]);
        assert_eq!(all(&part, "e\0"), []);
        assert!(part.folders_hold("b/x/1") && !part.folders_hold("b-1") && !part.folders_hold("c"));
    }

    #[test]
    fn nothing_is_concluded_beside_it() {
        let part = stretches(&["b", "d"], &["c"]);
        let span = Span {
            from: "b/5".to_owned(),
            until: Some("d/5".to_owned()),
        };
        let within = part.within(&span, &[Span::at("c")]);
        let holds = |path: &str| within.iter().any(|span| span.holds(path));
        for (path, expected) in [
            ("b/4", false),
            ("b/6", true),
            ("bx", false),
            ("c", true),
            ("c1", false),
            ("d/4", true),
            ("d/5", false),
        ] {
            assert_eq!(holds(path), expected, "{path}");
        }
    }
}
