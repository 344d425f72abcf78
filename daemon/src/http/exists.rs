//! `POST /v1/exists`: are these datasets here? Answered from records; no storage is looked at.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, available_parallelism};

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use runsync_config::root::Root;
use runsync_config::site::Site;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::name::DatasetId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Pieces, media_type};
use super::ndjson;
use super::openapi::{Body, Gated, Typed};
use super::problem::Problem;
use super::query::Query;
use super::surface::Surface;
use super::uuids::{Form, Uuids};
use crate::registry::record::{Existence, Presence, RecordRow};
use crate::registry::{Registry, RegistryError};
use crate::schema::ChecksumsSchema;

/// UUIDs answered in one chunk: some milliseconds of work, some hundred kilobytes.
const CHUNK: usize = 1000;
/// UUIDs that are worth a thread of their own: its start costs some ten microseconds, they some
/// milliseconds.
const SHARE: usize = 500;
/// Most threads that look up what one caller asks: as many connections read at a time.
const THREADS: usize = 4;

/// One line of the answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExistsAnswer)]
pub struct Answer<'a> {
    /// The dataset asked for.
    #[schema(value_type = Uuid)]
    uuid: DatasetId,
    /// Whether it is here.
    exists: Presence,
    /// Its artifacts, by component; absent with `records=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<Vec<Artifact<'a>>>,
}

/// One artifact of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub struct Artifact<'a> {
    /// Component; absent for the whole dataset.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    component: &'a str,
    /// Where it is; none where its root is not configured any more.
    uri: Option<String>,
    /// Its root.
    root: &'a str,
    /// Its path in the root.
    path: &'a str,
    /// Size in bytes.
    size: u64,
    /// Checksums.
    #[schema(value_type = ChecksumsSchema)]
    checksums: Checksums,
    /// Formatter.
    #[serde(skip_serializing_if = "Option::is_none")]
    formatter: Option<&'a str>,
    /// Whether it was confirmed here.
    confirmed: bool,
}

/// How to answer.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Whether each line lists the artifacts too.
    #[serde(default = "yes")]
    #[param(default = true)]
    records: bool,
}

fn yes() -> bool {
    true
}

/// Tell for each dataset whether it is here: `yes`, `pending` or `no`.
///
/// `yes`: all its artifacts have datastore records. `pending`: a registered manifest names it, and
/// at least one artifact is not confirmed. `no`: neither. Lines come in the order of the questions.
/// No storage is looked at. How many UUIDs one request may hold follows from `body_bytes_max`.
#[utoipa::path(
    post,
    path = "/v1/exists",
    tag = "read",
    params(Parameters),
    request_body(
        description = "UUIDs: a JSON array of strings, or one a line.",
        content((Vec<Uuid> = "application/json"), (String = "text/plain"), (String = "application/x-ndjson"))
    ),
    responses(
        (status = 200, description = "A line for each UUID.", content_type = "application/x-ndjson", body = Answer),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn exists(
    State(surface): State<Arc<Surface>>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Query(parameters) = Query::<Parameters>::from_request_parts(&mut parts, &surface).await?;
    let datasets = read(&surface, Request::from_parts(parts, body)).await?;
    let datasets: Arc<[DatasetId]> = datasets.into();
    let part = move |from: usize| {
        let datasets = Arc::clone(&datasets);
        move |surface: &Surface| chunk(surface, &datasets, from, parameters.records)
    };
    let first = surface.look_up(part(0)).await?;
    Ok(ndjson::stream(first, move |from| {
        let (surface, part) = (Arc::clone(&surface), part(from));
        async move { surface.look_on(part).await }
    }))
}

async fn read(surface: &Surface, request: Request) -> Result<Vec<DatasetId>, Problem> {
    let form = match media_type(request.headers()).as_deref() {
        Some("application/json") => Form::Array,
        Some("text/plain" | "application/x-ndjson") => Form::Lines,
        _ => {
            return Err(Problem::media_type(
                "`application/json`, `text/plain`, `application/x-ndjson`",
            ));
        }
    };
    let http = &surface.site.http;
    let mut pieces = Pieces::new(request, http.body_bytes_max, http.stall_timeout)?;
    let mut uuids = Uuids::new(form);
    while let Some(piece) = pieces.next().await? {
        uuids.read(&piece)?;
    }
    uuids.finish()
}

fn chunk(
    surface: &Surface,
    datasets: &[DatasetId],
    from: usize,
    records: bool,
) -> Result<ndjson::Chunk<usize>, Problem> {
    let rest = datasets.get(from..).unwrap_or_default();
    let asked = rest.get(..CHUNK).unwrap_or(rest);
    // What others compute meanwhile leaves fewer processors for this answer.
    let threads = threads() / surface.turns_taken().max(1);
    let (site, registry) = (&surface.site, &*surface.readers.registry);
    let bytes = answer(asked, records, site, registry, threads)?;
    let next = (rest.len() > CHUNK).then(|| from + CHUNK);
    Ok((Bytes::from(bytes), next))
}

/// How many threads one caller's look-ups may take where nobody else computes.
pub fn threads() -> usize {
    available_parallelism().map_or(1, |threads| threads.get().min(THREADS))
}

/// Writes a line for each dataset, in the order asked. Many are looked up by several threads, at
/// most as many as are named.
///
/// # Errors
///
/// Where the registry does not answer.
pub fn answer(
    datasets: &[DatasetId],
    records: bool,
    site: &Site,
    registry: &dyn Registry,
    threads: usize,
) -> Result<Vec<u8>, ExistsError> {
    let share = datasets.len().div_ceil(threads.max(1)).max(SHARE);
    let look_up = |datasets| lines(datasets, records, site, registry);
    let mut shares = datasets.chunks(share);
    let first = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || look_up(share)))
            .collect();
        let mut answer = look_up(first)?;
        for other in others {
            let lines = other.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            answer.extend_from_slice(&lines);
        }
        Ok(answer)
    })
}

fn lines(
    datasets: &[DatasetId],
    records: bool,
    site: &Site,
    registry: &dyn Registry,
) -> Result<Vec<u8>, ExistsError> {
    let mut to = Vec::new();
    for existence in registry.exists(datasets)? {
        let Existence {
            uuid,
            presence,
            records: rows,
        } = &existence;
        let artifacts = || rows.iter().map(|row| artifact(row, &site.roots)).collect();
        let answer = Answer {
            uuid: *uuid,
            exists: *presence,
            artifacts: records.then(artifacts),
        };
        ndjson::line(&answer, &mut to).map_err(ExistsError::Write)?;
    }
    Ok(to)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExistsError {
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A line cannot be written.
    #[error("cannot write an answer")]
    Write(#[source] io::Error),
}

impl ExistsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Write(_) => None,
        }
    }
}

impl From<ExistsError> for Problem {
    fn from(error: ExistsError) -> Self {
        match error {
            ExistsError::Registry(error) => error.into(),
            ExistsError::Write(error) => Self::internal(error.to_string()),
        }
    }
}

fn artifact<'a>(record: &'a RecordRow, roots: &[Root]) -> Artifact<'a> {
    let root = roots.iter().find(|root| root.name == record.root);
    Artifact {
        component: &record.component,
        uri: root.map(|root| root.uri(&record.path)),
        root: record.root.as_str(),
        path: record.path.as_str(),
        size: record.size,
        checksums: record.checksums,
        formatter: record.formatter.as_deref(),
        confirmed: record.confirmed,
    }
}
