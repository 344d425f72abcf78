//! Looks at the lease, and claims it where it is to be had.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::fence::{Fence, Tenure};
use super::held::{Claimed, Held};
use super::holder::{Holder, HolderKind};
use super::lock::{HolderState, LockFolder};
use super::table::{LeaseError, LeaseRow, LeaseTable};
use super::watch::{Beats, Sight, Watch};
use crate::clock::Uptime;

/// What this process knows of the lease, and how it comes to hold it.
#[derive(Debug)]
pub struct Keeper {
    table: Arc<dyn LeaseTable>,
    locks: LockFolder,
    uptime: Arc<dyn Uptime>,
    duration: Duration,
    watch: Watch,
}

/// How the lease stands for whoever looks at it.
#[derive(Debug)]
pub enum Standing {
    /// It is another's; look again after this long at the latest.
    Held(Box<LeaseRow>, Duration),
    /// It may be claimed.
    Vacant(Vacancy),
}

/// A lease that may be claimed.
#[derive(Debug, Clone)]
pub struct Vacancy {
    row: LeaseRow,
    grounds: Grounds,
}

/// Why it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grounds {
    /// It was given back, or never claimed.
    Free,
    /// Its holder is gone.
    Gone,
    /// It has run out.
    Expired,
}

impl Keeper {
    /// Knows nothing yet. Lock files lie in `state_directory`.
    pub fn new(
        table: Arc<dyn LeaseTable>,
        state_directory: &Path,
        duration: Duration,
        uptime: Arc<dyn Uptime>,
    ) -> Self {
        Self {
            table,
            locks: LockFolder::new(state_directory),
            uptime,
            duration,
            watch: Watch::new(duration),
        }
    }

    /// Looks at the lease.
    ///
    /// # Errors
    ///
    /// Where its row cannot be read.
    pub fn look(&mut self) -> Result<Standing, LeaseError> {
        let row = self.table.read()?;
        let Some(holder) = &row.holder else {
            return Ok(Standing::vacant(row, Grounds::Free));
        };
        if self.locks.state(holder.lock) == HolderState::Gone {
            return Ok(Standing::vacant(row, Grounds::Gone));
        }
        Ok(match self.watch.see(&row, self.uptime.awake()) {
            Sight::Held(wait) => Standing::Held(Box::new(row), wait),
            Sight::Expired => Standing::vacant(row, Grounds::Expired),
        })
    }

    /// Claims the lease under a number above its last one and above `registry`, the number under
    /// which the registry was last opened: the two differ where one was restored from a backup.
    /// `on_end` is called when the tenure ends. `None` where another was quicker.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Busy`] where the row is locked; then nothing was changed.
    pub fn claim(
        &self,
        vacancy: &Vacancy,
        registry: Fence,
        (what, since): (HolderKind, Timestamp),
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> Result<Option<Held>, LeaseError> {
        let fence = vacancy.row.fence.max(registry).next();
        let lock = self.locks.lock()?;
        let holder = Holder::this(what, since, self.duration, lock.id()).map_err(|source| {
            LeaseError::Process {
                action: "look at this process",
                source,
            }
        });
        let began = self.uptime.since_boot();
        let claimed =
            holder.and_then(|holder| Ok((self.table.claim(&vacancy.row, fence, &holder)?, holder)));
        let holder = match claimed {
            Ok((true, holder)) => holder,
            Ok((false, _)) => {
                lock.remove();
                return Ok(None);
            }
            Err(error) => {
                lock.remove();
                return Err(error);
            }
        };
        vacancy.tell(fence);
        self.locks.tidy();
        let claimed = Claimed {
            table: Arc::clone(&self.table),
            uptime: Arc::clone(&self.uptime),
            tenure: Tenure::begin(fence, on_end),
            beats: Beats::new(self.duration, began),
            lock,
        };
        Held::start(claimed, holder).map(Some)
    }

    /// Ends the holder that the lease was, or is to be, taken from, where it stands in the way:
    /// called when the row, a file that its fence guards, or the turn to register is locked by
    /// another process.
    ///
    /// Only a holder whose lease has run out, that is still there (its lock file is locked), and
    /// whose process is certainly the one that claimed: it was stopped, and what it has locked
    /// goes only with it. Returns whether it was ended.
    ///
    /// # Errors
    ///
    /// Where its process cannot be looked at or ended.
    pub fn end_suspended(&self, vacancy: &Vacancy) -> Result<bool, LeaseError> {
        let (Some(holder), Grounds::Expired) = (&vacancy.row.holder, vacancy.grounds) else {
            return Ok(false);
        };
        let row = self.table.read()?;
        let renewed = row.fence == vacancy.row.fence && row.beat != vacancy.row.beat;
        if renewed || self.locks.state(holder.lock) != HolderState::Alive {
            return Ok(false);
        }
        let ended = holder
            .process
            .kill()
            .map_err(|source| LeaseError::Process {
                action: "end the process that has lost the lease and stands in the way",
                source,
            })?;
        if ended {
            warn!(
                %holder,
                uid = holder.uid,
                since = %holder.since,
                fence = %vacancy.row.fence,
                "ended the former holder of the lease: it was stopped and kept others from writing"
            );
        }
        Ok(ended)
    }
}

impl Standing {
    fn vacant(row: LeaseRow, grounds: Grounds) -> Self {
        Self::Vacant(Vacancy { row, grounds })
    }
}

impl Vacancy {
    /// Whether a holder is in the row that has not renewed it in time: it may still be there.
    pub(crate) fn has_run_out(&self) -> bool {
        self.grounds == Grounds::Expired
    }

    fn tell(&self, fence: Fence) {
        match (&self.row.holder, self.grounds) {
            (Some(holder), Grounds::Gone) => {
                info!(%fence, from = %holder, "lease taken over: its holder is gone");
            }
            (Some(holder), Grounds::Expired) => {
                warn!(%fence, from = %holder, "lease taken over: its holder has not renewed it");
            }
            (None, _) | (Some(_), Grounds::Free) => debug!(%fence, "lease taken"),
        }
    }
}
