//! Who removes: the running daemon, or this process.
//!
//! A daemon commits a removal and sees it through whether or not the command waits. Without one the
//! command does it all; what it leaves where it fails is its account's to continue.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;
use nix::unistd::Uid;
use runsync_config::site::Site;
use runsync_manifest::name::{ManifestId, RunName};
use tracing::warn;
use uuid::Uuid;

use crate::assembly::Assembly;
use crate::cli::collector;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::source::{Way, all};
use crate::cli::{progress, turn};
use crate::clock::SystemClock;
use crate::error_chain::error_chain;
use crate::http::{
    Approved, AsOwner, Client, Committed, Ended, GivenUp, Restored, ToEnd, Wanted, path,
};
use crate::ingest::following::Asked;
use crate::lease::Held;
use crate::ledger::record::RuleEnding;
use crate::registry::collection::Actor;
use crate::registry::removal::Unwanted;
use crate::removal::{Consent, JournalRow, Phase, Plan, Request, Requester, Standing, State};
use crate::telemetry;

/// Pause between two questions how a removal stands.
const ASK_PAUSE: Duration = Duration::from_millis(100);

/// Who removes.
#[derive(Debug)]
pub(crate) enum Remover {
    /// The daemon.
    Daemon(Client),
    /// This process, which holds the lease meanwhile.
    Direct {
        /// The lease.
        _held: Held,
        /// The parts.
        assembly: Box<Assembly>,
        /// Who runs the command.
        requester: Requester,
    },
}

impl Remover {
    /// Finds whoever removes.
    pub(crate) fn open(way: Way, context: &Context) -> Result<Self, Failure> {
        let site = context.site()?;
        if !way.direct {
            return Ok(Self::Daemon(Client::connect(&site.http.socket)?));
        }
        telemetry::start_for_a_command(&site.log)?;
        let (held, assembly) = turn::take(site, context, |tenure| {
            Assembly::open(site, tenure, Arc::new(SystemClock))
        })?;
        let assembly = Box::new(assembly);
        assembly.removing.drop_uncommitted(&mut go_on)?;
        assembly.removing.reap(&mut go_on)?;
        assembly.removing.bring_back(&mut go_on)?;
        if let Err(error) = assembly.removing.tell() {
            warn!(error = %error_chain(&error), "other sites cannot be told what was removed");
        }
        Ok(Self::Direct {
            _held: held,
            assembly,
            requester: myself(site),
        })
    }

