//! Sends one request, and again where that can help, until there is an answer or a typed error.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use runsync_config::rucio::Rucio as Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::breaker::Breakers;
use super::error::RucioError;
use super::exception::Refusal;
use super::heard::{self, Heard};
use super::json;
use super::lines::Lines;
use super::login::{Login, Token};
use super::patience::Patience;
use super::schema::Schema;
use super::wire;
use crate::clock::{Clock, SystemClock};
use crate::poison::lock;
use crate::telemetry::rucio::{self as telemetry, Asked};

/// What stands for itself in a part of a path: RFC 3986's unreserved characters. The slashes of a
/// DID's name are escaped, or one at its beginning would be lost.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Longest body of a refusal that is read: it repeats the bulk call.
const REFUSAL_MAX: u64 = 8 << 20;
/// Longest answer in one piece.
const ANSWER_MAX: u64 = 64 << 20;
/// How long a wait goes on before the caller is asked whether it goes on.
const SLICE: Duration = Duration::from_millis(100);

/// Asked while a request waits; may break off.
pub type Waiting = dyn Fn() -> ControlFlow<()> + Send + Sync;

/// A site's way to Rucio. Clones share login, breakers and connections.
#[derive(Clone)]
pub struct Rucio {
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
}

struct Shared {
    config: Config,
    patience: Patience,
    /// Made when it is first needed: making it blocks, and a site is put together where that must not be.
    client: Mutex<Option<Client>>,
    login: Login,
    breakers: Breakers,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Rucio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rucio")
            .field("url", &self.shared.config.url.as_str())
            .field("account", &self.shared.config.account)
            .finish_non_exhaustive()
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    /// What breakers and counters know it by.
    endpoint: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    /// Whether it may be sent again where nobody knows what came of it.
    may_repeat: bool,
}

impl Call {
    /// A question: `path` holds the parts below the endpoint, which are escaped.
    pub(super) fn get(endpoint: &'static str, parts: &[&str]) -> Self {
        Self::new(Method::GET, endpoint, parts).repeatable()
    }

    pub(super) fn new(method: Method, endpoint: &'static str, parts: &[&str]) -> Self {
        let mut path = endpoint.to_owned();
        for part in parts {
            if !path.ends_with('/') {
                path.push('/');
            }
            path.extend(utf8_percent_encode(part, PART));
        }
        Self {
            method,
            endpoint,
            path,
            query: Vec::new(),
            body: None,
            may_repeat: false,
        }
    }

    /// Adds a part to the path.
    pub(super) fn push(&mut self, part: &str) {
        self.path.push('/');
        self.path.extend(utf8_percent_encode(part, PART));
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With a JSON body.
    pub(super) fn body(mut self, body: &impl Serialize) -> Result<Self, RucioError> {
        match serde_json::to_vec(body) {
            Ok(body) => {
                self.body = Some(body);
                Ok(self)
            }
            Err(error) => Err(RucioError::NotUnderstood {
                request: self.name(),
                what: format!("what is asked cannot be written: {error}"),
            }),
        }
    }

    /// Sending it twice comes to the same as sending it once.
    pub(super) fn repeatable(mut self) -> Self {
        self.may_repeat = true;
        self
    }

    /// Method and path, for people.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What one try came to.
enum Tried {
    Answered(Response),
    /// The token is not good.
    LoginOver(RucioError),
    /// It may be otherwise a moment later; the server may have named the wait.
    MayPass(RucioError, Option<Duration>),
    Ended(RucioError),
}

impl Rucio {
    /// A way to the Rucio that configuration names. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`RucioError::Certificate`] and [`RucioError::Tls`].
    pub fn new(config: &Config) -> Result<Self, RucioError> {
        Self::with(config, Patience::default(), Arc::new(SystemClock))
    }

    /// The same with another patience and clock.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with(
        config: &Config,
        patience: Patience,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RucioError> {
        wire::check(config)?;
        Ok(Self {
            shared: Arc::new(Shared {
                client: Mutex::default(),
                login: Login::new(config),
                breakers: Breakers::new(patience),
                config: config.clone(),
                patience,
                clock,
            }),
            waiting: Arc::new(|| ControlFlow::Continue(())),
        })
    }

    /// The same way, that asks `waiting` before each request and while it waits.
    #[must_use]
    pub fn waiting(&self, waiting: Arc<Waiting>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            waiting,
        }
    }

    /// What configuration says of it.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Which names the server takes.
    pub fn schema(&self) -> Schema {
        Schema(self.shared.config.schema)
    }

    /// Logs in, if that is needed.
    ///
    /// # Errors
    ///
    /// Where that does not go.
    pub fn log_in(&self) -> Result<(), RucioError> {
        self.shared.login.token(&*self.shared.clock).map(drop)
    }

    /// The account that the login is good for where none is named; none: the server does not tell.
    ///
    /// # Errors
    ///
    /// Where the login is not good for any.
    pub fn default_account(&self) -> Result<Option<String>, RucioError> {
        self.shared.login.default_account()
    }

    /// The server's version: the one question that needs no login.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn version(&self) -> Result<String, RucioError> {
        #[derive(serde::Deserialize)]
        struct Pong {
            version: String,
        }
        let call = Call::get("/ping", &[]);
        let response = self.persist(&call, |client| Ok(self.send_once(&call, None, client)))?;
        let Pong { version } = self.whole(&call, response)?;
        Ok(version)
    }

