//! What Rucio's own client lists of published runs, beside what their manifests say.

use crate::World;

pub(crate) fn every_naming(_world: &World) {}
