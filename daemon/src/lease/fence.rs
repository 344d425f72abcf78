//! The fencing number, and the time during which a process may write under it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// The number of a tenure: each claim of the lease gets one higher than any before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fence(u64);

impl Fence {
    /// The number as it is stored. Only a claim makes a new one.
    pub(crate) const fn stored(number: u64) -> Self {
        Self(number)
    }

    /// The next higher number.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// This process does not hold the lease any more; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease of this site is another's by now (this process had fence {fence})")]
pub struct Fenced {
    /// The number under which the process tried to write.
    pub fence: Fence,
}

/// Why a tenure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Another process has claimed the lease.
    Overtaken,
    /// The lease could not be renewed for its whole duration.
    NotRenewed,
    /// The holder gave it back.
    Released,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overtaken => "another process has taken it over",
            Self::NotRenewed => "it could not be renewed in time",
            Self::Released => "it was given back",
        })
    }
}

/// The time during which a process holds the lease; clones share it.
///
/// Registry and ledger are opened under a tenure and write nothing once it has ended.
#[derive(Clone)]
pub struct Tenure(Arc<Shared>);

struct Shared {
    fence: Fence,
    end: OnceLock<End>,
    on_end: Box<dyn Fn() + Send + Sync>,
}

impl Tenure {
    /// Begins one; `on_end` is called once, by whoever ends it.
    pub(crate) fn begin(fence: Fence, on_end: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            fence,
            end: OnceLock::new(),
            on_end: Box::new(on_end),
        }))
    }

    /// Its number.
    pub fn fence(&self) -> Fence {
        self.0.fence
    }

    /// Why it ended; `None` while it lasts.
    pub fn ended(&self) -> Option<End> {
        self.0.end.get().copied()
    }

    /// Ends it; what ended it first stays the reason.
    pub fn end(&self, why: End) {
        if self.0.end.set(why).is_ok() {
            (self.0.on_end)();
        }
    }

    /// Lets a write transaction go on: `found` is the number that the file at hand was last
    /// opened under. Any other than the tenure's own ends the tenure.
    ///
    /// # Errors
    ///
    /// [`Fenced`] where it is another, or the tenure has ended.
    pub(crate) fn check(&self, found: Fence) -> Result<(), Fenced> {
        if found != self.fence() {
            self.end(End::Overtaken);
        }
        self.check_lasts()
    }

    /// As [`check`](Self::check), without a look at the file.
    ///
    /// # Errors
    ///
    /// [`Fenced`] where the tenure has ended.
    pub(crate) fn check_lasts(&self) -> Result<(), Fenced> {
        match self.ended() {
            None => Ok(()),
            Some(_) => Err(Fenced {
                fence: self.fence(),
            }),
        }
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure")
            .field("fence", &self.0.fence)
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_tenure_ends_once_and_for_the_first_reason() {
        let told = Arc::new(AtomicU32::new(0));
        let tells = Arc::clone(&told);
        let tenure = Tenure::begin(Fence::stored(3), move || {
            tells.fetch_add(1, Ordering::SeqCst);
        });
        tenure.check(Fence::stored(3)).unwrap();
        assert_eq!(tenure.ended(), None);
        let fenced = tenure.clone().check(Fence::stored(4)).unwrap_err();
        assert_eq!(fenced.fence, Fence::stored(3));
        tenure.end(End::Released);
        assert_eq!(tenure.ended(), Some(End::Overtaken));
        assert_eq!(told.load(Ordering::SeqCst), 1);
        tenure.check(Fence::stored(3)).unwrap_err();
    }
}
