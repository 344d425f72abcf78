//! The token that every request carries: where it comes from, and when it is renewed.
//!
//! A token is renewed before it expires, and after any failure that looks like one of the login. It is
//! renewed once however many threads find it old: they wait for the one that renews it. Nobody
//! but the server judges a token; its expiry is read for the sake of renewing it in time.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use reqwest::StatusCode;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use runsync_config::rucio::{Login as Way, Rucio as Config};
use runsync_config::secret;
use serde::Deserialize;
use tracing::debug;

use super::error::RucioError;
use super::exception::Refusal;
use super::wire;
use crate::clock::Clock;
use crate::poison::lock;

/// A token is renewed when less than this is left of its life, or a tenth of it if that is less.
const MARGIN: Duration = Duration::from_secs(120);
/// After a refusal the login is not tried again for so long: some servers lock accounts.
const REFUSED_REST: Duration = Duration::from_secs(10);
/// A token that tells no expiry is read again from its file this often.
const UNKNOWN_LIFE: Duration = Duration::from_secs(60);
/// Longest body of an answer to a login that is read.
const ANSWER_MAX: u64 = 64 << 10;

/// A token. `Debug` shows nothing of it.
#[derive(Clone)]
pub(super) struct Token {
    text: HeaderValue,
    /// When it must be renewed.
    renew_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Token {
    /// The value of the header that it travels in, marked as sensitive.
    pub(super) fn header(&self) -> HeaderValue {
        self.text.clone()
    }
}

/// Logs in.
#[derive(Debug)]
pub(super) struct Login {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// What the server said to the last login, if it refused, and when.
    refused: Option<(Instant, String)>,
}

impl Login {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            state: Mutex::default(),
        }
    }

    /// A token that should be good.
    pub(super) fn token(&self, clock: &dyn Clock) -> Result<Token, RucioError> {
        self.get(None, clock)
    }

    /// Another token than `used`, which was refused.
    pub(super) fn renew(&self, used: &Token, clock: &dyn Clock) -> Result<Token, RucioError> {
        self.get(Some(used), clock)
    }

    /// The lock is held while the server is asked: whoever else needs a token waits for this one.
    fn get(&self, used: Option<&Token>, clock: &dyn Clock) -> Result<Token, RucioError> {
        let mut state = lock(&self.state);
        let is_good = |token: &&Token| {
            token.renew_at > Instant::now() && used.is_none_or(|used| used.text != token.text)
        };
        if let Some(token) = state.token.as_ref().filter(is_good) {
            return Ok(token.clone());
        }
        if let Some((at, reason)) = &state.refused
            && at.elapsed() < REFUSED_REST
        {
            return Err(self.refused(reason.clone()));
        }
        let token = match &self.config.login {
            Way::Token { file } => {
                self.read_token(secret::read(file)?.expose().trim(), used, clock)
            }
            Way::Userpass { .. } | Way::X509 { .. } => self.ask(clock),
        };
        match token {
            Ok(token) => {
                debug!(account = self.config.account, "logged in to Rucio");
                state.refused = None;
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                state.token = None;
                // A file is looked at again at once: nobody locks an account for that.
                if let RucioError::Login { reason, .. } = &error
                    && !matches!(self.config.login, Way::Token { .. })
                {
                    state.refused = Some((Instant::now(), reason.clone()));
                }
                Err(error)
            }
        }
    }

    fn refused(&self, reason: String) -> RucioError {
        RucioError::Login {
            url: self.config.auth_url.to_string(),
            account: self.config.account.clone(),
            reason,
        }
    }

    /// What a token file holds now.
    fn read_token(
        &self,
        text: &str,
        used: Option<&Token>,
        clock: &dyn Clock,
    ) -> Result<Token, RucioError> {
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(header) = wire::hidden(text).filter(|_| is_token) else {
            return Err(self.refused("the token file holds no token".to_owned()));
        };
        let life = match expiry_of_jwt(text) {
            Some(expiry) => {
                let now = u64::try_from(clock.now().as_second()).unwrap_or_default();
                // An expired one is shown to the server all the same: our clock may be wrong.
                Duration::from_secs(expiry.saturating_sub(now))
            }
            None => UNKNOWN_LIFE,
        };
        if used.is_some_and(|used| used.text == text) {
            let reason = if life.is_zero() {
                "the token in the token file has expired, and has not been renewed there"
            } else {
                "the server does not accept the token in the token file, and it has not been renewed there"
            };
            return Err(self.refused(reason.to_owned()));
        }
        Ok(Token {
            text: header,
            renew_at: renewal(life),
        })
    }

    /// Asks the server for a token.
    fn ask(&self, clock: &dyn Clock) -> Result<Token, RucioError> {
        let (path, request) = self.request()?;
        let request = request.header("X-Rucio-Account", &self.config.account);
        let response = self.send(path, request)?;
        self.token_in(path, response, clock)
    }

    /// The account that the login is good for where none is named; none: the server does not tell.
    pub(super) fn default_account(&self) -> Result<Option<String>, RucioError> {
        if let Way::Token { .. } = self.config.login {
            return Ok(None);
        }
        let (path, request) = self.request()?;
        let response = self.send(path, request)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(format!("status {}", response.status())));
        }
        let account = text_of(response.headers(), "X-Rucio-Auth-Account");
        Ok(account.map(str::to_owned))
    }

    /// The request for a token, for no account yet.
    fn request(&self) -> Result<(&'static str, RequestBuilder), RucioError> {
        let client = wire::login_client(&self.config)?;
        let Way::Userpass {
            username,
            password_file,
        } = &self.config.login
        else {
            let path = "/auth/x509";
            return Ok((path, client.get(format!("{}{path}", self.config.auth_url))));
        };
        let password = secret::read(password_file)?;
        let Some(password) = wire::hidden(password.expose().trim_end_matches('\n')) else {
            let reason = "the password file holds what no password can: a line's end, or the like";
            return Err(self.refused(reason.to_owned()));
        };
        let path = "/auth/userpass";
        let request = client
            .get(format!("{}{path}", self.config.auth_url))
            .header("X-Rucio-Username", username)
            .header("X-Rucio-Password", password);
        Ok((path, request))
    }

    fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, RucioError> {
        let request = match &self.config.vo {
            Some(vo) => request.header("X-Rucio-VO", vo),
            None => request,
        };
        let url = self.config.auth_url.as_str();
        let sent = request.send();
        sent.map_err(|error| wire::failure(url, &format!("GET {path}"), error))
    }

    fn token_in(
        &self,
        path: &str,
        response: Response,
        clock: &dyn Clock,
    ) -> Result<Token, RucioError> {
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::OK
            && let Some(text) = text_of(&headers, "X-Rucio-Auth-Token").and_then(wire::hidden)
        {
            let life = life_of(&headers, clock).unwrap_or(UNKNOWN_LIFE);
            return Ok(Token {
                text,
                renew_at: renewal(life),
            });
        }
        let request = format!("GET {path}");
        let mut body = Vec::new();
        let read =
            std::io::Read::read_to_end(&mut std::io::Read::take(response, ANSWER_MAX), &mut body);
        drop(read);
        match Refusal::of(status, &headers, &body) {
            Some(refusal) if refusal.is_about_login() => Err(self.refused(refusal.message)),
            Some(refusal) => Err(RucioError::Refused {
                request,
                refusal: Box::new(refusal),
            }),
            None if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(RucioError::Failing {
                    request,
                    status: status.as_u16(),
                    message: String::new(),
                })
            }
            None => Err(RucioError::NotUnderstood {
                request,
                what: format!("status {status}, and no token"),
            }),
        }
    }
}

