//! Keys and signatures: Ed25519 (RFC 8032) over domain, key id and digest.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;
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
        let _ = text;
        todo!()
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let _ = from;
        todo!()
    }
}

impl JsonSchema for KeyId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        todo!()
    }
}

/// An Ed25519 public key. Text form: base64 of its 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Its name.
    pub fn id(&self) -> KeyId {
        todo!()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
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
        let _ = pem;
        todo!()
    }

    /// The key as PKCS#8 PEM.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where encoding fails.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        todo!()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a manifest's digest.
    pub fn sign(&self, digest: &Sha256) -> Signature {
        let _ = digest;
        todo!()
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
        let _ = (key, digest);
        todo!()
    }
}
