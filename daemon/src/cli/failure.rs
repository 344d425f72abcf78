//! How a command ends: exit codes, and errors as an operator reads them.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use runsync_config::LoadError;
use runsync_config::problem::Problem;
use runsync_manifest::error::ReadError;
use serde::Serialize;

use crate::assembly::AssemblyError;
use crate::cli::output::OutputError;
use crate::create::CreateError;
use crate::datastore::DatastoreError;
use crate::events::SourceError;
use crate::http::{AccessError, ClientError, ExistsError, ListenError, StatusError};
use crate::ingest::IngestError;
use crate::ingest::following::FollowError;
use crate::ingest::parse::ParseError;
use crate::ledger::LedgerError;
use crate::publish::PublishError;
use crate::recovery::ScanError;
use crate::recovery::repair::RepairError;
use crate::registry::RegistryError;
use crate::removal::{GenerationError, RemovalError};
use crate::rucio::RucioError;
use crate::sync::SyncError;

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed
  2   wrong usage
  3   differences found
  78  bad configuration";

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// It found that things differ, which is what it was asked to tell.
    Differences,
}

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    Differences,
    Configuration,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Differences => 3,
            // EX_CONFIG of sysexits.h, which systemd shows by name.
            Self::Configuration => 78,
        }
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Differences => Self::Differences,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An error on its way to the operator.
///
/// Any error becomes one by `?`; [`Hint`] adds what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure that has no error beneath it. `message` is a lowercase fragment that says what was
    /// attempted on what.
    pub(crate) fn new(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            error: anyhow::Error::msg(message),
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// Arguments that clap cannot know to be wrong.
    pub(crate) fn usage(self) -> Self {
        let exit = Exit::Usage;
        Self { exit, ..self }
    }

    /// What to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Says what was being done when the error came up.
    pub(crate) fn while_doing(self, what: impl fmt::Display + Send + Sync + 'static) -> Self {
        let error = self.error.context(what);
        Self { error, ..self }
    }

    /// The error beneath, where it is of that type.
    pub(crate) fn cause<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// The error with its causes, joined by `: `.
    pub(crate) fn message(&self) -> String {
        format!("{:#}", self.error)
    }

    /// Tells the operator, on standard error.
    pub(crate) fn report(&self, json: bool) -> Exit {
        if self.is_closed_pipe() {
            // `runsync … | head` has what it wants.
            return Exit::Done;
        }
        let text = if json { self.to_json() } else { self.to_text() };
        // There is nobody left to tell where standard error is closed.
        drop(writeln!(io::stderr().lock(), "{text}"));
        self.exit
    }

    fn is_closed_pipe(&self) -> bool {
        let output = self.error.downcast_ref::<OutputError>();
        matches!(output, Some(OutputError::Closed))
    }

    fn to_text(&self) -> String {
        let mut text = format!("error: {}", self.message());
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Report<'r> {
            message: String,
            hint: Option<&'r str>,
            problems: &'r [Problem],
            exit_code: u8,
        }
        let (message, problems) = match self.error.downcast_ref::<LoadError>() {
            Some(LoadError::Problems { file, problems }) => {
                let message = format!("the configuration {} cannot be used", file.display());
                (message, problems.as_slice())
            }
            _ => (self.message(), [].as_slice()),
        };
        let report = Report {
            message,
            hint: self.hint.as_deref(),
            problems,
            exit_code: self.exit.code(),
        };
        serde_json::json!({ "error": report }).to_string()
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = anyhow::Error::new(error);
        let (exit, hint) = match error.downcast_ref::<LoadError>() {
            Some(LoadError::Problems { .. }) => (Exit::Configuration, None),
            Some(LoadError::Unreadable { .. }) => (
                Exit::Configuration,
                Some("name it with `--config FILE`, or make a site with `runsync init`".to_owned()),
            ),
            None => (Exit::Failed, hint_of(&error)),
        };
        Self { error, hint, exit }
    }
}

/// What an error of a lower layer says is to be done.
fn hint_of(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref::<AssemblyError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<ListenError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<AccessError>() {
        return Some(error.hint());
    }
    if let Some(error) = error.downcast_ref::<DatastoreError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<IngestError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<FollowError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<GenerationError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<RemovalError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<SourceError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<PublishError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<ScanError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<RepairError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<SyncError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<RucioError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<LedgerError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<StatusError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<ExistsError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<CreateError>() {
        return Some(error.hint().to_owned());
    }
    if let Some(ParseError::Read(error)) = error.downcast_ref::<ParseError>() {
        return Some(error.hint().to_owned());
    }
    error
        .downcast_ref::<ReadError>()
        .map(|error| error.hint().to_owned())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Adds to the error of a result.
pub(crate) trait Hint<T> {
    /// What to do about it.
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure>;

    /// What was being done.
    fn while_doing(self, what: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| error.into().hint(hint))
    }

    fn while_doing(self, what: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|error| error.into().while_doing(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = crate::durable::WriteError::Io {
            step: "create",
            path: "/data/x".into(),
            source,
        };
        Failure::from(error)
            .while_doing("cannot store the key")
            .hint("check its folder")
    }

    #[test]
    fn a_failure_is_told_with_its_chain_and_a_hint() {
        insta::assert_snapshot!(failure().to_text(), @r#"
        error: cannot store the key: cannot create /data/x: permission denied
        hint: check its folder
        "#);
    }

    #[test]
    fn the_hint_of_the_registry_is_told_whichever_command_asked_it() {
        let newer = || {
            RegistryError::from(crate::sqlite::SqliteError::NewerSchema {
                what: "registry",
                path: "/data/registry.sqlite".into(),
                found: 9,
                known: 1,
            })
        };
        let hint = newer().hint();
        assert!(hint.is_some());
        for failure in [
            Failure::from(newer()),
            Failure::from(StatusError::from(newer())),
            Failure::from(ExistsError::from(newer())),
        ] {
            assert_eq!(failure.hint_text(), hint);
        }
    }

    #[test]
    fn a_failure_is_told_as_json() {
        insta::assert_snapshot!(failure().to_json(), @r#"{"error":{"exit_code":1,"hint":"check its folder","message":"cannot store the key: cannot create /data/x: permission denied","problems":[]}}"#);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        assert_eq!(Failure::from(OutputError::Closed).report(false), Exit::Done);
    }
}
