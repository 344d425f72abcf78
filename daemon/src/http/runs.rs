//! `/v1/runs…`: what the registry holds, as JSON Lines.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use runsync_manifest::name::{DatasetId, DatasetTypeName, RepositoryId, RunKey, RunName};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::openapi::{Asked, Gated, Missing};
use super::pages::{Cursor, list};
use super::problem::Problem;
use super::query::{Path, Query};
use super::surface::Surface;
use crate::registry::record::{DatasetRow, RecordRow, RunRow};

/// After every repository: where a client names a run and no origin, it has seen all of that name.
const LAST_ORIGIN: RepositoryId = RepositoryId(Uuid::max());

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
    let origin = which.after_origin.unwrap_or(LAST_ORIGIN);
    let begin = Cursor::new(which.after.map(|name| (name, origin)), which.limit);
    list(surface, begin, move |surface, at| {
        let prefix = which.prefix.as_deref();
        let after = at.after().map(|(name, origin)| (name.as_str(), *origin));
        let registry = &surface.readers.registry;
        let rows = registry.runs_after(prefix, which.waiting, after, at.lines())?;
        Ok(at.page(rows, |row| (row.key.name.to_string(), row.key.origin)))
    })
    .await
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
    /// The run's key, once it is known that the registry has it.
    async fn key(self, surface: &Arc<Surface>) -> Result<RunKey, Problem> {
        let row = surface.look_up(move |surface| self.find(surface));
        Ok(row.await?.key)
    }

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
    let run = which.key(&surface).await?;
    let begin = Cursor::new(of.after, of.limit);
    list(surface, begin, move |surface, at| {
        let registry = &surface.readers.registry;
        let dataset_type = of.dataset_type.as_ref();
        let rows: Vec<DatasetRow> =
            registry.datasets(&run, dataset_type, at.after().copied(), at.lines())?;
        Ok(at.page(rows, |row| row.uuid))
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
    let run = which.key(&surface).await?;
    let begin = Cursor::new(of.after, of.limit);
    list(surface, begin, move |surface, at| {
        let registry = &surface.readers.registry;
        let mut rows: Vec<RecordRow> = registry.records(&run, at.after().copied(), at.lines())?;
        let last = rows.last().map(|row| row.uuid);
        let datasets = rows.chunk_by(|a, b| a.uuid == b.uuid).count();
        rows.retain(|row| !(of.waiting && row.confirmed));
        Ok((rows, at.next(last, datasets)))
    })
    .await
}
