//! Names under which transfers, copies and file systems keep what is not an artifact yet, or no more.

/// How names end that tools give to what they are still writing.
const SUFFIXES: [&str; 6] = [
    ".part",
    ".partial",
    ".tmp",
    ".temp",
    ".rucio.upload",
    ".filepart",
];

/// Whether a path that nothing names is of such a name, or hidden: `.nfs…` and `.snapshot` are, and so are the
/// temporary files of rsync and of runsync itself.
pub(super) fn is_temporary(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
        || SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_being_written_are_told_from_others() {
        for temporary in [
            "u/a/.x.fits.AbCdEf",
            "u/a/x.fits.part",
            "u/a/x.rucio.upload",
            ".snapshot/hourly/u/a/x.fits",
            "u/a/.nfs000000001",
        ] {
            assert!(is_temporary(temporary), "{temporary}");
        }
        for other in ["u/a/x.fits", "u/part/x", "u/a.b/x", "tmp"] {
            assert!(!is_temporary(other), "{other}");
        }
    }
}
