//! Who changes collections: the running daemon, or this process.

use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User};
use runsync_config::site::Site;
use runsync_manifest::name::CollectionName;

use crate::assembly::Stores;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::source::Way;
use crate::cli::turn;
use crate::http::{Changed, Client, Collections, Unlinking, path};
use crate::lease::Held;
use crate::registry::collection::{Actor, Change, CollectionPlan};

/// Who changes collections.
#[derive(Debug)]
pub(crate) enum Collector {
    /// The daemon.
    Daemon(Client),
    /// This process, which holds the lease meanwhile.
    Direct {
        /// The lease.
        _held: Held,
        /// Registry and ledger.
        stores: Stores,
        /// Who runs the command.
        actor: Actor,
    },
}

impl Collector {
    /// Finds whoever changes them.
    pub(crate) fn open(way: Way, context: &Context) -> Result<Self, Failure> {
        let site = context.site()?;
        if !way.direct {
            return Ok(Self::Daemon(Client::connect(&site.http.socket)?));
        }
        let (held, stores) = turn::take(site, context, |tenure| Stores::open(site, tenure))?;
        Ok(Self::Direct {
            _held: held,
            stores,
            actor: myself(site),
        })
    }

    /// Changes one, and returns how much.
    pub(crate) fn change(&self, name: &CollectionName, change: &Change) -> Result<u64, Failure> {
        match self {
            Self::Daemon(client) => {
                let at = path(&["v1", "collections", name.as_str()]);
                let Changed { count } = client.post(&at, change)?;
                Ok(count)
            }
            Self::Direct { stores, actor, .. } => {
                Ok(stores.registry.change_collection(name, change, actor)?)
            }
        }
    }

    /// What removing some would do.
    pub(crate) fn plan(&self, names: &[CollectionName]) -> Result<CollectionPlan, Failure> {
        match self {
            Self::Daemon(client) => {
                let names = names.to_vec();
                Ok(client.post("/v1/remove-collections/plan", &Collections { names })?)
            }
            Self::Direct { stores, .. } => Ok(stores.registry.plan_collections(names)?),
        }
    }

    /// Removes what a plan says.
    pub(crate) fn remove(
        &self,
        names: &[CollectionName],
        plan: &CollectionPlan,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon(client) => {
                let names = names.to_vec();
                let plan = plan.id.clone();
                let _: Changed =
                    client.post("/v1/remove-collections", &Unlinking { names, plan })?;
                Ok(())
            }
            Self::Direct { stores, actor, .. } => {
                Ok(stores.registry.remove_collections(names, &plan.id, actor)?)
            }
        }
    }
}

/// Whoever runs this command. Root, and the account that the state directory belongs to, may change
/// what others own, as they may through the daemon.
pub(crate) fn myself(site: &Site) -> Actor {
    let uid = Uid::current();
    let state = std::fs::metadata(&site.state_directory);
    let is_own = state.is_ok_and(|state| state.uid() == uid.as_raw());
    // As the daemon calls a user without a name.
    let user = User::from_uid(uid).ok().flatten();
    Actor {
        account: user.map_or_else(|| format!("uid {uid}"), |user| user.name),
        any: uid.is_root() || is_own,
    }
}
