//! Keeps what was seen of a file from becoming its record after the file was taken away.
//!
//! Between the look at an artifact and the commit of its record lies a buffer. Who takes files away meanwhile
//! says so here: records of these that rest on an earlier look are not committed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use runsync_manifest::name::ArtifactPath;

use crate::poison::lock;

/// The files of one root that were taken away while somebody looked.
#[derive(Debug, Default)]
pub(super) struct TakenAway {
    /// By artifact the number of the occasion. Whoever commits holds it for reading, until that is done.
    paths: RwLock<HashMap<ArtifactPath, u64>>,
    looks: Mutex<Looks>,
}

/// Who looks.
#[derive(Debug, Default)]
struct Looks {
    /// Occasions so far.
    occasions: u64,
    /// Looks under way.
    open: usize,
}

/// A look that is under way: what it sees may be committed as long as it lasts.
#[derive(Debug)]
pub(super) struct Look<'a> {
    taken_away: &'a TakenAway,
    /// Occasions before it began.
    since: u64,
}

/// What was taken away since a look began; no more is while this is held.
#[derive(Debug)]
pub(super) struct Since<'a> {
    paths: RwLockReadGuard<'a, HashMap<ArtifactPath, u64>>,
    since: u64,
}

impl TakenAway {
    /// Begins to look.
    pub(super) fn look(&self) -> Look<'_> {
        let mut looks = lock(&self.looks);
        looks.open += 1;
        Look {
            taken_away: self,
            since: looks.occasions,
        }
    }

    /// Says that the files of these artifacts were taken away. Once it returns, no record is committed that rests on
    /// an earlier look at them.
    pub(super) fn tell<'p>(&self, paths: impl IntoIterator<Item = &'p ArtifactPath>) {
        let mut taken_away = self.paths.write().unwrap_or_else(PoisonError::into_inner);
        let mut looks = lock(&self.looks);
        if looks.open == 0 {
            return;
        }
        looks.occasions += 1;
        let occasion = looks.occasions;
        taken_away.extend(paths.into_iter().map(|path| (path.clone(), occasion)));
    }
}

impl Look<'_> {
    /// What was taken away since it began.
    pub(super) fn taken_away(&self) -> Since<'_> {
        let paths = &self.taken_away.paths;
        Since {
            paths: paths.read().unwrap_or_else(PoisonError::into_inner),
            since: self.since,
        }
    }
}

impl Since<'_> {
    /// Whether an artifact is among it.
    pub(super) fn holds(&self, path: &ArtifactPath) -> bool {
        let occasion = self.paths.get(path);
        occasion.is_some_and(|occasion| *occasion > self.since)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let paths = &self.taken_away.paths;
        let mut taken_away = paths.write().unwrap_or_else(PoisonError::into_inner);
        let mut looks = lock(&self.taken_away.looks);
        looks.open -= 1;
        // Nobody asks any more.
        if looks.open == 0 {
            taken_away.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ArtifactPath {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_seen_before_it_was_taken_away_counts_for_nothing() {
        let taken_away = TakenAway::default();
        let before = taken_away.look();
        taken_away.tell([&path("a")]);
        let after = taken_away.look();
        assert!(before.taken_away().holds(&path("a")));
        assert!(!before.taken_away().holds(&path("b")));
        assert!(!after.taken_away().holds(&path("a")));
        taken_away.tell([&path("a"), &path("b")]);
        assert!(after.taken_away().holds(&path("a")));
    }

    #[test]
    fn nothing_is_kept_where_nobody_looks() {
        let taken_away = TakenAway::default();
        taken_away.tell([&path("a")]);
        drop(taken_away.look());
        let look = taken_away.look();
        taken_away.tell([&path("b")]);
        assert_eq!(look.taken_away().paths.len(), 1);
        drop(look);
        assert!(taken_away.look().taken_away().paths.is_empty());
    }
}
