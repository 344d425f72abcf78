//! Which names a server takes: checked before anything is sent.
//!
//! The server would refuse the same names, a whole bulk call for one of them, with an answer that
//! repeats the call. The patterns are those of `rucio/common/schema/generic.py` and of the Rubin
//! Observatory's policy package.

use runsync_config::rucio::NameSchema;
use thiserror::Error;

use super::did::Did;

/// Longest scope: `SCOPE_LENGTH` in `rucio/common/constants.py`.
const SCOPE_MAX: usize = 25;
/// Longest account: `ACCOUNT_LENGTH` there.
const ACCOUNT_MAX: usize = 25;
/// Longest name in Rucio's own schema: `NAME_LENGTH` there.
const NAME_MAX: usize = 250;
/// Longest name in the Rubin Observatory's.
const RUBIN_NAME_MAX: usize = 500;

/// A name that a server would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} `{name}` {reason}")]
pub struct NameRefused {
    /// What it names.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// What it breaks.
    pub reason: String,
}

/// The names that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema(pub NameSchema);

impl Schema {
    /// Checks a data identifier.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub fn check(self, did: &Did) -> Result<(), NameRefused> {
        self.check_scope(did.scope.as_str())?;
        self.check_name(&did.name)
    }

    /// Checks a scope.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub fn check_scope(self, scope: &str) -> Result<(), NameRefused> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        check(
            "scope",
            scope,
            SCOPE_MAX,
            allowed,
            "letters, digits, `_`, `-` and `.`",
        )
    }

    /// Checks an account.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub fn check_account(self, account: &str) -> Result<(), NameRefused> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        check(
            "account",
            account,
            ACCOUNT_MAX,
            allowed,
            "lower-case letters, digits, `-` and `_`",
        )
    }

    /// Checks an RSE's name.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub fn check_rse(self, rse: &str) -> Result<(), NameRefused> {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        if rse.split(['_', '-']).all(part) {
            return Ok(());
        }
        let reason = "is not made of upper-case letters and digits, with single `_` or `-` between";
        Err(refuse("RSE", rse, reason.to_owned()))
    }

    fn check_name(self, name: &str) -> Result<(), NameRefused> {
        let word = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        match self.0 {
            NameSchema::Generic => {
                let what = "letters, digits, `/`, `.`, `_` and `-`";
                check("DID name", name, NAME_MAX, word, what)?;
                if name.starts_with(['.', '_', '-']) {
                    let reason = "must begin with a letter, a digit or `/`";
                    return Err(refuse("DID name", name, reason.to_owned()));
                }
                Ok(())
            }
            NameSchema::Rubin => {
                // `\w` of Python matches letters of every script.
                let allowed = |c: char| word(c) || c == '+' || c.is_alphanumeric();
                let what = "letters, digits, `/`, `.`, `_`, `-` and `+`";
                check("DID name", name, RUBIN_NAME_MAX, allowed, what)
            }
        }
    }
}

fn check(
    what: &'static str,
    name: &str,
    most: usize,
    allowed: impl Fn(char) -> bool,
    which: &str,
) -> Result<(), NameRefused> {
    let length = name.chars().count();
    if length == 0 {
        return Err(refuse(what, name, "is empty".to_owned()));
    }
    if length > most {
        let reason = format!("has {length} characters, and the server takes {most}");
        return Err(refuse(what, name, reason));
    }
    if let Some(wrong) = name.chars().find(|c| !allowed(*c)) {
        let reason = format!("holds {wrong:?}, and the server takes {which}");
        return Err(refuse(what, name, reason));
    }
    Ok(())
}

fn refuse(what: &'static str, name: &str, reason: String) -> NameRefused {
    NameRefused {
        what,
        name: name.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(schema: NameSchema, name: &str) -> bool {
        Schema(schema).check_name(name).is_ok()
    }

    #[test]
    fn names_are_those_of_rucios_own_schema() {
        use NameSchema::Generic;
        for name in ["a", "/store/x.root", "u/a-b_c.fits", &"x".repeat(250)] {
            assert!(takes(Generic, name), "{name}");
        }
        for name in ["", ".a", "-a", "a b", "a+b", "é", &"x".repeat(251)] {
            assert!(!takes(Generic, name), "{name}");
        }
    }

    #[test]
    fn rubins_schema_takes_more() {
        use NameSchema::Rubin;
        for name in ["a+b", "é", ".a", &"x".repeat(500)] {
            assert!(takes(Rubin, name), "{name}");
        }
        for name in ["", "a b", "a:b", &"x".repeat(501)] {
            assert!(!takes(Rubin, name), "{name}");
        }
    }

    #[test]
    fn accounts_scopes_and_rses_have_patterns_of_their_own() {
        let schema = Schema(NameSchema::Generic);
        assert!(schema.check_account("svc-runsync_1").is_ok());
        assert!(schema.check_account("Alice").is_err());
        assert!(schema.check_scope("user.alice").is_ok());
        assert!(schema.check_scope(&"s".repeat(26)).is_err());
        assert!(schema.check_rse("SITE_A-DISK2").is_ok());
        for rse in ["site", "SITE__A", "_SITE", "SITE.A", ""] {
            assert!(schema.check_rse(rse).is_err(), "{rse}");
        }
    }
}
