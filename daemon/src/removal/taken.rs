//! Which generation a new manifest may have.
//!
//! Two manifests of one generation are a fork at every site that gets both, and what was published
//! cannot be taken back. So a generation is taken as soon as anything here has seen it: ledger,
//! registry, or the manifest folder of any root, where the name may end in `.zst` or not. Asked
//! under the registration lock, so that it stays true until the manifest is in place.

use std::collections::BTreeSet;

use runsync_config::root::RootName;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RunKey, RunName};

use crate::datastore::{Datastore, DatastoreError, ManifestFile, manifest_folder, manifest_path};
use crate::ledger::record::ManifestState;
use crate::ledger::{Ledger, LedgerError};
use crate::registry::{Registry, RegistryError};

/// Why a generation is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// It is taken, or nothing above it counts any more.
    #[error("generation {generation} of run `{run}` {why}")]
    Refused {
        /// The generation.
        generation: Generation,
        /// The run.
        run: RunName,
        /// Why.
        why: String,
    },
    /// There is no further one in the run's epoch.
    #[error("run `{run}` has used up the sequence of epoch {epoch}")]
    UsedUp {
        /// The run.
        run: RunName,
        /// The epoch.
        epoch: u32,
    },
    /// The registry does not tell.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not tell.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A root does not tell.
    #[error("cannot tell which generations root `{root}` holds")]
    Root {
        /// The root.
        root: String,
        /// Why.
        source: DatastoreError,
    },
}

impl GenerationError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } => Some(
                "a manifest is never replaced: leave out `--generation` for the next one"
                    .to_owned(),
            ),
            Self::UsedUp { .. } => {
                Some("name a generation of the next epoch with `--generation`".to_owned())
            }
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Root { source, .. } => source.hint(),
        }
    }
}

/// The generations of a run that are taken.
#[derive(Debug, Default)]
pub struct Taken {
    generations: BTreeSet<Generation>,
    floor: Option<Generation>,
}

impl Taken {
    /// Asks ledger, registry and all roots, which are given with their names.
    ///
    /// # Errors
    ///
    /// Where one of them does not tell.
    pub fn of<'a>(
        run: &RunKey,
        registry: &dyn Registry,
        ledger: &dyn Ledger,
        roots: impl IntoIterator<Item = (&'a RootName, &'a dyn Datastore)>,
    ) -> Result<Self, GenerationError> {
        Self::where_files(run, registry, ledger, roots, |_, _| Ok(true))
    }

    /// The same without files that were read and turned away: whoever can put a file into a root could
    /// take every generation by its name.
    ///
    /// # Errors
    ///
    /// Where one of them does not tell.
    pub fn believed<'a>(
        run: &RunKey,
        registry: &dyn Registry,
        ledger: &dyn Ledger,
        roots: impl IntoIterator<Item = (&'a RootName, &'a dyn Datastore)>,
    ) -> Result<Self, GenerationError> {
        Self::where_files(run, registry, ledger, roots, |root, path| {
            let rows = ledger.manifests_at(root, &[path])?;
            Ok(rows.iter().all(|row| is_taken_in(row.state)))
        })
    }

    fn where_files<'a>(
        run: &RunKey,
        registry: &dyn Registry,
        ledger: &dyn Ledger,
        roots: impl IntoIterator<Item = (&'a RootName, &'a dyn Datastore)>,
        counts: impl Fn(&RootName, &str) -> Result<bool, LedgerError>,
    ) -> Result<Self, GenerationError> {
        let mut taken = Self::default();
        taken.ask_registry(run, registry)?;
        taken.ask_ledger(run, ledger)?;
        let folder = manifest_folder(run.origin, &run.name);
        for (name, datastore) in roots {
            let failed = |source| GenerationError::Root {
                root: name.to_string(),
                source,
            };
            let (mut files, errors) = datastore.list_manifests_of(run).map_err(failed)?;
            let mut asked = Ok(());
            files.retain(|file| {
                let counted = counts(name, &file.path);
                counted.unwrap_or_else(|error| {
                    asked = Err(error);
                    false
                })
            });
            asked?;
            let lying = generations_in(&folder, &files, errors).map_err(failed)?;
            taken.generations.extend(lying);
        }
        Ok(taken)
    }

    fn ask_registry(&mut self, run: &RunKey, registry: &dyn Registry) -> Result<(), RegistryError> {
        if let Some(row) = registry.run(run)? {
            self.generations.extend(row.generation);
            self.floor = row.floor;
        }
        let registering = registry.registering()?.into_iter();
        let begun = registering.filter(|one| one.run == *run);
        self.generations.extend(begun.map(|one| one.generation));
        Ok(())
    }

    fn ask_ledger(&mut self, run: &RunKey, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        let accepted = ledger.accepted_generations(&[run])?;
        self.generations.extend(accepted.into_iter().flatten());
        // Whatever a stranger says of a run takes nothing of it.
        let mut seen = ledger.of_run(run)?;
        seen.retain(|row| is_taken_in(row.state));
        let seen = seen.iter().filter_map(|row| row.summary.as_ref());
        self.generations.extend(seen.map(|one| one.generation));
        Ok(())
    }

    /// The highest one.
    pub fn last(&self) -> Option<Generation> {
        self.generations.last().copied().max(self.floor)
    }

    /// The generation asked for where it is free, or the next one.
    ///
    /// # Errors
    ///
    /// [`GenerationError::Refused`] and [`GenerationError::UsedUp`].
    pub fn choose(
        &self,
        run: &RunKey,
        asked: Option<Generation>,
    ) -> Result<Generation, GenerationError> {
        match asked {
            Some(generation) => self.check(run, generation),
            None => self.next(run),
        }
    }

    fn check(&self, run: &RunKey, generation: Generation) -> Result<Generation, GenerationError> {
        let refused = |why: String| GenerationError::Refused {
            generation,
            run: run.name.clone(),
            why,
        };
        if let Some(floor) = self.floor.filter(|floor| generation <= *floor) {
            return Err(refused(format!(
                "is superseded: the run's floor is {floor}"
            )));
        }
        if self.generations.contains(&generation) {
            return Err(refused("is there already".to_owned()));
        }
        Ok(generation)
    }

    fn next(&self, run: &RunKey) -> Result<Generation, GenerationError> {
        let Some(last) = self.last() else {
            return Ok(Generation::FIRST);
        };
        last.next().ok_or_else(|| GenerationError::UsedUp {
            run: run.name.clone(),
            epoch: last.epoch,
        })
    }
}

