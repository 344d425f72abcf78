//! Every way in which asking Rucio ends without an answer.

use std::path::PathBuf;
use std::time::Duration;

use runsync_config::secret::SecretError;
use thiserror::Error;

use super::exception::{Exception, Refusal};
use super::schema::NameRefused;

/// The cause of an error of another library.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why Rucio gives no answer.
#[derive(Debug, Error)]
pub enum RucioError {
    /// Nobody listens there, or the name is not known.
    #[error("cannot reach Rucio at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: Cause,
    },
    /// It cannot be proved who listens there, or both ends do not agree how to encrypt.
    #[error("cannot make a trusted connection to {url}")]
    Tls {
        /// Where.
        url: String,
        /// Why.
        source: Cause,
    },
    /// The connection broke or nothing came in time: the server may have done what was asked.
    #[error("cannot tell what came of `{request}`")]
    Unknown {
        /// Method and path.
        request: String,
        /// Why.
        source: Cause,
    },
    /// It is overloaded or failed, however often it was asked.
    #[error("Rucio fails at `{request}`: status {status}{}", said(message))]
    Failing {
        /// Method and path.
        request: String,
        /// The last status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It understood and refused.
    #[error("Rucio refuses `{request}`: {refusal}")]
    Refused {
        /// Method and path.
        request: String,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// What answers is not Rucio's REST interface, or one of another kind.
    #[error("cannot understand the answer to `{request}`: {what}")]
    NotUnderstood {
        /// Method and path.
        request: String,
        /// What is strange about it.
        what: String,
    },
    /// The account's login is not accepted.
    #[error("cannot log in to {url} as account `{account}`: {reason}")]
    Login {
        /// Where tokens come from.
        url: String,
        /// The account.
        account: String,
        /// In the server's words, or ours where a token in a file is of no use.
        reason: String,
    },
    /// A secret cannot be read.
    #[error("cannot read what Rucio's login needs")]
    Secret(#[from] SecretError),
    /// A file of certificates cannot be used.
    #[error("cannot use {} for connections to Rucio", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Cause,
    },
    /// It was not asked, because it failed too often shortly before.
    #[error("`{endpoint}` of Rucio failed too often and is left alone for {} s more", wait.as_secs() + 1)]
    Resting {
        /// The endpoint.
        endpoint: &'static str,
        /// How long still.
        wait: Duration,
    },
    /// A name that the server would refuse.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// The caller broke off.
    #[error("asking Rucio was interrupted")]
    Interrupted,
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

impl RucioError {
    /// Whether the server is away, or does not let this site in: nothing else would fare better.
    pub fn is_of_the_server(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Tls { .. }
                | Self::Login { .. }
                | Self::Secret(_)
                | Self::Certificate { .. }
                | Self::Resting { .. }
        )
    }

    /// What the server refused with, if it did.
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused { refusal, .. } = self {
            return Some(refusal);
        }
        None
    }

    /// Whether the server refused with that exception.
    pub fn is(&self, exception: &Exception) -> bool {
        self.refusal()
            .is_some_and(|refusal| refusal.exception == *exception)
    }

    /// Whether waiting may mend it: nothing in what is asked is wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unknown { .. }
            | Self::Failing { .. }
            | Self::Resting { .. } => true,
            Self::Refused { refusal, .. } => refusal.may_pass(),
            Self::Tls { .. }
            | Self::NotUnderstood { .. }
            | Self::Login { .. }
            | Self::Secret(_)
            | Self::Certificate { .. }
            | Self::Name(_)
            | Self::Interrupted => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { .. } => {
                "check `url` in `[rucio]`, that the server runs, and that this machine reaches it"
            }
            Self::Tls { .. } => {
                "check that `url` in `[rucio]` has the server's name and scheme, and name its authority as `ca_file`"
            }
            Self::Unknown { .. } | Self::Failing { .. } => {
                "ask again: nothing is lost, and what was done is not done twice"
            }
            Self::Refused { refusal, .. } => return hint_of(&refusal.exception).map(str::to_owned),
            Self::NotUnderstood { .. } => {
                "check `url` in `[rucio]`: it names the REST server itself, without a path"
            }
            Self::Login { .. } => {
                "check `account`, `vo` and the login in `[rucio]`: `runsync config check --online` tells more"
            }
            Self::Secret(error) => return Some(error.hint()),
            Self::Certificate { .. } => {
                "it must hold PEM blocks of certificates, and of a private key"
            }
            Self::Resting { .. } => "wait, or see why the server fails",
            Self::Name(_) => {
                "see `schema` in `[rucio]`; a name cannot be changed once its run is registered"
            }
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most say themselves what is wrong"
)]
fn hint_of(exception: &Exception) -> Option<&'static str> {
    Some(match exception {
        Exception::AccessDenied => {
            "the account may not do this: ask Rucio's administrators for the `admin` attribute or the permission"
        }
        Exception::AccountNotFound => "check `account` in `[rucio]`",
        Exception::RseNotFound => "check `rse` in `[[root]]`",
        Exception::InvalidRseExpression => {
            "check `rse_expression` in `[[rucio.rule]]` and `control_rses`: no RSE is what it says"
        }
        Exception::ScopeNotFound => {
            "check `scope` in `[rucio]`, or have the scope made: `rucio scope add`"
        }
        Exception::InsufficientAccountLimit => {
            "ask for quota of the account at the RSEs of its rules"
        }
        Exception::InsufficientTargetRses => "lower `copies` of the rule, or name more RSEs",
        Exception::InvalidPath => {
            "the RSE places files otherwise than this root: see `path_mapping` in `[[root]]`"
        }
        _ => return None,
    })
}
