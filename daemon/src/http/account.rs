//! Who asks, and what they may: by the peer's user on the Unix socket, by a token over TCP.
//!
//! The kernel says who is at the other end of a Unix socket; what that account may do follows from
//! its name and groups, which are asked of the system and remembered for a minute. Over TCP a token
//! decides. Its digest is compared in constant time, so that neither its text nor its length shows
//! in how long a refusal takes.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User};
use runsync_config::http::{Accounts, Http, Role};
use runsync_config::secret::{self, SecretError};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use super::names::{Names, System};
use crate::poison::lock;

/// How long what the system said of a user is believed: a name service may be far away, and a
/// change of groups should count soon.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Fewest bytes of a token: half as many as `openssl rand -hex 16` makes resist guessing.
const TOKEN_BYTES_MIN: usize = 16;

/// Somebody who asks. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// The user's name, or the token's; `uid 1234` for a user without a name.
    pub(super) name: Arc<str>,
    /// The user on the Unix socket.
    pub(super) uid: Option<u32>,
    /// What it may do; none: nothing.
    pub(super) role: Option<Role>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(_) => f.write_str(&self.name),
            None => write!(f, "token {}", self.name),
        }
    }
}

impl Account {
    /// What it is called as the owner of what it makes and asks for: a token never passes for the
    /// user of its name.
    pub(super) fn owner(&self) -> String {
        self.to_string()
    }
}

/// Why access cannot be set up.
#[derive(Debug, Error)]
pub enum AccessError {
    /// A token's file cannot be used.
    #[error("cannot read the token `{token}`")]
    Token {
        /// What the token is called.
        token: String,
        /// Why.
        source: SecretError,
    },
    /// A token is too easy to guess.
    #[error("the token `{token}` in {} is shorter than {TOKEN_BYTES_MIN} characters", file.display())]
    Short {
        /// What the token is called.
        token: String,
        /// Its file.
        file: PathBuf,
    },
    /// Two tokens are the same.
    #[error("the tokens `{first}` and `{second}` are the same")]
    Same {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

impl AccessError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Token { source, .. } => source.hint(),
            Self::Short { .. } | Self::Same { .. } => {
                "make a token of its own with `openssl rand -hex 32`".to_owned()
            }
        }
    }
}

/// The system does not say who a user is, or which groups there are.
#[derive(Debug, Error)]
#[error("cannot ask the system for {what}")]
pub(super) struct NameError {
    what: String,
    source: Errno,
}

/// Who may do what, as configuration and token files say at one moment.
#[derive(Debug)]
pub(super) struct Access {
    own: Uid,
    operators: Vec<Accounts>,
    readers: Vec<Accounts>,
    tokens: Vec<Known>,
    names: Box<dyn Names>,
    users: Mutex<HashMap<u32, (Account, Instant)>>,
}

/// A token, of which nothing but its digest is kept.
struct Known {
    account: Account,
    digest: [u8; 32],
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.account, f)
    }
}

impl Access {
    /// Reads the tokens' files.
    pub(super) fn read(http: &Http) -> Result<Self, AccessError> {
        let mut tokens: Vec<Known> = Vec::new();
        for token in &http.tokens {
            let name = token.name.clone();
            let text = secret::read(&token.file).map_err(|source| AccessError::Token {
                token: name.clone(),
                source,
            })?;
            let text = text.expose().trim();
            if text.len() < TOKEN_BYTES_MIN {
                let file = token.file.clone();
                return Err(AccessError::Short { token: name, file });
            }
            let digest = digest(text);
            if let Some(first) = tokens.iter().find(|known| known.digest == digest) {
                let first = first.account.name.to_string();
                return Err(AccessError::Same {
                    first,
                    second: name,
                });
            }
            let account = Account {
                name: name.into(),
                uid: None,
                role: Some(token.role),
            };
            tokens.push(Known { account, digest });
        }
        Ok(Self {
            own: Uid::effective(),
            operators: http.operators.clone(),
            readers: http.readers.clone(),
            tokens,
            names: Box::new(System),
            users: Mutex::default(),
        })
    }

