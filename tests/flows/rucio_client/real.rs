//! A real Rucio server, and what the cases find there.

use std::sync::{Arc, Mutex};

use harness::{Naming, Part, Rucio as Server};
use runsync::rucio::Did;
use runsync::rucio::Rucio;
use runsync::rucio::replicas::NewReplica;
use runsync_manifest::name::{RseName, Scope};
use serde_json::Value;

use crate::front::{Front, Reply, Request};
use crate::told::{self, Case, go_through};
use crate::way::{ACCOUNT, PASSWORD, Way};
use crate::{real_dids, real_endings, real_logins, real_replicas};

pub(crate) const SCOPE: &str = "hsc";
/// Without the right to do anything but to look.
pub(crate) const GUEST: &str = "guest";

/// A server that has two deterministic RSEs and one that is not, and that is named after what it is.
pub(crate) struct Real {
    pub(crate) server: Arc<Server>,
}

#[test]
fn a_real_server_is_understood() {
    let server = Server::start(&[Part::Tls, Part::Issuer]).unwrap();
    server
        .add_account(ACCOUNT, ("runsync", PASSWORD), true)
        .unwrap();
    server
        .add_account(GUEST, ("guest", "guests-word"), false)
        .unwrap();
    server.add_scope(ACCOUNT, SCOPE).unwrap();
    server.add_scope(GUEST, "guests").unwrap();
    server.add_rse("SITE_A", Naming::Identity, None).unwrap();
    server.add_rse("SITE_B", Naming::Hash, None).unwrap();
    server
        .add_rse("ANY", Naming::NonDeterministic, None)
        .unwrap();
    server.set_limit(ACCOUNT, "SITE_A", None).unwrap();
    server
        .set_limit(ACCOUNT, "SITE_B", Some(1_000_000))
        .unwrap();
    let real = Real {
        server: Arc::new(server),
    };
    let mut cases: Vec<Case<'_>> = Vec::new();
    cases.extend(real_logins::cases(&real));
    cases.extend(real_replicas::cases(&real));
    cases.extend(real_dids::cases(&real));
    cases.extend(real_endings::cases(&real));
    go_through("Rucio", cases);
}

/// A client whose requests are recorded on their way to the real server.
pub(crate) struct Site {
    pub(crate) front: Front,
    pub(crate) way: Way,
    pub(crate) rucio: Rucio,
}

impl Real {
    /// The site's own client.
    pub(crate) fn site(&self) -> Site {
        self.site_with("", |_, _| Reply::Pass)
    }

    /// The same with more lines of `[rucio]`, and something that happens on the way.
    pub(crate) fn site_with(
        &self,
        more: &str,
        answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Site {
        let front = Front::before(self.server.port(), answer);
        let way = Way::as_account(&front.url(), ACCOUNT, PASSWORD, more);
        Site::of(front, way)
    }

    /// A client that acts as another account.
    pub(crate) fn as_account(&self, account: &str, username: &str, password: &str) -> Site {
        told::is_secret(password);
        let front = Front::before(self.server.port(), |_, _| Reply::Pass);
        let login =
            format!("[rucio.userpass]\nusername = \"{username}\"\npassword_file = \"secret\"\n");
        let way = Way::new(&front.url(), account, "", &login, password);
        Site::of(front, way)
    }

    /// A client with the token in a file.
    pub(crate) fn with_token(&self, token: &str) -> Site {
        let front = Front::before(self.server.port(), |_, _| Reply::Pass);
        let way = Way::token(&front.url(), token);
        Site::of(front, way)
    }

    /// Makes every token that the server has given out expire, and it forget that they were good.
    pub(crate) fn expire(server: &Server) {
        server
            .sql("UPDATE tokens SET expired_at = now() - interval '2 days'")
            .unwrap();
        server.restart_server().unwrap();
    }
}

impl Site {
    fn of(front: Front, way: Way) -> Self {
        let rucio = way.client();
        Self { front, way, rucio }
    }
}

pub(crate) fn scope() -> Scope {
    SCOPE.parse().unwrap()
}

pub(crate) fn rse(name: &str) -> RseName {
    name.parse().unwrap()
}

pub(crate) fn did(name: &str) -> Did {
    Did::new(&scope(), name)
}

pub(crate) fn file(name: &str) -> NewReplica {
    crate::answers::file(name)
}

pub(crate) fn files(prefix: &str, count: usize) -> Vec<NewReplica> {
    (0..count)
        .map(|number| file(&format!("{prefix}/{number}")))
        .collect()
}

/// An answer of the real server to root, as it comes.
pub(crate) fn raw(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let answer = server.rest("POST", path, Some(body)).unwrap();
    let class = answer.header("ExceptionClass").unwrap_or_default();
    (answer.status, class.to_owned())
}

/// Puts something in the place of the last answer.
pub(crate) type Once = Mutex<bool>;

/// True the first time.
pub(crate) fn first(once: &Once) -> bool {
    std::mem::replace(&mut *once.lock().unwrap(), false)
}
