//! `kill -9` of a publishing command at its requests, before the server hears of one and before its
//! answer is heard; then the command again. What Rucio and the root hold in the end is what they hold
//! of a run that nothing has interrupted.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt;

use harness::{Naming, Rucio};
use runsync_manifest::content::Content;

use crate::World;
use crate::between::{Between, When};
use crate::proof::shown;
use crate::rucio::{RucioSite, add_scope};
use crate::state::{self, Of, same};

/// SIGKILL.
const KILLED: i32 = 9;

/// With a longer stride larger runs are left out.
const LARGE_STRIDE_MAX: usize = 6;

/// A series of kills.
struct Series<'w> {
    server: &'w Rucio,
    name: &'static str,
    site: RucioSite,
    between: Between,
    /// Whether each case has a scope of its own, and so a control Rucio dataset of its own.
    own_scope: bool,
    bulk: usize,
    /// Artifacts of each instalment.
    instalments: &'static [Range<u32>],
}

/// One case of a series.
struct Case {
    run: String,
    scope: String,
}

/// What a run has come to.
#[derive(Debug, PartialEq, Eq)]
struct End {
    rucio: Vec<String>,
    names: Vec<String>,
}

/// A small run, its control Rucio dataset there already.
pub(crate) fn identity(world: &World) {
    let series = Series::new(world, "identity", Naming::Identity, 3, &[0..7, 7..9]);
    series.go_through(world, world.stride, &[When::Before, When::After]);
}

/// A small run that is the first of its scope.
pub(crate) fn hash(world: &World) {
    let series = Series::new(world, "hash", Naming::Hash, 3, &[0..7, 7..9]);
    series.go_through(world, 3 * world.stride, &[When::Before, When::After]);
}

/// A larger run: ten times as seldom, and left out where that would be hardly ever.
pub(crate) fn large(world: &World) {
    if world.stride > LARGE_STRIDE_MAX {
        return;
    }
    for (name, naming) in [
        ("large identity", Naming::Identity),
        ("large hash", Naming::Hash),
    ] {
        let series = Series::new(world, name, naming, 5, &[0..115, 115..120]);
        series.go_through(
            world,
            10.max(2 * world.stride),
            &[When::Before, When::After],
        );
    }
}

impl<'w> Series<'w> {
    fn new(
        world: &'w World,
        name: &'static str,
        naming: Naming,
        bulk: usize,
        instalments: &'static [Range<u32>],
    ) -> Self {
        let rse = format!("KILL_{}", name.to_uppercase().replace(' ', "_"));
        Self {
            server: &world.server,
            name,
            site: RucioSite::new(&world.server, &rse, naming, ""),
            between: Between::new(world.server.port()),
            own_scope: naming == Naming::Hash,
            bulk,
            instalments,
        }
    }

    /// Kills at every so many requests.
    fn go_through(&self, world: &World, stride: usize, whens: &[When]) {
        // The first one has the server import what it needs, and is no measure.
        let first = self.add(0..1).remove(0);
        self.publish(&first);
        let reference = self.add(1..2).remove(0);
        let whole = self.publish(&reference);
        let expected = self.end(&reference);
        let requests = whole.len();
        assert!(!expected.rucio.is_empty() && !expected.names.is_empty());

        let kills: Vec<(usize, When)> = (1..=requests)
            .step_by(stride)
            .flat_map(|number| whens.iter().map(move |when| (number, *when)))
            .collect();
        let cases = self.add(2..2 + kills.len());
        for ((number, when), case) in kills.iter().zip(&cases) {
            self.case(case, (*number, *when), &whole[number - 1], &expected);
        }
        // The judge looks at all of Rucio: later, when nothing else is compared.
        world.killed.lock().unwrap().push(Killed {
            name: self.name,
            own_scope: self.own_scope,
            requests,
            reference,
            cases,
        });
    }

