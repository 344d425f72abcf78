//! Where a manifest lies in a root: the path that is also its name in Rucio.
//!
//! The path is the same at every site, because Rucio carries the file under this name.
//! Rucio's generic schema allows a name 250 characters out of letters, digits and `/._-`,
//! and the Butler allows runs more than that, so some runs need a shorter stand-in.

use data_encoding::HEXLOWER;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunName};
use sha2::{Digest, Sha256};

/// The folder of manifests in a root.
pub const MANIFEST_FOLDER: &str = "runsync/manifests";
/// How the name of a plain manifest ends.
pub const PLAIN_SUFFIX: &str = ".manifest.jsonl";
/// How the name of a packed manifest ends.
pub const PACKED_SUFFIX: &str = ".manifest.jsonl.zst";

/// Longest run name that is used as it is, in bytes: what Rucio's 250 characters leave beside
/// folder (18), origin (37), two separators, the longest generation (21) and suffix (19). It does
/// not depend on the generation at hand, so a run never changes its folder.
const RUN_BYTES_MAX: usize = 250 - 18 - 37 - 1 - 21 - 19;
/// Most characters of the run's name that a stand-in shows.
const READABLE_MAX: usize = 100;
/// Hexadecimal digits of SHA-256 in a stand-in: 128 bits, so that none meets another by chance.
const HASH_DIGITS: usize = 32;

/// The path of a manifest relative to its root:
/// `runsync/manifests/<origin>/<run>/<epoch>-<sequence>.manifest.jsonl`, with `.zst` where packed.
///
/// The run part is the run's name, or a readable start and a hash of it where the name is too long
/// or holds anything that Rucio does not allow.
pub fn manifest_path(
    origin: RepositoryId,
    run: &RunName,
    generation: Generation,
    packed: bool,
) -> String {
    let suffix = if packed { PACKED_SUFFIX } else { PLAIN_SUFFIX };
    let folder = manifest_folder(origin, run);
    format!("{folder}/{generation}{suffix}")
}

/// The folder of a run's manifests, relative to the root.
pub fn manifest_folder(origin: RepositoryId, run: &RunName) -> String {
    let run = run_part(run.as_str());
    format!("{MANIFEST_FOLDER}/{origin}/{run}")
}

/// Whether a path is that of something right in a folder, and not deeper.
pub(super) fn lies_in(folder: &str, path: &str) -> bool {
    let name = path
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.contains('/'))
}

/// Whether a path is a folder, or one above it.
pub(crate) fn is_or_holds(path: &str, folder: &str) -> bool {
    let rest = folder.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a file of this name (without its folder) is a manifest. Temporary names are not.
pub fn is_manifest_name(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(PLAIN_SUFFIX) || name.ends_with(PACKED_SUFFIX))
}

/// Checks that a path names a manifest below the manifest folder, without `.` or `..`.
///
/// # Errors
///
/// The rule that it breaks.
pub fn check_manifest_path(path: &str) -> Result<(), &'static str> {
    let below = path
        .strip_prefix(MANIFEST_FOLDER)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or("does not lie in `runsync/manifests`")?;
    if below.contains('\0') {
        return Err("holds a NUL");
    }
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has a part that is empty, `.` or `..`");
    }
    let name = below.rsplit('/').next().unwrap_or(below);
    if !is_manifest_name(name) {
        return Err("does not end in `.manifest.jsonl` or `.manifest.jsonl.zst`");
    }
    Ok(())
}

pub(crate) fn run_part(run: &str) -> String {
    if stands_for_itself(run) {
        return run.to_owned();
    }
    let mut part: String = run
        .chars()
        .map(|c| if is_allowed(c) { c } else { '_' })
        .skip_while(|c| *c == '.')
        .take(READABLE_MAX)
        .collect();
    part.push('-');
    let hash = HEXLOWER.encode(&Sha256::digest(run.as_bytes()));
    part.extend(hash.chars().take(HASH_DIGITS));
    part
}

