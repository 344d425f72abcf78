//! `config import-ingestd`: what a configuration of `ctrl_ingestd` is in ours.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use runsync_manifest::name::RseName;
use serde::Serialize;

use crate::adopt::ingestd::{Choice, Ingestd};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};

/// Print what a configuration file of `ctrl_ingestd` is in this one's form
///
/// Roots, [adopt] and the source of messages, as TOML with comments. Nothing is written or changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The YAML file that `CTRL_INGESTD_CONFIG` names
    file: PathBuf,
    /// Take this topic only; may be given more than once
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// The RSE of a topic whose name does not show it; may be given more than once
    #[arg(long, value_name = "TOPIC=RSE", value_parser = pair)]
    rse: Vec<(String, RseName)>,
}

fn pair(text: &str) -> Result<(String, RseName), String> {
    let (topic, rse) = text.rsplit_once('=').ok_or("expected `TOPIC=RSE`")?;
    let rse = rse.parse().map_err(|error| format!("{error}"))?;
    Ok((topic.to_owned(), rse))
}

#[derive(Serialize)]
struct Imported {
    toml: String,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.toml.trim_end())
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let name = args.file.display().to_string();
    let file = File::open(&args.file).while_doing(format!("cannot open {name}"))?;
    let choice = Choice {
        topics: args.topic.clone(),
        rses: args.rse.clone(),
    };
    let ingestd = Ingestd::read(&name, BufReader::new(file), &choice)?;
    let toml = ingestd.to_toml();
    context.output().value(&Imported { toml })?;
    Ok(Outcome::Done)
}
