//! Which run drift belongs to, for those who count it by run.

use std::collections::HashSet;

use runsync_manifest::name::RunName;

use crate::registry::record::{ArtifactStanding, ClaimAt};
use crate::registry::{Registry, RegistryError};

/// The names of all runs, read when they are first asked for.
#[derive(Debug, Default)]
pub(super) struct Belonging(Option<HashSet<RunName>>);

impl Belonging {
    /// The run of a path: one that names it, best one whose artifact is confirmed there; else the innermost one
    /// below whose name it lies.
    pub(super) fn of(
        &mut self,
        path: &str,
        claims: &[ClaimAt],
        registry: &dyn Registry,
    ) -> Result<Option<RunName>, RegistryError> {
        let is_confirmed = |claim: &&ClaimAt| claim.standing == ArtifactStanding::Confirmed;
        let claim = claims.iter().find(is_confirmed).or(claims.first());
        if let Some(claim) = claim {
            return Ok(Some(claim.run.name.clone()));
        }
        if self.0.is_none() {
            let runs = registry.runs(None)?.into_iter();
            self.0 = Some(runs.map(|run| run.key.name).collect());
        }
        let names = self.0.as_ref();
        Ok(names.and_then(|names| innermost(path, names)))
    }
}

fn innermost(path: &str, names: &HashSet<RunName>) -> Option<RunName> {
    let mut left = path;
    while let Some((folder, _)) = left.rsplit_once('/') {
        let name = folder.parse::<RunName>().ok();
        if let Some(name) = name.filter(|name| names.contains(name)) {
            return Some(name);
        }
        left = folder;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_innermost_run_above_it() {
        let names = ["u/a", "u/a/b"].map(|name| name.parse().unwrap());
        let names = HashSet::from(names);
        let of = |path| innermost(path, &names).map(|name| name.to_string());
        assert_eq!(of("u/a/b/c/1").as_deref(), Some("u/a/b"));
        assert_eq!(of("u/a/bc/1").as_deref(), Some("u/a"));
        assert_eq!(of("u/a"), None);
        assert_eq!(of("v/1"), None);
    }
}
