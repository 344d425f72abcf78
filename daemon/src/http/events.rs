//! `/v1/events`: messages of files that come and go, handed in by whoever knows, and what waits of them.
//!
//! A sender that speaks neither STOMP nor Kafka posts its messages here. It is answered once they are
//! safe, and one that is not answered sends them again: a message that comes twice changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::response::Response;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::{JsonBody, Pieces, media_type};
use super::ndjson::NDJSON;
use super::openapi::{Asked, Body, Gated, Missing, Typed};
use super::pages::{Cursor, list};
use super::problem::{Problem, ProblemBody};
use super::query::{Path, Query};
use super::record::{Asking, perform};
use super::surface::Surface;
use crate::events::{Message, Noted};
use crate::ledger::LedgerError;
use crate::ledger::record::{Hint, HintKind, Poison};

/// What messages that come this way are counted as; no configured source can be called so.
const SOURCE: &str = runsync_config::events::HTTP_SOURCE;
/// What the body may be.
const KINDS: &str = "`application/x-ndjson` or `application/json`";

/// Messages as they came in a body.
#[derive(Debug)]
pub(super) struct Messages(Vec<Message>);

impl FromRequest<Arc<Surface>> for Messages {
    type Rejection = Problem;

    async fn from_request(request: Request, surface: &Arc<Surface>) -> Result<Self, Problem> {
        let kind = media_type(request.headers());
        let is_list = match kind.as_deref() {
            Some(NDJSON) => false,
            Some("application/json") => true,
            _ => return Err(Problem::media_type(KINDS)),
        };
        let http = &surface.site.http;
        let mut pieces = Pieces::new(request, http.body_bytes_max, http.stall_timeout)?;
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await? {
            body.extend_from_slice(&piece);
        }
        let most = surface.site.events.message_bytes_max;
        Ok(Self(if is_list {
            items(&body, most)?
        } else {
            lines(&body, most)
        }))
    }
}

/// A message on each line that is not empty.
fn lines(body: &[u8], most: u64) -> Vec<Message> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| Message::of(line, most)).collect()
}

/// A message for each item of a list, or one alone.
fn items(body: &[u8], most: u64) -> Result<Vec<Message>, Problem> {
    let unreadable = |error| Problem::unreadable(format!("cannot read the body: {error}"));
    if body.trim_ascii_start().first() != Some(&b'[') {
        let one: &RawValue = serde_json::from_slice(body).map_err(unreadable)?;
        return Ok(vec![Message::of(one.get().as_bytes(), most)]);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
    let items = items.into_iter();
    Ok(items
        .map(|item| Message::of(item.get().as_bytes(), most))
        .collect())
}

/// Hand messages in: what they hint at is looked at soon.
///
/// Each is an object with `event_type` and `payload`, as Rucio's Hermes writes it. The answer comes once
/// all are safe; one that cannot be read is set aside and counted in it. A message that is handed in
/// again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "operate",
    operation_id = "hand_events_in",
    request_body(
        description = "A message on each line; or a list of messages, or one.",
        content(
            (String = "application/x-ndjson"),
            (Vec<serde_json::Value> = "application/json"),
        ),
    ),
    responses(
        (status = 200, description = "They are safe.", body = Noted),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn hand_in(
    State(surface): State<Arc<Surface>>,
    Messages(messages): Messages,
) -> Result<Json<Noted>, Problem> {
    let loops = surface.loops()?;
    let noted = surface.look_up(move |_| {
        let noting = loops.assembly().events.noting();
        noting.note(SOURCE, &messages)
    });
    noted.await.map(Json)
}

/// Which hints.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichHints {
    /// Only those of this kind.
    kind: Option<HintKind>,
    /// Only those after this one: the number of the last line.
    after: Option<u64>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// List what messages have hinted at and nobody has acted on yet, the longest heard first.
#[utoipa::path(
    get,
    path = "/v1/events/hints",
    tag = "read",
    params(WhichHints),
    responses(
        (status = 200, description = "A line for each hint.", content_type = "application/x-ndjson", body = Hint),
        Asked,
        Gated,
    )
)]
pub(super) async fn hints(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichHints>,
) -> Result<Response, Problem> {
    let begin = Cursor::new(which.after, which.limit);
    list(surface, begin, move |surface, at| {
        let ledger = &surface.readers.ledger;
        let after = at.after().copied().unwrap_or(0);
        let rows = ledger.hints_after(which.kind, after, at.lines())?;
        Ok(at.page(rows, |row| row.id))
    })
    .await
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// Its number; later ones are higher.
    pub id: u64,
    /// The source that it came by.
    pub source: String,
    /// When.
    pub at: Timestamp,
    /// What is wrong with it.
    pub reason: String,
    /// Its size in bytes.
    pub size: u64,
    /// It, or its beginning; what is no text is replaced.
    pub text: String,
    /// The same bytes in base64, where they are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl From<Poison> for SetAside {
    fn from(poison: Poison) -> Self {
        let message = poison.message;
        let is_text = str::from_utf8(&message.body).is_ok();
        Self {
            id: poison.id,
            source: message.source,
            at: message.at,
            reason: message.reason,
            size: message.size,
            text: String::from_utf8_lossy(&message.body).into_owned(),
            base64: (!is_text).then(|| BASE64.encode(&message.body)),
        }
    }
}

