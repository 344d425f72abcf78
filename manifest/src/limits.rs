//! Limits that the reader enforces while reading, so that a hostile file costs
//! bounded memory and time.

/// How much of a manifest is read before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest line, in bytes.
    pub line_bytes_max: u64,
    /// Most bytes of the file as it lies there.
    pub packed_bytes_max: u64,
    /// Most bytes after unpacking.
    pub unpacked_bytes_max: u64,
    /// Most unpacked bytes per packed byte, counted once the first MiB is unpacked.
    pub unpacked_ratio_max: u64,
    /// Base-2 logarithm of the largest zstd window, in bytes.
    pub zstd_window_log_max: u32,
    /// Most dataset lines.
    pub entries_max: u64,
}
