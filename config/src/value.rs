//! Reads single TOML values as the types of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use runsync_manifest::name::{RepositoryId, RseName, RunPrefix, Scope, SiteName, StorageClassName};
use toml::de::DeValue;

use crate::http::{Accounts, Role};
use crate::log::LogFormat;
use crate::problem::Reason;
use crate::root::{ConfirmLevel, RootName};

/// A type that one TOML value can stand for.
pub(crate) trait Value: Sized {
    /// Reads it, or says why it cannot be that.
    fn read(value: &DeValue<'_>) -> Result<Self, Reason>;
}

/// The text of a string value; `what` it should say is told where it is no string.
pub(crate) fn text<'v>(value: &'v DeValue<'_>, what: &str) -> Result<&'v str, Reason> {
    value
        .as_str()
        .ok_or_else(|| Reason::expected(&format!("a string with {what}"), value))
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        text(value, "text").map(str::to_owned)
    }
}

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        match text(value, "a path")? {
            "" => Err("must not be empty".into()),
            path => Ok(path.into()),
        }
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let expected = || Reason::expected("true or false", value);
        value.as_bool().ok_or_else(expected)
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
                let expected = || Reason::expected("a whole number", value);
                let number = value.as_integer().ok_or_else(expected)?;
                <$number>::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| format!("must be from 0 to {}", <$number>::MAX).into())
            }
        }
    )*};
}
whole_numbers!(u32, u64, usize);

macro_rules! parsed {
    ($($name:ty: $what:literal),* $(,)?) => {$(
        impl Value for $name {
            fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
                let text = text(value, $what)?;
                text.parse().map_err(|error| format!("is refused: {error}").into())
            }
        }
    )*};
}
parsed! {
    Accounts: "accounts",
    RepositoryId: "a repository's UUID",
    RootName: "a root's name",
    RseName: "an RSE's name",
    RunPrefix: "the start of run names",
    Scope: "a scope",
    SiteName: "a site's name",
    StorageClassName: "a storage class",
}

/// Reads one word of a fixed set.
pub(crate) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&'static str, T)]) -> Result<T, Reason> {
    let names: Vec<_> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
    let found = text(value, &format!("one of {}", names.join(", ")))?;
    let meant = words.iter().find(|(name, _)| *name == found);
    meant
        .map(|(_, word)| *word)
        .ok_or_else(|| format!("must be one of {}", names.join(", ")).into())
}

impl Value for ConfirmLevel {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [
            ("trust", Self::Trust),
            ("size", Self::Size),
            ("checksum", Self::Checksum),
        ];
        word(value, &words)
    }
}

impl Value for SocketAddr {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint =
            "an address is an IP address and a port, such as \"127.0.0.1:9610\" or \"[::1]:9610\"";
        let text = text(value, "an address").map_err(|reason| reason.hint(hint))?;
        text.parse()
            .map_err(|_| Reason::new("is no address").hint(hint))
    }
}

impl Value for Role {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("read", Self::Read), ("operate", Self::Operate)])
    }
}

impl Value for LogFormat {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [
            ("human", Self::Human),
            ("json", Self::Json),
            ("journald", Self::Journald),
        ];
        word(value, &words)
    }
}
