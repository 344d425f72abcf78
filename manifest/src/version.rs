//! Who may read a manifest, and who may rewrite it.
//!
//! One number, the major version. Within it, fields may be added: a reader
//! ignores those that it does not know. A higher number is refused unread, and
//! nothing that carries one is rewritten, for what is not understood would be lost.

use crate::error::{Fault, ReadError};

/// The major version this crate reads and writes. A reader ignores unknown fields
/// within it and refuses a higher one; a writer never rewrites a newer one.
pub const FORMAT: u32 = 1;

/// Whether a manifest of this format may be read.
///
/// # Errors
///
/// [`ReadError::Newer`] for a higher one, [`ReadError::Invalid`] for 0.
pub fn may_read(format: u64) -> Result<(), ReadError> {
    if format > u64::from(FORMAT) {
        return Err(ReadError::Newer { format });
    }
    if format == 0 {
        return Err(ReadError::Invalid {
            line: 1,
            fault: Fault::field_text("format", "0", "1"),
        });
    }
    Ok(())
}

/// Whether a header of this format may be written.
///
/// # Errors
///
/// [`Fault::Field`] for every other format than [`FORMAT`]: an older one is not
/// written anew, a newer one is not understood.
pub fn may_write(format: u32) -> Result<(), Fault> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Fault::field_text("format", &format.to_string(), "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_format_is_written() {
        assert!(may_write(FORMAT).is_ok());
        assert!(may_write(0).is_err());
        assert!(may_write(FORMAT + 1).is_err());
    }

    #[test]
    fn a_newer_format_is_told_apart_from_a_wrong_one() {
        assert!(may_read(1).is_ok());
        assert!(matches!(may_read(2), Err(ReadError::Newer { format: 2 })));
        assert!(matches!(may_read(0), Err(ReadError::Invalid { .. })));
    }
}
