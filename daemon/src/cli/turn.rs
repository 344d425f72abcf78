//! A command's turn: it holds the site's lease while it writes.

use std::ops::ControlFlow;

use runsync_config::site::Site;

use crate::assembly::{self, AssemblyError};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress;
use crate::clock::SystemClock;
use crate::lease::{Held, Tenure};

/// Claims the lease, and opens things under it. Another command is waited for, a daemon is not. The
/// lease is given back when what is returned goes.
pub(crate) fn take<T>(
    site: &Site,
    context: &Context,
    open: impl Fn(&Tenure) -> Result<T, AssemblyError>,
) -> Result<(Held, T), Failure> {
    let spinner = progress::spinner(context, "waiting for another command");
    let taken = assembly::claim(site, &SystemClock, open, &mut || {
        spinner.tick();
        ControlFlow::Continue(())
    })?;
    spinner.finish_and_clear();
    Ok(taken)
}
