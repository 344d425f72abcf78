//! An error with its causes as one text, for logs and for the ledger's reasons.

use std::error::Error;

/// An error and its causes, joined as the edge prints them.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
