//! What things are called in Rucio.
//!
//! A file's name is its path in the root, and so is a manifest's. A run's container has the run's own
//! name (shortened as in its manifests' paths), so that whoever knows the run finds it; but for one that
//! begins as no name in Rucio does. What is runsync's own lies below `runsync/`, where no run and no
//! artifact can be.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunKey, Scope};

use crate::datastore::manifest_path::{ends_like_a_stand_in, run_part};
use crate::rucio::Did;

/// The container of a run: all that it has been published as.
pub fn container(scope: &Scope, run: &RunKey) -> Did {
    Did::new(scope, container_name(run))
}

/// Its name.
pub fn container_name(run: &RunKey) -> String {
    let name = run_part(run.name.as_str());
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        name
    } else {
        format!("runsync/runs/{name}")
    }
}

/// Whether a container's name may be the stand-in of a run's that has another.
pub fn may_stand_in(container: &str) -> bool {
    ends_like_a_stand_in(container)
}

/// The Rucio dataset of one instalment of a run: what one manifest names, and the manifest.
pub fn instalment(scope: &Scope, run: &RunKey, generation: Generation) -> Did {
    let (origin, run) = (run.origin, run_part(run.name.as_str()));
    Did::new(
        scope,
        format!("runsync/instalments/{origin}/{run}/{generation}"),
    )
}

/// The generation of a run's instalment, by the name of its Rucio dataset; none: it is another's.
pub fn generation_of(run: &RunKey, name: &str) -> Option<Generation> {
    let (origin, run) = (run.origin, run_part(run.name.as_str()));
    let rest = name.strip_prefix(&format!("runsync/instalments/{origin}/{run}/"))?;
    rest.parse().ok()
}

/// The control Rucio dataset of an origin: its manifests, for all sites that take part.
pub fn control(scope: &Scope, origin: RepositoryId) -> Did {
    Did::new(scope, format!("runsync/control/{origin}"))
}

#[cfg(test)]
mod tests {
    use runsync_config::rucio::NameSchema;
    use uuid::Uuid;

    use super::*;
    use crate::rucio::Schema;

    #[test]
    fn whatever_a_run_is_called_rucio_takes_its_names() {
        let scope: Scope = "hsc".parse().unwrap();
        let last = Generation {
            epoch: u32::MAX,
            sequence: u32::MAX,
        };
        for name in [
            "u/a",
            "a run with blanks",
            &"r".repeat(250),
            ".hidden",
            "é+x",
            "_x",
        ] {
            let run = RunKey {
                origin: RepositoryId(Uuid::from_u128(7)),
                name: name.parse().unwrap(),
            };
            for did in [
                container(&scope, &run),
                instalment(&scope, &run, last),
                control(&scope, run.origin),
            ] {
                assert_eq!(Schema(NameSchema::Generic).check(&did), Ok(()), "{did}");
            }
        }
    }

    #[test]
    fn an_instalment_tells_its_generation_to_its_own_run_alone() {
        let run = |name: &str| RunKey {
            origin: RepositoryId(Uuid::from_u128(7)),
            name: name.parse().unwrap(),
        };
        let generation: Generation = "2-17".parse().unwrap();
        let name = instalment(&"hsc".parse().unwrap(), &run("u/a"), generation).name;
        assert_eq!(generation_of(&run("u/a"), &name), Some(generation));
        assert_eq!(generation_of(&run("u"), &name), None);
        assert_eq!(generation_of(&run("u/a/2-17"), &name), None);
    }

    #[test]
    fn an_ordinary_run_keeps_its_name() {
        let run = RunKey {
            origin: RepositoryId(Uuid::from_u128(7)),
            name: "HSC/runs/RC2/w_2026_47".parse().unwrap(),
        };
        let scope = "hsc".parse().unwrap();
        assert_eq!(
            container(&scope, &run).to_string(),
            "hsc:HSC/runs/RC2/w_2026_47"
        );
    }
}
