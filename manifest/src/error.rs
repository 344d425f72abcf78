//! Every way a manifest, a name or a key is wrong.

use thiserror::Error;

/// A name that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} name `{}` {reason}", name.escape_debug())]
pub struct NameError {
    /// What was to be named.
    pub what: &'static str,
    /// The name, cut at 80 characters.
    pub name: String,
    /// Why it is refused.
    pub reason: &'static str,
}

/// A key that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot read {what} key: {reason}")]
pub struct KeyError {
    /// `public` or `signing`.
    pub what: &'static str,
    /// Why; never holds key material.
    pub reason: &'static str,
}

/// A manifest that cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes end before the trailer: it has not arrived whole.
    #[error("line {line}: the file ends before its trailer")]
    Incomplete {
        /// The line that is cut, or would come next.
        line: u64,
    },
}

/// A manifest that cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Writing failed.
    #[error("cannot write the manifest")]
    Io(#[from] std::io::Error),
}
