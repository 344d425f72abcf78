//! `repair`: the plan first, then what policy has done about what scans have found.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use indicatif::HumanBytes;
use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::Serialize;

use crate::assembly::{Assembly, AssemblyError, Readers};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{self, Row};
use crate::cli::remove_runs::GoAhead;
use crate::cli::{arguments, collector, progress, turn};
use crate::clock::SystemClock;
use crate::ledger::repairs::{RepairAct, RepairRow, WhichRepairs};
use crate::ledger::scans::DriftKind;
use crate::recovery::repair::{
    Extent, Left, RepairError, RepairOrder, RepairPhase, RepairPlan, RepairReport, Restoration,
    RootPlan, RootRepaired,
};
use crate::telemetry;

/// Repairs read at once.
const PAGE: usize = 1_000;
/// What to do where the daemon holds the lease: it repairs by schedule, within the limits that nobody has to approve.
const BESIDE: &str = "stop the daemon meanwhile; what is within the limits of `[repair]` it repairs itself: a `[[schedule]]` with `job = \"repair\"`, and `runsync schedule run NAME`";
/// Artifacts that are named of those that are left; `--json` has more.
const SHOWN: usize = 10;

/// Repair what scans have found: shows the plan and asks, then does what `[repair]` says
///
/// Acts from findings alone, and only on those that two passes far enough apart saw alike and that are so still.
/// What policy only reports, and whatever else is left, stays as it is, and the exit code is 3. The site's daemon
/// must not run meanwhile.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    repair: Repair,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List what was repaired: what, when, by whom and why
    History,
    /// List files that repairs have set aside in the quarantine of their roots
    Aside,
    /// Bring files back from there to where they lay, and never over another
    BringBack(BringBack),
}

#[derive(Debug, clap::Args)]
struct Repair {
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Only below this folder of the root
    #[arg(long, value_name = "FOLDER", value_parser = arguments::folder)]
    prefix: Option<ArtifactPath>,
    /// Only findings of this kind: `lost`, `dark`, `corrupt` or `site-only`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<DriftKind>,
    /// Delete files that nothing names, in roots that say `scan_deletes = true`, and not only set them aside
    #[arg(long)]
    delete_dark: bool,
    #[command(flatten)]
    go_ahead: GoAhead,
    /// Do what the plan of this number says, also where it is larger than `[repair]` allows unasked
    #[arg(long, value_name = "PLAN_ID", conflicts_with_all = ["yes", "dry_run"])]
    approve: Option<String>,
}

#[derive(Debug, clap::Args)]
struct BringBack {
    /// Where they lay, as `aside` shows it
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<ArtifactPath>,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
}

fn kind(text: &str) -> Result<DriftKind, String> {
    match text.parse() {
        Ok(
            kind @ (DriftKind::Lost | DriftKind::Dark | DriftKind::Corrupt | DriftKind::SiteOnly),
        ) => Ok(kind),
        Ok(
            kind @ (DriftKind::Irregular
            | DriftKind::RucioDiffers
            | DriftKind::RucioState
            | DriftKind::RucioOnly),
        ) => Err(format!("what is {kind} is only reported")),
        Err(()) => Err("it is one of lost, dark, corrupt, site-only".to_owned()),
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        None => repair(&args.repair, context),
        Some(What::History) => list(WhichRepairs::Done, context),
        Some(What::Aside) => list(WhichRepairs::Aside, context),
        Some(What::BringBack(which)) => bring_back(which, context),
    }
}

