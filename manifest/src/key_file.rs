//! The file in which one site hands its public key to another.
//!
//! Small JSON for people to pass on and look at: whose key it is, and the key
//! with its id, so that a letter lost on the way is noticed. It proves nothing
//! by itself; whoever trusts it compares the key id by another way.

use serde::{Deserialize, Serialize};

use crate::error::KeyFileError;
use crate::name::{RepositoryId, SiteName};
use crate::signature::{KeyId, PublicKey};

/// The version of this file's format.
pub const KEY_FILE_FORMAT: u32 = 1;

/// A public key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeyFile {
    /// Version of this file's format, 1.
    pub format: u32,
    /// The site that signs with the key.
    pub site: SiteName,
    /// Its repository: the origin of the manifests that it signs.
    pub repository: RepositoryId,
    /// The key's name, derived from it.
    pub key_id: KeyId,
    /// The key.
    pub public_key: PublicKey,
}

impl PublicKeyFile {
    /// Describes a key.
    pub fn new(site: SiteName, repository: RepositoryId, public_key: PublicKey) -> Self {
        Self {
            format: KEY_FILE_FORMAT,
            site,
            repository,
            key_id: public_key.id(),
            public_key,
        }
    }

    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] where it is no such file, of a later format, or its key id
    /// is not that of its key.
    pub fn from_json(text: &str) -> Result<Self, KeyFileError> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }

        let FormatOnly { format } = serde_json::from_str(text)?;
        if format != KEY_FILE_FORMAT {
            return Err(KeyFileError::Format { found: format });
        }
        let file: Self = serde_json::from_str(text)?;
        let found = file.public_key.id();
        if found != file.key_id {
            return Err(KeyFileError::KeyId {
                stated: file.key_id,
                found,
            });
        }
        Ok(file)
    }

    /// The file's text: indented JSON that ends with a newline.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Json`] where serializing fails, which it does not for names and keys.
    pub fn to_json(&self) -> Result<String, KeyFileError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::signature::SigningKey;

    fn file() -> PublicKeyFile {
        PublicKeyFile::new(
            "SITE_A".parse().unwrap(),
            "00000000-0000-0000-0000-00000000000a".parse().unwrap(),
            SigningKey::from_seed(&[7; 32]).public(),
        )
    }

    #[test]
    fn a_key_file_is_read_as_it_was_written() {
        let text = file().to_json().unwrap();
        assert_eq!(PublicKeyFile::from_json(&text).unwrap(), file());
        assert_snapshot!(text, @r#"
        {
          "format": 1,
          "site": "SITE_A",
          "repository": "00000000-0000-0000-0000-00000000000a",
          "key_id": "fe812c12f3ab4ce6ac5db69ac352f906",
          "public_key": "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="
        }
        "#);
    }

    #[test]
    fn a_key_that_does_not_fit_its_id_is_refused() {
        let told = |from: &str, to: &str| {
            let text = file().to_json().unwrap();
            assert!(text.contains(from));
            let error = PublicKeyFile::from_json(&text.replacen(from, to, 1)).unwrap_err();
            match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        };
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert_snapshot!(told(&file().public_key.to_string(), &other.to_string()), @"cannot trust the public key file: its key has the id 5c29b78f10a35a49a6231d08ee840a04, but it says fe812c12f3ab4ce6ac5db69ac352f906");
        assert_snapshot!(told(&file().public_key.to_string(), "AAAA"), @"cannot read the public key file: cannot read public key: it is not base64 of 32 bytes at line 7 column 1");
        assert_snapshot!(told(r#""format": 1"#, r#""format": 2"#), @"cannot read the public key file: field `format`: found 2, expected 1");
        assert_snapshot!(told(r#""site""#, r#""cite""#), @"cannot read the public key file: missing field `site` at line 7 column 1");
    }
}
