//! Where messages come from.
//!
//! An [`EventSource`] gives messages in batches and is told when all that it gave is safe. What was
//! not acknowledged before a connection ended comes again, from the same broker or another: so a
//! source never loses a message, and may give one twice.

use std::fmt::Debug;
use std::time::Duration;

use super::error::SourceError;

/// How much of a message that is too large, or cannot be read, is kept for people, in bytes.
pub const BEGINNING: usize = 4096;

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Its whole body.
    Whole(Vec<u8>),
    /// It was larger than is read.
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The first [`BEGINNING`] bytes of it.
        beginning: Vec<u8>,
    },
}

impl Message {
    /// A message of which no more than `most` bytes are read.
    pub fn of(body: &[u8], most: u64) -> Self {
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if size <= most {
            return Self::Whole(body.to_vec());
        }
        Self::TooLarge {
            size,
            beginning: beginning(body).to_vec(),
        }
    }
}

/// As much of a body as is kept for people.
pub(super) fn beginning(body: &[u8]) -> &[u8] {
    body.get(..BEGINNING).unwrap_or(body)
}

/// What was found of a broker.
#[derive(Debug)]
pub struct Checked {
    /// The broker, or several.
    pub broker: String,
    /// Whether it can be listened to.
    pub found: Result<(), SourceError>,
}

/// Gives messages. Methods block; to drop one does not.
///
/// `tests/support/event_source.rs` holds the suite that every implementation passes.
pub trait EventSource: Send + Debug {
    /// The next messages: at most `limit`, as soon as there is one, and none where none has come
    /// within `patience`. Connects first where it is not connected, which may take longer.
    ///
    /// # Errors
    ///
    /// Where it cannot be listened to at the moment. What was given and not acknowledged counts as not
    /// given; the next call tries again, another broker where there are several.
    fn receive(&mut self, limit: usize, patience: Duration) -> Result<Vec<Message>, SourceError>;

    /// Says that all that was given is safe: it does not come again, unless this gets lost.
    ///
    /// # Errors
    ///
    /// Where it cannot be said; then it comes again.
    fn acknowledge(&mut self) -> Result<(), SourceError>;

    /// The broker that is listened to; none while there is no connection.
    fn connected_to(&self) -> Option<String>;

    /// Takes leave of the broker, so that what was acknowledged does not come again. Without it, what was
    /// acknowledged last may. The next [`receive`](Self::receive) connects again.
    ///
    /// # Errors
    ///
    /// Where the broker does not say that it has seen that.
    fn leave(&mut self) -> Result<(), SourceError>;

    /// Tries to listen, beside what is listened to, and takes nothing: what is wrong with each broker, or with
    /// the brokers as a whole.
    fn check(&self) -> Vec<Checked>;
}
