//! Where manifests and artifacts come from: what the file system says has changed.
//!
//! Events are hints and nothing more. They say where it may be worth looking, so that a run is
//! seen within a moment; that no run is missed is the work of the sweep, which goes through the
//! whole folder at start and at every interval whatever the events say. So a hint may come twice,
//! too late or not at all, and none is ever stored.
//!
//! - [`hints`] collects hints about manifests, in bounded memory: too many become one
//!   "look everywhere".
//! - [`inotify`] gives hints about the manifest folder of a POSIX root.
//! - [`artifacts`] watches the folders that waiting runs need, up to a configured number.
//! - [`poll`] tells where events cannot be trusted or cannot be had; there the sweep comes more
//!   often instead.

pub mod hints;

pub mod inotify;

pub mod artifacts;

pub mod poll;

mod source;

#[cfg(test)]
mod tests;

pub use self::artifacts::ArtifactWatch;
pub use self::hints::Hints;
pub use self::inotify::Watcher;
pub use self::poll::Degraded;
