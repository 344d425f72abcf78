//! Answers of any length: JSON Lines, made chunk by chunk as the client takes them.
//!
//! The next chunk is made only when the last one was taken. A client that reads slowly holds one
//! chunk, no thread and no transaction; one that goes away ends the work with the chunk at hand.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use super::problem::Problem;

/// The media type.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// A chunk, and where to go on; none: it was the last.
pub(super) type Chunk<S> = (Bytes, Option<S>);

/// Answers with `first`, and with what `next` makes of each state after it.
///
/// An answer that has begun can only be cut off: the client sees that its end is missing.
pub(super) fn stream<S, F, N>(first: Chunk<S>, mut next: F) -> Response
where
    S: Send + 'static,
    F: FnMut(S) -> N + Send + 'static,
    N: Future<Output = Result<Chunk<S>, Problem>> + Send + 'static,
{
    let (first, state) = first;
    let begin = stream::once(std::future::ready(Ok(first)));
    let rest = stream::try_unfold(state, move |state| {
        let chunk = state.map(&mut next);
        async move {
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            let chunk = chunk.await;
            chunk
                .map(Some)
                .map_err(|problem| io::Error::other(problem.detail().to_owned()))
        }
    });
    answer(Body::from_stream(stream::StreamExt::chain(begin, rest)))
}

/// Writes one line.
pub(super) fn line(value: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.push(b'\n');
    Ok(())
}

/// An answer of that type.
pub(super) fn answer(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}
