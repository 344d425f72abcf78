//! Site A, which makes runs, and site B, which is to have copies of them.

use harness::{Naming, Rucio};

use crate::pair;
use crate::process::Daemon;
use crate::rucio::{RucioSite, rucio_section};

/// One way to set up both sites.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) naming: Naming,
}

/// Both sites and their daemons.
pub(crate) struct Scene {
    pub(crate) a: RucioSite,
    pub(crate) b: RucioSite,
    pub(crate) at_a: Daemon,
    pub(crate) at_b: Daemon,
}

impl Scene {
    /// Makes both sites, and starts their daemons.
    pub(crate) fn new(server: &Rucio, way: &Way) -> Self {
        let of = |site: &str| format!("E2E_{}_{site}", way.name.to_uppercase().replace(' ', "_"));
        let a = RucioSite::new(server, &of("A"), way.naming, "");
        let b = a.copy(server, &of("B"), way.naming);
        let rules = format!(
            "[rucio.publish]\ncontrol_rses = \"{0}\"\ninterval = \"1s\"\n\
             [[rucio.rule]]\nrse_expression = \"{0}\"\n",
            b.rse.name
        );
        a.configure(&server.url(), &rules);
        pair::trust(&b.site, &a.site);
        let rucio = rucio_section(&server.url(), &b.scope, "");
        let peer = pair::peer(&a.site, "apply");
        b.configure_root("", &format!("{rucio}{peer}"));
        let (at_a, at_b) = (Daemon::start(&a.site), Daemon::start(&b.site));
        Self { a, b, at_a, at_b }
    }
}
