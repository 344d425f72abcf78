//! The two sides of a scan on their way: sights of the root, and records in pages.

use std::time::{Duration, Instant};
use std::vec;

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;

use super::ScanError;
use super::stretches::{Course, Stretch};
use crate::datastore::{Datastore, DatastoreError, Look, SeenFile, Sight, Walk};
use crate::ledger::scans::{Span, after};
use crate::registry::Registry;
use crate::registry::record::{ArtifactAt, ArtifactStanding, ClaimAt};

/// Records read at once.
const PAGE: usize = 2_000;
/// The same where files are read to their end, each of which may take seconds: what was read long ago tells less.
const PAGE_READ: usize = 100;
/// The time of the last change of a file that was looked at by its name, which does not tell it: so late that
/// it is never old.
pub(super) const CHANGE_UNKNOWN: i64 = i64::MAX;

/// What lies in the root, and what looking at it costs.
pub(super) struct Sights<'w> {
    source: Source<'w>,
    /// Calls before the walk at hand.
    calls: u64,
    paid: u64,
    took: Duration,
    /// What kept it from going on.
    fault: Option<ScanError>,
}

enum Source<'w> {
    /// One walk.
    Walk(Box<dyn Walk + 'w>),
    /// Piece by piece.
    Pieces(Box<Pieces<'w>>),
}

struct Pieces<'w> {
    root: &'w RootName,
    datastore: &'w dyn Datastore,
    course: Course<'w>,
    /// Where walks begin.
    position: String,
    walk: Option<Box<dyn Walk + 'w>>,
    looked_at: vec::IntoIter<Sight>,
    /// The folder that was met last which is not this root's, or may not be.
    other: Option<Sight>,
}

impl<'w> Sights<'w> {
    /// All that a walk sees.
    pub(super) fn walk(walk: Box<dyn Walk + 'w>) -> Self {
        Self::of(Source::Walk(walk))
    }

    /// What lies in pieces of a root, from a position on.
    pub(super) fn pieces(
        (root, datastore): (&'w RootName, &'w dyn Datastore),
        course: Course<'w>,
        position: &str,
    ) -> Self {
        Self::of(Source::Pieces(Box::new(Pieces {
            root,
            datastore,
            course,
            position: position.to_owned(),
            walk: None,
            looked_at: Vec::new().into_iter(),
            other: None,
        })))
    }

    fn of(source: Source<'w>) -> Self {
        Self {
            source,
            calls: 0,
            paid: 0,
            took: Duration::ZERO,
            fault: None,
        }
    }

    /// Calls to storage since this was last asked, and how long they took.
    pub(super) fn cost(&mut self) -> (u64, Duration) {
        let of_walk = match &self.source {
            Source::Walk(walk) => walk.calls(),
            Source::Pieces(pieces) => pieces.walk.as_ref().map_or(0, |walk| walk.calls()),
        };
        let calls = self.calls + of_walk;
        let new = calls - std::mem::replace(&mut self.paid, calls);
        (new, std::mem::take(&mut self.took))
    }

    /// What kept it from going on: then what comes next is not what lies there.
    pub(super) fn take_fault(&mut self) -> Option<ScanError> {
        self.fault.take()
    }
}

impl Iterator for Sights<'_> {
    type Item = Sight;

    fn next(&mut self) -> Option<Sight> {
        let begun = Instant::now();
        let sight = match &mut self.source {
            Source::Walk(walk) => walk.next(),
            Source::Pieces(pieces) => pieces.next(&mut self.calls).unwrap_or_else(|error| {
                self.fault = Some(error);
                None
            }),
        };
        self.took += begun.elapsed();
        sight
    }
}

impl Pieces<'_> {
    fn next(&mut self, calls: &mut u64) -> Result<Option<Sight>, ScanError> {
        loop {
            if let Some(sight) = self.looked_at.next() {
                return Ok(Some(sight));
            }
            if let Some(walk) = &mut self.walk {
                if let Some(sight) = walk.next() {
                    return Ok(Some(sight));
                }
                *calls += walk.calls();
                self.walk = None;
            }
            match self.course.next()? {
                None => return Ok(None),
                Some(Stretch::Folder(folder)) => {
                    let walk = self.datastore.walk(Some(&folder), &self.position);
                    self.walk = Some(walk.map_err(|source| self.failed(source))?);
                }
                Some(Stretch::Paths(paths)) => {
                    let sights = self.look(&paths, calls)?;
                    self.looked_at = sights.into_iter();
                }
            }
        }
    }

    /// Looks at some paths, folder by folder: nothing in another root is this one's.
    fn look(&mut self, paths: &[ArtifactPath], calls: &mut u64) -> Result<Vec<Sight>, ScanError> {
        let mut sights = Vec::with_capacity(paths.len());
        for group in paths.chunk_by(|one, other| folder_of(one) == folder_of(other)) {
            *calls += group.len() as u64;
            let folder = group.first().map_or("", folder_of);
            if let Ok(folder) = folder.parse::<ArtifactPath>() {
                *calls += folder.as_str().split('/').count() as u64;
                if let Some(other) = self.datastore.another_about(&folder) {
                    if self.other.as_ref() != Some(&other) {
                        sights.push(other.clone());
                        self.other = Some(other);
                    }
                    continue;
                }
            }
            let asked: Vec<&ArtifactPath> = group.iter().collect();
            let looks = self.datastore.look(&asked);
            let looks = looks.map_err(|source| self.failed(source))?;
            let seen = group.iter().zip(looks);
            sights.extend(seen.filter_map(|(path, look)| sight(path, look)));
        }
        Ok(sights)
    }

    fn failed(&self, source: DatastoreError) -> ScanError {
        let root = self.root.clone();
        ScanError::Datastore { root, source }
    }
}

