//! Checksums of artifacts and of manifests: Adler-32, MD5, SHA-256.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use md5::Digest as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::NameError;

/// 256 KiB: large enough that system calls do not count, small enough for the cache.
const BUFFER_BYTES: usize = 256 << 10;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $digits:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Its digits, written without taking memory: they are written for every artifact.
            fn with_digits<T>(&self, write: impl FnOnce(&str) -> T) -> T {
                let mut digits = [0; $digits];
                write(data_encoding::HEXLOWER.encode_mut_str(&self.0, &mut digits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.with_digits(|digits| f.write_str(digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                hex_digits(text).map(Self).ok_or_else(|| NameError {
                    what: $what,
                    name: text.chars().take(80).collect(),
                    reason: concat!("is not ", stringify!($digits), " lower-case hexadecimal digits"),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.with_digits(|digits| to.serialize_str(digits))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(HexDigits::<$bytes>).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^[0-9a-f]{", stringify!($digits), "}$"),
                })
            }
        }
    };
}

digest! {
    /// Adler-32 (RFC 1950), big-endian, written as 8 lower-case hexadecimal digits, as Rucio does.
    Adler32, 4, 8, "adler32"
}
digest! {
    /// MD5 (RFC 1321), 32 lower-case hexadecimal digits.
    Md5, 16, 32, "md5"
}
digest! {
    /// SHA-256 (FIPS 180-4), 64 lower-case hexadecimal digits.
    Sha256, 32, 64, "sha256"
}

/// The checksums of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Checksums {
    /// Always there: the one that Rucio always has.
    pub adler32: Adler32,
    /// Where the writer was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
    /// Where the writer was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// Which checksums to compute beside Adler-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// MD5 too.
    pub md5: bool,
    /// SHA-256 too.
    pub sha256: bool,
}

/// Room for reading, to be used for one file after the other: made anew for each, it would cost
/// more than the checksum of a small one.
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// An empty one.
    pub fn new() -> Self {
        Self(vec![0; BUFFER_BYTES].into())
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads `from` to its end once and returns its size in bytes and its checksums.
///
/// # Errors
///
/// Whatever reading returns.
pub fn checksum(from: impl Read, wanted: Wanted) -> io::Result<(u64, Checksums)> {
    checksum_with(&mut Buffer::new(), from, wanted)
}

/// As [`checksum`], with a buffer that the caller keeps for the next one.
///
/// # Errors
///
/// Whatever reading returns.
pub fn checksum_with(
    Buffer(buffer): &mut Buffer,
    mut from: impl Read,
    wanted: Wanted,
) -> io::Result<(u64, Checksums)> {
    let mut size = 0;
    let mut adler32 = simd_adler32::Adler32::new();
    let mut md5 = wanted.md5.then(md5::Md5::new);
    let mut sha256 = wanted.sha256.then(sha2::Sha256::new);
    loop {
        let count = match from.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        size += bytes.len() as u64;
        adler32.write(bytes);
        if let Some(md5) = &mut md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut sha256 {
            sha256.update(bytes);
        }
    }
    let checksums = Checksums {
        adler32: Adler32(adler32.finish().to_be_bytes()),
        md5: md5.map(|digest| Md5(digest.finalize().into())),
        sha256: sha256.map(|digest| Sha256(digest.finalize().into())),
    };
    Ok((size, checksums))
}

/// Exactly `N` bytes from twice as many lower-case hexadecimal digits.
pub(crate) fn hex_digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    data_encoding::HEXLOWER
        .decode_mut(text.as_bytes(), &mut bytes)
        .ok()?;
    Some(bytes)
}

/// Reads [`hex_digits`] without copying the text.
pub(crate) struct HexDigits<const N: usize>;

impl<const N: usize> serde::de::Visitor<'_> for HexDigits<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lower-case hexadecimal digits", 2 * N)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        hex_digits(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted {
        md5: true,
        sha256: true,
    };

    #[test]
    fn checksums_are_those_of_the_published_test_vectors() {
        let (size, sums) = checksum(&b"abc"[..], ALL).unwrap();
        assert_eq!(size, 3);
        assert_eq!(sums.adler32.to_string(), "024d0127");
        assert_eq!(
            sums.md5.unwrap().to_string(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            sums.sha256.unwrap().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_empty_artifact_has_checksums_too() {
        let (size, sums) = checksum(io::empty(), Wanted::default()).unwrap();
        assert_eq!((size, sums.adler32.to_string()), (0, "00000001".into()));
        assert_eq!((sums.md5, sums.sha256), (None, None));
    }

    #[test]
    fn an_artifact_longer_than_the_buffer_is_read_whole() {
        let bytes = vec![7; 3 * BUFFER_BYTES + 1];
        let (size, sums) = checksum(bytes.as_slice(), ALL).unwrap();
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(
            sums.adler32.0,
            simd_adler32::adler32(&bytes.as_slice()).to_be_bytes()
        );
        assert_eq!(
            sums.sha256.unwrap().0,
            <[u8; 32]>::from(sha2::Sha256::digest(&bytes))
        );
    }

    #[test]
    fn a_digest_is_read_only_in_its_canonical_form() {
        assert_eq!("024d0127".parse(), Ok(Adler32([2, 0x4d, 1, 0x27])));
        for wrong in [
            "24d0127",
            "0024d0127",
            "024D0127",
            "0x4d0127",
            "024d012g",
            "",
        ] {
            assert!(wrong.parse::<Adler32>().is_err(), "{wrong}");
            assert!(serde_json::from_value::<Adler32>(wrong.into()).is_err());
        }
    }
}
