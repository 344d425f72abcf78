//! Who acts on hints.
//!
//! A message from Rucio or from a sender becomes [`Hint`]s; these lie in the ledger, and only then is
//! the message acknowledged. The loop of the events flow hands those that are due to whoever acts on
//! their kind: the flows that do stand to the right of it, so what they share stands here, below all of them.
//!
//! A hint is never an order: whoever takes it asks Rucio, the root and the registry what is so, and acts on
//! that. Lost, doubled, late or invented ones change nothing but when it looks.

use std::error::Error;
use std::fmt::Debug;
use std::ops::ControlFlow;

use crate::ledger::record::{Hint, Taken};

/// Why hints could not be acted on; the loop logs its chain of causes and tries them again.
pub type TakeError = Box<dyn Error + Send + Sync>;

/// Acts on hints.
pub trait HintTaker: Send + Sync + Debug {
    /// Looks into hints of one kind, and answers for each of them in their order. It may block;
    /// `progress` is called as it advances, and asks it to return early: those it has not come to are
    /// then [`Taken::Later`], due at once.
    ///
    /// # Errors
    ///
    /// Where nothing could be found out, such as with Rucio away: all of them are kept and tried again.
    fn take(
        &self,
        hints: &[Hint],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Taken>, TakeError>;
}
