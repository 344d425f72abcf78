//! The OpenAPI document, made from the code that answers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa::{IntoResponses, Modify, ToSchema};

use super::problem::{PROBLEM_JSON, ProblemBody};
use super::router;

/// What the document says as a whole.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(
        title = "runsync",
        description = "What a running runsync daemon answers, over its Unix socket and, where it is \
            configured, over TCP. Errors are problems (RFC 9457) with a hint.",
        license(name = "BSD-3-Clause", identifier = "BSD-3-Clause"),
        contact(),
    ),
    servers((url = "/", description = "The daemon that serves this document.")),
    security(("token" = [])),
    components(schemas(ProblemBody)),
    tags(
        (name = "service", description = "Whether the daemon is well."),
        (name = "read", description = "What is known. Role `read`."),
        (name = "operate", description = "What changes something. Role `operate`."),
    ),
    modifiers(&Token),
)]
pub(super) struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Over TCP. On the Unix socket the kernel says who asks, and no token is read.",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// The document as it is served and kept in `docs/openapi.json`.
pub fn document() -> OpenApi {
    router::routes().into_openapi()
}

/// Serve this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, description = "The document.", body = serde_json::Value), Gated)
)]
pub(super) async fn openapi() -> Json<&'static OpenApi> {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(document);
    Json(&DOCUMENT)
}

/// What every request may be answered.
pub(super) struct Open;

/// What a request that needs a role may be answered, too.
pub(super) struct Gated;

/// What a request with parameters may be answered, too.
pub(super) struct Asked;

/// What a request for one thing may be answered, too.
pub(super) struct Missing;

/// What a request with a body may be answered, too.
pub(super) struct Body;

/// What a request whose body is of certain kinds may be answered, too.
pub(super) struct Typed;

impl IntoResponses for Open {
    fn responses() -> Responses {
        problems(&[
            (
                429,
                "Too many requests: come again after `Retry-After` seconds.",
            ),
            (500, "A fault of the daemon."),
        ])
    }
}

impl IntoResponses for Gated {
    fn responses() -> Responses {
        let mut all = problems(&[
            (401, "No token, or one that is not known (TCP)."),
            (403, "Whoever asks may not."),
            (
                503,
                "The registry or the ledger does not answer now, another daemon runs the loops, or this one stops.",
            ),
        ]);
        all.extend(Open::responses());
        all
    }
}

impl IntoResponses for Asked {
    fn responses() -> Responses {
        problems(&[(422, "A parameter is wrong.")])
    }
}

impl IntoResponses for Missing {
    fn responses() -> Responses {
        problems(&[(404, "There is no such thing.")])
    }
}

impl IntoResponses for Body {
    fn responses() -> Responses {
        problems(&[
            (400, "The body cannot be read."),
            (408, "The body did not arrive in time."),
            (413, "The body is too large."),
            (422, "The body, or a parameter, says something wrong."),
        ])
    }
}

impl IntoResponses for Typed {
    fn responses() -> Responses {
        problems(&[(415, "The body is of another kind.")])
    }
}

type Responses = BTreeMap<String, RefOr<Response>>;

fn problems(all: &[(u16, &str)]) -> Responses {
    let problem = |description: &str| {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new()
            .description(description)
            .content(PROBLEM_JSON, content)
            .build()
    };
    all.iter()
        .map(|(status, description)| (status.to_string(), RefOr::T(problem(description))))
        .collect()
}
