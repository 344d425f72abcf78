//! Reads records ahead, in a thread of their own: a pass lists and looks meanwhile, and waits for no disk twice.
//!
//! What is read ahead is bounded: one page at hand, one that waits, and one that is being read.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};
use std::vec;

use super::ScanError;
use super::streams::Records;
use crate::registry::record::ArtifactAt;

/// Pages that wait.
const WAITING: usize = 1;

type Page = Result<Vec<ArtifactAt>, ScanError>;

/// Records on their way from another thread. The thread ends when this is dropped, or with the last record.
pub(super) struct Ahead {
    /// An empty one is the end.
    pages: Receiver<Page>,
    page: vec::IntoIter<ArtifactAt>,
    over: bool,
}

impl Ahead {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// Where the system has no room for a thread.
    pub(super) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        records: Records<'scope>,
    ) -> io::Result<Self> {
        let (to, pages) = sync_channel(WAITING);
        let thread = Builder::new().name("scan-records".to_owned());
        thread.spawn_scoped(scope, move || read(records, &to))?;
        Ok(Self {
            pages,
            page: Vec::new().into_iter(),
            over: false,
        })
    }

    fn step(&mut self) -> Result<Option<ArtifactAt>, ScanError> {
        loop {
            if let Some(record) = self.page.next() {
                return Ok(Some(record));
            }
            if self.over {
                return Ok(None);
            }
            // A thread that has died has not come to the end: what follows has records all the same.
            let page = self.pages.recv().map_err(|_| ScanError::Unread)??;
            self.over = page.is_empty();
            self.page = page.into_iter();
        }
    }
}

impl Iterator for Ahead {
    type Item = Result<ArtifactAt, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Reads page after page, until the end, an error, or until nobody listens any more.
fn read(mut records: Records<'_>, to: &SyncSender<Page>) {
    loop {
        let page = records.page();
        let is_last = page.as_ref().map_or(true, Vec::is_empty);
        if to.send(page).is_err() || is_last {
            return;
        }
    }
}
