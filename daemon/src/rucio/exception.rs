//! What the server says went wrong: the exception that it names.
//!
//! Statuses say little: an invalid name and a replica that is not there come as 500, and 401 means
//! that the login is over or that the account may not. The class of the exception comes in the header
//! `ExceptionClass` and in the body; the header `ExceptionMessage` is cut at 125 characters, and
//! the body is whole (`generate_http_error_flask` in `rucio/web/rest/flaskapi/v1/common.py`).

use std::fmt;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

/// Longest message that is kept, in characters: a refused bulk call repeats the whole of it.
const MESSAGE_MAX: usize = 500;
/// What is said of a token that is not good. No name holds any of it: names are without spaces.
const ABOUT_TOKEN: [&str; 7] = [
    "token must be set",
    "token expired",
    "token has expired",
    "token is expired",
    "expired token",
    "invalid token",
    "token is not valid",
];

/// Classes of `rucio/common/exception.py`, as far as anything depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// The login is wrong or over.
    CannotAuthenticate,
    /// The account may not do this.
    AccessDenied,
    /// No such account.
    AccountNotFound,
    /// No such data identifier.
    DataIdentifierNotFound,
    /// There is one of that name.
    DataIdentifierAlreadyExists,
    /// It is attached already.
    FileAlreadyExists,
    /// It is attached already.
    DuplicateContent,
    /// There is a rule for the same.
    DuplicateRule,
    /// There is one of that name: a scope, an RSE.
    Duplicate,
    /// No such RSE.
    RseNotFound,
    /// No RSE is what the expression says, or it is none.
    InvalidRseExpression,
    /// No such scope.
    ScopeNotFound,
    /// No such rule.
    RuleNotFound,
    /// No such replica.
    ReplicaNotFound,
    /// The account has no quota there.
    InsufficientAccountLimit,
    /// The RSEs have no room.
    InsufficientTargetRses,
    /// Something in the request is not as the schema says.
    InvalidObject,
    /// A PFN is not the one that the RSE's algorithm gives.
    InvalidPath,
    /// The same, in words of another class.
    InputValidationError,
    /// What is asked is not done: also of a closed Rucio dataset.
    UnsupportedOperation,
    /// Another size or checksum than the server knows.
    FileConsistencyMismatch,
    /// The database failed, which may pass.
    DatabaseException,
    /// An RSE does not take writes now.
    ResourceTemporaryUnavailable,
    /// Any other class of that name.
    Other(String),
}

impl Exception {
    /// The class of that name.
    pub fn of(class: &str) -> Self {
        match class {
            "CannotAuthenticate" => Self::CannotAuthenticate,
            "AccessDenied" => Self::AccessDenied,
            "AccountNotFound" => Self::AccountNotFound,
            "DataIdentifierNotFound" => Self::DataIdentifierNotFound,
            "DataIdentifierAlreadyExists" => Self::DataIdentifierAlreadyExists,
            "FileAlreadyExists" => Self::FileAlreadyExists,
            "DuplicateContent" => Self::DuplicateContent,
            "DuplicateRule" => Self::DuplicateRule,
            "Duplicate" => Self::Duplicate,
            "RSENotFound" => Self::RseNotFound,
            "InvalidRSEExpression" => Self::InvalidRseExpression,
            "ScopeNotFound" => Self::ScopeNotFound,
            "RuleNotFound" => Self::RuleNotFound,
            "ReplicaNotFound" => Self::ReplicaNotFound,
            "InsufficientAccountLimit" => Self::InsufficientAccountLimit,
            "InsufficientTargetRSEs" => Self::InsufficientTargetRses,
            "InvalidObject" => Self::InvalidObject,
            "InvalidPath" => Self::InvalidPath,
            "InputValidationError" => Self::InputValidationError,
            "UnsupportedOperation" => Self::UnsupportedOperation,
            "FileConsistencyMismatch" => Self::FileConsistencyMismatch,
            "DatabaseException" => Self::DatabaseException,
            "ResourceTemporaryUnavailable" => Self::ResourceTemporaryUnavailable,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Whether the same request may be answered otherwise a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::DatabaseException | Self::ResourceTemporaryUnavailable
        )
    }

    /// Whether one item of a bulk call may have spoiled it for the others.
    pub fn may_be_of_one_item(&self) -> bool {
        matches!(
            self,
            Self::InvalidObject
                | Self::InvalidPath
                | Self::InputValidationError
                | Self::UnsupportedOperation
                | Self::FileConsistencyMismatch
                | Self::FileAlreadyExists
                | Self::DuplicateContent
                | Self::DataIdentifierNotFound
                | Self::DataIdentifierAlreadyExists
                | Self::ReplicaNotFound
                | Self::ScopeNotFound
                | Self::DatabaseException
                | Self::Other(_)
        )
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Other(class) = self {
            return f.write_str(class);
        }
        // As Rucio names its classes.
        f.write_str(&format!("{self:?}").replace("Rse", "RSE"))
    }
}

