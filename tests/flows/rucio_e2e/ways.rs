//! Both sites as they can be set up, with nothing in the way.

use harness::Naming;

use crate::World;
use crate::carried::{Along, both_ways};
use crate::proof::shown;
use crate::scene::{Reach, Scene, Way};

/// Every kind of RSE whose layout Rucio decides, and both deleters.
pub(crate) const WAYS: &[Way] = &[
    Way {
        name: "identity",
        naming: Naming::Identity,
        deleter: "runsync",
    },
    Way {
        name: "identity rucio",
        naming: Naming::Identity,
        deleter: "rucio",
    },
    Way {
        name: "hash",
        naming: Naming::Hash,
        deleter: "runsync",
    },
    Way {
        name: "hash rucio",
        naming: Naming::Hash,
        deleter: "rucio",
    },
];

struct Told(String);

impl Along for Told {
    fn end(&mut self, step: &'static str, outcome: &'static str) {
        shown(&format!("{}: {step}", self.0), outcome);
    }
}

/// Goes one way.
pub(crate) fn go(world: &World, way: Way) {
    let server = &world.server;
    let mut scene = Scene::new(world, way.name, way, &Reach::straight(server));
    let run = format!("u/e2e/{}", way.name.replace(' ', "-"));
    let mut told = Told(format!("{:?}, deleter {}", way.naming, way.deleter));
    both_ways(server, &mut scene, &run, &mut told);
    scene.stop();
}
