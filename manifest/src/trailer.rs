//! The last line of a manifest: what makes it whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;
use crate::signature::{KeyId, Signature};

/// The trailer line, less its `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AsWritten")]
pub struct Trailer {
    /// Lines before it, by kind.
    pub counts: Counts,
    /// Sum of `size` over all dataset lines, in bytes.
    pub total_bytes: u64,
    /// SHA-256 of all (unpacked) bytes before this line. The manifest's identity.
    pub sha256: Sha256,
    /// Key id and signature; absent in an unsigned manifest.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// Lines by kind; the header is always one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Dimension lines.
    pub dimension: u64,
    /// Dataset lines.
    pub dataset: u64,
}

/// The trailer's fields as they stand in the line. A key id without a signature,
/// or the reverse, is an error and never an unsigned manifest.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Trailer")]
struct AsWritten {
    /// Lines before it, by kind.
    counts: Counts,
    /// Sum of `size` over all dataset lines, in bytes.
    total_bytes: u64,
    /// SHA-256 of all (unpacked) bytes before this line. The manifest's identity.
    sha256: Sha256,
    /// The key that made the signature; absent in an unsigned manifest.
    #[serde(default)]
    key_id: Option<KeyId>,
    /// Base64 of the 64 bytes of the Ed25519 signature; present exactly where `key_id` is.
    #[serde(default)]
    #[schemars(length(equal = 88))]
    signature: Option<String>,
}

impl TryFrom<AsWritten> for Trailer {
    type Error = &'static str;

    fn try_from(written: AsWritten) -> Result<Self, Self::Error> {
        let signature = match (written.key_id, written.signature) {
            (None, None) => None,
            (Some(key_id), Some(text)) => {
                let signature = Signature {
                    key_id,
                    signature: text,
                };
                if !signature.is_well_formed() {
                    return Err("found another text in `signature`, expected base64 of 64 bytes");
                }
                Some(signature)
            }
            (Some(_), None) => return Err("found `key_id` without `signature`, expected both"),
            (None, Some(_)) => return Err("found `signature` without `key_id`, expected both"),
        };
        Ok(Self {
            counts: written.counts,
            total_bytes: written.total_bytes,
            sha256: written.sha256,
            signature,
        })
    }
}
