//! Site A, which makes runs, and site B, which is to have copies of them: configured as the operator's
//! page on two sites has it, and each with a daemon.

use std::sync::Arc;

use harness::{Broker, Naming, Rucio};

use crate::World;
use crate::pair;
use crate::process::{DEADLINE, Daemon, holds_within};
use crate::rucio::{RucioSite, rucio_section};

/// When sites ask Rucio by themselves, where messages are to be what tells them: once a year.
pub(crate) const SELDOM: &str = "0 0 3 1 1 *";
/// The same where nothing else tells them.
pub(crate) const OFTEN: &str = "*/2 * * * * *";

/// One way to set up both sites.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) naming: Naming,
    pub(crate) deleter: &'static str,
}

/// How the sites reach Rucio and hear of it.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// Where site A, and where site B, find the server.
    pub(crate) urls: [String; 2],
    /// The broker's port, and the topic.
    pub(crate) broker: (u16, String),
    /// When they ask Rucio by themselves.
    pub(crate) schedule: &'static str,
    /// Whether daemons have something to warn of.
    pub(crate) is_troubled: bool,
}

impl Reach {
    /// Straight to the server and its broker.
    pub(crate) fn straight(server: &Rucio) -> Self {
        Self {
            urls: [server.url(), server.url()],
            broker: (
                server.broker().unwrap().port(),
                Broker::DESTINATION.to_owned(),
            ),
            schedule: SELDOM,
            is_troubled: false,
        }
    }

    fn sections(&self, site: &RucioSite, url: &str, publish: &str) -> String {
        let (port, topic) = &self.broker;
        let password = site.site.folder.path().join("keys/broker.password");
        crate::support::write(&password, Broker::PASSCODE.as_bytes());
        crate::support::private(&password);
        let rucio = rucio_section(url, &site.scope, "");
        format!(
            "{rucio}{publish}[rucio.sync]\nschedule = \"{}\"\n\
             [[event_source]]\nname = \"hermes\"\nkind = \"stomp\"\ntls = false\n\
             brokers = [\"127.0.0.1:{port}\"]\ndestination = \"{topic}\"\n\
             subscription = \"{}\"\nvirtual_host = \"{}\"\n\
             username = \"{}\"\npassword_file = \"keys/broker.password\"\n",
            self.schedule,
            site.rse.name,
            Broker::VIRTUAL_HOST,
            Broker::LOGIN,
        )
    }
}

/// A site and its daemon.
pub(crate) struct Running {
    pub(crate) site: RucioSite,
    daemon: Option<Daemon>,
    is_troubled: bool,
    /// How often it was started again.
    pub(crate) starts: u32,
}

impl Running {
    fn new(site: RucioSite, is_troubled: bool) -> Self {
        let mut this = Self {
            site,
            daemon: None,
            is_troubled,
            starts: 0,
        };
        this.start();
        this
    }

    fn start(&mut self) {
        let mut daemon = Daemon::start(&self.site.site);
        if self.is_troubled {
            daemon.expect("");
        }
        self.daemon = Some(daemon);
        self.starts += 1;
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Starts it again where it was killed, as a service manager would.
    fn keep_up(&mut self) {
        if !self.daemon.as_mut().unwrap().is_running() {
            self.start();
        }
    }

    fn log(&self) -> String {
        self.daemon.as_ref().unwrap().log()
    }
}

/// Both sites.
pub(crate) struct Scene {
    server: Arc<Rucio>,
    pub(crate) a: Running,
    pub(crate) b: Running,
}

impl Scene {
    /// Makes both sites, and starts their daemons.
    pub(crate) fn new(world: &World, name: &str, way: Way, reach: &Reach) -> Self {
        let server = &world.server;
        let (a, b) = world.conveyor.between_cycles(|| sites(server, name, way));
        let publish = format!(
            "[rucio.publish]\ncontrol_rses = \"{0}\"\ninterval = \"1s\"\n\
             [[rucio.rule]]\nrse_expression = \"{0}\"\n",
            b.rse.name
        );
        a.configure_root("", &reach.sections(&a, &reach.urls[0], &publish));
        pair::trust(&b.site, &a.site);
        let peer = pair::peer(&a.site, "apply");
        let sections = reach.sections(&b, &reach.urls[1], "");
        b.configure_root("", &format!("{sections}{peer}"));
        Self {
            server: Arc::clone(server),
            a: Running::new(a, reach.is_troubled),
            b: Running::new(b, reach.is_troubled),
        }
    }

    /// Waits until `condition` holds, with daemons that are started again when they end.
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let holds = holds_within(DEADLINE, || {
            self.a.keep_up();
            self.b.keep_up();
            condition(self)
        });
        assert!(
            holds,
            "waited in vain for: {what}\nA:\n{}\nB:\n{}\nRucio:\n{}",
            self.a.log(),
            self.b.log(),
            self.rucio_says(),
        );
    }

    /// The rules of Rucio, and what it transfers.
    fn rucio_says(&self) -> String {
        let sql = "select concat_ws(' ', 'rule', name, rse_expression, state, error) from rules union all \
                   select concat_ws(' ', 'request', name, state, err_msg) from requests";
        let rows = self.server.sql(sql).unwrap();
        rows.iter().map(|row| row.join(" ") + "\n").collect()
    }

    /// Ends both daemons, which must end well.
    pub(crate) fn stop(self) {
        for mut running in [self.a, self.b] {
            running.daemon.take().unwrap().stop();
        }
    }
}

/// Makes both sites and their RSEs.
fn sites(server: &Rucio, name: &str, way: Way) -> (RucioSite, RucioSite) {
    let rse = |site: &str| format!("E2E_{}_{site}", name.to_uppercase().replace(' ', "_"));
    let a = (&*rse("A"), way.naming);
    let a = RucioSite::named(server, "SITE_A", a, way.deleter, "");
    let b = a.copy(server, &rse("B"), way.naming);
    (a, b)
}
