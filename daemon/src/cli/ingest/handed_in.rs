//! Hands manifests to the running daemon, which registers them.
//!
//! Their bytes travel over the socket: the daemon need not be able to read the operator's files, nor
//! the operator be able to write in the root.

use std::path::Path;

use runsync_config::root::RootName;
use runsync_config::site::Site;

use super::{Args, no_root, show};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress;
use crate::http::{Client, ClientError, HandInEvent, Lines};
use crate::ingest::hand_in::{Taken, place};

/// Hands each file in and tells `each` what became of it.
pub(super) fn take(
    args: &Args,
    context: &Context,
    each: &mut dyn FnMut(Taken) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let site = context.site()?;
    if let Some(name) = &args.root
        && !site.roots.iter().any(|root| root.name == *name)
    {
        return Err(no_root(name));
    }
    let client = Client::connect(&site.http.socket)?;
    for file in &args.files {
        let root = choose_root(file, args.root.as_ref(), site);
        let open = match place::open(file) {
            Ok(open) => open,
            Err(refused) => {
                each(Taken::refused(file, &refused))?;
                continue;
            }
        };
        let name = file.display().to_string();
        let mut query = vec![("name", name.as_str())];
        query.extend(root.map(|root| ("root", root.as_str())));
        query.extend(args.unsigned.then_some(("unsigned", "true")));
        let mut lines = client.post_file("/v1/manifests", &query, open)?;
        each(follow(&mut lines, file, context)?)?;
    }
    Ok(())
}

/// The root that is named, or that holds the file; else the daemon knows whether there is but one.
fn choose_root<'a>(
    file: &Path,
    named: Option<&'a RootName>,
    site: &'a Site,
) -> Option<&'a RootName> {
    let holds = |directory: &Path| place::path_in(file, directory).is_some();
    let holder = || site.roots.iter().find(|root| holds(&root.directory));
    named.or_else(|| holder().map(|root| &root.name))
}

/// Shows how far it comes until it is taken.
fn follow(lines: &mut Lines, file: &Path, context: &Context) -> Result<Taken, Failure> {
    let bar = progress::bar(context, "reading", 0);
    while let Some(event) = lines.next()? {
        show(&bar, &event);
        match event {
            HandInEvent::Taken(taken) => {
                bar.finish_and_clear();
                return Ok(taken);
            }
            HandInEvent::Failed(problem) => {
                bar.finish_and_clear();
                return Err(ClientError::Refused(Box::new(problem)).into());
            }
            HandInEvent::Read { .. }
            | HandInEvent::Waiting
            | HandInEvent::Compared { .. }
            | HandInEvent::Registered { .. }
            | HandInEvent::Confirming
            | HandInEvent::Working => {}
        }
    }
    let doing = format!("cannot tell what became of {}", file.display());
    Err(Failure::new("the daemon has ended in the middle")
        .while_doing(doing)
        .hint("see its log; `runsync status` shows the manifest where it was registered, and handing it in again changes nothing"))
}
