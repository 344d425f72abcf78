//! Secrets, which are named by file and never written inline.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Largest secret file that is read, in bytes: far above any key or token.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The text of a secret file. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A secret file that cannot be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It cannot be opened or read.
    #[error("cannot read the secret file {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("the secret file {} is open to others (mode {mode:04o})", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no regular file, or far too long.
    #[error("{} is no secret file: {reason}", file.display())]
    Unlike {
        /// The file.
        file: PathBuf,
        /// What it is.
        reason: &'static str,
    },
}

impl SecretError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { file, .. } => {
                format!(
                    "make {} readable for the user that runs this",
                    file.display()
                )
            }
            Self::Open { file, .. } => format!("run `chmod 0600 {}`", file.display()),
            Self::Unlike { .. } => "name the file that holds the secret".to_owned(),
        }
    }
}

/// Reads a secret file, refusing one that anyone but its owner may touch.
///
/// The permissions are those of the file that is read: they are asked of the open handle.
pub fn read(file: &Path) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let unlike = |reason| SecretError::Unlike {
        file: file.to_owned(),
        reason,
    };
    let handle = File::open(file).map_err(unreadable)?;
    let metadata = handle.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unlike("not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let file = file.to_owned();
        return Err(SecretError::Open { file, mode });
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(unlike("too long"));
    }
    let mut text = String::new();
    let read = handle.take(SECRET_BYTES_MAX).read_to_string(&mut text);
    read.map_err(unreadable)?;
    Ok(Secret(text))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test file needs no durability")]
    fn file_of_mode(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "hush").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        (folder, file)
    }

    #[test]
    fn a_file_of_its_owner_alone_is_read_and_never_shown() {
        let (_folder, file) = file_of_mode(0o600);
        let secret = read(&file).unwrap();
        assert_eq!(secret.expose(), "hush");
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_its_mode() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_folder, file) = file_of_mode(mode);
            let error = read(&file).unwrap_err();
            assert!(error.to_string().ends_with(&format!("(mode {mode:04o})")));
            assert!(error.hint().starts_with("run `chmod 0600 "));
        }
    }

    #[test]
    fn a_folder_or_nothing_at_all_is_refused() {
        let (folder, file) = file_of_mode(0o600);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(SecretError::Unlike { .. })
        ));
        assert!(matches!(
            read(&file.join("x")),
            Err(SecretError::Unreadable { .. })
        ));
    }
}
