//! How names of the manifest's format appear in the OpenAPI document.
//!
//! The crate of the format knows nothing of HTTP; these types describe what its types look like as
//! JSON, and hold nothing.

use utoipa::ToSchema;
use uuid::Uuid;

/// The identity of a run.
#[derive(Debug, ToSchema)]
#[schema(as = RunKey)]
#[expect(dead_code, reason = "describes the JSON of `RunKey`")]
pub(crate) struct RunKeySchema {
    /// The repository that owns the run.
    origin: Uuid,
    /// The run's name.
    name: String,
}

/// The place of a manifest in its run's history.
#[derive(Debug, ToSchema)]
#[schema(as = Generation)]
#[expect(dead_code, reason = "describes the JSON of `Generation`")]
pub(crate) struct GenerationSchema {
    /// Which history.
    #[schema(minimum = 1)]
    epoch: u32,
    /// Place in it.
    #[schema(minimum = 1)]
    sequence: u32,
}

/// Checksums of an artifact, in lower-case hexadecimal digits.
#[derive(Debug, ToSchema)]
#[schema(as = Checksums)]
#[expect(dead_code, reason = "describes the JSON of `Checksums`")]
pub(crate) struct ChecksumsSchema {
    /// Adler-32.
    #[schema(pattern = "^[0-9a-f]{8}$")]
    adler32: String,
    /// MD5.
    #[schema(required = false, nullable = false, pattern = "^[0-9a-f]{32}$")]
    md5: Option<String>,
    /// SHA-256.
    #[schema(required = false, nullable = false, pattern = "^[0-9a-f]{64}$")]
    sha256: Option<String>,
}
