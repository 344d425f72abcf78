//! The file by which one site gives another its public key.

use runsync_manifest::error::KeyError;
use runsync_manifest::name::{RepositoryId, SiteName};
use runsync_manifest::signature::{KeyId, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the file that is read and written.
const FORMAT: u32 = 1;

/// A public key, and whose it is. As JSON it also names its format and its key id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct PublicKeyFile {
    /// The site that signs with it.
    pub site: SiteName,
    /// That site's repository: the origin of the manifests that it signs.
    pub repository: RepositoryId,
    /// The key.
    pub public_key: PublicKey,
    /// Whether the operator here revoked it. Never set in a file that is sent.
    pub revoked: bool,
}

impl PublicKeyFile {
    /// The key's id.
    pub fn key_id(&self) -> KeyId {
        self.public_key.id()
    }

    /// The file's name in the folder of trusted keys.
    pub fn name(key_id: KeyId) -> String {
        format!("{key_id}.json")
    }
}

/// Well-formed JSON that is no public key file.
#[derive(Debug, Error)]
enum KeyFileError {
    #[error("its format is {0}, not {FORMAT}: a newer runsync wrote it")]
    Format(u32),
    #[error("its `key_id` is not that of its `public_key`, which is {0}")]
    KeyId(KeyId),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The file as it is written. A field that is not known is refused: it may be a misspelt `revoked`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    site: SiteName,
    repository: RepositoryId,
    key_id: KeyId,
    public_key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
}

impl From<PublicKeyFile> for Written {
    fn from(file: PublicKeyFile) -> Self {
        Self {
            format: FORMAT,
            key_id: file.key_id(),
            site: file.site,
            repository: file.repository,
            public_key: file.public_key.to_string(),
            revoked: file.revoked,
        }
    }
}

impl TryFrom<Written> for PublicKeyFile {
    type Error = KeyFileError;

    fn try_from(written: Written) -> Result<Self, KeyFileError> {
        if written.format != FORMAT {
            return Err(KeyFileError::Format(written.format));
        }
        let file = Self {
            site: written.site,
            repository: written.repository,
            public_key: written.public_key.parse()?,
            revoked: written.revoked,
        };
        if file.key_id() == written.key_id {
            Ok(file)
        } else {
            Err(KeyFileError::KeyId(file.key_id()))
        }
    }
}

#[cfg(test)]
mod tests {
    use runsync_manifest::signature::SigningKey;
    use serde_json::{Value, json};

    use super::*;

    fn file() -> PublicKeyFile {
        PublicKeyFile {
            site: "SITE_B".parse().unwrap(),
            repository: "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11".parse().unwrap(),
            public_key: SigningKey::from_seed(&[7; 32]).public(),
            revoked: false,
        }
    }

    #[test]
    fn a_file_reads_back_and_names_a_revocation_only_where_there_is_one() {
        let json = serde_json::to_value(file()).unwrap();
        assert_eq!(json.get("revoked"), None);
        assert_eq!(
            serde_json::from_value::<PublicKeyFile>(json).unwrap(),
            file()
        );
        let revoked = PublicKeyFile {
            revoked: true,
            ..file()
        };
        let json = serde_json::to_value(&revoked).unwrap();
        assert_eq!(
            serde_json::from_value::<PublicKeyFile>(json).unwrap(),
            revoked
        );
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for (field, value) in [
            ("format", json!(2)),
            ("key_id", json!("00000000000000000000000000000000")),
            ("public_key", json!("AAAA")),
            ("site", json!("a/b")),
            ("revokd", json!(true)),
        ] {
            let mut json: Value = serde_json::to_value(file()).unwrap();
            json.as_object_mut()
                .unwrap()
                .insert(field.to_owned(), value);
            let refused = serde_json::from_value::<PublicKeyFile>(json);
            assert!(refused.is_err(), "{field}");
        }
    }
}
