//! Does something at the times of a cron expression: wakes workers, which then look at what is durable.
//!
//! A time that passes while the machine sleeps or the daemon is down is passed over: whoever needs
//! better keeps in durable state what is owed.

use runsync_config::rucio::Schedule;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

/// Acts at each of these times, in UTC, until it is told to end.
pub(super) async fn follow(
    schedule: &Schedule,
    act: impl Fn() + Send + Sync + 'static,
    ending: CancellationToken,
) -> Result<(), JobSchedulerError> {
    let mut scheduler = JobScheduler::new().await?;
    scheduler
        .add(Job::new(schedule.as_str(), move |_, _| act())?)
        .await?;
    scheduler.start().await?;
    ending.cancelled().await;
    scheduler.shutdown().await
}