fn repair(args: &Repair, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    telemetry::start_for_a_command(&site.log)?;
    let (_held, assembly) = take(context, BESIDE)?;
    let repairing = &assembly.repairing;
    let order = RepairOrder {
        root: args.root.clone(),
        below: args.prefix.clone(),
        kind: args.kind,
        delete_dark: args.delete_dark,
    };
    let bar = progress::spinner(context, "looking at what was found");
    let plan = repairing.plan(&order, &mut |_| {
        bar.tick();
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let plan = plan?;
    let mut output = context.output();
    output.value(&Shown(&plan))?;
    output.flush()?;
    if !go_ahead(args, &plan, context)? {
        return if plan.is_refused() {
            Err(not_repaired())
        } else {
            Ok(outcome(plan.is_well()))
        };
    }
    let by = (&*collector::myself(site).account, args.approve.is_some());
    let bar = progress::bar(context, "artifacts repaired", plan.total.artifacts);
    let report = repairing.run(&plan, by, &mut |phase| {
        match phase {
            RepairPhase::File => bar.inc(1),
            RepairPhase::Planning(_)
            | RepairPhase::Waiting
            | RepairPhase::Working
            | RepairPhase::Resumed
            | RepairPhase::Declared
            | RepairPhase::Noted
            | RepairPhase::Records
            | RepairPhase::Files
            | RepairPhase::Done(_) => bar.tick(),
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let report = report?;
    output.value(&Told(&report))?;
    output.flush()?;
    if report.has_failed() {
        return Err(not_repaired());
    }
    Ok(outcome(report.is_well()))
}

fn not_repaired() -> Failure {
    Failure::new("not all roots can be repaired")
        .hint("put right what stands in its way; the next repair finishes what one has begun")
}

fn outcome(is_well: bool) -> Outcome {
    if is_well {
        Outcome::Done
    } else {
        Outcome::Differences
    }
}

/// Opens the site for a command that the daemon does not do.
fn take(
    context: &Context,
    beside: &'static str,
) -> Result<(crate::lease::Held, Assembly), Failure> {
    let site = context.site()?;
    let taken = turn::take(site, context, |tenure| {
        Assembly::open(site, tenure, Arc::new(SystemClock))
    });
    taken.map_err(|failure| match failure.cause::<AssemblyError>() {
        Some(AssemblyError::Held(_)) => failure.hint(beside),
        Some(_) | None => failure,
    })
}

/// Whether to go ahead with the plan that was just shown. Nobody is asked where there is nothing to do.
fn go_ahead(args: &Repair, plan: &RepairPlan, context: &Context) -> Result<bool, Failure> {
    match &args.approve {
        None if plan.is_empty() => Ok(false),
        None if args.go_ahead.asks() && !plan.above.is_empty() && !plan.has_begun() => {
            let (plan, above) = (plan.id.clone(), plan.above.clone());
            Err(RepairError::TooLarge { plan, above }.into())
        }
        None => args.go_ahead.given("Repair them?", context),
        Some(approved) if *approved == plan.id => Ok(!plan.is_empty()),
        Some(approved) => {
            let approved = approved.clone();
            Err(RepairError::PlanChanged { approved }.into())
        }
    }
}

fn list(which: WhichRepairs<'_>, context: &Context) -> Result<Outcome, Failure> {
    let ledger = Readers::for_a_command(context.site()?)?.ledger;
    let mut output = context.output();
    let mut before = None;
    loop {
        let page = ledger.repairs(which, before, PAGE)?;
        let (is_first, is_last) = (before.is_none(), page.len() < PAGE);
        before = page.last().map(|row| row.id);
        if is_first {
            output.rows(page)?;
        } else {
            output.more_rows(page)?;
        }
        if is_last {
            output.flush()?;
            return Ok(Outcome::Done);
        }
    }
}

fn bring_back(which: &BringBack, context: &Context) -> Result<Outcome, Failure> {
    let (_held, assembly) = take(context, "stop the daemon meanwhile")?;
    let mut output = context.output();
    let mut failed = 0;
    for path in &which.paths {
        let restored = assembly.repairing.bring_back(which.root.as_ref(), path)?;
        failed += usize::from(restored.failed.is_some());
        output.value(&Back(restored))?;
    }
    output.flush()?;
    if failed > 0 {
        return Err(Failure::new(format!(
            "{failed} files were not brought back"
        )));
    }
    Ok(Outcome::Done)
}

impl Row for RepairRow {
    const HEADER: &'static [&'static str] = &[
        "when", "by", "act", "kind", "root", "path", "bytes", "aside", "why",
    ];

    fn cells(&self) -> Vec<String> {
        let declared = self.declared.as_ref();
        let declared = declared.map(|word| format!("; declared to Rucio: {word}"));
        let back = self
            .restored_at
            .map(|at| format!("; brought back at {at:.0}"));
        let why = [Some(self.detail.clone()), declared, back];
        vec![
            format!("{:.0}", self.done_at.unwrap_or(self.begun_at)),
            self.account.clone(),
            self.act.to_string(),
            self.kind.to_string(),
            self.root.to_string(),
            self.path.to_string(),
            self.size
                .map_or_else(|| "-".to_owned(), |size| size.to_string()),
            self.aside.clone().unwrap_or_else(|| "-".to_owned()),
            why.into_iter().flatten().collect(),
        ]
    }
}

/// What is done in each way, in these words.
const fn words(act: RepairAct) -> (&'static str, &'static str) {
    match act {
        RepairAct::Forget => (
            "records of lost artifacts to forget; the artifacts are waited for again",
            "records of lost artifacts forgotten; the artifacts are waited for again",
        ),
        RepairAct::Register => (
            "files to read, and to record again where they are right",
            "files recorded again",
        ),
        RepairAct::Quarantine => (
            "files that nothing names to set aside",
            "files that nothing names set aside: see `runsync repair aside`",
        ),
        RepairAct::Delete => (
            "files that nothing names to DELETE: there is no way back",
            "files that nothing names deleted",
        ),
        RepairAct::Unstore => (
            "corrupt artifacts to read again, to forget and to set aside; right ones are waited for",
            "corrupt artifacts forgotten and set aside; right ones are waited for",
        ),
        RepairAct::AddReplica => (
            "files to read, and to tell Rucio of where they are right",
            "files that Rucio knows to be here again",
        ),
    }
}

/// A plan as it is shown.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a RepairPlan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        write!(f, "plan {}: repair", plan.id)?;
        for root in &plan.roots {
            write_root_plan(f, root)?;
        }
        for above in &plan.above {
            write!(f, "\n  needs `--approve {}`: {above}", plan.id)?;
        }
        Ok(())
    }
}

fn write_root_plan(f: &mut fmt::Formatter<'_>, plan: &RootPlan) -> fmt::Result {
    write!(f, "\n  root {}", plan.root)?;
    if let Some(refused) = &plan.refused {
        return write!(
            f,
            "\n    nothing is repaired: {}",
            output::printable(refused)
        );
    }
    if plan.acts.is_empty() {
        f.write_str(": nothing to repair")?;
    }
    write_acts(f, &plan.acts, |act| words(act).0)?;
    for one in plan.planned_named.iter().take(SHOWN) {
        write!(f, "\n      {} {} ({})", one.act, one.path, one.kind)?;
    }
    let planned: u64 = plan.acts.values().map(|extent| extent.artifacts).sum();
    if planned > SHOWN as u64 {
        write!(f, "\n      and others; `--json` names the first hundred")?;
    }
    if plan.unfinished > 0 {
        write!(
            f,
            "\n    {} artifacts of an earlier repair to finish",
            plan.unfinished
        )?;
    }
    let rest = Rest {
        unripe: plan.unripe,
        reported: plan.reported,
        left: plan.left,
        named: &plan.left_named,
        notes: &plan.notes,
        more: plan.more,
    };
    rest.write(f)
}

fn write_acts(
    f: &mut fmt::Formatter<'_>,
    acts: &BTreeMap<RepairAct, Extent>,
    words: impl Fn(RepairAct) -> &'static str,
) -> fmt::Result {
    for (act, extent) in acts {
        let (artifacts, bytes) = (extent.artifacts, HumanBytes(extent.bytes));
        write!(f, "\n    {artifacts} {} ({bytes})", words(*act))?;
    }
    Ok(())
}

/// What stays as it is.
struct Rest<'a> {
    unripe: u64,
    reported: u64,
    left: u64,
    named: &'a [Left],
    notes: &'a [String],
    more: bool,
}

impl Rest<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, what) in [
            (
                self.unripe,
                "findings that two passes have not seen far enough apart (`[repair] apart`)",
            ),
            (
                self.reported,
                "findings that are only reported (`[repair]`)",
            ),
            (self.left, "findings that are left"),
        ] {
            if count > 0 {
                write!(f, "\n    {count} {what}")?;
            }
        }
        for left in self.named.iter().take(SHOWN) {
            let why = output::printable(&left.why);
            write!(f, "\n      {} {}: {why}", left.kind, left.path)?;
        }
        for note in self.notes.iter().take(SHOWN) {
            write!(f, "\n    note: {}", output::printable(note))?;
        }
        if self.more {
            f.write_str("\n    more than one repair takes up: repair again afterwards")?;
        }
        Ok(())
    }
}

