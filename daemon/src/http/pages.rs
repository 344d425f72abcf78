//! Lists of any length, page by page.
//!
//! A list begins after what its parameters name and holds at most `limit` lines; the last line of one
//! request says where the next begins. Without a limit all of it comes. No more than a page is in
//! memory, however slowly the client reads, and what comes or goes meanwhile may be seen or missed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use serde::Serialize;

use super::ndjson::{self, Chunk};
use super::problem::Problem;
use super::surface::Surface;

/// Lines that are read at once: some milliseconds of work.
const PAGE: usize = 1000;

/// Where a list goes on, and how many lines it may still have.
#[derive(Debug, Clone)]
pub(super) struct Cursor<K> {
    after: Option<K>,
    left: usize,
}

/// Some lines, and where the list goes on; none: these were the last.
pub(super) type Page<T, K> = (Vec<T>, Option<Cursor<K>>);

impl<K> Cursor<K> {
    /// The beginning of a list.
    pub(super) fn new(after: Option<K>, limit: Option<usize>) -> Self {
        let left = limit.unwrap_or(usize::MAX);
        Self { after, left }
    }

    /// After what it goes on.
    pub(super) fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// How many lines to read now.
    pub(super) fn lines(&self) -> usize {
        self.left.min(PAGE)
    }

    /// The page that was read, where each row is a line: fewer than were to be read are the last;
    /// there may be more, where those belong together.
    pub(super) fn page<T>(self, rows: Vec<T>, key: impl Fn(&T) -> K) -> Page<T, K> {
        let lines = rows.len();
        let last = rows.last().filter(|_| lines >= self.lines()).map(key);
        (rows, self.next(last, lines))
    }

    /// Where it goes on after `last`, with `done` lines more; none: it has ended.
    pub(super) fn next(self, last: Option<K>, done: usize) -> Option<Self> {
        let left = self.left.saturating_sub(done);
        let after = Some(last?);
        (left > 0).then_some(Self { after, left })
    }
}

/// Answers with page after page.
pub(super) async fn list<T, K, F>(
    surface: Arc<Surface>,
    begin: Cursor<K>,
    page: F,
) -> Result<Response, Problem>
where
    T: Serialize,
    K: Send + 'static,
    F: Fn(&Surface, Cursor<K>) -> Result<Page<T, K>, Problem> + Send + Sync + 'static,
{
    let page = Arc::new(page);
    let read = move |at: Cursor<K>| {
        let page = Arc::clone(&page);
        move |surface: &Surface| chunk(page(surface, at)?)
    };
    let first = surface.look_up(read(begin)).await?;
    Ok(ndjson::stream(first, move |at| {
        let (surface, read) = (Arc::clone(&surface), read(at));
        async move { surface.look_on(read).await }
    }))
}

fn chunk<T: Serialize, K>((rows, next): Page<T, K>) -> Result<Chunk<Cursor<K>>, Problem> {
    let mut bytes = Vec::new();
    for row in &rows {
        ndjson::line(row, &mut bytes).map_err(|error| Problem::internal(error.to_string()))?;
    }
    Ok((Bytes::from(bytes), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of `most` numbers comes to, page by page.
    fn read(most: usize, limit: Option<usize>) -> Vec<usize> {
        let mut at = Some(Cursor::new(None, limit));
        let mut all = Vec::new();
        while let Some(cursor) = at {
            let begin = cursor.after().map_or(0, |last| last + 1);
            let rows: Vec<_> = (begin..most).take(cursor.lines()).collect();
            let (rows, next) = cursor.page(rows, |row| *row);
            all.extend(rows);
            at = next;
        }
        all
    }

    #[test]
    fn pages_follow_each_other_up_to_the_limit() {
        for most in [0, 1, PAGE, PAGE + 1, 3 * PAGE] {
            for limit in [None, Some(0), Some(1), Some(PAGE), Some(2 * PAGE + 1)] {
                let expected = most.min(limit.unwrap_or(usize::MAX));
                assert!(
                    read(most, limit).into_iter().eq(0..expected),
                    "{most} {limit:?}"
                );
            }
        }
    }
}
