//! What a caller does about an error.

/// Every error of the daemon answers with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The cause may pass: try the same again later.
    Retry,
    /// The input is wrong: set it aside for the operator and go on with the rest.
    Quarantine,
    /// Nothing of this kind can succeed until the operator acts.
    Stop,
}