    fn case(&self, case: &Case, (number, when): (usize, When), request: &str, expected: &End) {
        self.configure(case);
        let mut publish = self.site.site.command(&["publish", &case.run, "--direct"]);
        let ended = self.between.kill(&mut publish, number, when);
        assert_eq!(
            ended.status.signal(),
            Some(KILLED),
            "request {number} of {}: {}",
            case.run,
            ended.stderr
        );
        assert_eq!(ended.asked.len(), number);
        let asked = self.publish(case);
        let end = self.end(case);
        let what = format!("{} killed {when:?} request {number}, {request}", case.run);
        same(&what, &end.rucio, &expected.rucio);
        same(&what, &end.names, &expected.names);
        let when = match when {
            When::Before => "before it is sent",
            When::After => "before it is answered",
        };
        shown(
            &format!("{}: killed at request {number} {when}", self.name),
            &format!(
                "{}: the same, after {} more requests",
                self.shorten(case, request),
                asked.len()
            ),
        );
    }

    fn shorten(&self, case: &Case, request: &str) -> String {
        let request = request.split('?').next().unwrap();
        let name = case.run.rsplit_once('/').unwrap().0.replace('/', "%2F");
        let origin = self.site.site.repository.to_string();
        request.replace(&name, "RUN").replace(&origin, "ORIGIN")
    }

    /// Has runs of these numbers ingested.
    fn add(&self, numbers: Range<usize>) -> Vec<Case> {
        let mut manifests = Vec::new();
        let cases: Vec<Case> = numbers
            .map(|number| {
                let word = self.name.replace(' ', "-");
                let run = format!("u/{word}/{number:03}");
                for (at, files) in self.instalments.iter().enumerate() {
                    let generation = format!("1-{}", at + 1);
                    let content = Content::Additions;
                    manifests.push(self.site.place(&run, &generation, content, files.clone()));
                }
                let scope = if self.own_scope {
                    format!("{word}-{number:03}")
                } else {
                    self.site.scope.clone()
                };
                add_scope(self.server, &scope);
                Case { run, scope }
            })
            .collect();
        self.site.ingest(&manifests);
        cases
    }

    fn configure(&self, case: &Case) {
        let bulk = format!("bulk = {}", self.bulk);
        self.site
            .configure_scope(&self.between.url(), &case.scope, &bulk);
    }

    /// Publishes a run to the end: what was asked for that.
    fn publish(&self, case: &Case) -> Vec<String> {
        self.configure(case);
        let mut publish = self.site.site.command(&["publish", &case.run, "--direct"]);
        let ended = self.between.run(&mut publish);
        assert!(ended.status.success(), "{}: {}", case.run, ended.stderr);
        ended.asked
    }

    fn end(&self, case: &Case) -> End {
        let of = case.of(self.own_scope);
        End {
            rucio: state::rucio(self.server, of),
            names: state::names(&self.site, of),
        }
    }
}

impl Case {
    fn of(&self, own_scope: bool) -> Of<'_> {
        if own_scope {
            Of::Scope(&self.scope, &self.run)
        } else {
            Of::Run(&self.run)
        }
    }
}

/// Runs that were killed, and the one that was not.
pub(crate) struct Killed {
    name: &'static str,
    own_scope: bool,
    requests: usize,
    reference: Case,
    cases: Vec<Case>,
}

/// Once Rucio's judge has looked at all that was attached, they are still the same.
pub(crate) fn judged(world: &World) {
    state::judge(&world.server);
    for killed in world.killed.lock().unwrap().iter() {
        let rows = |case: &Case| state::rucio(&world.server, case.of(killed.own_scope));
        let expected = rows(&killed.reference);
        for case in &killed.cases {
            same("after the judge", &rows(case), &expected);
        }
        shown(
            &format!("{}: all of them, evaluated by Rucio", killed.name),
            &format!(
                "{} runs as the one of {} requests that was not killed",
                killed.cases.len(),
                killed.requests
            ),
        );
    }
}