/// A name stands for itself where Rucio allows it and it can be taken for nothing else: neither
/// a hidden folder, nor a manifest, nor the stand-in of another run.
fn stands_for_itself(run: &str) -> bool {
    run.len() <= RUN_BYTES_MAX
        && run.chars().all(|c| c == '/' || is_allowed(c))
        && !run
            .split('/')
            .any(|part| part.starts_with('.') || is_manifest_name(part))
        && !ends_like_a_stand_in(run)
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Whether a run part ends as that of a run whose name cannot be used.
pub(crate) fn ends_like_a_stand_in(run: &str) -> bool {
    run.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == HASH_DIGITS && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &str = "018f0000-0000-7000-8000-000000000001";
    const LAST: Generation = Generation {
        epoch: u32::MAX,
        sequence: u32::MAX,
    };

    fn path_of(run: &str) -> String {
        manifest_path(ORIGIN.parse().unwrap(), &run.parse().unwrap(), LAST, true)
    }

    fn rucio_allows(name: &str) -> bool {
        name.len() <= 250
            && name.starts_with(|c: char| c == '/' || c.is_ascii_alphanumeric())
            && name.chars().all(|c| c == '/' || is_allowed(c))
    }

    #[test]
    fn an_ordinary_run_keeps_its_name() {
        let path = manifest_path(
            ORIGIN.parse().unwrap(),
            &"HSC/runs/ci_hsc/20240806T180642Z".parse().unwrap(),
            Generation::FIRST,
            false,
        );
        assert_eq!(
            path,
            format!(
                "runsync/manifests/{ORIGIN}/HSC/runs/ci_hsc/20240806T180642Z/1-1.manifest.jsonl"
            )
        );
    }

    #[test]
    fn the_longest_name_that_stands_for_itself_fills_rucios_limit() {
        let path = path_of(&"r".repeat(RUN_BYTES_MAX));
        assert_eq!(path.len(), 250);
        assert!(path.contains(&"r".repeat(RUN_BYTES_MAX)));
    }

    #[test]
    fn awkward_runs_get_different_stand_ins_that_rucio_allows() {
        let runs = [
            "r".repeat(RUN_BYTES_MAX + 1),
            "r".repeat(RUN_BYTES_MAX + 2),
            "a run/with blanks".to_owned(),
            "a_run/with_blanks é".to_owned(),
            ".hidden/run".to_owned(),
            "u/.hidden".to_owned(),
            "u/1-1.manifest.jsonl".to_owned(),
            "ü".repeat(100),
        ];
        let paths: HashSet<String> = runs.iter().map(|run| path_of(run)).collect();
        assert_eq!(paths.len(), runs.len());
        for path in &paths {
            assert!(rucio_allows(path), "{path}");
            assert_eq!(check_manifest_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_run_named_like_a_stand_in_does_not_meet_it() {
        let stand_in = run_part("a run");
        assert!(stand_in.starts_with("a_run-"));
        assert_ne!(run_part(&stand_in), stand_in);
    }

    #[test]
    fn paths_outside_the_manifest_folder_are_refused() {
        for path in [
            "runsync/repository.json",
            "runsync/manifests",
            "runsync/manifests/../x.manifest.jsonl",
            "runsync/manifests//x.manifest.jsonl",
            "runsync/manifests/o/.x.manifest.jsonl",
            "runsync/manifests/o/x.tmp",
            "/runsync/manifests/x.manifest.jsonl",
            "runsync/manifestsx/x.manifest.jsonl",
            "runsync/manifests/a\0b.manifest.jsonl",
        ] {
            assert!(check_manifest_path(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_run_gets_a_path_that_rucio_allows(run in "[^\\x00]{1,120}") {
            if run.parse::<RunName>().is_ok() {
                let path = path_of(&run);
                prop_assert!(rucio_allows(&path), "{}", path);
                prop_assert_eq!(check_manifest_path(&path), Ok(()));
            }
        }
    }
}
