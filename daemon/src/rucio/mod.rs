//! Rucio over its REST interface: the only part of runsync that speaks to it.
//!
//! Every request goes through [`client`]: it carries a token (`login`), is tried again where that
//! can help ([`patience`]), is held back where an endpoint keeps failing (`breaker`), and ends in a
//! value or in a typed [`RucioError`]. What the server says is told from the exception that it names
//! ([`exception`]), not from its status, which is often another. Above that each file is one of
//! Rucio's nouns. Methods block (decision 0002).
//!
//! What is sent in bulk is cut into calls, halved where one item spoils a call, and read back: the
//! server accepts differing sizes and checksums without a word ([`replicas`]).
//!
//! Written against Rucio 41.5; the interface: <https://rucio.github.io/documentation/html/rest_api_doc_rucio.html>.

pub mod did;

pub mod schema;

pub mod exception;

pub mod error;

pub mod patience;

mod breaker;

mod wire;

mod json;

mod login;

pub mod client;

mod heard;

mod lines;

mod bulk;

pub mod replicas;

pub mod declare;

pub mod dids;

pub mod rules;

pub mod locks;

pub mod rses;

pub mod accounts;

pub mod permissions;

pub use self::client::Rucio;
pub use self::did::{Did, DidKind, NoDid};
pub use self::error::RucioError;
pub use self::exception::{Exception, Refusal};
pub use self::lines::Lines;
pub use self::patience::Patience;
pub use self::schema::Schema;
