//! Reads the bodies of requests: of the right kind, within a limit, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;
use super::surface::Surface;

/// A body that is read piece by piece.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    left: u64,
    most: u64,
    stall: Duration,
}

impl Pieces {
    /// A body of at most `most` bytes, whose client stands still for `stall` at most.
    pub(super) fn new(request: Request, most: u64, stall: Duration) -> Result<Self, Problem> {
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(Problem::too_large(most));
        }
        let body = request.into_body();
        let left = most;
        Ok(Self {
            body,
            left,
            most,
            stall,
        })
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = timeout(self.stall, self.body.frame()).await;
            let frame = match frame.map_err(|_| Problem::stalled())? {
                None => return Ok(None),
                Some(frame) => {
                    frame.map_err(|_| Problem::unreadable("the body ended before its end"))?
                }
            };
            // Trailers say nothing here.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let length = piece.len() as u64;
            self.left = self
                .left
                .checked_sub(length)
                .ok_or_else(|| Problem::too_large(self.most))?;
            return Ok(Some(piece));
        }
    }
}

/// A body that is JSON; an empty one stands for `{}`.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Surface>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, surface: &Arc<Surface>) -> Result<Self, Problem> {
        let kind = media_type(request.headers());
        let http = &surface.site.http;
        let mut pieces = Pieces::new(request, http.body_bytes_max, http.stall_timeout)?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await? {
            bytes.extend_from_slice(&piece);
        }
        if bytes.is_empty() {
            bytes.extend_from_slice(b"{}");
        } else if kind.as_deref() != Some("application/json") {
            return Err(Problem::media_type("`application/json`"));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let detail = format!("cannot read the body: {error}");
            match error.classify() {
                serde_json::error::Category::Data => Problem::wrong(detail),
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => Problem::unreadable(detail),
            }
        })
    }
}

/// The body's media type in lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}
