//! What a DID's name stands for: the other direction of [`names`](crate::publish::names).
//!
//! Whatever Rucio tells of comes from outside. A name is looked up, and never trusted: what it stands for
//! is only where it is asked about.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ArtifactPath, RepositoryId};

use crate::datastore::manifest_path::{
    MANIFEST_FOLDER, PACKED_SUFFIX, PLAIN_SUFFIX, check_manifest_path,
};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// A manifest, at this path in each root.
    Manifest(RepositoryId, String),
    /// The instalment that a manifest is; its paths, packed and not.
    Instalment(RepositoryId, [String; 2]),
    /// All manifests of an origin.
    Control(RepositoryId),
    /// An artifact, or the container of a run of that name.
    Other(ArtifactPath),
    /// The container of a run whose name is no name in Rucio.
    Run(String),
    /// Nothing that there can be here.
    Nothing,
}

/// What a name stands for.
pub(super) fn named(name: &str) -> Named {
    let Some(ours) = name.strip_prefix("runsync/") else {
        return name.parse().map_or(Named::Nothing, Named::Other);
    };
    let found = match ours.split_once('/') {
        Some(("manifests", _)) => manifest(name),
        Some(("instalments", rest)) => instalment(rest),
        Some(("control", origin)) => origin.parse().ok().map(Named::Control),
        Some(("runs", _)) => Some(Named::Run(name.to_owned())),
        _ => None,
    };
    found.unwrap_or(Named::Nothing)
}

/// The origin that a manifest's path names.
fn manifest(path: &str) -> Option<Named> {
    check_manifest_path(path).ok()?;
    let below = path.strip_prefix(MANIFEST_FOLDER)?.strip_prefix('/')?;
    let (origin, _) = below.split_once('/')?;
    Some(Named::Manifest(origin.parse().ok()?, path.to_owned()))
}

fn instalment(rest: &str) -> Option<Named> {
    let (origin, rest) = rest.split_once('/')?;
    let (_, generation) = rest.rsplit_once('/')?;
    let origin: RepositoryId = origin.parse().ok()?;
    generation.parse::<Generation>().ok()?;
    let path = format!("{MANIFEST_FOLDER}/{origin}/{rest}");
    let paths = [PLAIN_SUFFIX, PACKED_SUFFIX].map(|suffix| format!("{path}{suffix}"));
    let are_paths = paths.iter().all(|path| check_manifest_path(path).is_ok());
    are_paths.then_some(Named::Instalment(origin, paths))
}

#[cfg(test)]
mod tests {
    use runsync_manifest::name::RunKey;

    use super::*;
    use crate::datastore::manifest_path;
    use crate::publish::names;

    const ORIGIN: &str = "018f0000-0000-7000-8000-000000000001";

    #[test]
    fn what_publishing_calls_things_is_found_again() {
        let origin: RepositoryId = ORIGIN.parse().unwrap();
        let scope = "hsc".parse().unwrap();
        let generation: Generation = "1-7".parse().unwrap();
        for name in ["u/a", "a run with blanks", ".hidden"] {
            let run = RunKey {
                origin,
                name: name.parse().unwrap(),
            };
            let paths =
                [false, true].map(|packed| manifest_path(origin, &run.name, generation, packed));
            let instalment = names::instalment(&scope, &run, generation);
            let expected = Named::Instalment(origin, paths.clone());
            assert_eq!(named(&instalment.name), expected);
            for path in paths {
                assert_eq!(named(&path), Named::Manifest(origin, path.clone()));
            }
            let container = names::container(&scope, &run).name;
            assert!(
                matches!(named(&container), Named::Run(_) | Named::Other(_)),
                "{container}"
            );
        }
        let control = names::control(&scope, origin);
        assert_eq!(named(&control.name), Named::Control(origin));
    }

    #[test]
    fn what_is_no_such_name_stands_for_nothing() {
        for name in [
            "",
            "../x",
            "/x",
            "a//b",
            "runsync",
            "runsync/repository.json",
            "runsync/journal/x.journal.jsonl",
            "runsync/control/x",
            "runsync/instalments/x/u/1-1",
            "runsync/manifests/x/u/1-1.manifest.jsonl",
            &format!("runsync/manifests/{ORIGIN}/../../x/1-1.manifest.jsonl"),
            &format!("runsync/instalments/{ORIGIN}/../x/1-1"),
            &format!("runsync/instalments/{ORIGIN}/u/one"),
        ] {
            let found = named(name);
            let is_root = name == "runsync";
            assert!(found == Named::Nothing || is_root, "{name}: {found:?}");
        }
    }
}
