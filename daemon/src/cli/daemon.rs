//! `daemon`: assembles the site, runs its loops, and waits for signals.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use runsync_config::http::Http;
use runsync_config::site::Site;
use tracing::{error, info, warn};

use crate::assembly::{Assembly, Readers};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::http::{Server, Surface};
use crate::loops::{Duty, Loops};
use crate::service::{self, Signals};
use crate::telemetry;

/// How long clients may take to get the answers that they wait for when the daemon stops: what is
/// left of `TimeoutStopSec=` in the unit after the workers' steps.
const CLIENTS_DEADLINE: Duration = Duration::from_secs(5);
/// Name of the lock file that one daemon holds while it lives.
const LOCK_FILE: &str = "daemon.lock";

/// Run the service: watch the roots and register what arrives
///
/// Runs until SIGTERM or SIGINT. SIGHUP has it read keys, peers and run prefixes anew and try
/// untrusted manifests again. Logs go where the section [log] of the configuration says; one daemon
/// runs at a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    telemetry::start(&site.log)?;
    let _lock = lock(site)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .while_doing("cannot start the runtime")?;
    let result = runtime.block_on(serve(site, context));
    // A worker that did not end in time must not keep the process.
    runtime.shutdown_background();
    result.map(|()| Outcome::Done)
}

/// Makes sure that no other daemon works on this site. The kernel drops the lock with the process.
fn lock(site: &Site) -> Result<File, Failure> {
    let path = site.state_directory.join(LOCK_FILE);
    let doing = format!("cannot lock {}", path.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file
        .while_doing(doing.clone())
        .hint("run as the user that owns the state directory")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
            "{doing}: another daemon runs on this site"
        ))
        .hint("`systemctl status runsync` shows the service; stop that daemon first")),
        Err(TryLockError::Error(source)) => Err(Failure::from(source).while_doing(doing)),
    }
}

async fn serve(site: &Site, context: &Context) -> Result<(), Failure> {
    let signals = Signals::new().while_doing("cannot listen to signals")?;
    service::show_status("opening registry and roots");
    // Counters start with what counts.
    let metrics = telemetry::metrics::install()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let assembly = Arc::new(Assembly::open(site, Arc::clone(&clock))?);
    let duty = Duty::standby();
    let readers = Readers::open(site)?;
    let surface = Surface::new(
        site.clone(),
        readers,
        duty.clone(),
        Arc::clone(&clock),
        metrics,
    )?;
    let server = Server::open(surface).await?;
    let loops = Arc::new(Loops::start(assembly, clock));
    duty.set(Some(Arc::clone(&loops)));
    let assembly = loops.assembly();
    info!(site = %site.name, repository = %assembly.repository, roots = site.roots.len(), "runsync serves");
    let stalled = || loops.stalled(service::PATIENCE);
    service::serve(signals, "serving", stalled, async || {
        reload(site, context, &loops, server.surface())
    })
    .await;
    if let Err(still) = loops.stop(service::STOP_DEADLINE).await {
        warn!(error = %still, "stopped while working; the work goes on at the next start");
    }
    server.stop(CLIENTS_DEADLINE).await;
    Ok(())
}

/// Takes keys, peers and prefixes from the configuration file as it is now.
fn reload(site: &Site, context: &Context, loops: &Loops, surface: &Surface) -> String {
    match try_reload(context, loops.assembly(), surface) {
        Ok(new) => {
            if needs_restart(site, &new) {
                warn!(
                    "changes to [site], [registry], [[root]], [limits], [log] and the sockets and limits of [http] take effect after a restart"
                );
            }
            loops.retry_untrusted();
            "serving".to_owned()
        }
        Err(failure) => {
            error!(error = %failure, "configuration not reloaded; the old one stays");
            "serving; the configuration could not be reloaded".to_owned()
        }
    }
}

fn try_reload(context: &Context, assembly: &Assembly, surface: &Surface) -> Result<Site, Failure> {
    let site = runsync_config::load(&context.config_file()?)?;
    surface.reload(&site)?;
    assembly.reload(&site)?;
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
