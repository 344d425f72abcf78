//! The lease in the hands of this process.
//!
//! A thread of its own renews it, so that nothing else that the process does can keep it from that.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};

use tracing::{debug, info, warn};

use super::fence::{End, Tenure};
use super::holder::Holder;
use super::lock::HolderLock;
use super::table::{LeaseError, LeaseTable};
use super::watch::Beats;
use crate::clock::Uptime;
use crate::error_chain::error_chain;

/// What the renewing thread works with.
pub(super) struct Claimed {
    pub(super) table: Arc<dyn LeaseTable>,
    pub(super) uptime: Arc<dyn Uptime>,
    pub(super) tenure: Tenure,
    pub(super) beats: Beats,
    pub(super) lock: HolderLock,
}

/// The lease, held. Dropped, it is given back, and whoever wants it may take it at once.
#[derive(Debug)]
pub struct Held {
    tenure: Tenure,
    holder: Holder,
    stop: Option<SyncSender<Stop>>,
    thread: Option<JoinHandle<()>>,
}

/// How the renewing thread is to end.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// It gives the lease back.
    Release,
    /// It leaves the lease to run out, or to be taken from a process that is gone.
    Abandon,
}

impl Held {
    /// Renews from now on.
    pub(super) fn start(claimed: Claimed, holder: Holder) -> Result<Self, LeaseError> {
        let tenure = claimed.tenure.clone();
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || claimed.renew_until(&stopped))
            .map_err(LeaseError::Thread)?;
        Ok(Self {
            tenure,
            holder,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The time during which this process may write.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// This process, as others see it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Lets go of the lease without giving it back: something of this process is still at work,
    /// and others are to wait until the kernel says that it is gone, or the lease has run out.
    pub fn abandon(mut self) {
        self.end(Stop::Abandon);
    }

    fn end(&mut self, how: Stop) {
        self.tenure.end(End::Released);
        if let Some(stop) = self.stop.take() {
            let told = stop.try_send(how);
            if told.is_err() {
                debug!("the lease was lost before it was given back");
            }
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that renewed the lease has panicked");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end(Stop::Release);
    }
}

impl Claimed {
    /// Renews until told to stop, or the tenure is over; then the lock is dropped at once.
    fn renew_until(mut self, stopped: &Receiver<Stop>) {
        let _over = EndsWithThread(self.tenure.clone());
        loop {
            let wait = self.beats.wait(self.uptime.since_boot());
            match stopped.recv_timeout(wait) {
                Ok(Stop::Abandon) => return self.lock.leave(),
                Ok(Stop::Release) | Err(RecvTimeoutError::Disconnected) => return self.release(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.tenure.ended().is_none() {
                self.renew();
            }
            if self.tenure.ended() == Some(End::Overtaken) {
                return self.lock.remove();
            }
            if self.tenure.ended().is_some() {
                // The row names the file still: one that can be locked tells others at once.
                return;
            }
        }
    }

    fn renew(&mut self) {
        let began = self.uptime.since_boot();
        match self.table.renew(self.tenure.fence()) {
            Ok(()) => {
                let late = self.beats.is_over(began);
                self.beats.renewed(began);
                if late {
                    info!(fence = %self.tenure.fence(), "lease renewed late; nobody had claimed it");
                }
            }
            Err(LeaseError::Fenced(_)) => self.tenure.end(End::Overtaken),
            Err(error) => {
                let first = self.beats.failed();
                if self.beats.is_over(self.uptime.since_boot()) {
                    warn!(
                        error = error_chain(&error),
                        "lease cannot be renewed, and has run out"
                    );
                    self.tenure.end(End::NotRenewed);
                } else if first {
                    warn!(
                        error = error_chain(&error),
                        "lease cannot be renewed; tried again"
                    );
                }
            }
        }
    }

    fn release(self) {
        match self.table.release(self.tenure.fence()) {
            Ok(()) | Err(LeaseError::Fenced(_)) => self.lock.remove(),
            Err(error) => {
                debug!(%error, "lease not given back; it is seen that its holder is gone");
            }
        }
    }
}

/// A tenure does not outlive the thread that renews it, whatever ends that.
struct EndsWithThread(Tenure);

impl Drop for EndsWithThread {
    fn drop(&mut self) {
        self.0.end(End::NotRenewed);
    }
}
