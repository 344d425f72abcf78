//! The last line of a manifest: what makes it whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;
use crate::signature::Signature;

/// The trailer line, less its `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
