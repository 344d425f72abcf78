//! `cargo xtask rucio-server`: a real Rucio server with all its parts, for as long as one wants it.
//!
//! With `--check` two are started at once, each moves a file by a rule, and both are stopped.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use harness::{Broker, Daemon, Naming, Part, Rucio};

use crate::out::say;
use crate::verdict::{Outcome, Verdict};

/// Most that two may take from the start of the first to the end of the last.
const BAR: Duration = Duration::from_secs(180);
/// A scope, and a file in it.
const SCOPE: &str = "check";
const NAME: &str = "run/a.fits";
const BYTES: &[u8] = b"bytes that move";

/// What to do with it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Starts two at once, has each move a file, and stops them
    #[arg(long)]
    check: bool,
}

/// Starts it and waits, or checks it.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    if arguments.check {
        return check();
    }
    harness::prepare()?;
    let start = Instant::now();
    let rucio = Rucio::start(Part::ALL)?;
    print(&rucio)?;
    say!(
        "started in {:.1} s; stays until Ctrl-C or the end of standard input",
        start.elapsed().as_secs_f64()
    );
    io::stdin()
        .read_to_end(&mut Vec::new())
        .context("cannot read standard input")?;
    Ok(Outcome::Passed)
}

/// Says how to reach each part.
fn print(rucio: &Rucio) -> Result<()> {
    let broker = rucio.broker()?;
    let lines = [
        ("server", rucio.url()),
        ("over TLS", rucio.tls_url()?),
        ("authority", rucio.authority()?.display().to_string()),
        (
            "login",
            format!(
                "account {}, {}, {}",
                Rucio::ACCOUNT,
                Rucio::USERNAME,
                Rucio::PASSWORD
            ),
        ),
        (
            "broker",
            format!(
                "STOMP 127.0.0.1:{}, {}, {}, {}",
                broker.port(),
                Broker::LOGIN,
                Broker::PASSCODE,
                Broker::DESTINATION
            ),
        ),
        ("transfers", rucio.transfers_url()?),
        ("issuer", rucio.issuer_url()?),
        ("folder", rucio.folder().display().to_string()),
        (
            "config",
            format!("RUCIO_CONFIG={}", rucio.config().display()),
        ),
    ];
    for (name, value) in lines {
        say!("{name:10} {value}");
    }
    Ok(())
}

/// How long each step of a harness took.
#[derive(Debug, Clone, Copy)]
struct Times {
    start: Duration,
    transfer: Duration,
    stop: Duration,
}

fn check() -> Result<Outcome> {
    let start = Instant::now();
    harness::prepare()?;
    say!("prepared in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let times = thread::scope(|scope| -> Result<Vec<Times>> {
        let both = [scope.spawn(transfer), scope.spawn(transfer)];
        both.into_iter()
            .map(|one| one.join().map_err(|_| anyhow!("a check panicked"))?)
            .collect()
    })?;
    let took = start.elapsed();
    for Times {
        start,
        transfer,
        stop,
    } in times
    {
        say!(
            "started in {:.1} s, a file moved in {:.1} s, stopped in {:.1} s",
            start.as_secs_f64(),
            transfer.as_secs_f64(),
            stop.as_secs_f64()
        );
    }
    Ok(Outcome::Measured(Verdict {
        task: "rucio-server",
        measured: format!(
            "two at once, each with a transfer, in {:.0} s",
            took.as_secs_f64()
        ),
        bar: format!("<= {} s", BAR.as_secs()),
        met: took <= BAR,
    }))
}

/// Starts one, has a rule move a file, and stops it.
fn transfer() -> Result<Times> {
    let begin = Instant::now();
    let rucio = Rucio::start(Part::ALL)?;
    let start = begin.elapsed();
    let begin = Instant::now();
    rucio.add_scope(Rucio::ACCOUNT, SCOPE)?;
    let from = rucio.add_rse("SITE_A", Naming::Identity, None)?;
    let to = rucio.add_rse("SITE_B", Naming::Identity, None)?;
    rucio.add_file(&from, SCOPE, NAME, BYTES)?;
    rucio.add_rule(SCOPE, NAME, 1, &to.name)?;
    rucio.step(Daemon::TRANSFER)?;
    let arrived = std::fs::read(to.path(SCOPE, NAME)).context("nothing has arrived")?;
    ensure!(arrived == BYTES, "other bytes have arrived");
    let state = rucio.replica_state(SCOPE, NAME, &to.name)?;
    ensure!(
        state.as_deref() == Some("AVAILABLE"),
        "Rucio says that the copy is {state:?}"
    );
    let transfer = begin.elapsed();
    let begin = Instant::now();
    drop(rucio);
    Ok(Times {
        start,
        transfer,
        stop: begin.elapsed(),
    })
}
