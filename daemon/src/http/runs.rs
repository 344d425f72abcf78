//! `/v1/runs…`: what the registry holds, as JSON Lines.
//!
//! A list begins after what `after` names and holds at most `limit` lines; the last line of one
//! request says where the next begins. Without a limit all of it comes, page by page.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use runsync_manifest::name::{DatasetId, DatasetTypeName, RepositoryId, RunKey, RunName};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::ndjson::{self, Chunk};
use super::openapi::{Asked, Gated, Missing};
use super::problem::Problem;
use super::query::{Path, Query};
use super::surface::Surface;
use crate::registry::record::{DatasetRow, RecordRow, RunRow};

/// Datasets of a run that are read at once: some milliseconds of work.
const PAGE: usize = 1000;

/// Which runs.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichRuns {
    /// Only this run and those below it, such as `HSC/runs`.
    prefix: Option<String>,
    /// Only those that wait for artifacts.
    #[serde(default)]
    #[param(default = false)]
    waiting: bool,
    /// Only those after this one: the name of the last line.
    after: Option<String>,
    /// With `after`: the origin of the last line, where several repositories own a run of that name.
    #[param(value_type = Option<Uuid>)]
    after_origin: Option<RepositoryId>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl WhichRuns {
    fn begins_before(&self, run: &RunKey) -> bool {
        let Some(after) = &self.after else {
            return true;
        };
        let origin = (run.origin, self.after_origin);
        match run.name.as_str().cmp(after) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => matches!(origin, (run, Some(after)) if run > after),
            std::cmp::Ordering::Less => false,
        }
    }
}

/// List runs, by name.
#[utoipa::path(
    get,
    path = "/v1/runs",
    tag = "read",
    params(WhichRuns),
    responses(
        (status = 200, description = "A line for each run.", content_type = "application/x-ndjson", body = RunRow),
        Asked,
        Gated,
    )
)]
pub(super) async fn runs(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichRuns>,
) -> Result<Response, Problem> {
    let rows = surface.look_up(move |surface| {
        let mut rows = surface.readers.registry.runs(which.prefix.as_deref())?;
        rows.retain(|row| which.begins_before(&row.key) && (!which.waiting || row.waiting > 0));
        rows.truncate(which.limit.unwrap_or(usize::MAX));
        Ok::<_, Problem>(rows)
    });
    Ok(ndjson::rows(rows.await?))
}

/// A run in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichRun {
    /// The repository that owns the run.
    #[param(value_type = Uuid)]
    origin: RepositoryId,
    /// The run's name, with `/` written as `%2F`.
    #[param(value_type = String)]
    run: RunName,
}

impl WhichRun {
    /// The run, once it is known that the registry has it.
    fn find(self, surface: &Surface) -> Result<RunRow, Problem> {
        let key = RunKey {
            origin: self.origin,
            name: self.run,
        };
        let found = surface.readers.registry.run(&key)?;
        found.ok_or_else(|| {
            Problem::missing(format!("the registry has no run {key}"))
                .hint("`GET /v1/runs` lists the runs")
        })
    }
}

/// Show one run.
#[utoipa::path(
    get,
    path = "/v1/runs/{origin}/{run}",
    tag = "read",
    params(WhichRun),
    responses(
        (status = 200, description = "The run.", body = RunRow),
        Missing,
        Asked,
        Gated,
    )
)]
pub(super) async fn run(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichRun>,
) -> Result<axum::Json<RunRow>, Problem> {
    let row = surface.look_up(move |surface| which.find(surface));
    row.await.map(axum::Json)
}

/// Which datasets of a run.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichDatasets {
    /// Only this dataset type.
    #[param(value_type = Option<String>)]
    dataset_type: Option<DatasetTypeName>,
    /// Only those after this one: the UUID of the last line.
    #[param(value_type = Option<Uuid>)]
    after: Option<DatasetId>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// List the datasets of a run, by UUID.