    /// What would be done.
    pub(crate) fn plan(&self, request: &Request) -> Result<Plan, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.post("/v1/removals/plan", request)?),
            Self::Direct { assembly, .. } => {
                let mut plan = assembly.removing.plan(request)?;
                assembly.publishing.foresee(&mut plan);
                Ok(plan)
            }
        }
    }

    /// Does what the plan says, and waits until it is done or does not go on.
    pub(crate) fn remove(
        &self,
        request: &Request,
        plan: &Plan,
        approved: bool,
        context: &Context,
    ) -> Result<Standing, Failure> {
        let bar = progress::bar(context, "journaling", plan.total.claims);
        let consent = Consent {
            plan: plan.id.clone(),
            approved,
        };
        match self {
            Self::Daemon(client) => {
                let request = request.clone();
                let approved = Approved { request, consent };
                let committed: Committed = client.post("/v1/removals", &approved)?;
                follow(client, committed.removal, &bar)
            }
            Self::Direct {
                assembly,
                requester,
                ..
            } => {
                let removal = Uuid::new_v4();
                let removing = &assembly.removing;
                removing.announce(removal, plan, requester);
                let show = &mut |phase| show(&bar, phase);
                removing.begin(removal, request, &consent, requester, show)?;
                see_through(assembly, removal, &bar)
            }
        }
    }

    /// Continues a removal.
    pub(crate) fn resume(
        &self,
        removal: Uuid,
        as_owner: Option<String>,
        context: &Context,
    ) -> Result<Standing, Failure> {
        let bar = progress::bar(context, "deleting", 0);
        match self {
            Self::Daemon(client) => {
                let at = path(&["v1", "removals", &removal.to_string(), "resume"]);
                let committed: Committed = client.post(&at, &AsOwner { as_owner })?;
                follow(client, committed.removal, &bar)
            }
            Self::Direct {
                assembly,
                requester,
                ..
            } => {
                let removing = &assembly.removing;
                removing.allow(removal, requester, as_owner.as_deref())?;
                see_through(assembly, removal, &bar)
            }
        }
    }

    /// Gives up what a removal could not delete.
    pub(crate) fn give_up(
        &self,
        removal: Uuid,
        as_owner: Option<String>,
    ) -> Result<GivenUp, Failure> {
        match self {
            Self::Daemon(client) => {
                let at = path(&["v1", "removals", &removal.to_string(), "drop"]);
                Ok(client.post(&at, &AsOwner { as_owner })?)
            }
            Self::Direct {
                assembly,
                requester,
                ..
            } => {
                let (removing, as_owner) = (&assembly.removing, as_owner.as_deref());
                let artifacts = removing.give_up(removal, requester, as_owner, &mut go_on)?;
                Ok(GivenUp { removal, artifacts })
            }
        }
    }

    /// What origins have removed and is still here.
    pub(crate) fn asked(&self) -> Result<Vec<Asked>, Failure> {
        match self {
            Self::Daemon(client) => all(client.lines("/v1/asked-removals", &[])?),
            Self::Direct { assembly, .. } => Ok(assembly.following.list()?),
        }
    }

    /// What following an origin would do.
    pub(crate) fn plan_asked(&self, manifest: ManifestId) -> Result<Plan, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.post(&asked_path(manifest, "plan"), &())?),
            Self::Direct { assembly, .. } => {
                let mut plan = assembly.following.plan(manifest)?;
                assembly.publishing.foresee(&mut plan);
                Ok(plan)
            }
        }
    }

    /// Follows an origin as the plan says.
    pub(crate) fn confirm(
        &self,
        manifest: ManifestId,
        plan: &Plan,
        approved: bool,
        context: &Context,
    ) -> Result<Standing, Failure> {
        let bar = progress::bar(context, "journaling", plan.total.claims);
        let consent = Consent {
            plan: plan.id.clone(),
            approved,
        };
        match self {
            Self::Daemon(client) => {
                let at = asked_path(manifest, "confirm");
                let committed: Committed = client.post(&at, &consent)?;
                follow(client, committed.removal, &bar)
            }
            Self::Direct {
                assembly,
                requester,
                ..
            } => {
                let removal = Uuid::new_v4();
                assembly.removing.announce(removal, plan, requester);
                let show = &mut |phase| show(&bar, phase);
                let following = &assembly.following;
                following.confirm(removal, manifest, &consent, requester, show)?;
                see_through(assembly, removal, &bar)
            }
        }
    }

    /// Keeps what an origin has removed.
    pub(crate) fn refuse(&self, manifest: ManifestId) -> Result<Asked, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.post(&asked_path(manifest, "refuse"), &())?),
            Self::Direct {
                assembly,
                requester,
                ..
            } => Ok(assembly.following.refuse(manifest, &requester.account)?),
        }
    }

    /// Wants parts of runs again.
    pub(crate) fn restore(&self, wanted: &Wanted) -> Result<Restored, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.post("/v1/restore", wanted)?),
            Self::Direct { assembly, .. } => {
                let Wanted {
                    runs,
                    origin,
                    dataset_type,
                } = wanted;
                assembly
                    .publishing
                    .want_again(runs, *origin, dataset_type.is_none())?;
                let removing = &assembly.removing;
                let parts = removing.restore(runs, *origin, dataset_type.as_ref(), &mut go_on)?;
                Ok(Restored { parts })
            }
        }
    }

    /// The runs whose rules are to end in Rucio. Those named by `at_once` wait for nothing any more.
    pub(crate) fn rules(&self, at_once: &[RunName]) -> Result<Vec<RuleEnding>, Failure> {
        match self {
            Self::Daemon(client) => {
                if !at_once.is_empty() {
                    let runs = at_once.to_vec();
                    let _: Ended = client.post("/v1/rule-endings", &ToEnd { runs })?;
                }
                all(client.lines("/v1/rule-endings", &[])?)
            }
            Self::Direct { assembly, .. } => {
                let publishing = &assembly.publishing;
                publishing.end_rules_at_once(at_once)?;
                publishing.end_all_rules(&mut || ControlFlow::Continue(()))?;
                Ok(assembly.parts.ledger.rule_endings()?)
            }
        }
    }

    /// Parts of runs that this site does not want.
    pub(crate) fn unwanted(&self) -> Result<Vec<Unwanted>, Failure> {
        match self {
            Self::Daemon(client) => all(client.lines("/v1/unwanted", &[])?),
            Self::Direct { assembly, .. } => Ok(assembly.parts.registry.unwanted()?),
        }
    }

    /// All journals.
    pub(crate) fn journals(&self) -> Result<Vec<JournalRow>, Failure> {
        match self {
            Self::Daemon(client) => all(client.lines("/v1/journals", &[])?),
            Self::Direct { assembly, .. } => Ok(assembly.removing.journals()?),
        }
    }
}

