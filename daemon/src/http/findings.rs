//! `/v1/findings`: drift that scans have found, and what an operator says of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::JsonBody;
use super::openapi::{Asked, Body, Gated, Typed};
use super::pages::{Cursor, list};
use super::problem::Problem;
use super::query::Query;
use super::record::{Asking, perform};
use super::surface::Surface;
use crate::ledger::LedgerError;
use crate::ledger::scans::{DriftFilter, DriftFinding, DriftKind, Ignored, Span};
use crate::recovery::FindingsPage;

/// Which findings.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichFindings {
    /// Only those of this kind: `lost`, `dark`, `corrupt`, `irregular`, `site-only`, `rucio-differs`, `rucio-state` or
    /// `rucio-only`.
    #[param(value_type = Option<String>)]
    kind: Option<DriftKind>,
    /// Only in this root.
    #[param(value_type = Option<String>)]
    root: Option<RootName>,
    /// Only below this folder of the root.
    #[param(value_type = Option<String>)]
    prefix: Option<ArtifactPath>,
    /// Only at this path.
    #[param(value_type = Option<String>)]
    path: Option<ArtifactPath>,
    /// Also those that are to be left out.
    #[serde(default)]
    all: bool,
    /// Only those after this one: root and path of the last line, which go together.
    #[param(value_type = Option<String>)]
    after_root: Option<RootName>,
    /// The path that goes with it.
    after_path: Option<String>,
    /// At most so many, and what else there is at the last one's path.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl WhichFindings {
    fn filter(&self) -> DriftFilter {
        DriftFilter {
            root: self.root.clone(),
            kind: self.kind,
            side: None,
            span: match &self.path {
                Some(path) => Span::at(path.as_str()),
                None => Span::below(self.prefix.as_ref()),
            },
            ignored: self.all,
        }
    }

    fn after(&self) -> Result<Option<(RootName, String)>, Problem> {
        match (&self.after_root, &self.after_path) {
            (Some(root), Some(path)) => Ok(Some((root.clone(), path.clone()))),
            (None, None) => Ok(None),
            _ => Err(Problem::wrong("`after_root` and `after_path` go together")
                .hint("take both from the last line")),
        }
    }
}

/// List drift that scans have found, by root and path.
#[utoipa::path(
    get,
    path = "/v1/findings",
    tag = "read",
    params(WhichFindings),
    responses(
        (status = 200, description = "A line for each finding.", content_type = "application/x-ndjson", body = serde_json::Value),
        Asked,
        Gated,
    )
)]
pub(super) async fn findings(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichFindings>,
) -> Result<Response, Problem> {
    let begin = Cursor::new(which.after()?, which.limit);
    let filter = which.filter();
    list(surface, begin, move |surface, at| {
        let after = at.after().map(|(root, path)| (root, path.as_str()));
        let rows = surface.readers.ledger.drift(&filter, after, at.lines())?;
        let key = |row: &DriftFinding| (row.root.clone(), row.path.to_string());
        Ok(at.page(rows, key))
    })
    .await
}

/// Of which root.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichRoot {
    /// Only of this root.
    #[param(value_type = Option<String>)]
    root: Option<RootName>,
}

/// Show what scans have found as one page of HTML that stands alone, with plots.
#[utoipa::path(
    get,
    path = "/v1/findings/report",
    tag = "read",
    operation_id = "findings_report",
    params(WhichRoot),
    responses(
        (status = 200, description = "The page.", content_type = "text/html", body = String),
        Asked,
        Gated,
    )
)]
pub(super) async fn report(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichRoot>,
) -> Result<axum::response::Html<String>, Problem> {
    let page = surface.look_up(move |surface| {
        let (site, ledger) = (&surface.site, &*surface.readers.ledger);
        let now = surface.clock.now();
        FindingsPage::read(site.name.clone(), which.root, ledger, now)
    });
    Ok(axum::response::Html(page.await?.to_html()))
}

/// Findings to be left out of lists and exit codes, or no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToIgnore {
    /// Where they are.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<ArtifactPath>,
    /// Only in this root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub root: Option<RootName>,
    /// Why they are to be left out; absent: they are not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A finding of which that was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IgnoredFinding {
    /// Its root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Where it is.
    #[schema(value_type = String)]
    pub path: ArtifactPath,
    /// Whether it is left out now.
    pub ignored: bool,
}

/// Have findings left out of lists and exit codes, for as long as the same is found, or no more.
#[utoipa::path(
    post,
    path = "/v1/findings/ignore",
    tag = "operate",
    operation_id = "ignore_findings",
    request_body = ToIgnore,
    responses(
        (status = 200, description = "Those of which it was noted; where nothing is found at a path, none.", body = Vec<IgnoredFinding>),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn ignore(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(which): JsonBody<ToIgnore>,
) -> Result<Json<Vec<IgnoredFinding>>, Problem> {
    let word = which.why.as_ref().map(|why| Ignored {
        by: account.name.to_string(),
        why: why.clone(),
        at: surface.clock.now(),
    });
    let asking = Asking {
        account,
        what: if word.is_some() {
            "ignore findings"
        } else {
            "heed findings"
        },
        subject: format!("{} paths", which.paths.len()),
    };
    let noted = perform(&surface, asking, move |loops| {
        let ledger = &loops.assembly().parts.ledger;
        let mut noted = Vec::new();
        for path in &which.paths {
            let filter = DriftFilter {
                root: which.root.clone(),
                kind: None,
                side: None,
                span: Span::at(path.as_str()),
                ignored: true,
            };
            for finding in ledger.drift(&filter, None, usize::MAX)? {
                let (root, path) = (finding.root, finding.path);
                if ledger.ignore_drift(&root, path.as_str(), word.as_ref())? {
                    let ignored = word.is_some();
                    noted.push(IgnoredFinding {
                        root,
                        path,
                        ignored,
                    });
                }
            }
        }
        Ok::<_, LedgerError>(noted)
    });
    noted.await.map(Json)
}
