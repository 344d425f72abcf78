//! Reads an answer, and asks before each piece of it whether to go on: an answer that trickles in must
//! neither keep a daemon from stopping nor pass for one that hangs.

use std::io::{self, Read};
use std::sync::Arc;

use super::client::Waiting;
use super::error::RucioError;

/// An answer's body.
pub(super) struct Heard<R> {
    answer: R,
    waiting: Arc<Waiting>,
}

#[derive(Debug, thiserror::Error)]
#[error("the caller broke off")]
struct BrokenOff;

impl<R> Heard<R> {
    pub(super) fn new(answer: R, waiting: &Arc<Waiting>) -> Self {
        Self {
            answer,
            waiting: Arc::clone(waiting),
        }
    }
}

impl<R: Read> Read for Heard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.waiting)().is_break() {
            return Err(io::Error::other(BrokenOff));
        }
        self.answer.read(buffer)
    }
}

/// Why an answer was not read to its end.
pub(super) fn failure(request: String, source: io::Error) -> RucioError {
    if let Some(inner) = source.get_ref()
        && inner.is::<BrokenOff>()
    {
        return RucioError::Interrupted;
    }
    let source = source.into();
    RucioError::Unknown { request, source }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn an_answer_that_trickles_in_can_be_broken_off() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let waiting: Arc<Waiting> = Arc::new(move || {
            if count.fetch_add(1, Ordering::SeqCst) < 3 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let mut answer = Heard::new(io::repeat(b'x'), &waiting);
        let mut piece = [0; 1];
        for _ in 0..3 {
            assert_eq!(answer.read(&mut piece).unwrap(), 1);
        }
        let error = failure("GET /x".to_owned(), answer.read(&mut piece).unwrap_err());
        assert!(matches!(error, RucioError::Interrupted), "{error}");
    }
}
