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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lease::{Fence, Tenure};
    use crate::ledger::SqliteLedger;

    #[test]
    fn a_request_that_nobody_ends_is_written_down_as_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.sqlite");
        SqliteLedger::create(&file).unwrap();
        let tenure = Tenure::begin(Fence::stored(1), || ());
        let ledger = SqliteLedger::open(&file, &tenure, Duration::ZERO).unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let asked = |subject: &str| Recorded {
            ledger: Arc::clone(&ledger),
            id: ledger
                .note_request(&NewRequest {
                    at: Timestamp::UNIX_EPOCH,
                    uid: Some(1),
                    account: "alice".to_owned(),
                    what: "wake".to_owned(),
                    subject: subject.to_owned(),
                })
                .unwrap(),
            asking: Asking {
                account: Account {
                    name: "alice".into(),
                    uid: Some(1),
                    role: None,
                },
                what: "wake",
                subject: subject.to_owned(),
            },
            ended: false,
        };
        asked("one").end("done");
        drop(asked("two"));
        let rows = ledger.requests(None, 2).unwrap();
        let outcomes: Vec<_> = rows
            .iter()
            .map(|row| (&*row.subject, row.outcome.as_deref()))
            .collect();
        assert_eq!(
            outcomes,
            [("two", Some("broken off")), ("one", Some("done"))]
        );
    }
}
