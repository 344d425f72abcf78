//! Keys and signatures: Ed25519 (RFC 8032) over domain, key id and digest.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::Signer as _;
use ed25519_dalek::ed25519::pkcs8::KeypairBytes;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::checksum::{HexDigits, Sha256, hex_digits};
use crate::error::{KeyError, NameError};

/// What a signature covers begins with this, so that it can be taken for no other.
pub const SIGNATURE_DOMAIN: &[u8] = b"runsync manifest 1\0";

/// The name of a public key: the first 16 bytes of its SHA-256, 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl FromStr for KeyId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        hex_digits(text).map(Self).ok_or_else(|| NameError {
            what: "key",
            name: text.chars().take(80).collect(),
            reason: "is not 32 lower-case hexadecimal digits",
        })
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(HexDigits::<16>).map(Self)
    }
}

impl JsonSchema for KeyId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
}

/// An Ed25519 public key. Text form: base64 of its 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Its name.
    pub fn id(&self) -> KeyId {
        let digest: [u8; 32] = sha2::Sha256::digest(self.0.as_bytes()).into();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        KeyId(id)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Refuses the few weak keys too, under which one signature fits many messages.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let refused = |reason| KeyError {
            what: "public",
            reason,
        };
        let bytes = fixed_base64(text).ok_or(refused("it is not base64 of 32 bytes"))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes)
            .map_err(|_| refused("its bytes are no point of the curve"))?;
        if key.is_weak() {
            return Err(refused("it is a weak key"));
        }
        Ok(Self(key))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0.as_bytes()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An Ed25519 signing key. `Debug` shows only its key id.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// Makes a key from 32 random bytes (this crate has no source of randomness).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 PEM file's text, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where the text is no such key. The error never holds the text.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| KeyError {
                what: "signing",
                reason: "it is not an unencrypted Ed25519 key in PKCS#8 PEM",
            })
    }

    /// The key as PKCS#8 PEM, version 1: openssl does not read version 2, which
    /// holds the public half too.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where encoding fails.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let halves = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        halves
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(|_| KeyError {
                what: "signing",
                reason: "it cannot be put into PKCS#8",
            })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a manifest's digest.
    pub fn sign(&self, digest: &Sha256) -> Signature {
        let key_id = self.public().id();
        let signature = self.0.sign(&signed_bytes(key_id, digest));
        Signature {
            key_id,
            signature: BASE64.encode(&signature.to_bytes()),
        }
    }
}

/// A signature in a trailer. `bytes` in text form: base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// The key that made it.
    pub key_id: KeyId,
    /// Base64 of the 64 bytes.
    pub signature: String,
}

impl Signature {
    /// Whether `key` made this signature over `digest`. The key's id must be
    /// the one named.
    pub fn is_by(&self, key: &PublicKey, digest: &Sha256) -> bool {
        let Some(bytes) = fixed_base64(&self.signature) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(&bytes);
        key.id() == self.key_id
            && key
                .0
                .verify_strict(&signed_bytes(self.key_id, digest), &signature)
                .is_ok()
    }

    /// Whether the text is base64 of 64 bytes.
    pub(crate) fn is_well_formed(&self) -> bool {
        fixed_base64::<64>(&self.signature).is_some()
    }
}

/// Domain, key id and digest, in this order: all of fixed length, so that no two
/// statements have the same bytes.
fn signed_bytes(key_id: KeyId, digest: &Sha256) -> Vec<u8> {
    [SIGNATURE_DOMAIN, &key_id.0, &digest.0].concat()
}

fn fixed_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    #[test]
    fn a_signature_holds_for_its_key_and_digest_only() {
        let digest = Sha256([1; 32]);
        let signature = key(1).sign(&digest);
        assert!(signature.is_by(&key(1).public(), &digest));
        assert!(!signature.is_by(&key(1).public(), &Sha256([2; 32])));
        assert!(!signature.is_by(&key(2).public(), &digest));
        let renamed = Signature {
            key_id: key(2).public().id(),
            ..signature.clone()
        };
        assert!(!renamed.is_by(&key(1).public(), &digest));
        assert!(!renamed.is_by(&key(2).public(), &digest));
        let cut = Signature {
            signature: "AAAA".into(),
            ..signature
        };
        assert!(!cut.is_by(&key(1).public(), &digest));
    }

    #[test]
    fn a_key_survives_its_text_forms() {
        let pem = key(3).to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let back = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(back.public(), key(3).public());
        let text = back.public().to_string();
        assert_eq!(text.parse(), Ok(back.public()));
        assert_eq!(
            format!("{back:?}"),
            format!("SigningKey({})", back.public().id())
        );
    }

    #[test]
    fn a_key_that_openssl_made_is_read() {
        // openssl genpkey -algorithm ed25519; openssl pkey -pubout -outform DER | tail -c 32 | base64
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMlfXJimiSwnzEVBrPndNF8OTB8qCvrL5wSHX0nzQEv7\n-----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(
            key.public().to_string(),
            "f6fVRG5cstVhfnnRsY+iAQk3JjjOZHHDd76WfJqbyfU="
        );
        assert_eq!(key.to_pem().unwrap(), pem);
    }

    #[test]
    fn weak_and_broken_public_keys_are_refused() {
        let identity = BASE64.encode(&{
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        });
        for wrong in ["", "AAAA", "not base64", &identity] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
