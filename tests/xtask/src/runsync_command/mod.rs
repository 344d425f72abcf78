//! The `runsync` command line as tasks use it: the one place that knows its words and its JSON.

mod answers;
mod ask;
mod daemon;
mod site;

pub(crate) use self::answers::{Existence, Status};
pub(crate) use self::ask::ask;
pub(crate) use self::daemon::Daemon;
pub(crate) use self::site::Site;
