//! What a case came to, and that nothing secret was told with it: neither by an error nor by the log,
//! of which every line is caught.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once};

use runsync::rucio::RucioError;
use tracing_subscriber::filter::LevelFilter;

/// What was logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// What may not be in it.
static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static CATCHING: Once = Once::new();

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// This may never be told.
pub(crate) fn is_secret(text: &str) {
    // A part of it is as bad; where it is short it may stand for something else.
    if text.len() >= 8 {
        SECRETS.lock().unwrap().insert(text.to_owned());
    }
}

/// A case: does something, asserts what came of it, and says so.
pub(crate) type Case<'c> = (&'static str, Box<dyn FnOnce() -> String + 'c>);

/// Goes through the cases, also after one has failed, and prints what each came to.
pub(crate) fn go_through(target: &str, cases: Vec<Case<'_>>) {
    CATCHING.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Log);
        drop(subscriber.try_init());
    });
    let mut failed = Vec::new();
    for (name, case) in cases {
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(case)) {
            println!("case: {target}: {name} | {outcome}");
        } else {
            eprintln!("FAILED: {target}: {name}");
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "cases that failed: {failed:?}");
    println!(
        "case: {target}: nothing secret is told | {}",
        nothing_secret()
    );
}

/// Looks for each secret in all that was told.
fn nothing_secret() -> String {
    let log = LOG.lock().unwrap();
    let log = String::from_utf8_lossy(&log);
    let secrets = SECRETS.lock().unwrap();
    assert!(!secrets.is_empty() && log.contains("TRACE"), "{log}");
    for secret in &*secrets {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "a secret is told: {}", line.unwrap());
    }
    "no password, no token in any line of the log at trace or any error".to_owned()
}

/// An error in few words. All of its own words go where secrets are looked for.
pub(crate) fn outcome(error: &RucioError) -> String {
    let mut text = format!("{error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        write!(text, ": {error}").unwrap();
        cause = error.source();
    }
    let all = format!("{text} {error:?} {:?}\n", error.hint());
    LOG.lock().unwrap().extend_from_slice(all.as_bytes());
    match error {
        RucioError::Unreachable { .. } => "Unreachable".to_owned(),
        RucioError::Tls { .. } => "Tls".to_owned(),
        RucioError::Unknown { .. } => "Unknown".to_owned(),
        RucioError::Failing { status, .. } => format!("Failing {status}"),
        RucioError::Refused { refusal, .. } => {
            format!("Refused {} {}", refusal.status, refusal.exception)
        }
        RucioError::NotUnderstood { .. } => "NotUnderstood".to_owned(),
        RucioError::Login { .. } => "Login".to_owned(),
        RucioError::Secret(_) => "Secret".to_owned(),
        RucioError::Certificate { .. } => "Certificate".to_owned(),
        RucioError::Resting { endpoint, .. } => format!("Resting {endpoint}"),
        RucioError::Name(_) => "Name".to_owned(),
        RucioError::Interrupted => "Interrupted".to_owned(),
    }
}

/// That of something that must fail.
pub(crate) fn fails<T>(result: Result<T, RucioError>) -> String {
    match result {
        Ok(_) => panic!("there is an answer"),
        Err(error) => outcome(&error),
    }
}
