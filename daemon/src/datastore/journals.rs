//! The journal folder of a root: files that say which deletion is under way.
//!
//! Here they are bytes; what they say is `removal::journal`'s. A journal comes into being whole
//! and durable, or not at all, grows by whole lines, and goes durably.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};

use super::DatastoreError;

/// The folder of journals in a root.
pub const JOURNAL_FOLDER: &str = "runsync/journal";
/// How the name of a journal ends.
pub const JOURNAL_SUFFIX: &str = ".journal.jsonl";
/// Longest name of a journal, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Writes a journal's content.
pub type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// The journal folder of a root.
pub trait Journals: Send + Sync + Debug {
    /// The names of all journals, sorted. Temporary names are left out.
    fn list(&self) -> Result<Vec<String>, DatastoreError>;

    /// Has `fill` write a journal of that name, which is durable when this returns. An error leaves
    /// either nothing or the whole file.
    ///
    /// # Errors
    ///
    /// Also where there is a file of that name.
    fn create(&self, name: &str, fill: &mut Fill<'_>) -> Result<(), DatastoreError>;

    /// Opens a journal for reading; it is a regular file.
    fn open_journal(&self, name: &str) -> Result<File, DatastoreError>;

    /// Adds a line to a journal, durably. An error may leave a part of it.
    fn append(&self, name: &str, line: &str) -> Result<(), DatastoreError>;

    /// Removes a journal, durably; a missing one is as good.
    fn remove(&self, name: &str) -> Result<(), DatastoreError>;
}

/// Whether a file of this name in the journal folder is a journal.
pub fn is_journal_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    name.len() <= NAME_BYTES_MAX
        && name.strip_suffix(JOURNAL_SUFFIX).is_some_and(|stem| {
            stem.starts_with(|first: char| first.is_ascii_alphanumeric()) && stem.bytes().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_with_the_suffix_are_journals() {
        assert!(is_journal_name("20261127T102044Z-3f9a.journal.jsonl"));
        for other in [
            "",
            ".journal.jsonl",
            ".a.journal.jsonl",
            "a/b.journal.jsonl",
            "..journal.jsonl",
            "a\0.journal.jsonl",
            "a.journal",
        ] {
            assert!(!is_journal_name(other), "{other:?}");
        }
        assert!(!is_journal_name(&format!(
            "{}{JOURNAL_SUFFIX}",
            "a".repeat(200)
        )));
    }
}