/// Whether a manifest in that state was let in, whatever became of it.
fn is_taken_in(state: ManifestState) -> bool {
    match state {
        ManifestState::Registered | ManifestState::Blocked | ManifestState::Superseded => true,
        ManifestState::Untrusted | ManifestState::Quarantined => false,
    }
}

/// The generations whose names lie in a run's folder, readable or not. Fails where the folder
/// itself may hold more than was listed.
fn generations_in(
    folder: &str,
    files: &[ManifestFile],
    errors: Vec<DatastoreError>,
) -> Result<Vec<Generation>, DatastoreError> {
    let named = |path: &str| generation_named(folder, path);
    let mut found: Vec<_> = files.iter().filter_map(|file| named(&file.path)).collect();
    for error in errors {
        if error
            .path()
            .is_none_or(|path| manifest_path::is_or_holds(path, folder))
        {
            return Err(error);
        }
        found.extend(error.path().and_then(named));
    }
    Ok(found)
}

fn generation_named(folder: &str, path: &str) -> Option<Generation> {
    let name = path.strip_prefix(folder)?.strip_prefix('/')?;
    name.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_identity::FileIdentity;

    const FOLDER: &str = "runsync/manifests/o/u/a";

    fn generation(text: &str) -> Generation {
        text.parse().unwrap()
    }

    fn file(name: &str) -> ManifestFile {
        ManifestFile {
            path: format!("{FOLDER}/{name}"),
            identity: FileIdentity {
                size: 1,
                modified_ns: 0,
                inode: 1,
            },
        }
    }

    fn irregular(path: &str) -> DatastoreError {
        DatastoreError::Irregular {
            path: path.to_owned(),
        }
    }

    fn run() -> RunKey {
        RunKey {
            origin: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            name: "u/a".parse().unwrap(),
        }
    }

    #[test]
    fn names_in_the_folder_count_whatever_their_packing() {
        let files = [
            file("1-1.manifest.jsonl"),
            file("1-2.manifest.jsonl.zst"),
            file("deeper/1-9.manifest.jsonl"),
        ];
        let odd = irregular(&format!("{FOLDER}/1-3.manifest.jsonl"));
        let elsewhere = irregular("runsync/manifests/o/u/ab");
        let found = generations_in(FOLDER, &files, vec![odd, elsewhere]).unwrap();
        assert_eq!(found, ["1-1", "1-2", "1-3"].map(generation));
    }

    #[test]
    fn a_folder_that_was_not_listed_is_an_error() {
        for path in [FOLDER, "runsync/manifests/o/u", "runsync/manifests"] {
            let listed = generations_in(FOLDER, &[], vec![irregular(path)]);
            assert_eq!(listed.unwrap_err().path(), Some(path));
        }
    }

    #[test]
    fn the_next_generation_is_above_all_that_are_taken() {
        let mut taken = Taken::default();
        let next = |taken: &Taken| taken.choose(&run(), None).unwrap();
        assert_eq!(next(&taken), Generation::FIRST);
        taken.generations.extend(["1-4", "1-2"].map(generation));
        assert_eq!(next(&taken), generation("1-5"));
        taken.floor = Some(generation("2-1"));
        assert_eq!(next(&taken), generation("2-2"));
    }

    #[test]
    fn a_generation_that_is_taken_or_superseded_is_refused() {
        let taken = Taken {
            generations: BTreeSet::from([generation("1-4")]),
            floor: Some(generation("1-2")),
        };
        let choose = |text| taken.choose(&run(), Some(generation(text)));
        assert_eq!(choose("1-3").unwrap(), generation("1-3"));
        insta::assert_snapshot!(choose("1-4").unwrap_err(), @"generation 1-4 of run `u/a` is there already");
        insta::assert_snapshot!(choose("1-2").unwrap_err(), @"generation 1-2 of run `u/a` is superseded: the run's floor is 1-2");
    }
}