#[utoipa::path(
    get,
    path = "/v1/runs/{origin}/{run}/datasets",
    tag = "read",
    params(WhichRun, WhichDatasets),
    responses(
        (status = 200, description = "A line for each dataset.", content_type = "application/x-ndjson", body = DatasetRow),
        Missing,
        Asked,
        Gated,
    )
)]
pub(super) async fn datasets(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichRun>,
    Query(of): Query<WhichDatasets>,
) -> Result<Response, Problem> {
    let begin = Cursor::new(of.after, of.limit);
    let dataset_type = of.dataset_type;
    pages(surface, which, begin, move |surface, run, at| {
        let registry = &surface.readers.registry;
        let limit = at.left.min(PAGE);
        let rows: Vec<DatasetRow> =
            registry.datasets(run, dataset_type.as_ref(), at.after, limit)?;
        let last = rows.last().map(|row| row.uuid);
        let next = last.filter(|_| rows.len() == limit);
        let lines = rows.len();
        Ok((rows, at.next(next, lines)))
    })
    .await
}

/// Which datastore records of a run.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichRecords {
    /// Only those of datasets after this one: the UUID of the last line.
    #[param(value_type = Option<Uuid>)]
    after: Option<DatasetId>,
    /// Those of at most so many datasets.
    #[param(minimum = 0)]
    limit: Option<usize>,
    /// Only artifacts that are waited for.
    #[serde(default)]
    #[param(default = false)]
    waiting: bool,
}

/// List the datastore records of a run and the artifacts that it waits for, by UUID and component.
#[utoipa::path(
    get,
    path = "/v1/runs/{origin}/{run}/records",
    tag = "read",
    params(WhichRun, WhichRecords),
    responses(
        (status = 200, description = "A line for each record.", content_type = "application/x-ndjson", body = RecordRow),
        Missing,
        Asked,
        Gated,
    )
)]
pub(super) async fn records(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichRun>,
    Query(of): Query<WhichRecords>,
) -> Result<Response, Problem> {
    let begin = Cursor::new(of.after, of.limit);
    pages(surface, which, begin, move |surface, run, at| {
        let registry = &surface.readers.registry;
        let mut rows: Vec<RecordRow> = registry.records(run, at.after, at.left.min(PAGE))?;
        let last = rows.last().map(|row| row.uuid);
        let datasets = rows.chunk_by(|a, b| a.uuid == b.uuid).count();
        rows.retain(|row| !(of.waiting && row.confirmed));
        Ok((rows, at.next(last, datasets)))
    })
    .await
}

/// Where a list goes on.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    after: Option<DatasetId>,
    left: usize,
}

impl Cursor {
    fn new(after: Option<DatasetId>, limit: Option<usize>) -> Self {
        let left = limit.unwrap_or(usize::MAX);
        Self { after, left }
    }

    /// Where it goes on after `last`, with `done` datasets more; none: it has ended.
    fn next(self, last: Option<DatasetId>, done: usize) -> Option<Self> {
        let left = self.left.saturating_sub(done);
        let after = Some(last?);
        (left > 0).then_some(Self { after, left })
    }
}

type Page<T> = (Vec<T>, Option<Cursor>);

/// Answers with page after page of a run.
async fn pages<T, F>(
    surface: Arc<Surface>,
    which: WhichRun,
    begin: Cursor,
    page: F,
) -> Result<Response, Problem>
where
    T: Serialize,
    F: Fn(&Surface, &RunKey, Cursor) -> Result<Page<T>, Problem> + Send + Sync + 'static,
{
    let page = Arc::new(page);
    let of = Arc::clone(&page);
    let (run, first) = surface
        .look_up(move |surface| {
            let run = which.find(surface)?.key;
            let first = chunk(of(surface, &run, begin)?)?;
            Ok::<_, Problem>((Arc::new(run), first))
        })
        .await?;
    Ok(ndjson::stream(first, move |at| {
        let (surface, run, page) = (Arc::clone(&surface), Arc::clone(&run), Arc::clone(&page));
        let look = move |surface: &Surface| chunk(page(surface, &run, at)?);
        async move { surface.look_on(look).await }
    }))
}

fn chunk<T: Serialize>((rows, next): Page<T>) -> Result<Chunk<Cursor>, Problem> {
    let mut bytes = Vec::new();
    for row in &rows {
        ndjson::line(row, &mut bytes).map_err(|error| Problem::internal(error.to_string()))?;
    }
    Ok((Bytes::from(bytes), next))
}
