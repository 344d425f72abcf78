//! A sum over files that does not depend on their order: tells two sets apart without keeping either.
//!
//! Each file's name, size and checksum are hashed (SHA-256, its first 128 bits), and the hashes added:
//! a set hash as of Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing" (1997). It
//! is safe against accidents, and Rucio's answers are no attacker's.

use sha2::{Digest, Sha256};

use crate::rucio::dids::Content;

/// Files added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) files: u64,
    pub(super) bytes: u64,
    hash: u128,
}

impl Sum {
    pub(super) fn add(&mut self, file: u128, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.hash = self.hash.wrapping_add(file);
    }
}

/// The hash of one file. The checksum is compared as it is written in lower case.
pub(super) fn hash(name: &str, bytes: u64, adler32: &str) -> u128 {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(bytes.to_be_bytes());
    hash.update(adler32.to_ascii_lowercase().as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(hash.finalize().get(..16).unwrap_or(&[0; 16]));
    u128::from_be_bytes(first)
}

/// The hash of something attached.
pub(super) fn hash_of(content: &Content) -> u128 {
    hash(
        &content.name,
        content.bytes.unwrap_or_default(),
        content.adler32.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter_and_every_field_does() {
        let sum = |files: &[(&str, u64, &str)]| {
            let mut sum = Sum::default();
            for (name, bytes, adler32) in files {
                sum.add(hash(name, *bytes, adler32), *bytes);
            }
            sum
        };
        let files = [("a", 1, "0a0b0c0d"), ("b", 2, "0a0b0c0d")];
        assert_eq!(sum(&files), sum(&[files[1], ("a", 1, "0A0B0C0D")]));
        for other in [
            [("a", 1, "0a0b0c0e"), files[1]],
            [("a", 2, "0a0b0c0d"), ("b", 1, "0a0b0c0d")],
            [("c", 1, "0a0b0c0d"), files[1]],
            [files[0], files[0]],
        ] {
            assert_ne!(sum(&files), sum(&other), "{other:?}");
        }
    }
}
