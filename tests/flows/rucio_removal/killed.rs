//! `kill -9` at the requests of a removal, before the server hears of one and before its answer is heard;
//! a server that fails. The end is that of a removal that nothing has interrupted.

use std::os::unix::process::ExitStatusExt;

use harness::Naming;

use crate::World;
use crate::between::{Between, When};
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::site::{announce, endings, is_found, is_gone, publish, reap, resume};
use crate::state::{self, Of, same};

/// SIGKILL.
const KILLED: i32 = 9;

struct Series<'w> {
    world: &'w World,
    site: RucioSite,
    between: Between,
}

impl Series<'_> {
    fn run(number: usize) -> String {
        format!("u/killed/{number:03}")
    }

    /// Removes a run to its end, and tells what was asked of Rucio until its rules were told to end.
    fn remove(&self, run: &str) -> Vec<String> {
        let mut remove =
            self.site
                .site
                .command(&["remove-runs", run, "--yes", "--now", "--direct"]);
        let ended = self.between.run(&mut remove);
        assert!(ended.status.success(), "{run}: {}", ended.stderr);
        ended.asked
    }

    /// Publishes a run, and has Rucio lock all of it: what is told to end before is not the same twice.
    fn publish(&self, run: &str) {
        publish(&self.site, run);
        state::judge(&self.world.server);
    }

    fn finish(&self, run: &str) -> Vec<String> {
        resume(&self.site);
        endings(&self.site);
        reap(&self.world.server);
        resume(&self.site);
        announce(&self.site, run);
        state::judge(&self.world.server);
        is_gone(&self.world.server, &self.site, run);
        state::rucio(&self.world.server, Of::Run(run))
    }
}

/// A removal killed at its requests, first before the files are asked for, then at the rules.
pub(crate) fn removal(world: &World) {
    for (naming, rse) in [
        (Naming::Identity, "REM_KILL"),
        (Naming::Hash, "REM_KILL_HASH"),
    ] {
        let site = RucioSite::named(&world.server, "SITE_A", (rse, naming), "rucio", "");
        let between = Between::new(world.server.port());
        site.configure(&between.url(), "bulk = 3");
        let series = Series {
            world,
            site,
            between,
        };
        let reference = Series::run(0);
        series.publish(&reference);
        let asked = series.remove(&reference);
        let expected = series.finish(&reference);
        let mut number = 0;
        for request in (1..=asked.len()).step_by(world.stride) {
            for when in [When::Before, When::After] {
                number += 1;
                let run = Series::run(number);
                series.publish(&run);
                let args = ["remove-runs", &run, "--yes", "--now", "--direct"];
                let mut remove = series.site.site.command(&args);
                let ended = series.between.kill(&mut remove, request, when);
                assert_eq!(
                    ended.status.signal(),
                    Some(KILLED),
                    "{run}: {}",
                    ended.stderr
                );
                // Killed while it still made its plan it has done nothing.
                if is_found(&series.site, &run) {
                    series.remove(&run);
                }
                let found = series.finish(&run);
                same(&run, &found, &expected);
                shown(
                    &format!("{naming:?}: a removal killed {when:?} request {request}"),
                    asked[request - 1].split('?').next().unwrap(),
                );
            }
        }
    }
}

/// The server is stopped and started in the middle; what is asked meanwhile fails, and is asked again.
pub(crate) fn failing(world: &World) {
    let rse = ("REM_FAIL", Naming::Identity);
    let site = RucioSite::named(&world.server, "SITE_A", rse, "rucio", "");
    let run = "u/killed/failing";
    publish(&site, run);
    world.server.stop_server().unwrap();
    let said = site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    assert!(said.contains("Rucio is waited for"), "{said}");
    world.server.restart_server().unwrap();
    let series = Series {
        world,
        site,
        between: Between::new(world.server.port()),
    };
    series.finish(run);
    shown(
        "the server is away at the removal, and restarted",
        "the same end",
    );
}
