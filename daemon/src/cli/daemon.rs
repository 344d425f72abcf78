//! `daemon`: runs the site's loops while it holds the lease, and waits for signals.

use std::sync::Arc;

use runsync_config::site::Site;
use tracing::{error, warn};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::clock::SystemClock;
use crate::service::{self, Signals};
use crate::steward::Steward;
use crate::telemetry;

/// Run the service: watch the roots and register what arrives
///
/// Runs until SIGTERM or SIGINT. SIGHUP has it read keys, peers and run prefixes anew and try
/// untrusted manifests again. Logs go where the section [log] of the configuration says. Of several
/// daemons of a site one does the work; the others stand by, and take over when it is gone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    telemetry::start(&site.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .while_doing("cannot start the runtime")?;
    let result = runtime.block_on(serve(site, context));
    // A worker that did not end in time must not keep the process.
    runtime.shutdown_background();
    result.map(|()| Outcome::Done)
}

async fn serve(site: &Site, context: &Context) -> Result<(), Failure> {
    let signals = Signals::new().while_doing("cannot listen to signals")?;
    service::show_status("opening registry and roots");
    let steward = Steward::start(site, Arc::new(SystemClock))?;
    let status = steward.status_text();
    let stalled = || steward.stalled(service::PATIENCE);
    service::serve(signals, &status, stalled, async || {
        reload(site, context, &steward)
    })
    .await;
    steward.stop(service::STOP_DEADLINE).await;
    Ok(())
}

/// Takes keys, peers and prefixes from the configuration file as it is now.
fn reload(site: &Site, context: &Context, steward: &Steward) -> String {
    match try_reload(context, steward) {
        Ok(new) => {
            if needs_restart(site, &new) {
                warn!(
                    "changes to [site], [registry], [[root]], [limits], [lease] and [log] take effect after a restart"
                );
            }
            steward.status_text()
        }
        Err(failure) => {
            error!(error = %failure, "configuration not reloaded; the old one stays");
            let status = steward.status_text();
            format!("{status}; the configuration could not be reloaded")
        }
    }
}

fn try_reload(context: &Context, steward: &Steward) -> Result<Site, Failure> {
    let site = runsync_config::load(&context.config_file()?)?;
    steward.reload(&site)?;
    Ok(site)
}

fn needs_restart(old: &Site, new: &Site) -> bool {
    let reloaded = Site {
        peers: old.peers.clone(),
        run_prefixes: old.run_prefixes.clone(),
        ..new.clone()
    };
    reloaded != *old
}