/// The folder that a path lies in; empty: the root.
fn folder_of(path: &ArtifactPath) -> &str {
    path.as_str()
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder)
}

fn sight(path: &ArtifactPath, look: Look) -> Option<Sight> {
    let path = path.clone();
    match look {
        Look::File(identity) => Some(Sight::File(SeenFile {
            path,
            identity,
            changed_ns: CHANGE_UNKNOWN,
        })),
        Look::Absent => None,
        Look::Irregular => Some(Sight::Irregular(path)),
        Look::Unreadable(fault) => Some(Sight::Unreadable(path, fault)),
    }
}

/// All artifacts that runs name in a stretch of paths, or in pieces of it, page by page.
pub(super) struct Records<'r> {
    registry: &'r dyn Registry,
    root: &'r RootName,
    left: Span,
    /// How many are read at once.
    most: usize,
    /// Whether more follow in the stretch.
    more: bool,
    /// The pieces that follow.
    course: Option<Course<'r>>,
}

impl<'r> Records<'r> {
    /// Those of one stretch.
    pub(super) fn new(registry: &'r dyn Registry, root: &'r RootName, span: Span) -> Self {
        Self {
            registry,
            root,
            left: span,
            most: PAGE,
            more: true,
            course: None,
        }
    }

    /// For a pass that reads files.
    pub(super) fn little_by_little(self) -> Self {
        Self {
            most: PAGE_READ,
            ..self
        }
    }

    /// Those of pieces, from a position on.
    pub(super) fn pieces(
        registry: &'r dyn Registry,
        root: &'r RootName,
        course: Course<'r>,
        position: &str,
    ) -> Self {
        let from = position.to_owned();
        Self {
            more: false,
            course: Some(course),
            ..Self::new(registry, root, Span { from, until: None })
        }
    }

    /// The next of them, in order; none of them at the end alone.
    pub(super) fn page(&mut self) -> Result<Vec<ArtifactAt>, ScanError> {
        loop {
            let page = if self.more {
                self.read()?
            } else if let Some(page) = self.turn()? {
                page
            } else {
                return Ok(Vec::new());
            };
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    fn read(&mut self) -> Result<Vec<ArtifactAt>, ScanError> {
        let (from, until) = (&self.left.from, self.left.until.as_deref());
        let registry = self.registry;
        let page = registry.artifacts_between(self.root, from, until, self.most)?;
        self.more = page.len() == self.most;
        if let Some(last) = page.last() {
            self.left.from = after(last.path.as_str());
        }
        Ok(page)
    }

    /// Goes on to the next piece, with what is at hand of it. None at the end of all.
    fn turn(&mut self) -> Result<Option<Vec<ArtifactAt>>, ScanError> {
        let Some(course) = &mut self.course else {
            return Ok(None);
        };
        match course.next()? {
            None => Ok(None),
            Some(Stretch::Folder(folder)) => {
                let Span { from, until } = Span::below(Some(&folder));
                let from = from.max(std::mem::take(&mut self.left.from));
                self.left = Span { from, until };
                self.more = true;
                Ok(Some(Vec::new()))
            }
            Some(Stretch::Paths(paths)) => {
                let asked: Vec<&ArtifactPath> = paths.iter().collect();
                let claims = self.registry.claims_at(self.root, &asked)?;
                let said = paths.iter().zip(&claims);
                let said = said.filter_map(|(path, claims)| together(path, claims));
                Ok(Some(said.collect()))
            }
        }
    }
}

/// What all runs together say of the artifact at a path, as [`Registry::artifacts_between`] has it.
fn together(path: &ArtifactPath, claims: &[ClaimAt]) -> Option<ArtifactAt> {
    let rank = |claim: &&ClaimAt| match claim.standing {
        ArtifactStanding::Confirmed => 0,
        ArtifactStanding::Awaited => 1,
        ArtifactStanding::Absent => 2,
    };
    let best = claims.iter().min_by_key(rank)?;
    Some(ArtifactAt {
        path: path.clone(),
        standing: best.standing,
        size: best.size,
        checksums: best.checksums,
        busy: claims.iter().any(|claim| claim.busy),
    })
}
