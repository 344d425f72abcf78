//! `cargo xtask bench-events`: how soon messages of arrivals are records in the registry.
//!
//! A real daemon at level size, which waits for runs whose artifacts come. All of a run's artifacts appear
//! at once, and a `transfer-done` of each is sent, by STOMP or by Kafka; timed from the first that is sent to the last
//! datastore record that another process sees. Beside it stands a bare consumer of the same broker ([`bare`]): it
//! parses each message, asks for the file's size, and counts. It acknowledges nothing, and keeps nothing.
//!
//! The daemon also looks for what it waits for by itself, ever more seldom. So that no such look counts, all runs are
//! registered first, and measured in the minute in which none is due.

mod bare;
mod messages;
mod scene;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Door, Kafka, RabbitMq, Rucio};

use crate::figures::number;
use crate::out::{grouped, megabytes, say};
use crate::rounds::{Seconds, alternate, per_second};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};

use self::bare::{BareKafka, BareStomp};
use self::messages::Sending;
use self::scene::{Scene, Sources};

/// Least share of the bare consumer's rate.
const RATIO_BAR: f64 = 0.5;
/// Most memory of the daemon, in bytes.
const MEMORY_BAR: u64 = 200_000_000;

const STOMP: &str = "stomp";
const BARE_STOMP: &str = "bare stomp";
const KAFKA: &str = "kafka";
const BARE_KAFKA: &str = "bare kafka";

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Messages, and as many artifacts
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// A folder on the disk to measure on, instead of the machine's for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,

    /// Goes through all of it with the debug build: everything is checked but the bar of time
    #[arg(long)]
    rehearse: bool,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let profile = if arguments.rehearse {
        Profile::Dev
    } else if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    } else {
        Profile::Release
    };
    let binary = workspace::build_runsync(profile)?;
    harness::prepare()?;
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;
    let rucio = Rucio::start(&[])?;
    let (rabbit, kafka) = (RabbitMq::start()?, Kafka::start(Door::Open)?);
    kafka.make_topic(messages::OURS, 1)?;
    let sending = Sending {
        stomp: rabbit.broker(),
        kafka: &kafka,
    };
    let sources = Sources {
        stomp: rabbit.broker().port(),
        kafka: kafka.port(),
    };
    let mut scene = Scene::start(&binary, folder.path(), &rucio, sources)?;
    // Of each kind one more than is measured: the first has everything get warm.
    let rounds = arguments.runs + 1;
    for kind in [STOMP, KAFKA] {
        for round in 0..rounds {
            scene.await_run(&run_name(kind, round), arguments.messages)?;
        }
    }
    scene.wait_for_rest()?;
    for kind in [STOMP, KAFKA] {
        scene.measure(&run_name(kind, 0), |bodies| sending.send(kind, bodies))?;
    }
    let (seconds, memory) = beside_bare(&mut scene, &sending, arguments.runs)?;
    scene.stop()?;
    Ok(Outcome::Measured(verdict(arguments, &seconds, memory)))
}

/// A run of which the messages of a kind are.
fn run_name(kind: &str, round: u32) -> String {
    format!("u/bench/{kind}-{round:04}")
}

/// The times of all four, and the most memory that the daemon took.
fn beside_bare(scene: &mut Scene, sending: &Sending<'_>, runs: u32) -> Result<(Seconds, u64)> {
    let (mut of_stomp, mut of_kafka, mut of_bare) = (0, 0, 0);
    let steps = [STOMP, BARE_STOMP, KAFKA, BARE_KAFKA];
    let seconds = alternate(runs, &steps, |step| -> Result<Duration> {
        let warm = run_name(STOMP, 0);
        match step {
            STOMP | KAFKA => {
                let round = if step == STOMP {
                    &mut of_stomp
                } else {
                    &mut of_kafka
                };
                *round += 1;
                let run = run_name(step, *round);
                scene.measure(&run, |bodies| sending.send(step, bodies))
            }
            BARE_STOMP => {
                let bare = BareStomp::subscribe(sending.stomp)?;
                scene.beside(&warm, bare, |bodies| {
                    sending.stomp.send(messages::BARE_DESTINATION, bodies)
                })
            }
            _ => {
                of_bare += 1;
                let topic = format!("bare.{of_bare}");
                sending.kafka.make_topic(&topic, 1)?;
                let bare = BareKafka::assign(sending.kafka.port(), &topic)?;
                scene.beside(&warm, bare, |bodies| sending.kafka.send(&topic, 0, bodies))
            }
        }
    })?;
    Ok((seconds, scene.memory()?))
}

fn verdict(arguments: &Arguments, seconds: &Seconds, memory: u64) -> Verdict {
    let stomp = seconds.median_ratio(BARE_STOMP, STOMP);
    let kafka = seconds.median_ratio(BARE_KAFKA, KAFKA);
    let rate = |step| per_second(arguments.messages, seconds.median(step));
    for (name, ours, bare) in [("STOMP", STOMP, BARE_STOMP), ("Kafka", KAFKA, BARE_KAFKA)] {
        say!("{name}: {:.0}/s, bare {:.0}/s", rate(ours), rate(bare));
    }
    let fits = number(memory) <= number(MEMORY_BAR);
    Verdict {
        task: "bench-events",
        measured: format!(
            "{} messages to records: by STOMP {stomp:.2} of a bare consumer ({:.0}/s), by Kafka {kafka:.2} \
             ({:.0}/s; medians of {}); peak memory {}",
            grouped(arguments.messages),
            rate(STOMP),
            rate(KAFKA),
            arguments.runs,
            megabytes(memory)
        ),
        bar: if arguments.rehearse {
            format!(
                "rehearsed: <= {}, times do not count",
                megabytes(MEMORY_BAR)
            )
        } else {
            format!(">= {RATIO_BAR:.2}, <= {}", megabytes(MEMORY_BAR))
        },
        met: fits && (arguments.rehearse || (stomp >= RATIO_BAR && kafka >= RATIO_BAR)),
    }
}
