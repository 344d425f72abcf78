//! What every handler is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::site::Site;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::account::{Access, AccessError};
use super::limits::Rates;
use super::problem::Problem;
use crate::assembly::Readers;
use crate::clock::Clock;
use crate::loops::{Duty, Loops};
use crate::telemetry::metrics::Rendering;
use crate::worker::Tasks;

/// How long a request waits for its turn before it is told to come again.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// Manifests that are handed in at a time: they take turns to be registered anyway.
const HAND_INS: usize = 4;

/// What the surface works with.
#[derive(Debug)]
pub struct Surface {
    pub(super) site: Site,
    pub(super) readers: Readers,
    pub(super) duty: Duty,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_at: Timestamp,
    pub(super) rates: Rates,
    pub(super) metrics: Rendering,
    /// Kinds of findings that were counted, and how many there were.
    findings: Mutex<BTreeMap<String, u64>>,
    /// What serves clients.
    pub(super) tasks: Tasks,
    access: RwLock<Arc<Access>>,
    /// Places for manifests that are handed in: each may fill a scratch file.
    hand_ins: Arc<Semaphore>,
    /// Turns for look-ups: they block a thread each.
    turns: Arc<Semaphore>,
}

impl Surface {
    /// Reads the tokens' files.
    ///
    /// # Errors
    ///
    /// Where a token cannot be used.
    pub fn new(
        site: Site,
        readers: Readers,
        duty: Duty,
        clock: Arc<dyn Clock>,
        metrics: Rendering,
    ) -> Result<Self, AccessError> {
        let access = RwLock::new(Arc::new(Access::read(&site.http)?));
        let turns = usize::try_from(site.http.concurrent_requests_max).unwrap_or(usize::MAX);
        Ok(Self {
            started_at: clock.now(),
            rates: Rates::new(site.http.requests_per_second),
            metrics,
            findings: Mutex::default(),
            tasks: Tasks::new(),
            access,
            hand_ins: Arc::new(Semaphore::new(HAND_INS)),
            turns: Arc::new(Semaphore::new(turns.min(Semaphore::MAX_PERMITS))),
            site,
            readers,
            duty,
            clock,
        })
    }

    /// Takes accounts and tokens from a configuration that was read again, once `others` has taken
    /// the rest.
    ///
    /// # Errors
    ///
    /// Where a token cannot be used, which is found before `others` is called, and where `others`
    /// fails: the old ones stay.
    pub fn reload<E: From<AccessError>>(
        &self,
        site: &Site,
        others: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let access = Arc::new(Access::read(&site.http)?);
        others()?;
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        Ok(())
    }

    /// Who may do what now.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The loops, without which nothing can be changed.
    pub(super) fn loops(&self) -> Result<Arc<Loops>, Problem> {
        self.duty.loops().ok_or_else(Problem::standby)
    }

    /// Kinds of findings that were counted, and how many there were.
    pub(super) fn finding_kinds(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a manifest that is handed in.
    pub(super) fn hand_in(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.hand_ins).try_acquire_owned();
        place.map_err(|_| Problem::busy())
    }

    /// Runs a look-up that blocks, when it is its turn; a request whose turn does not come soon is
    /// told to come again.
    pub(super) async fn look_up<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned();
        match timeout(TURN_PATIENCE, turn).await {
            Ok(Ok(turn)) => self.take_turn(turn, work).await,
            Ok(Err(_)) | Err(_) => Err(Problem::busy()),
        }
    }

    /// The same for an answer that has begun: it waits for its turn.
    pub(super) async fn look_on<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(turn) => self.take_turn(turn, work).await,
            Err(_) => Err(Problem::busy()),
        }
    }

    /// The turn is given back by the thread that works, not by a client that goes away.
    async fn take_turn<T, E>(
        self: &Arc<Self>,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let surface = Arc::clone(self);
        blocking(move || {
            let _turn = turn;
            work(&surface)
        })
        .await?
        .map_err(Into::into)
    }
}

/// Runs work on a thread where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|_| Problem::internal("the work for this request broke off"))
}
