//! Wakes a worker.

use std::sync::Arc;

use tokio::sync::Notify;

/// Says to one worker that there may be something to do. Clones wake the same worker.
///
/// It holds at most one wake-up: any number of them before the worker looks is one, and one that
/// comes while the worker works is kept until it waits.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A new one that nobody waits for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the worker; from any thread.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for a wake-up and takes it. Giving up the wait loses none.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
