//! What is answered when something is not: RFC 9457, with a hint for operators.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::ToSchema;

use crate::disposition::Disposition;
use crate::events::EventsError;
use crate::ingest::following::FollowError;
use crate::ingest::{IngestError, error_chain};
use crate::ledger::LedgerError;
use crate::publish::PublishError;
use crate::registry::RegistryError;
use crate::registry::collection::CollectionError;
use crate::removal::RemovalError;
use crate::rucio::RucioError;
use crate::sync::SyncError;

/// The media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal or failure, as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// What kind of problem it is: `urn:runsync:` and a word that stays.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened to this request.
    pub detail: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// A refusal or failure on its way to the client.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    header: Option<Header>,
}

/// What else the client is told, for its machinery.
#[derive(Debug, Clone, Copy)]
enum Header {
    /// How to say who asks.
    Bearer,
    /// After how many seconds to come again.
    RetryAfter(u64),
}

type Text = Cow<'static, str>;

impl Problem {
    fn new(status: StatusCode, kind: &'static str, detail: impl Into<Text>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            hint: None,
            header: None,
        }
    }

    /// What to do about it.
    pub(super) fn hint(mut self, hint: impl Into<Text>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn header(mut self, header: Header) -> Self {
        self.header = Some(header);
        self
    }

    /// 400: the request cannot be read.
    pub(super) fn unreadable(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", detail)
    }

    /// 401: nobody in particular asks.
    pub(super) fn unauthenticated(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .hint("send `Authorization: Bearer TOKEN` with a token that the site's `[[http.token]]` names")
            .header(Header::Bearer)
    }

    /// 403: whoever asks may not.
    pub(super) fn forbidden(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: there is no such thing.
    pub(super) fn missing(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "missing", detail)
    }

    /// 405: the thing is there, and this cannot be done with it.
    pub(super) fn method(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    /// 408: the client stood still.
    pub(super) fn stalled() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "stalled",
            "the body did not arrive in time",
        )
        .hint("send it without pauses; `stall_timeout` in `[http]` says how long one may be")
    }

    /// 413: the body is larger than is read.
    pub(super) fn too_large(most: u64) -> Self {
        let detail = format!("the body is larger than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// 415: the body is of a kind that is not read.
    pub(super) fn media_type(taken: &'static str) -> Self {
        let detail = format!("the body's content type is none of {taken}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    }

    /// 422: the request can be read, and what it says is wrong.
    pub(super) fn wrong(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong", detail)
    }

    /// 429: this account asks too often.
    pub(super) fn too_often(seconds: u64) -> Self {
        let detail = "more requests a second than one account may send";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", detail)
            .hint("ask for many things in one request; `requests_per_second` in `[http]` is the limit")
            .header(Header::RetryAfter(seconds))
    }

    /// 429: all turns to look things up are taken.
    pub(super) fn busy() -> Self {
        Self::crowded("as many requests are being worked on as may be")
            .hint("ask again in a moment; `concurrent_requests_max` in `[http]` is the limit")
    }

    /// 429: all turns of another kind are taken.
    pub(super) fn crowded(detail: &'static str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).header(Header::RetryAfter(1))
    }

    /// 429: enough manifests are being handed in.
    pub(super) fn full() -> Self {
        let detail = "as many manifests are being handed in as are taken at a time";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "full", detail)
            .hint("hand it in again in a moment: those that are at hand must be taken first")
            .header(Header::RetryAfter(2))
    }

    /// 503: this daemon may not go on with it.
    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the daemon stops, or another one has taken over; what was done so far stays",
        )
        .hint("ask again in a moment: a manifest that is handed in again goes on from there, as does the next start")
        .header(Header::RetryAfter(5))
    }

    /// 503: another daemon runs the loops.
    pub(super) fn standby() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "standby",
            "this daemon stands by: another one runs the loops of this site and alone may change things",
        )
        .hint("ask the daemon that runs the loops: `GET /v1/status` names it as `holder`")
        .header(Header::RetryAfter(5))
    }

    /// 503: something does not answer now.
    pub(super) fn unavailable(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .header(Header::RetryAfter(5))
    }

    /// 500: a fault here.
    pub(super) fn internal(detail: impl Into<Text>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .hint("the daemon's log has more")
    }

    /// Whether nothing failed and there is only too much to do.
    pub(super) fn is_busy(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The HTTP status.
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What happened, for the log and among requests.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// As it is answered.
    pub(super) fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:runsync:{}", self.kind),
            title: self
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.to_string(),
            hint: self.hint.as_deref().map(str::to_owned),
        }
    }

    /// What a part below came to, by whether it may pass.
    pub(super) fn below(
        error: &dyn std::error::Error,
        disposition: Disposition,
        hint: Option<String>,
    ) -> Self {
        let text = error_chain(error);
        error!(error = %text, "cannot answer a request");
        let problem = match disposition {
            Disposition::Retry => Self::unavailable(text),
            Disposition::Quarantine | Disposition::Stop => Self::internal(text),
        };
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        if error.is_fenced() {
            return Self::stopping();
        }
        if let RegistryError::Collection(error) = error {
            return error.into();
        }
        Self::below(&error, error.disposition(), error.hint().map(str::to_owned))
    }
}

