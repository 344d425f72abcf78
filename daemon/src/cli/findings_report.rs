//! `findings report`: what scans have found as one page, with plots.

use std::fmt;
use std::path::{Path, PathBuf};

use runsync_config::root::RootName;
use serde::Serialize;

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::findings::check_root;
use crate::cli::source::Way;
use crate::clock::{Clock, SystemClock};
use crate::durable;
use crate::http::Client;
use crate::recovery::FindingsPage;

/// It names files of the site: for whoever made it, who may show it to others.
const MODE: u32 = 0o640;

/// Write what scans have found as one page of HTML that stands alone, with plots
///
/// The page needs nothing else, fetches nothing and runs nothing: it can be sent and opened anywhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write, in the place of one that is there; `-` is standard output
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    #[command(flatten)]
    way: Way,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written<'w> {
    file: &'w Path,
    bytes: usize,
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "written to {}", self.file.display())
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    check_root(args.root.as_ref(), context)?;
    let page = match args.way.daemon(context)? {
        Some(client) => by_daemon(&client, args.root.as_ref())?,
        None => directly(args.root.clone(), context)?,
    };
    if args.html == Path::new("-") {
        context.output().raw(&page)?;
        return Ok(Outcome::Done);
    }
    let file = std::path::absolute(&args.html)
        .while_doing(format!("cannot find the folder of {}", args.html.display()))?;
    durable::replace(&file, &page, MODE)
        .while_doing("cannot write the report")
        .hint("name a file in a folder that you may write to")?;
    context.output().value(&Written {
        file: &file,
        bytes: page.len(),
    })?;
    Ok(Outcome::Done)
}

fn by_daemon(client: &Client, root: Option<&RootName>) -> Result<Vec<u8>, Failure> {
    let query: Vec<_> = root
        .map(|root| ("root", root.as_str()))
        .into_iter()
        .collect();
    let mut lines = client.lines("/v1/findings/report", &query)?;
    let mut page = Vec::new();
    while let Some(line) = lines.next_bytes()? {
        page.extend_from_slice(line);
        page.push(b'\n');
    }
    Ok(page)
}

fn directly(root: Option<RootName>, context: &Context) -> Result<Vec<u8>, Failure> {
    let site = context.site()?;
    let ledger = Readers::for_a_command(site)?.ledger;
    let page = FindingsPage::read(site.name.clone(), root, &*ledger, SystemClock.now())?;
    Ok(page.to_html().into_bytes())
}