/// What a repair came to.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told<'a>(&'a RepairReport);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        write!(f, "repair {}", report.repair)?;
        for root in &report.roots {
            write_root(f, root)?;
        }
        Ok(())
    }
}

fn write_root(f: &mut fmt::Formatter<'_>, root: &RootRepaired) -> fmt::Result {
    write!(f, "\n  root {}", root.root)?;
    if let Some(refused) = &root.refused {
        return write!(
            f,
            "\n    nothing was repaired: {}",
            output::printable(refused)
        );
    }
    write_acts(f, &root.acts, |act| words(act).1)?;
    for (count, what) in [
        (root.declared, "replicas declared to Rucio"),
        (
            root.suspicious,
            "of them as suspicious alone (`[repair] declare`, or the account, says no more): Rucio copies none of these anew",
        ),
        (root.finished, "artifacts of an earlier repair finished"),
    ] {
        if count > 0 {
            write!(f, "\n    {count} {what}")?;
        }
    }
    let rest = Rest {
        unripe: root.unripe,
        reported: root.reported,
        left: root.left,
        named: &root.left_named,
        notes: &root.notes,
        more: root.more,
    };
    rest.write(f)?;
    match &root.stopped {
        Some(stopped) => write!(f, "\n    stopped: {}", output::printable(stopped)),
        None => Ok(()),
    }
}

/// What came of bringing a file back.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Back(Restoration);

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(one) = self;
        match &one.failed {
            None => write!(
                f,
                "{} in {}: back; scans find it again, and `runsync findings ignore` then keeps repairs from it",
                one.path, one.root
            ),
            Some(why) => write!(f, "{} in {}: not back: {why}", one.path, one.root),
        }
    }
}