    /// The account that holds a token. All tokens are compared, whichever fits.
    pub(super) fn holder(&self, token: &str) -> Option<Account> {
        let digest = digest(token);
        let mut found = 0_u32;
        for (number, known) in (1_u32..).zip(&self.tokens) {
            let same: Choice = known.digest.ct_eq(&digest);
            found.conditional_assign(&number, same);
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.tokens.get(index).map(|known| known.account.clone())
    }

    /// The account of a user, where it is remembered.
    pub(super) fn remembered(&self, uid: u32) -> Option<Account> {
        let users = lock(&self.users);
        let (account, asked) = users.get(&uid)?;
        (asked.elapsed() < REMEMBERED).then(|| account.clone())
    }

    /// Asks the system for a user. Blocks: a name service may be far away. What it cannot tell is
    /// not remembered; root and the daemon's own user may operate whatever it tells.
    pub(super) fn user(&self, uid: u32) -> Result<Account, NameError> {
        let account = match self.look_user_up(uid) {
            Err(error) if self.is_trusted(uid) => {
                warn!(uid, error = %error.source, "cannot ask the system for a user");
                let name = nameless(uid);
                let (uid, role) = (Some(uid), Some(Role::Operate));
                return Ok(Account { name, uid, role });
            }
            looked_up => looked_up?,
        };
        let mut users = lock(&self.users);
        users.retain(|_, (_, asked)| asked.elapsed() < REMEMBERED);
        users.insert(uid, (account.clone(), Instant::now()));
        Ok(account)
    }

    /// Whether it is root or the daemon's own user.
    pub(super) fn is_trusted(&self, uid: u32) -> bool {
        let uid = Uid::from_raw(uid);
        uid.is_root() || uid == self.own
    }

    /// Whether an account may change also what others own.
    pub(super) fn may_change_all(&self, account: &Account) -> bool {
        account.uid.is_some_and(|uid| self.is_trusted(uid))
    }

    fn look_user_up(&self, uid: u32) -> Result<Account, NameError> {
        let user = self.names.user(Uid::from_raw(uid));
        let user = user.map_err(|source| NameError {
            what: format!("the user of uid {uid}"),
            source,
        })?;
        let groups = Groups::new(&*self.names, user.as_ref());
        let role = if self.is_trusted(uid) || groups.has_one_of(&self.operators)? {
            Some(Role::Operate)
        } else {
            groups.has_one_of(&self.readers)?.then_some(Role::Read)
        };
        Ok(Account {
            name: user.map_or_else(|| nameless(uid), |user| user.name.into()),
            uid: Some(uid),
            role,
        })
    }
}

fn nameless(uid: u32) -> Arc<str> {
    format!("uid {uid}").into()
}

/// A user's groups, asked for when first needed.
struct Groups<'u> {
    names: &'u dyn Names,
    user: Option<&'u User>,
    ids: std::cell::OnceCell<Vec<Gid>>,
}

impl<'u> Groups<'u> {
    fn new(names: &'u dyn Names, user: Option<&'u User>) -> Self {
        let ids = std::cell::OnceCell::new();
        Self { names, user, ids }
    }

