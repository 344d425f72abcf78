//! Who may read a manifest, and who may rewrite it.

/// The major version this crate reads and writes. A reader ignores unknown fields
/// within it and refuses a higher one; a writer never rewrites a newer one.
pub const FORMAT: u32 = 1;