impl From<CollectionError> for Problem {
    fn from(error: CollectionError) -> Self {
        let detail = error.to_string();
        let problem = match error {
            CollectionError::Missing { .. } => Self::missing(detail),
            CollectionError::NotYours { .. } => Self::forbidden(detail),
            CollectionError::OtherKind { .. }
            | CollectionError::Cycle { .. }
            | CollectionError::Ambiguous { .. }
            | CollectionError::NoMember { .. }
            | CollectionError::Referenced { .. }
            | CollectionError::NoDataset { .. }
            | CollectionError::Twin { .. }
            | CollectionError::PlanChanged { .. } => Self::wrong(detail),
        };
        problem.hint(error.hint())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        if error.is_fenced() {
            return Self::stopping();
        }
        Self::below(&error, error.disposition(), error.hint().map(str::to_owned))
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        if error.is_interruption() || error.is_fenced() {
            return Self::stopping();
        }
        Self::below(&error, Disposition::Retry, error.hint())
    }
}

impl From<RemovalError> for Problem {
    fn from(error: RemovalError) -> Self {
        if error.is_interruption() || error.is_fenced() {
            return Self::stopping();
        }
        if let RemovalError::Registry(RegistryError::Collection(error)) = error {
            return error.into();
        }
        let hint = error.hint();
        if let RemovalError::Gone { .. } = error {
            let problem = Self::missing(error.to_string());
            return problem.hint("`GET /v1/removals` lists what is under way");
        }
        let refused = matches!(
            error,
            RemovalError::NoRun { .. }
                | RemovalError::Removed { .. }
                | RemovalError::Ambiguous { .. }
                | RemovalError::Foreign { .. }
                | RemovalError::Own { .. }
                | RemovalError::OtherSubject { .. }
                | RemovalError::PlanChanged { .. }
                | RemovalError::NotApproved { .. }
                | RemovalError::NotYours { .. }
                | RemovalError::OnlyWhole { .. }
                | RemovalError::OnlyWholeInRucio { .. }
                | RemovalError::AdoptedInRucio { .. }
                | RemovalError::OnlyByManifest
                | RemovalError::Registry(
                    RegistryError::RemovalUnderWay { .. }
                        | RegistryError::UnwantedWhole { .. }
                        | RegistryError::Restoring { .. }
                )
        );
        if !refused {
            return Self::below(&error, error.disposition(), hint);
        }
        let problem = Self::wrong(error_chain(&error));
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        if error.is_interruption() || error.is_fenced() {
            return Self::stopping();
        }
        let hint = error.hint();
        let refused = matches!(
            error,
            PublishError::NoRucio
                | PublishError::NoRun { .. }
                | PublishError::NothingToPublish { .. }
                | PublishError::Waiting { .. }
                | PublishError::NoRse { .. }
                | PublishError::Unregistered { .. }
                | PublishError::RulesEnd { .. }
                | PublishError::Registry(RegistryError::RemovalUnderWay { .. })
                | PublishError::SeveralRoots { .. }
                | PublishError::Rucio(RucioError::Name(_))
        );
        if !refused {
            return Self::below(&error, Disposition::Retry, hint);
        }
        let problem = Self::wrong(error_chain(&error));
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<EventsError> for Problem {
    fn from(error: EventsError) -> Self {
        if error.is_fenced() {
            return Self::stopping();
        }
        let hint = error.hint();
        Self::below(&error, error.disposition(), hint)
    }
}

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        if error.is_interruption() || error.is_fenced() {
            return Self::stopping();
        }
        let hint = error.hint();
        if !error.is_refusal() {
            return Self::below(&error, Disposition::Retry, hint);
        }
        let problem = Self::wrong(error.to_string());
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Missing { .. } => Self::missing(error.to_string())
                .hint("`runsync removal list`, or `GET /v1/asked-removals`, lists what origins have removed"),
            FollowError::Unreadable { .. } => {
                let hint = error.hint();
                Self::below(&error, Disposition::Retry, hint)
            }
            FollowError::Ingest(error) => error.into(),
            FollowError::Removal(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.header {
            Some(Header::Bearer) => {
                let value = HeaderValue::from_static("Bearer realm=\"runsync\"");
                headers.insert(WWW_AUTHENTICATE, value);
            }
            Some(Header::RetryAfter(seconds)) => {
                headers.insert(RETRY_AFTER, seconds.into());
            }
            None => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_what_to_do() {
        let problem = Problem::too_often(2);
        insta::assert_snapshot!(serde_json::to_string_pretty(&problem.body()).unwrap(), @r#"
        {
          "type": "urn:runsync:too-often",
          "title": "Too Many Requests",
          "status": 429,
          "detail": "more requests a second than one account may send",
          "hint": "ask for many things in one request; `requests_per_second` in `[http]` is the limit"
        }
        "#);
        let response = problem.into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
