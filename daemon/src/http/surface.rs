//! What every handler is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::site::Site;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::error;

use super::account::{Access, AccessError, Account};
use super::limits::Rates;
use super::metrics::Tally;
use super::problem::Problem;
use crate::assembly::Readers;
use crate::clock::Clock;
use crate::error_chain::error_chain;
use crate::loops::Loops;
use crate::poison::{lock, unpoisoned};
use crate::steward::Steward;
use crate::telemetry::metrics::Rendering;
use crate::worker::Tasks;

/// How long a request waits for its turn before it is told to come again.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// Manifests that arrive or have arrived and wait for their turn: each may fill a scratch file of
/// `packed_bytes_max`.
const SPOOLS: usize = 16;
/// Manifests that are worked on at a time: they take turns to be registered anyway, but not to be
/// read and confirmed.
const HAND_INS: usize = 4;
/// Users that the system is asked for at a time: a name service that does not answer holds a thread
/// for each.
const NAME_LOOK_UPS: usize = 4;
/// Look-ups for `/readyz` at a time, beside the turns of all others: one is over in a moment.
const PROBES: usize = 1;

/// What the surface works with.
#[derive(Debug)]
pub struct Surface {
    pub(super) site: Site,
    pub(super) readers: Readers,
    pub(super) steward: Arc<Steward>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_at: Timestamp,
    pub(super) rates: Rates,
    pub(super) metrics: Rendering,
    /// Kinds of findings that were counted, and how many there were.
    findings: Mutex<BTreeMap<String, u64>>,
    /// What the counts of workers add up to.
    tallies: Mutex<BTreeMap<String, Tally>>,
    /// What serves clients.
    pub(super) tasks: Tasks,
    access: RwLock<Arc<Access>>,
    spools: Arc<Semaphore>,
    hand_ins: Arc<Semaphore>,
    name_look_ups: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    /// Turns for look-ups: they block a thread each.
    turns: Arc<Semaphore>,
    turns_max: usize,
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
        steward: Arc<Steward>,
        clock: Arc<dyn Clock>,
        metrics: Rendering,
    ) -> Result<Self, AccessError> {
        let access = RwLock::new(Arc::new(Access::read(&site.http)?));
        let turns_max = usize::try_from(site.http.concurrent_requests_max)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Ok(Self {
            started_at: clock.now(),
            rates: Rates::new(site.http.requests_per_second),
            metrics,
            findings: Mutex::default(),
            tallies: Mutex::default(),
            tasks: Tasks::new(),
            access,
            spools: Arc::new(Semaphore::new(SPOOLS)),
            hand_ins: Arc::new(Semaphore::new(HAND_INS)),
            name_look_ups: Arc::new(Semaphore::new(NAME_LOOK_UPS)),
            probes: Arc::new(Semaphore::new(PROBES)),
            turns: Arc::new(Semaphore::new(turns_max)),
            turns_max,
            site,
            readers,
            steward,
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
        *unpoisoned(self.access.write()) = access;
        Ok(())
    }

    /// Who may do what now.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&*unpoisoned(self.access.read()))
    }

    /// The loops, without which nothing can be changed.
    pub(super) fn loops(&self) -> Result<Arc<Loops>, Problem> {
        self.steward.duty().loops().ok_or_else(Problem::standby)
    }

    /// Kinds of findings that were counted, and how many there were.
    pub(super) fn finding_kinds(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        lock(&self.findings)
    }

    /// What the counts of workers add up to.
    pub(super) fn tallies(&self) -> MutexGuard<'_, BTreeMap<String, Tally>> {
        lock(&self.tallies)
    }

    /// A place for a manifest that arrives, until it is worked on; none where all are taken.
    pub(super) fn spooling(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.spools).try_acquire_owned().ok()
    }

    /// A manifest's turn to be worked on, if that is now.
    pub(super) fn hand_in_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hand_ins).try_acquire_owned().ok()
    }

    /// A manifest's turn to be worked on, whenever that is; none where the daemon stops before.
    pub(super) async fn hand_in(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.tasks.ending().cancelled() => None,
            turn = Arc::clone(&self.hand_ins).acquire_owned() => turn.ok(),
        }
    }

    /// Asks the system for a user.
    pub(super) async fn look_user_up(
        &self,
        access: Arc<Access>,
        uid: u32,
    ) -> Result<Account, Problem> {
        let turn = soon(&self.name_look_ups).await;
        let turn = turn.ok_or_else(|| {
            Problem::crowded("as many users are being looked up as may be")
                .hint("see that the name services of this machine answer quickly")
        })?;
        // Others asked for the same user while this one waited.
        if let Some(account) = access.remembered(uid) {
            return Ok(account);
        }
        blocking(move || {
            let _turn = turn;
            access.user(uid)
        })
        .await?
        .map_err(|error| {
            let text = error_chain(&error);
            error!(error = %text, "cannot tell who asks");
            Problem::unavailable(text).hint("see that the name services of this machine answer")
        })
    }

    /// Runs the short look-up that tells whether the daemon is well: also where all others are busy.
    pub(super) async fn probe<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let turn = soon(&self.probes).await;
        let crowded = || Problem::crowded("others ask whether the daemon is well");
        let turn = turn.ok_or_else(crowded)?;
        self.take_turn(turn, work).await
    }

    /// How many look-ups there are at this moment.
    pub(super) fn turns_taken(&self) -> usize {
        self.turns_max
            .saturating_sub(self.turns.available_permits())
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
        let turn = soon(&self.turns).await.ok_or_else(Problem::busy)?;
        self.take_turn(turn, work).await
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

    /// Keeps all others from looking anything up.
    #[cfg(test)]
    pub(super) async fn take_all_turns(&self) -> OwnedSemaphorePermit {
        let all = self.site.http.concurrent_requests_max;
        let turns = Arc::clone(&self.turns).acquire_many_owned(all);
        turns.await.unwrap()
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

/// A turn that comes soon; none where it does not.
async fn soon(turns: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let turn = timeout(TURN_PATIENCE, Arc::clone(turns).acquire_owned()).await;
    turn.ok()?.ok()
}

/// Runs work on a thread where it may block. A panic there is logged, and a problem here.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| {
        error!(%error, "the work for a request broke off");
        Problem::internal("the work for this request broke off")
    })
}
