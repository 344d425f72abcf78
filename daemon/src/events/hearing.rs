//! All that hears messages at one site, put together.

use std::collections::BTreeSet;
use std::sync::Arc;

use runsync_config::site::Site;

use super::hand_on::{HandOnWorker, Handing};
use super::listen::{BACK_OFF, ListenWorker};
use super::noting::Noting;
use super::sources::Sources;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::ledger::hints::HintTaker;
use crate::ledger::record::HintKind;
use crate::worker::{Driver, Wake};

/// Who acts on hints.
#[derive(Debug, Clone, Default)]
pub struct Takers {
    /// On what Rucio tells of files, rules and locks. Without it, hints of these wait until they are given up.
    pub sync: Option<Arc<dyn HintTaker>>,
    /// On messages that tell of the dataset in a file. Without it, these are taken as Rucio's own.
    pub adopt: Option<Arc<dyn HintTaker>>,
}

/// Hears messages, and has those act who look at what they hint at.
#[derive(Debug)]
pub struct Hearing {
    noting: Arc<Noting>,
    sources: Sources,
    site: Site,
    handings: Vec<Handing>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

impl Hearing {
    /// Puts it together for a site. Nothing is connected before [`start`](Self::start).
    pub fn new(
        site: &Site,
        takers: Takers,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let adopts = takers.adopt.is_some();
        let handing = |name, kinds, taker| Handing {
            name,
            kinds,
            taker,
            wake: Wake::new(),
        };
        let rucio = vec![HintKind::Arrived, HintKind::Deleted, HintKind::Settled];
        let handings = vec![
            handing("hints of Rucio", rucio, takers.sync),
            handing("hints of datasets", vec![HintKind::PerFile], takers.adopt),
        ];
        let wakes = handings.iter().map(|handing| handing.wake.clone());
        let noting = Noting::new(
            Arc::clone(&ledger),
            super::noting::About {
                rses: rses(site),
                adopts,
            },
            site.events,
            wakes.collect(),
            Arc::clone(&clock),
        );
        Self {
            noting: Arc::new(noting),
            sources: Sources::new(&site.event_sources),
            site: site.clone(),
            handings,
            ledger,
            clock,
        }
    }

    /// Takes messages, whichever way they came.
    pub fn noting(&self) -> &Arc<Noting> {
        &self.noting
    }

    /// What is known of each source.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Starts a loop for each source, and one for each of those who act on hints.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(&self, driver: &Driver) {
        for (index, config) in self.site.event_sources.iter().enumerate() {
            let Some(state) = self.sources.state(index) else {
                continue;
            };
            let (config, noting) = (config.clone(), Arc::clone(&self.noting));
            let clock = Arc::clone(&self.clock);
            let name = format!("messages of {}", config.name);
            driver.start_within(name, Wake::new(), BACK_OFF, move || {
                Box::new(ListenWorker::new(
                    config.clone(),
                    state.clone(),
                    Arc::clone(&noting),
                    Arc::clone(&clock),
                ))
            });
        }
        for handing in &self.handings {
            let (handing, bounds) = (handing.clone(), self.site.events);
            let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
            let wake = handing.wake.clone();
            driver.start(handing.name, wake, move || {
                Box::new(HandOnWorker::new(
                    handing.clone(),
                    Arc::clone(&ledger),
                    &bounds,
                    Arc::clone(&clock),
                ))
            });
        }
    }
}

/// The RSEs of a site.
fn rses(site: &Site) -> BTreeSet<runsync_manifest::name::RseName> {
    let roots = site.roots.iter();
    roots.filter_map(|root| root.rse.clone()).collect()
}
