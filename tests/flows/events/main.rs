//! Messages, from a real broker to what is known here: each is heard at least once, none stops anything, and a
//! lost, doubled or late one changes nothing but when it is looked.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/event_source.rs"]
mod event_source;

mod stomp;

/// Writes a file that only its owner reads.
#[expect(
    clippy::disallowed_methods,
    reason = "tests write as other programs do"
)]
fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
