//! `runsync/repository.json`: who a root belongs to.

use runsync_manifest::name::{RepositoryId, SiteName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::RepositoryFileError;

/// Where the file lies in its root.
pub const REPOSITORY_FILE: &str = "runsync/repository.json";
/// The format that this version reads and writes.
pub const FORMAT: u32 = 1;
/// Largest file that is read, in bytes; a real one has some hundred.
pub const BYTES_MAX: usize = 64 * 1024;

/// `runsync/repository.json`: which repository and registry a root belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFile {
    /// Version of this file's format, 1.
    pub format: u32,
    /// The repository.
    pub repository: RepositoryId,
    /// Its site.
    pub site: SiteName,
    /// The registry that this root is bound to.
    pub registry: Uuid,
    /// Where journals live, where that is not the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_directory: Option<String>,
}

/// The one field that every format has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

impl RepositoryFile {
    /// Reads the file's text. The format is judged before anything else, so that a newer
    /// file is called newer and not broken.
    ///
    /// # Errors
    ///
    /// [`RepositoryFileError`] says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, RepositoryFileError> {
        if text.len() > BYTES_MAX {
            return Err(RepositoryFileError::TooLarge);
        }
        let Version { format } = serde_json::from_slice(text)?;
        if format != u64::from(FORMAT) {
            return Err(RepositoryFileError::Format { found: format });
        }
        Ok(serde_json::from_slice(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"format":1,"repository":"018f0000-0000-7000-8000-000000000001",
        "site":"SITE_A","registry":"018f0000-0000-7000-8000-000000000002","later":true}"#;

    #[test]
    fn unknown_fields_are_ignored() {
        let file = RepositoryFile::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(file.site.as_str(), "SITE_A");
        assert_eq!(file.journal_directory, None);
    }

    #[test]
    fn a_newer_format_is_called_newer_even_when_its_fields_differ() {
        let error = RepositoryFile::parse(br#"{"format":2}"#).unwrap_err();
        assert!(matches!(error, RepositoryFileError::Format { found: 2 }));
    }

    #[test]
    fn an_oversized_file_is_refused() {
        let error = RepositoryFile::parse(&vec![b' '; BYTES_MAX + 1]).unwrap_err();
        assert!(matches!(error, RepositoryFileError::TooLarge));
    }

    #[test]
    fn what_is_written_reads_back() {
        let file = RepositoryFile::parse(GOOD.as_bytes()).unwrap();
        let text = serde_json::to_vec(&file).unwrap();
        assert_eq!(RepositoryFile::parse(&text).unwrap(), file);
    }
}