/// Which messages that could not be read.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichPoison {
    /// Only those before this one: the number of the last line.
    before: Option<u64>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// List messages that could not be read, newest first.
#[utoipa::path(
    get,
    path = "/v1/events/poison",
    tag = "read",
    params(WhichPoison),
    responses(
        (status = 200, description = "A line for each message.", content_type = "application/x-ndjson", body = SetAside),
        Asked,
        Gated,
    )
)]
pub(super) async fn poison(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichPoison>,
) -> Result<Response, Problem> {
    let begin = Cursor::new(which.before, which.limit);
    list(surface, begin, move |surface, at| {
        let ledger = &surface.readers.ledger;
        let rows = ledger.poison_before(at.after().copied(), at.lines())?;
        let rows: Vec<SetAside> = rows.into_iter().map(SetAside::from).collect();
        Ok(at.page(rows, |row| row.id))
    })
    .await
}

/// A message in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichMessage {
    /// Its number.
    id: u64,
}

/// Show a message that could not be read.
#[utoipa::path(
    get,
    path = "/v1/events/poison/{id}",
    tag = "read",
    operation_id = "one_poison",
    params(WhichMessage),
    responses(
        (status = 200, description = "It.", body = SetAside),
        (status = 422, description = "The path is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        Missing,
        Gated,
    )
)]
pub(super) async fn one_poison(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichMessage>,
) -> Result<Json<SetAside>, Problem> {
    let found = surface.look_up(move |surface| surface.readers.ledger.poison(which.id));
    let missing = || {
        Problem::missing(format!("there is no message {}", which.id))
            .hint("`GET /v1/events/poison` lists those that are kept")
    };
    let found = found.await?.ok_or_else(missing)?;
    Ok(Json(found.into()))
}

/// Messages to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToForget {
    /// This one; absent: all.
    #[serde(default)]
    pub id: Option<u64>,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// So many messages.
    pub messages: u64,
}

/// Forget a message that could not be read, or all of them.
#[utoipa::path(
    post,
    path = "/v1/events/poison/forget",
    tag = "operate",
    operation_id = "forget_poison",
    request_body = ToForget,
    responses(
        (status = 200, description = "It is forgotten.", body = Forgotten),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn forget(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(which): JsonBody<ToForget>,
) -> Result<Json<Forgotten>, Problem> {
    let subject = which
        .id
        .map_or_else(|| "all".to_owned(), |id| id.to_string());
    let asking = Asking {
        account,
        what: "forget poison",
        subject,
    };
    let forgotten = perform(&surface, asking, move |loops| {
        let ledger = &loops.assembly().parts.ledger;
        let messages = ledger.forget_poison(which.id)?;
        Ok::<_, LedgerError>(Forgotten { messages })
    });
    forgotten.await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(messages: &[Message]) -> Vec<&str> {
        let body = |message: &'_ Message| match message {
            Message::Whole(body) => str::from_utf8(body).unwrap().to_owned(),
            Message::TooLarge { size, .. } => format!("{size} bytes"),
        };
        let bodies: Vec<String> = messages.iter().map(body).collect();
        bodies.leak().iter().map(String::as_str).collect()
    }

    #[test]
    fn lines_and_lists_are_taken_apart() {
        let taken = lines(
            b"{\"a\": 1}\r\n\n  not json\n{\"long\": \"0123456789\"}",
            12,
        );
        assert_eq!(bodies(&taken), ["{\"a\": 1}", "not json", "22 bytes"]);
        assert_eq!(lines(b"", 12), []);
        let taken = items(b" [{\"a\": 1}, 7, [\"x\"]]", 12).unwrap();
        assert_eq!(bodies(&taken), ["{\"a\": 1}", "7", "[\"x\"]"]);
        assert_eq!(bodies(&items(b"{\"a\": 1}", 12).unwrap()), ["{\"a\": 1}"]);
        assert_eq!(items(b"[]", 12).unwrap(), []);
        for wrong in [&b""[..], b"[", b"{} {}", b"[{}] x", b"[1,]", b"\xFF"] {
            assert!(items(wrong, 12).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_that_is_no_text_is_shown_in_both_ways() {
        let poison = |body: &[u8]| Poison {
            id: 7,
            message: crate::ledger::record::NewPoison {
                source: "hermes".to_owned(),
                at: Timestamp::UNIX_EPOCH,
                reason: "it is no UTF-8".to_owned(),
                size: 3,
                body: body.to_vec(),
            },
        };
        assert_eq!(SetAside::from(poison(b"abc")).base64, None);
        let shown = SetAside::from(poison(b"a\xFFb"));
        assert_eq!(
            (&*shown.text, shown.base64.as_deref()),
            ("a\u{FFFD}b", Some("Yf9i"))
        );
    }
}