fn asked_path(manifest: ManifestId, what: &str) -> String {
    path(&["v1", "asked-removals", &manifest.to_string(), what])
}

/// Whoever runs this command.
fn myself(site: &Site) -> Requester {
    let Actor { account, any } = collector::myself(site);
    Requester {
        account,
        uid: Some(Uid::current().as_raw()),
        daemon: false,
        any,
    }
}

fn see_through(assembly: &Assembly, removal: Uuid, bar: &ProgressBar) -> Result<Standing, Failure> {
    let removing = &assembly.removing;
    match removing.resume(removal, &mut |phase| show(bar, phase)) {
        Ok(_) => {}
        // It is waited for, as by a daemon.
        Err(error) if error.is_rucio_away() => {}
        Err(error) => return Err(error.into()),
    }
    bar.finish_and_clear();
    // Rules that may end at once are told to: others wait for the removal manifest, or for Rucio.
    if let Err(error) = assembly
        .publishing
        .end_all_rules(&mut || ControlFlow::Continue(()))
    {
        warn!(error = %error_chain(&error), "rules cannot be ended in Rucio yet");
    }
    let standing = removing.standing(removal)?;
    standing.ok_or_else(|| Failure::new(format!("cannot tell how removal {removal} stands")))
}

/// Asks how it stands until it does not change any more by itself.
fn follow(client: &Client, removal: Uuid, bar: &ProgressBar) -> Result<Standing, Failure> {
    let at = path(&["v1", "removals", &removal.to_string()]);
    loop {
        let standing: Standing = client.get(&at, &[])?;
        if standing.state.is_still() {
            bar.finish_and_clear();
            return Ok(standing);
        }
        show_state(bar, &standing);
        thread::sleep(ASK_PAUSE);
    }
}

fn show_state(bar: &ProgressBar, standing: &Standing) {
    match standing.state {
        State::Journaling => bar.set_message("journaling"),
        State::Waiting => bar.set_message("waiting"),
        State::Reaping => bar.set_message("reaping"),
        State::Deleting
        | State::Refused
        | State::Late
        | State::AwaitsRucio
        | State::PartiallyRemoved
        | State::Failed
        | State::Done => {
            bar.set_message("deleting");
        }
    }
    bar.set_position(standing.deletions.total());
}

fn show(bar: &ProgressBar, phase: Phase) -> ControlFlow<()> {
    match phase {
        Phase::Waiting => bar.set_message("waiting for another process that registers"),
        Phase::Journaling(artifacts) => {
            bar.set_message("journaling");
            bar.set_position(artifacts);
        }
        Phase::Committing => bar.set_message("committing"),
        Phase::Deleting(artifacts) => {
            bar.set_message("deleting");
            bar.set_position(artifacts);
        }
        Phase::Reaping => bar.set_message("reaping"),
    }
    ControlFlow::Continue(())
}

fn go_on(_: Phase) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
