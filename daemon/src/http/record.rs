//! Writes down who asked for what: before it is done, and what came of it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::account::Account;
use super::problem::Problem;
use super::surface::{Surface, blocking};
use crate::ledger::record::NewRequest;
use crate::ledger::{Ledger, LedgerError};
use crate::loops::Loops;

/// What is written down of a request that ended without an outcome: it panicked, or the daemon
/// stopped and did not wait for it.
const BROKEN_OFF: &str = "broken off";

/// Who asks for what.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) account: Account,
    pub(super) what: &'static str,
    pub(super) subject: String,
}

/// A request that is written down, and its outcome not yet.
#[derive(Debug)]
pub(super) struct Recorded {
    ledger: Arc<dyn Ledger>,
    id: u64,
    asking: Asking,
    ended: bool,
}

impl Recorded {
    /// Writes down who asks for what. Blocks.
    pub(super) fn begin(asking: Asking, loops: &Loops, at: Timestamp) -> Result<Self, LedgerError> {
        let ledger = Arc::clone(&loops.assembly().parts.ledger);
        let id = ledger.note_request(&NewRequest {
            at,
            uid: asking.account.uid,
            account: asking.account.name.to_string(),
            what: asking.what.to_owned(),
            subject: asking.subject.clone(),
        })?;
        Ok(Self {
            ledger,
            id,
            asking,
            ended: false,
        })
    }

    /// Writes down what came of it. Blocks. What was done is done, whether or not this can be
    /// written: then the log alone has it.
    pub(super) fn end(mut self, outcome: &str) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: &str) {
        self.ended = true;
        let id = self.id;
        let Asking {
            account,
            what,
            subject,
        } = &self.asking;
        info!(%account, what, subject, outcome, request = id, "request");
        if let Err(error) = self.ledger.note_outcome(id, outcome) {
            warn!(request = id, %error, "cannot write down what came of a request");
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.ended {
            self.write(BROKEN_OFF);
        }
    }
}

/// Writes down who asks for what, does it on a thread where it may block, and writes down what came
/// of it: all of that also where the client goes away meanwhile.
pub(super) async fn perform<T, E>(
    surface: &Surface,
    asking: Asking,
    work: impl FnOnce(&Loops) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    let loops = surface.loops()?;
    let at = surface.clock.now();
    let (tell, told) = oneshot::channel();
    surface.tasks.spawn(async move {
        let done = blocking(move || {
            let recorded = Recorded::begin(asking, &loops, at)?;
            let done = work(&loops).map_err(Into::into);
            recorded.end(match &done {
                Ok(_) => "done",
                Err(problem) => problem.detail(),
            });
            done
        });
        // Whoever has gone learns it from the request's outcome.
        drop(tell.send(done.await.flatten()));
    });
    told.await.unwrap_or_else(|_| Err(Problem::stopping()))
}
