//! Which request goes where: one router for all sockets.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use runsync_config::http::Role;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gate::{self, Gate};
use super::openapi::{self, Document};
use super::peer::Peer;
use super::problem::Problem;
use super::surface::Surface;
use super::{
    asked, collections, events, exists, findings, hand_in, health, manifests, metrics,
    publications, removals, runs, scans, schedule, status, syncs, wake,
};

type Routes = OpenApiRouter<Arc<Surface>>;

/// Anybody may ask these.
fn open() -> Routes {
    OpenApiRouter::default()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// These need role `read`.
fn read() -> Routes {
    OpenApiRouter::default()
        .routes(routes!(openapi::openapi))
        .routes(routes!(metrics::metrics))
        .routes(routes!(status::status))
        .routes(routes!(exists::exists))
        .routes(routes!(runs::runs))
        .routes(routes!(runs::run))
        .routes(routes!(runs::datasets))
        .routes(routes!(runs::records))
        .routes(routes!(manifests::manifests))
        .routes(routes!(manifests::requests))
        .routes(routes!(removals::removals))
        .routes(routes!(removals::removal))
        .routes(routes!(removals::journals))
        .routes(routes!(removals::unwanted))
        .routes(routes!(removals::rule_endings))
        .routes(routes!(asked::asked))
        .routes(routes!(collections::collections))
        .routes(routes!(collections::collection))
        .routes(routes!(publications::publications))
        .routes(routes!(events::hints))
        .routes(routes!(events::poison))
        .routes(routes!(events::one_poison))
        .routes(routes!(scans::scans))
        .routes(routes!(findings::findings))
        .routes(routes!(findings::report))
        .routes(routes!(schedule::schedule))
}

/// These need role `operate`.
fn operate() -> Routes {
    OpenApiRouter::default()
        .routes(routes!(wake::wake))
        .routes(routes!(hand_in::hand_in))
        .routes(routes!(manifests::retry))
        .routes(routes!(manifests::drop))
        .routes(routes!(removals::plan))
        .routes(routes!(removals::remove))
        .routes(routes!(removals::resume))
        .routes(routes!(removals::drop_journals))
        .routes(routes!(removals::restore))
        .routes(routes!(removals::end_rules))
        .routes(routes!(asked::plan))
        .routes(routes!(asked::confirm))
        .routes(routes!(asked::refuse))
        .routes(routes!(collections::change))
        .routes(routes!(collections::plan))
        .routes(routes!(collections::remove))
        .routes(routes!(publications::plan))
        .routes(routes!(publications::publish))
        .routes(routes!(publications::compact))
        .routes(routes!(publications::withdraw))
        .routes(routes!(events::hand_in))
        .routes(routes!(events::forget))
        .routes(routes!(syncs::sync))
        .routes(routes!(scans::scan))
        .routes(routes!(findings::ignore))
        .routes(routes!(schedule::run))
}

/// All of them, without what stands before.
pub(super) fn routes() -> Routes {
    gated(|_, routes| routes)
}

/// All of them; `gate` puts something before those that need a role.
fn gated(gate: impl Fn(Option<Role>, Routes) -> Routes) -> Routes {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(gate(None, open()))
        .merge(gate(Some(Role::Read), read()))
        .merge(gate(Some(Role::Operate), operate()))
}

/// What every connection is served with.
pub(super) fn router(surface: &Arc<Surface>) -> Router {
    let routes = gated(|role, routes| {
        let surface = Arc::clone(surface);
        routes.route_layer(middleware::from_fn_with_state(
            Gate { surface, role },
            gate::pass,
        ))
    });
    Router::from(routes)
        .fallback(missing)
        .method_not_allowed_fallback(not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(metrics::measure))
        .with_state(Arc::clone(surface))
}

/// Whoever guesses paths is counted like whoever asks for what there is.
async fn missing(
    State(surface): State<Arc<Surface>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Problem {
    if let Err(problem) = surface.rates.count(&peer.anybody()) {
        return problem;
    }
    Problem::missing(format!("there is no {}", request.uri().path()))
        .hint("`GET /openapi.json` lists what there is")
}

async fn not_allowed(
    State(surface): State<Arc<Surface>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Problem {
    if let Err(problem) = surface.rates.count(&peer.anybody()) {
        return problem;
    }
    Problem::method(format!(
        "{} is nothing that {} takes",
        request.method(),
        request.uri().path()
    ))
    .hint("`GET /openapi.json` lists what there is")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that the layer calls"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    error!(
        panic = text.unwrap_or("without a message"),
        "a request panicked"
    );
    Problem::internal("the daemon made a mistake with this request").into_response()
}
