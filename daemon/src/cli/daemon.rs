//! `daemon`: assembles the site, runs its loops, and waits for signals.

use std::fs::{File, TryLockError};
use std::sync::Arc;

use runsync_config::site::Site;
use tracing::{error, info, warn};

use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::ingest::workers::{ConfirmWorker, ManifestWorker, Requests};
use crate::service::{self, Signals};
use crate::telemetry;
use crate::worker::{Driver, Wake};

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

/// The loops of one site, and how they are told of changes.
struct Loops {
    driver: Driver,
    requests: Vec<(Requests, Wake)>,
}

async fn serve(site: &Site, context: &Context) -> Result<(), Failure> {
    let signals = Signals::new().while_doing("cannot listen to signals")?;
    service::show_status("opening registry and roots");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let assembly = Arc::new(Assembly::open(site, Arc::clone(&clock))?);
    let loops = start(&assembly, clock);
    info!(site = %site.name, repository = %assembly.repository, roots = site.roots.len(), "runsync serves");
    let stalled = || loops.driver.stalled(service::PATIENCE);
    service::serve(signals, "serving", stalled, async || {
        reload(site, context, &assembly, &loops)
    })
    .await;
    if let Err(still) = loops.driver.stop(service::STOP_DEADLINE).await {
        warn!(error = %still, "stopped while working; the work goes on at the next start");
    }
    Ok(())
}

fn start(assembly: &Assembly, clock: Arc<dyn Clock>) -> Loops {
    let driver = Driver::new(clock);
    let mut requests = Vec::new();
    for flow in &assembly.flows {
        let name = flow.root().name.clone();
        let (manifests, artifacts, asked) = (Wake::new(), Wake::new(), Requests::default());
        requests.push((asked.clone(), manifests.clone()));
        driver.start(format!("manifests of {name}"), manifests.clone(), {
            let (flow, artifacts) = (flow.clone(), artifacts.clone());
            move || {
                let (wake, confirm) = (manifests.clone(), artifacts.clone());
                Box::new(ManifestWorker::new(
                    flow.clone(),
                    wake,
                    confirm,
                    asked.clone(),
                ))
            }
        });
        driver.start(format!("artifacts of {name}"), artifacts.clone(), {
            let flow = flow.clone();
            move || Box::new(ConfirmWorker::new(flow.clone(), artifacts.clone()))
        });
    }
    Loops { driver, requests }
}

/// Takes keys, peers and prefixes from the configuration file as it is now.
fn reload(site: &Site, context: &Context, assembly: &Assembly, loops: &Loops) -> String {
    match try_reload(context, assembly) {
        Ok(new) => {
            if needs_restart(site, &new) {
                warn!(
                    "changes to [site], [registry], [[root]], [limits] and [log] take effect after a restart"
                );
            }
            for (requests, wake) in &loops.requests {
                requests.retry_untrusted();
                wake.wake();
            }
            "serving".to_owned()
        }
        Err(failure) => {
            error!(error = %failure, "configuration not reloaded; the old one stays");
            "serving; the configuration could not be reloaded".to_owned()
        }
    }
}

fn try_reload(context: &Context, assembly: &Assembly) -> Result<Site, Failure> {
    let site = runsync_config::load(&context.config_file()?)?;
    assembly.reload(&site)?;
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