/// When a token that lives so long is renewed.
fn renewal(life: Duration) -> Instant {
    let margin = MARGIN.min(life / 10);
    let now = Instant::now();
    // A life beyond all bounds is as good as an unknown one.
    now.checked_add(life.saturating_sub(margin))
        .unwrap_or(now + UNKNOWN_LIFE)
}

/// How long a token lives, by the server's own clock where it tells the time.
fn life_of(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let expires = time_of(text_of(headers, "X-Rucio-Auth-Token-Expires")?)?;
    let now = headers
        .get(DATE)
        .and_then(|date| time_of(date.to_str().ok()?))
        .unwrap_or_else(|| SystemTime::from(clock.now()));
    Some(expires.duration_since(now).unwrap_or_default())
}

/// A date of HTTP; Rucio's end in `UTC`, where HTTP has `GMT`.
fn time_of(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(&text.replace("UTC", "GMT")).ok()
}

fn text_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The `exp` claim of a JSON Web Token (RFC 7519, section 4.1.4), unverified; in seconds of Unix time.
fn expiry_of_jwt(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = BASE64URL_NOPAD
        .decode(claims.trim_end_matches('=').as_bytes())
        .ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number out of range becomes the nearest one"
    )]
    Some(exp as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.signature", part("{\"alg\":\"RS256\"}"), part(claims))
    }

    #[test]
    fn the_expiry_of_a_jwt_is_read_and_of_nothing_else() {
        assert_eq!(
            expiry_of_jwt(&jwt(r#"{"exp": 1800000000, "sub": "x"}"#)),
            Some(1_800_000_000)
        );
        assert_eq!(
            expiry_of_jwt(&jwt(r#"{"exp": 1.8e9}"#)),
            Some(1_800_000_000)
        );
        for token in [
            "root-ddmlab-unknown-b6eb50",
            "a.b.c",
            "",
            &jwt("{}"),
            "..",
            "a.!.c",
        ] {
            assert_eq!(expiry_of_jwt(token), None, "{token}");
        }
    }

    #[test]
    fn the_life_of_a_token_is_measured_by_the_servers_clock() {
        let clock = ManualClock::new("2020-01-01T00:00:00Z".parse().unwrap());
        let mut headers = HeaderMap::new();
        let expires = "Sun, 22 Nov 2026 04:09:37 UTC".parse().unwrap();
        headers.insert("X-Rucio-Auth-Token-Expires", expires);
        assert!(life_of(&headers, &clock).unwrap() > Duration::from_secs(365 * 86_400));
        headers.insert(DATE, "Sun, 22 Nov 2026 03:09:37 GMT".parse().unwrap());
        assert_eq!(
            life_of(&headers, &clock).unwrap(),
            Duration::from_secs(3600)
        );
    }

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        for (life, left) in [(3600, 120), (600, 60), (10, 1), (0, 0)] {
            let (now, life) = (Instant::now(), Duration::from_secs(life));
            let at = renewal(life);
            assert!(at >= now && at <= Instant::now() + life, "{life:?}");
            if left > 0 {
                assert!(at + Duration::from_secs(left) / 2 < now + life, "{life:?}");
            }
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token {
            text: HeaderValue::from_static("secret"),
            renew_at: Instant::now(),
        };
        assert!(!format!("{token:?}").contains("secret"));
    }
}
