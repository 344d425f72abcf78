//! `daemon`: answers, runs the site's loops while it holds the lease, and waits for signals.

use std::sync::Arc;
use std::time::Duration;

use runsync_config::http::Http;
use runsync_config::site::Site;
use tracing::{error, warn};

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::events;
use crate::http::{Server, Surface};
use crate::service::{self, Signals};
use crate::steward::Steward;
use crate::telemetry;
use crate::telemetry::metrics::Rendering;

/// How long clients may take to get the answers that they wait for when the daemon stops: what is
/// left of `TimeoutStopSec=` in the unit after the workers' steps.
const CLIENTS_DEADLINE: Duration = Duration::from_secs(5);

/// Run the service: watch the roots and register what arrives
///
/// Runs until SIGTERM or SIGINT. SIGHUP has it read keys, peers, run prefixes, accounts and tokens
/// anew and try untrusted manifests again. Logs go where the section [log] of the configuration says.
/// Of several daemons of a site one does the work; the others stand by, and take over when it is gone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    telemetry::start(&site.log)?;
    site.event_sources
        .iter()
        .try_for_each(events::check_built)?;
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
    // Counters start with what counts.
    let metrics = telemetry::metrics::install()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let steward = Arc::new(Steward::start(site, Arc::clone(&clock))?);
    // Opened for reading only now: whoever has the lease has migrated them.
    let server = match open_surface(site, &steward, clock, metrics).await {
        Ok(server) => server,
        Err(failure) => {
            steward.stop(service::STOP_DEADLINE).await;
            return Err(failure);
        }
    };
    let status = steward.status_text();
    let stalled = || steward.stalled(service::PATIENCE);
    service::serve(signals, &status, stalled, async || {
        reload(site, context, &steward, server.surface())
    })
    .await;
    // A manifest that is being handed in breaks off while its rows can still be written.
    server.stop(CLIENTS_DEADLINE).await;
    steward.stop(service::STOP_DEADLINE).await;
    Ok(())
}

async fn open_surface(
    site: &Site,
    steward: &Arc<Steward>,
    clock: Arc<dyn Clock>,
    metrics: Rendering,
) -> Result<Server, Failure> {
    let readers = Readers::open(site)?;
    let steward = Arc::clone(steward);
    let surface = Surface::new(site.clone(), readers, steward, clock, metrics)?;
    Ok(Server::open(surface).await?)
}

/// Takes what may change from the configuration file as it is now.
fn reload(site: &Site, context: &Context, steward: &Steward, surface: &Surface) -> String {
    match try_reload(context, steward, surface) {
        Ok(new) => {
            if needs_restart(site, &new) {
                warn!(
                    "changes to [site], [registry], [[root]], [limits], [lease], [log] and the sockets and limits of [http] take effect after a restart"
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

fn try_reload(context: &Context, steward: &Steward, surface: &Surface) -> Result<Site, Failure> {
    let site = runsync_config::load(&context.config_file()?)?;
    surface.reload(&site, || Ok::<_, Failure>(steward.reload(&site)?))?;
    Ok(site)
}

fn needs_restart(old: &Site, new: &Site) -> bool {
    let reloaded = Site {
        peers: old.peers.clone(),
        run_prefixes: old.run_prefixes.clone(),
        http: Http {
            operators: old.http.operators.clone(),
            readers: old.http.readers.clone(),
            tokens: old.http.tokens.clone(),
            ..new.http.clone()
        },
        ..new.clone()
    };
    reloaded != *old
}
