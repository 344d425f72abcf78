//! Takes manifests without a daemon: this process registers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use runsync_config::root::RootName;

use super::{Args, no_root, show};
use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::{progress, turn};
use crate::clock::SystemClock;
use crate::ingest::flow::Flow;
use crate::ingest::hand_in::{self, Taken, place};

/// Takes each file and tells `each` what became of it.
pub(super) fn take(
    args: &Args,
    context: &Context,
    each: &mut dyn FnMut(Taken) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let site = context.site()?;
    let (_held, assembly) = turn::take(site, context, |tenure| {
        Assembly::open(site, tenure, Arc::new(SystemClock))
    })?;
    for file in &args.files {
        let flow = choose_flow(file, args.root.as_ref(), &assembly)?;
        each(match place::place(file, flow, args.unsigned) {
            Ok(path) => take_placed(file, path, flow, args.unsigned, context)?,
            Err(refused) => Taken::refused(file, &refused),
        })?;
    }
    Ok(())
}

/// The flow of the root that is named, that holds the file, or that is the only one.
fn choose_flow<'a>(
    file: &Path,
    root: Option<&RootName>,
    assembly: &'a Assembly,
) -> Result<&'a Flow, Failure> {
    let flows = &assembly.flows;
    if let Some(name) = root {
        let named = flows.iter().find(|flow| flow.root().name == *name);
        return named.ok_or_else(|| no_root(name));
    }
    let holder = flows
        .iter()
        .find(|flow| place::path_in(file, &flow.root().directory).is_some());
    match (holder, flows.as_slice()) {
        (Some(holder), _) => Ok(holder),
        (None, [only]) => Ok(only),
        (None, _) => Err(
            Failure::new(format!("cannot tell which root {} is for", file.display()))
                .hint("name it with `--root`")
                .usage(),
        ),
    }
}

fn take_placed(
    file: &Path,
    path: String,
    flow: &Flow,
    unsigned: bool,
    context: &Context,
) -> Result<Taken, Failure> {
    let bar = progress::bar(context, "reading", 0);
    let taken = hand_in::take(file, path, flow, unsigned, &mut |step| {
        show(&bar, &step.into());
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    Ok(taken)
}
