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

#[cfg(feature = "kafka")]
mod kafka;

use runsync_config::events::EventSource;
use tempfile::TempDir;

/// The configuration of a source of that kind: `text` is the rest of `[[event_source]]`, whose files are in `folder`.
fn config(folder: &TempDir, kind: &str, text: &str) -> EventSource {
    let path = folder.path().join("site.toml");
    let root = folder.path().display();
    let text = format!(
        "[site]\nname = \"SITE_A\"\n[[root]]\nname = \"main\"\nurl = \"file://{root}/root\"\nrse = \"SITE_A\"\n\
         [[event_source]]\nname = \"hermes\"\nkind = \"{kind}\"\n{text}\n"
    );
    write_private(&path, &text);
    let site = runsync_config::load(&path).unwrap();
    site.event_sources[0].clone()
}

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
