//! Spellings of one path: what a file system, a client or a copy may have made of it.
//!
//! A file whose name was spelled anew, in other case or in another form of the same letters, is lost and dark at
//! once. Both findings are true of the names; that they are of one artifact is told with them.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// A path without what spellings of it differ in: case, and how accents are written.
pub(crate) fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let letters = DecomposingNormalizerBorrowed::new_nfkd();
    let folded = letters.normalize(path).to_lowercase();
    letters.normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_fold_alike() {
        for (one, other) in [
            ("u/Night/A.fits", "u/night/a.FITS"),
            ("u/caf\u{e9}", "u/cafe\u{301}"),
            ("u/CAF\u{c9}", "u/cafe\u{301}"),
            ("\u{212b}", "\u{e5}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("u/a"), folded("u/b"));
    }
}