    fn has_one_of(&self, accounts: &[Accounts]) -> Result<bool, NameError> {
        for one in accounts {
            if self.has(one)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has(&self, accounts: &Accounts) -> Result<bool, NameError> {
        match accounts {
            Accounts::All => Ok(true),
            Accounts::User(name) => Ok(self.user.is_some_and(|user| user.name == *name)),
            Accounts::Group(group) => {
                let found = self.names.group(group).map_err(|source| NameError {
                    what: format!("the group `{group}`"),
                    source,
                })?;
                match found {
                    Some(group) => Ok(self.ids()?.contains(&group.gid)),
                    None => Ok(false),
                }
            }
        }
    }

    fn ids(&self) -> Result<&[Gid], NameError> {
        if let (None, Some(user)) = (self.ids.get(), self.user) {
            let ids = self.names.groups_of(user).map_err(|source| NameError {
                what: format!("the groups of `{}`", user.name),
                source,
            })?;
            return Ok(self.ids.get_or_init(|| ids));
        }
        Ok(self.ids.get_or_init(Vec::new))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn http(more: &str) -> Http {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("site.toml");
        let text =
            format!("site.name = 'A'\n[[root]]\nname = 'm'\nurl = 'file:///data'\n[http]\n{more}");
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&file, text).unwrap();
        runsync_config::load(&file).unwrap().http
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn tokens(texts: &[&str]) -> (tempfile::TempDir, Result<Access, AccessError>) {
        let folder = tempfile::tempdir().unwrap();
        let mut more = String::new();
        for (number, text) in texts.iter().enumerate() {
            let file = folder.path().join(format!("{number}"));
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let role = if number == 0 { "read" } else { "operate" };
            let file = file.display();
            let table =
                format!("[[http.token]]\nname = 't{number}'\nrole = '{role}'\nfile = '{file}'\n");
            more.push_str(&table);
        }
        (folder, Access::read(&http(&more)))
    }

    #[test]
    fn a_token_is_known_by_its_whole_text_alone() {
        let (_folder, access) = tokens(&["0123456789abcdef\n", "fedcba9876543210"]);
        let access = access.unwrap();
        let reader = access.holder("0123456789abcdef").unwrap();
        assert_eq!((&*reader.name, reader.role), ("t0", Some(Role::Read)));
        let operator = access.holder("fedcba9876543210").unwrap();
        assert_eq!(
            (&*operator.name, operator.role),
            ("t1", Some(Role::Operate))
        );
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "t0"] {
            assert_eq!(access.holder(wrong), None, "{wrong}");
        }
        assert!(!format!("{access:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn a_token_that_is_short_or_not_alone_is_refused() {
        let (_folder, short) = tokens(&["secret"]);
        assert!(matches!(short, Err(AccessError::Short { .. })));
        let (_folder, same) = tokens(&["0123456789abcdef", "0123456789abcdef"]);
        assert!(matches!(same, Err(AccessError::Same { .. })));
    }

    #[test]
    fn roles_follow_from_users_and_groups() {
        let role = |more: &str, uid| Access::read(&http(more)).unwrap().user(uid).unwrap().role;
        assert_eq!(role("", 0), Some(Role::Operate));
        assert_eq!(role("", 65_534), Some(Role::Read));
        assert_eq!(role("", 4_000_000), Some(Role::Read));
        assert_eq!(role("readers = []", 65_534), None);
        assert_eq!(role("readers = ['daemon']", 65_534), None);
        assert_eq!(role("readers = ['@nogroup']", 65_534), Some(Role::Read));
        assert_eq!(role("operators = ['nobody']", 65_534), Some(Role::Operate));
        assert_eq!(
            role("operators = ['@nogroup']", 4_000_000),
            Some(Role::Read)
        );
        assert_eq!(
            role("operators = ['@no-such-group']", 65_534),
            Some(Role::Read)
        );
    }

    #[test]
    fn a_user_is_asked_for_once_a_minute() {
        let access = Access::read(&http("")).unwrap();
        assert_eq!(access.remembered(4_000_000), None);
        let account = access.user(4_000_000).unwrap();
        assert_eq!(&*account.name, "uid 4000000");
        assert_eq!(access.remembered(4_000_000), Some(account));
    }

    /// Name services that are away.
    #[derive(Debug)]
    struct Away;

    impl Names for Away {
        fn user(&self, _: Uid) -> Result<Option<User>, Errno> {
            Err(Errno::EIO)
        }

        fn group(&self, _: &str) -> Result<Option<nix::unistd::Group>, Errno> {
            Err(Errno::EIO)
        }

        fn groups_of(&self, _: &User) -> Result<Vec<Gid>, Errno> {
            Err(Errno::EIO)
        }
    }

    #[test]
    fn what_the_system_cannot_tell_is_an_error_and_not_remembered() {
        let mut access = Access::read(&http("")).unwrap();
        access.names = Box::new(Away);
        let error = access.user(4_000_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot ask the system for the user of uid 4000000"
        );
        assert_eq!(access.remembered(4_000_000), None);
        assert_eq!(access.user(0).unwrap().role, Some(Role::Operate));
        assert_eq!(access.remembered(0), None);
        access.names = Box::new(System);
        assert_eq!(access.user(4_000_000).unwrap().role, Some(Role::Read));
    }
}
