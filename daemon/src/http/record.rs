//! Keeps in mind who asked for what.

use tracing::info;

use super::account::Account;
use super::problem::Problem;
use super::surface::Surface;

impl Surface {
    /// Does what an operator asks for, and records it with its outcome.
    pub(super) async fn recorded<T>(
        &self,
        account: &Account,
        what: &'static str,
        subject: String,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let done = work.await;
        let outcome = match &done {
            Ok(_) => "done",
            Err(problem) => problem.detail(),
        };
        info!(%account, what, subject, outcome, "request");
        done
    }
}
