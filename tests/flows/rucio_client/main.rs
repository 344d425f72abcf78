//! The client of Rucio's REST interface, against a real server and against one that answers as it is
//! told to: what each failure comes to, and how often the server is asked for it.
//!
//! A real server shows what Rucio says, and what it does where it says nothing. What no server in
//! order says (a stream that is cut, an answer that is lost, a page of a proxy) comes from [`front`],
//! which stands between the client and the real server or in its place, and records what it is asked.
//! `cargo xtask rucio-client` prints what each case came to.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

mod front;

mod told;

mod way;

mod answers;

mod logins;

mod lines;

mod cut;

mod tls;

mod real;

mod real_logins;

mod real_replicas;

mod real_dids;

mod real_endings;
