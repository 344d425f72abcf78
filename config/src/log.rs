//! How the service logs.

use serde::{Deserialize, Serialize};

use crate::raw::Section;

/// Where log lines go and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people, on standard error.
    Human,
    /// JSON lines on standard error.
    Json,
    /// Fields in systemd's journal.
    Journald,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Format.
    pub format: LogFormat,
    /// Filter directives as `tracing_subscriber::EnvFilter` reads them, such as `info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            filter: "info".to_owned(),
        }
    }
}

impl Log {
    /// Reads `[log]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let default = Self::default();
        let log = Self {
            format: section.or("format", default.format),
            filter: section.or("filter", default.filter),
        };
        section.finish();
        log
    }
}
