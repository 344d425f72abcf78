//! Writes down who asked for what: before it is done, and what came of it.

use std::sync::Arc;

use tracing::{info, warn};

use super::account::Account;
use super::problem::Problem;
use super::surface::{Surface, blocking};
use crate::ledger::Ledger;
use crate::ledger::record::NewRequest;
use crate::loops::Loops;

/// A request that is written down.
#[derive(Debug)]
pub(super) struct Recorded {
    ledger: Arc<dyn Ledger>,
    id: u64,
    account: Account,
    what: &'static str,
    subject: String,
}

impl Recorded {
    /// Writes down who asks for what.
    pub(super) async fn begin(
        surface: &Surface,
        loops: &Loops,
        account: Account,
        what: &'static str,
        subject: String,
    ) -> Result<Self, Problem> {
        let ledger = Arc::clone(&loops.assembly().parts.ledger);
        let request = NewRequest {
            at: surface.clock.now(),
            uid: account.uid,
            account: account.name.to_string(),
            what: what.to_owned(),
            subject: subject.clone(),
        };
        let of = Arc::clone(&ledger);
        let id = blocking(move || of.note_request(&request)).await??;
        Ok(Self {
            ledger,
            id,
            account,
            what,
            subject,
        })
    }

    /// Writes down what came of it. Blocks. What was done is done, whether or not this can be
    /// written: then the log alone has it.
    pub(super) fn end(self, outcome: &str) {
        let Self {
            id,
            account,
            what,
            subject,
            ledger,
        } = self;
        info!(%account, what, subject, outcome, request = id, "request");
        if let Err(error) = ledger.note_outcome(id, outcome) {
            warn!(request = id, %error, "cannot write down what came of a request");
        }
    }

    /// Does it on a thread where it may block, and writes down what came of it: also where the
    /// client has gone meanwhile.
    pub(super) async fn run<T, E>(
        self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        blocking(move || {
            let done = work().map_err(Into::into);
            self.end(match &done {
                Ok(_) => "done",
                Err(problem) => problem.detail(),
            });
            done
        })
        .await?
    }
}
