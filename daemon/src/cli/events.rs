//! `events`: what messages have hinted at, and messages that could not be read.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::assembly::Stores;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Row, printable};
use crate::cli::source::{Source, Way};
use crate::cli::turn;
use crate::http::{Forgotten, SetAside, ToForget};
use crate::ledger::record::{Hint, HintKind};

/// Characters of a reason or a name in a table.
const SHOWN: usize = 80;

/// List what messages have hinted at; show messages that could not be read
///
/// A message from Rucio or a sender says where to look, and no more: what it hints at waits until
/// somebody has looked. `runsync status` shows the sources.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List hints that nobody has acted on yet, the longest heard first
    List(List),
    /// Messages that could not be read
    #[command(subcommand)]
    Poison(PoisonCommand),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this kind: `arrived`, `deleted`, `settled` or `per_file`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<HintKind>,
    /// How many to list
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Subcommand)]
enum PoisonCommand {
    /// List them with the reasons, newest first
    List(PoisonList),
    /// Show one of them, or as much of it as is kept
    Show(Show),
    /// Forget one of them, or all
    Forget(Forget),
}

#[derive(Debug, clap::Args)]
struct PoisonList {
    /// How many to list
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Its number, as `list` shows it
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Forget {
    /// Its number, as `list` shows it
    #[arg(required_unless_present = "all", value_name = "ID")]
    id: Option<u64>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    way: Way,
}

fn kind(text: &str) -> Result<HintKind, String> {
    text.parse().map_err(|()| {
        let kinds = HintKind::ALL.map(HintKind::as_str).join(", ");
        format!("it is one of {kinds}")
    })
}

impl Row for Hint {
    const HEADER: &'static [&'static str] = &["kind", "rse", "did", "heard", "tries", "due"];

    fn cells(&self) -> Vec<String> {
        let rse = self.rse.as_ref();
        vec![
            self.kind.to_string(),
            rse.map_or_else(|| "-".to_owned(), ToString::to_string),
            cut(&format!("{}:{}", self.scope, self.name)),
            format!("{:.0}", self.heard_at),
            self.tries.to_string(),
            format!("{:.0}", self.due),
        ]
    }
}

impl Row for SetAside {
    const HEADER: &'static [&'static str] = &["id", "at", "source", "bytes", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            format!("{:.0}", self.at),
            self.source.clone(),
            self.size.to_string(),
            cut(&self.reason),
        ]
    }
}

/// One of them in full.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(SetAside);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(message) = self;
        let at: Timestamp = message.at;
        writeln!(
            f,
            "message  {}, by {}, at {at:.0}",
            message.id, message.source
        )?;
        writeln!(f, "reason   {}", printable(&message.reason))?;
        writeln!(f, "bytes    {}", message.size)?;
        write!(f, "\n{}", printable(&message.text))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told(Forgotten);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forgotten", self.0.messages)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(list) => {
            let hints = list.way.open(context)?.hints(list.kind, list.limit)?;
            context.output().rows(hints)?;
        }
        What::Poison(PoisonCommand::List(list)) => {
            let messages = list.way.open(context)?.poison(list.limit)?;
            context.output().rows(messages)?;
        }
        What::Poison(PoisonCommand::Show(show)) => {
            let message = show.way.open(context)?.one_poison(show.id)?;
            context.output().value(&Shown(message))?;
        }
        What::Poison(PoisonCommand::Forget(which)) => {
            let forgotten = forget(which, context)?;
            context.output().value(&Told(forgotten))?;
        }
    }
    Ok(Outcome::Done)
}

fn forget(which: &Forget, context: &Context) -> Result<Forgotten, Failure> {
    let id = which.id;
    match which.way.open(context)? {
        Source::Daemon { client, .. } => {
            Ok(client.post("/v1/events/poison/forget", &ToForget { id })?)
        }
        Source::Direct { site, .. } => {
            let (_held, stores) = turn::take(site, context, |tenure| Stores::open(site, tenure))?;
            let messages = stores.ledger.forget_poison(id)?;
            Ok(Forgotten { messages })
        }
    }
}

fn cut(text: &str) -> String {
    let text = printable(text).replace(['\n', '\t'], " ");
    if text.chars().count() <= SHOWN {
        return text;
    }
    let mut cut: String = text.chars().take(SHOWN - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r"), "a\u{FFFD}[2Jb\nc\u{FFFD}");
        let long = cut(&"x\n".repeat(100));
        assert_eq!(long.chars().count(), SHOWN);
        assert!(long.ends_with('…') && !long.contains('\n'));
    }
}