    /// Asks for an answer in one piece.
    pub(super) fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, RucioError> {
        let mut tried = 1;
        loop {
            match self.whole(call, self.send(call)?) {
                // It began to answer, and may go on to its end the next time.
                Err(RucioError::Unknown { .. })
                    if call.may_repeat && tried < self.shared.patience.tries =>
                {
                    self.wait(self.shared.patience.wait(tried))?;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Asks for an answer of many lines.
    pub(super) fn lines<T: DeserializeOwned>(&self, call: &Call) -> Result<Lines<T>, RucioError> {
        let response = self.send(call)?;
        let answer = Heard::new(response, &self.waiting);
        Ok(Lines::new(call.name(), answer))
    }

    /// Has something done, whose answer says nothing more.
    pub(super) fn act(&self, call: &Call) -> Result<(), RucioError> {
        self.send(call).map(drop)
    }

    /// Sends a request under a token.
    pub(super) fn send(&self, call: &Call) -> Result<Response, RucioError> {
        let clock = &*self.shared.clock;
        let mut token: Option<Token> = None;
        let mut renewed = false;
        self.persist(call, |client| {
            let current = match &token {
                Some(token) => token.clone(),
                None => self.shared.login.token(clock)?,
            };
            // Logging in may have taken as long as a request.
            self.go_on()?;
            let mut tried = self.send_once(call, Some(&current), client);
            if let Tried::LoginOver(_) = tried
                && !renewed
            {
                renewed = true;
                self.go_on()?;
                let new = self.shared.login.renew(&current, clock)?;
                self.go_on()?;
                tried = self.send_once(call, Some(&new), client);
                token = Some(new);
            } else {
                token = Some(current);
            }
            if let Tried::LoginOver(error) = tried {
                return Ok(Tried::Ended(error));
            }
            Ok(tried)
        })
    }

    /// Tries until there is an end to it.
    fn persist(
        &self,
        call: &Call,
        mut attempt: impl FnMut(&Client) -> Result<Tried, RucioError>,
    ) -> Result<Response, RucioError> {
        let Shared {
            patience, breakers, ..
        } = &*self.shared;
        let client = self.client()?;
        let mut failed = 0;
        loop {
            self.go_on()?;
            breakers.pass(call.endpoint, Instant::now())?;
            let tried = match attempt(&client) {
                Ok(tried) => tried,
                Err(error) if error.may_pass() => Tried::MayPass(error, None),
                Err(error) => Tried::Ended(error),
            };
            let (error, named) = match tried {
                Tried::Answered(response) => {
                    breakers.succeeded(call.endpoint);
                    telemetry::asked(call.endpoint, Asked::Answered);
                    return Ok(response);
                }
                Tried::Ended(error) | Tried::LoginOver(error) => {
                    // A refusal is an answer: the endpoint works.
                    breakers.succeeded(call.endpoint);
                    telemetry::asked(call.endpoint, Asked::Refused);
                    return Err(error);
                }
                Tried::MayPass(error, named) => (error, named),
            };
            failed += 1;
            breakers.failed(call.endpoint, Instant::now());
            telemetry::asked(call.endpoint, Asked::Failed);
            let is_lost = matches!(error, RucioError::Unknown { .. }) && !call.may_repeat;
            let is_too_long = named.is_some_and(|wait| wait > patience.asked);
            if failed >= patience.tries || is_lost || is_too_long {
                return Err(error);
            }
            let wait = named.unwrap_or_default().max(patience.wait(failed));
            debug!(request = call.name(), %error, ?wait, "Rucio is asked again");
            self.wait(wait)?;
        }
    }

    fn client(&self) -> Result<Client, RucioError> {
        let mut client = lock(&self.shared.client);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = wire::client(&self.shared.config)?;
        Ok(client.insert(made).clone())
    }

    /// An answer in one piece.
    fn whole<T: DeserializeOwned>(&self, call: &Call, response: Response) -> Result<T, RucioError> {
        let (request, mut body) = (call.name(), Vec::new());
        let mut answer = Heard::new(response, &self.waiting).take(ANSWER_MAX);
        if let Err(source) = answer.read_to_end(&mut body) {
            return Err(heard::failure(request, source));
        }
        json::read(&body).map_err(|error| RucioError::NotUnderstood {
            request,
            what: format!("{error}: {}", text_of(&body)),
        })
    }

    fn go_on(&self) -> Result<(), RucioError> {
        match (self.waiting)() {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(RucioError::Interrupted),
        }
    }

    fn wait(&self, how_long: Duration) -> Result<(), RucioError> {
        let until = Instant::now() + how_long;
        loop {
            self.go_on()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    fn send_once(&self, call: &Call, token: Option<&Token>, client: &Client) -> Tried {
        let url = &self.shared.config.url;
        let mut request = client
            .request(call.method.clone(), format!("{url}{}", call.path))
            .query(&call.query);
        if let Some(token) = token {
            request = request.header("X-Rucio-Auth-Token", token.header());
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        match request.send() {
            Ok(response) => self.judge(call, response),
            Err(error) => {
                let error = wire::failure(url.as_str(), &call.name(), error);
                if error.may_pass() {
                    Tried::MayPass(error, None)
                } else {
                    Tried::Ended(error)
                }
            }
        }
    }

    fn judge(&self, call: &Call, response: Response) -> Tried {
        let status = response.status();
        if status.is_success() {
            return Tried::Answered(response);
        }
        let request = call.name();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut answer = Heard::new(response, &self.waiting).take(REFUSAL_MAX);
        if let Err(source) = answer.read_to_end(&mut body) {
            let error = heard::failure(request, source);
            return if matches!(error, RucioError::Interrupted) {
                Tried::Ended(error)
            } else {
                Tried::MayPass(error, None)
            };
        }
        let named = headers
            .get(RETRY_AFTER)
            .and_then(|value| self.wait_named(value.to_str().ok()?));
        if let Some(refusal) = Refusal::of(status, &headers, &body) {
            let refusal = Box::new(refusal);
            if refusal.is_about_login() {
                let error = RucioError::Login {
                    url: self.shared.config.auth_url.to_string(),
                    account: self.shared.config.account.clone(),
                    reason: refusal.message,
                };
                return Tried::LoginOver(error);
            }
            let may_pass = refusal.may_pass();
            let error = RucioError::Refused { request, refusal };
            return if may_pass {
                Tried::MayPass(error, named)
            } else {
                Tried::Ended(error)
            };
        }
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let what = format!("it redirects to {}", to.unwrap_or("nowhere"));
            return Tried::Ended(RucioError::NotUnderstood { request, what });
        }
        if status == StatusCode::UNAUTHORIZED {
            let error = RucioError::Login {
                url: self.shared.config.auth_url.to_string(),
                account: self.shared.config.account.clone(),
                reason: "the token is not accepted".to_owned(),
            };
            return Tried::LoginOver(error);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let error = RucioError::Failing {
                request,
                status: status.as_u16(),
                message: text_of(&body),
            };
            return Tried::MayPass(error, named);
        }
        let what = format!(
            "status {status}, and no exception of Rucio's: {}",
            text_of(&body)
        );
        Tried::Ended(RucioError::NotUnderstood { request, what })
    }

    /// How long `Retry-After` asks to wait: seconds or a date (RFC 9110, section 10.2.3).
    fn wait_named(&self, value: &str) -> Option<Duration> {
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(value).ok()?;
        let now = SystemTime::from(self.shared.clock.now());
        Some(at.duration_since(now).unwrap_or_default())
    }
}

/// The beginning of a body that should have been something else, on one line.
fn text_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}