/// A request that the server understood and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status, for people.
    pub status: u16,
    /// Why.
    pub exception: Exception,
    /// The server's words, shortened where they are very many.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exception, message, ..
        } = self;
        write!(f, "{exception}: {message}")
    }
}

impl Refusal {
    /// What an answer refuses with; `None` where it names no exception, and so is not Rucio's.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            exception_class: String,
            #[serde(default)]
            exception_message: serde_json::Value,
        }
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (class, message) = match serde_json::from_slice::<Body>(body) {
            Ok(body) => {
                let message = body.exception_message;
                let text = message.as_str().map(str::to_owned);
                let message = text.unwrap_or_else(|| message.to_string());
                (body.exception_class, message)
            }
            Err(_) => (
                header("ExceptionClass")?.to_owned(),
                header("ExceptionMessage").unwrap_or_default().to_owned(),
            ),
        };
        Some(Self {
            status: status.as_u16(),
            exception: Exception::of(&class),
            message: shorten(&message),
        })
    }

    /// Whether it is about the login: renewing the token may help. An expired token also came as 500
    /// (rucio/rucio issue 5986), and none at all comes as 400.
    pub(super) fn is_about_login(&self) -> bool {
        if self.exception == Exception::AccessDenied {
            return false;
        }
        if self.exception == Exception::CannotAuthenticate || self.status == 401 {
            return true;
        }
        // Others are about something else, whatever they say.
        let may_be = matches!(
            self.exception,
            Exception::DatabaseException | Exception::Other(_)
        );
        let message = self.message.to_ascii_lowercase();
        may_be && ABOUT_TOKEN.iter().any(|words| message.contains(words))
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn may_pass(&self) -> bool {
        self.exception.may_pass() || matches!(self.status, 429 | 502..=504)
    }
}

/// The first of the words, on one line.
fn shorten(message: &str) -> String {
    let mut words = message.split_whitespace();
    let mut short = words.next().unwrap_or_default().to_owned();
    for word in words {
        if short.chars().count() + word.chars().count() > MESSAGE_MAX {
            short.push_str(" ...");
            break;
        }
        short.push(' ');
        short.push_str(word);
    }
    if short.chars().count() > MESSAGE_MAX + 4 {
        short = short.chars().take(MESSAGE_MAX).collect();
        short.push_str(" ...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Option<Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("ExceptionClass", "InvalidObject".parse().unwrap());
        headers.insert("ExceptionMessage", "cut he...".parse().unwrap());
        Refusal::of(status.try_into().unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn the_body_counts_where_the_header_is_cut() {
        let body = r#"{"ExceptionClass": "InvalidPath", "ExceptionMessage": "the whole\nof it"}"#;
        let refusal = refusal(500, body).unwrap();
        assert_eq!(refusal.exception, Exception::InvalidPath);
        assert_eq!(refusal.message, "the whole of it");
    }

    #[test]
    fn the_header_counts_where_the_body_says_nothing() {
        let refusal = refusal(500, "<html>").unwrap();
        assert_eq!(refusal.to_string(), "InvalidObject: cut he...");
    }

    #[test]
    fn an_answer_without_an_exception_is_not_rucios() {
        let none = Refusal::of(StatusCode::NOT_FOUND, &HeaderMap::new(), b"<!doctype html>");
        assert_eq!(none, None);
    }

    #[test]
    fn a_long_message_is_shortened() {
        for message in ["x".repeat(1 << 20), "word ".repeat(1 << 18)] {
            let body = serde_json::json!({"ExceptionClass": "X", "ExceptionMessage": message});
            let refusal = refusal(500, &body.to_string()).unwrap();
            assert!(refusal.message.len() < MESSAGE_MAX + 10);
            assert_eq!(refusal.exception, Exception::Other("X".to_owned()));
        }
    }

    #[test]
    fn two_kinds_of_401_differ() {
        let about_login = |status, class: &str, message: &str| {
            let body = serde_json::json!({"ExceptionClass": class, "ExceptionMessage": message});
            refusal(status, &body.to_string()).unwrap().is_about_login()
        };
        assert!(about_login(
            401,
            "CannotAuthenticate",
            "Cannot authenticate"
        ));
        assert!(about_login(400, "ValueError", "Token must be set."));
        assert!(about_login(500, "DatabaseException", "token expired"));
        assert!(!about_login(401, "AccessDenied", "Account svc can not add"));
        assert!(!about_login(500, "InvalidObject", "token is not a name"));
        let named = "Data identifier 'hsc:token_expired/invalid-token' not found";
        assert!(!about_login(404, "DataIdentifierNotFound", named));
        assert!(!about_login(409, "Elsewhere", named));
    }
}
