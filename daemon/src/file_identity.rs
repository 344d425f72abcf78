//! What tells one state of a file from another without reading it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Size, time of change and inode of a file at one moment. Two equal identities
/// are taken for the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct FileIdentity {
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970 (UTC).
    pub modified_ns: i64,
    /// Inode number, 0 where the store has none.
    pub inode: u64,
}
