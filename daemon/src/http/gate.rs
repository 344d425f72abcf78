//! Lets in who may: before a handler runs, it is known who asks, and that it may ask this now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runsync_config::http::Role;

use super::account::Account;
use super::peer::Peer;
use super::problem::Problem;
use super::surface::Surface;

/// What a group of routes asks for.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) surface: Arc<Surface>,
    /// The role; none: anybody may ask.
    pub(super) role: Option<Role>,
}

/// Finds out who asks, refuses who may not, and hands the [`Account`] on to the handler.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Problem::internal("a request came from nowhere").into_response();
    };
    match gate.admit(peer, request.headers()).await {
        Ok(account) => {
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    async fn admit(&self, peer: Peer, headers: &HeaderMap) -> Result<Account, Problem> {
        let rates = &self.surface.rates;
        let Some(needed) = self.role else {
            let account = peer.anybody();
            rates.count(&account)?;
            return Ok(account);
        };
        let account = match peer {
            Peer::Local(uid) => self.local(uid).await?,
            Peer::Remote(_) => match self.remote(headers) {
                Ok(account) => account,
                Err(problem) => {
                    // Guessing is slow, and keeps nobody else from asking.
                    rates.count(&peer.anybody())?;
                    return Err(problem);
                }
            },
        };
        rates.count(&account)?;
        match account.role {
            Some(role) if role >= needed => Ok(account),
            Some(_) => Err(Problem::forbidden(format!("{account} may ask, and change nothing"))
                .hint("add the account to `operators` in `[http]`, or use a token whose role is `operate`")),
            None => Err(Problem::forbidden(format!("{account} may not ask"))
                .hint("add the account, or a group that it is in, to `readers` in `[http]`")),
        }
    }

    async fn local(&self, uid: u32) -> Result<Account, Problem> {
        let access = self.surface.access();
        if let Some(account) = access.remembered(uid) {
            return Ok(account);
        }
        // Where the system does not answer, each request of the user would ask it again.
        self.surface.rates.count(&Peer::Local(uid).anybody())?;
        self.surface.look_user_up(access, uid).await
    }

    fn remote(&self, headers: &HeaderMap) -> Result<Account, Problem> {
        let header = headers
            .get(AUTHORIZATION)
            .ok_or_else(|| Problem::unauthenticated("the request carries no token"))?;
        let token = header.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = token.ok_or_else(|| {
            Problem::unauthenticated("the `Authorization` header holds no bearer token")
        })?;
        self.surface
            .access()
            .holder(token)
            .ok_or_else(|| Problem::unauthenticated("the token is not known here"))
    }
}
