//! Every way a manifest, a name or a key is wrong.
//!
//! A [`Fault`] is a rule that a header or a line breaks, whoever notices; a
//! [`ReadError`] adds where in the file; a [`WriteError`] is the writer's.

use std::io;

use thiserror::Error;

use crate::content::Content;

/// A name that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} name `{}` {reason}", name.escape_debug())]
pub struct NameError {
    /// What was to be named.
    pub what: &'static str,
    /// The name, cut at 80 characters.
    pub name: String,
    /// Why it is refused.
    pub reason: &'static str,
}

/// A key that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot read {what} key: {reason}")]
pub struct KeyError {
    /// `public` or `signing`.
    pub what: &'static str,
    /// Why; never holds key material.
    pub reason: &'static str,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The same may go well later without anybody's doing.
    Retry,
    /// This input stays wrong: set it aside and go on with others.
    Quarantine,
    /// Nothing of the kind can go well until somebody has put it right.
    Stop,
}

/// A rule of the format that a header or a line breaks. Reader and writer check
/// the same ones, so that nothing is written that would not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A field's value is not allowed.
    #[error("field `{field}`: found {found}, expected {expected}")]
    Field {
        /// The field, with dots where it lies deeper.
        field: String,
        /// What it holds, cut short and escaped.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A name breaks the rules for such names.
    #[error("field `{field}`: {fault}")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong with the name.
        fault: NameError,
    },
    /// The universe has no such dimension or element.
    #[error("field `{field}`: universe `{universe}` version {version} has no `{name}`")]
    UnknownDimension {
        /// The field.
        field: String,
        /// The name that is not known, cut short and escaped.
        name: String,
        /// The universe's name.
        universe: String,
        /// The universe's version.
        version: u32,
    },
    /// A dataset line names a type that the header does not define.
    #[error("field `dataset_type`: `{name}` is not among the header's dataset types")]
    UndeclaredType {
        /// The type's name, cut short and escaped.
        name: String,
    },
    /// A data ID has other keys than its dataset type's dimensions.
    #[error(
        "field `data_id`: found the dimensions {found}, expected {expected} as `{dataset_type}` has them"
    )]
    DataIdKeys {
        /// The dataset type.
        dataset_type: String,
        /// Its dimensions.
        expected: String,
        /// The data ID's keys, cut short and escaped.
        found: String,
    },
    /// A dimension record lacks part of its key.
    #[error("field `{field}`: found no whole key, expected {keys} as `{element}` has them")]
    RecordKey {
        /// The record, as `records[index]`.
        field: String,
        /// The element.
        element: &'static str,
        /// The fields of its key.
        keys: String,
    },
    /// This content allows no such line.
    #[error("a {kind} line, which a manifest of content `{content}` never holds")]
    Content {
        /// The manifest's content.
        content: Content,
        /// The line's kind.
        kind: &'static str,
    },
    /// A line of this kind may not stand here.
    #[error(
        "a {kind} line after {after}: the order is header, dimension lines, dataset lines, trailer"
    )]
    Order {
        /// The line's kind.
        kind: &'static str,
        /// What came before it.
        after: &'static str,
    },
    /// The sizes add up to more than a signed 64-bit number holds.
    #[error(
        "field `size`: the sizes of all datasets add up to more than 9223372036854775807 bytes"
    )]
    TotalOverflow,
    /// More than the limit allows.
    #[error("more than {most} {limit}")]
    Limit {
        /// Which limit.
        limit: Limit,
        /// Its value.
        most: u64,
    },
}

impl Fault {
    /// The field that is wrong, where there is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Field { field, .. }
            | Self::UnknownDimension { field, .. }
            | Self::RecordKey { field, .. } => Some(field),
            Self::Name { field, .. } => Some(field),
            Self::UndeclaredType { .. } => Some("dataset_type"),
            Self::DataIdKeys { .. } => Some("data_id"),
            Self::TotalOverflow => Some("size"),
            Self::Content { .. } | Self::Order { .. } => Some("kind"),
            Self::Limit { .. } => None,
        }
    }

    /// What stands between "line N" and the message.
    fn joint(&self) -> &'static str {
        match self {
            Self::Content { .. } | Self::Order { .. } | Self::Limit { .. } => ": ",
            Self::Field { .. }
            | Self::Name { .. }
            | Self::UnknownDimension { .. }
            | Self::UndeclaredType { .. }
            | Self::DataIdKeys { .. }
            | Self::RecordKey { .. }
            | Self::TotalOverflow => ", ",
        }
    }

    /// A [`Fault::Field`] that quotes what was found.
    pub(crate) fn field_text(field: &str, found: &str, expected: &'static str) -> Self {
        Self::Field {
            field: field.to_owned(),
            found: format!("`{}`", excerpt(found)),
            expected,
        }
    }
}

/// What a limit counts; its words end the sentence "more than N ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Bytes of one line.
    LineBytes,
    /// Bytes of the file as it lies there.
    PackedBytes,
    /// Bytes after unpacking.
    UnpackedBytes,
    /// Unpacked bytes per packed byte.
    UnpackedRatio,
    /// Bytes of the zstd window.
    WindowBytes,
    /// Dataset lines.
    Entries,
}

impl Limit {
    /// The setting in [`Limits`](crate::limits::Limits) that holds its value.
    pub fn setting(self) -> &'static str {
        match self {
            Self::LineBytes => "line_bytes_max",
            Self::PackedBytes => "packed_bytes_max",
            Self::UnpackedBytes => "unpacked_bytes_max",
            Self::UnpackedRatio => "unpacked_ratio_max",
            Self::WindowBytes => "zstd_window_log_max",
            Self::Entries => "entries_max",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LineBytes => "bytes in the line",
            Self::PackedBytes => "bytes in the file",
            Self::UnpackedBytes => "bytes after unpacking",
            Self::UnpackedRatio => "unpacked bytes for each packed one",
            Self::WindowBytes => "bytes of zstd window asked for",
            Self::Entries => "dataset lines",
        })
    }
}

/// A manifest that cannot be read. Lines are counted from 1, the header; a
/// message is whole by itself, but for that of [`ReadError::Io`].
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes could not be had.
    #[error("line {line}: reading the file failed")]
    Io {
        /// The line that was being read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes end before the trailer: it has not arrived whole.
    #[error("line {line}: the file ends before its trailer")]
    Incomplete {
        /// The line that is cut, or would come next.
        line: u64,
    },
    /// Written by a later format.
    #[error(
        "line 1, field `format`: found {format}, expected {} or lower",
        crate::version::FORMAT
    )]
    Newer {
        /// Its major version.
        format: u64,
    },
    /// More than a limit allows.
    #[error("line {line}: more than {most} {limit}")]
    LimitExceeded {
        /// The line at which it was noticed.
        line: u64,
        /// Which limit.
        limit: Limit,
        /// Its value.
        most: u64,
    },
    /// The zstd frame is damaged.
    #[error("line {line}: the zstd frame is damaged: {problem}")]
    Damaged {
        /// The line that was being unpacked.
        line: u64,
        /// What the decoder says.
        problem: &'static str,
    },
    /// Not a line of UTF-8 text with `\n` alone at its end.
    #[error("line {line}, column {column}: found {found}, expected a JSON object in UTF-8")]
    NotText {
        /// The line.
        line: u64,
        /// Byte in the line, from 1.
        column: u64,
        /// What is there.
        found: &'static str,
    },
    /// Not JSON.
    #[error("line {line}, column {column}{}: {problem}", in_field(field.as_deref()))]
    NotJson {
        /// The line.
        line: u64,
        /// Byte in the line, from 1.
        column: u64,
        /// The outermost field it lies in, where there is one.
        field: Option<String>,
        /// What the parser says.
        problem: String,
    },
    /// A field is missing.
    #[error("line {line}, field `{field}`: is missing")]
    Missing {
        /// The line.
        line: u64,
        /// The field.
        field: String,
    },
    /// A field or key comes twice.
    #[error("line {line}, field `{field}`: comes twice")]
    Duplicate {
        /// The line.
        line: u64,
        /// The field.
        field: String,
    },
    /// A field's value is of the wrong type or form.
    #[error("line {line}, column {column}{}: {problem}", in_field(field.as_deref()))]
    Wrong {
        /// The line.
        line: u64,
        /// Byte in the line, from 1.
        column: u64,
        /// The outermost field it lies in, where there is one.
        field: Option<String>,
        /// What was found and what was expected.
        problem: String,
    },
    /// A line of a kind that format 1 does not have.
    #[error(
        "line {line}, field `kind`: found `{found}`, expected `header`, `dimension`, `dataset` or `trailer`"
    )]
    UnknownKind {
        /// The line.
        line: u64,
        /// Its kind, cut short and escaped.
        found: String,
    },
    /// A rule of the format is broken.
    #[error("line {line}{}{fault}", fault.joint())]
    Invalid {
        /// The line.
        line: u64,
        /// The rule.
        fault: Fault,
    },
    /// The trailer does not fit what stands before it.
    #[error(
        "line {line}, field `{field}`: the trailer says {stated}, the lines before it have {found}"
    )]
    Mismatch {
        /// The trailer's line.
        line: u64,
        /// The trailer's field.
        field: &'static str,
        /// What the trailer says.
        stated: String,
        /// What was read.
        found: String,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } | Self::Incomplete { .. } => Disposition::Retry,
            Self::Newer { .. }
            | Self::LimitExceeded { .. }
            | Self::Damaged { .. }
            | Self::NotText { .. }
            | Self::NotJson { .. }
            | Self::Missing { .. }
            | Self::Duplicate { .. }
            | Self::Wrong { .. }
            | Self::UnknownKind { .. }
            | Self::Invalid { .. }
            | Self::Mismatch { .. } => Disposition::Quarantine,
        }
    }

    /// The line where it was noticed; the header is line 1.
    pub fn line(&self) -> u64 {
        match self {
            Self::Newer { .. } => 1,
            Self::Io { line, .. }
            | Self::Incomplete { line }
            | Self::LimitExceeded { line, .. }
            | Self::Damaged { line, .. }
            | Self::NotText { line, .. }
            | Self::NotJson { line, .. }
            | Self::Missing { line, .. }
            | Self::Duplicate { line, .. }
            | Self::Wrong { line, .. }
            | Self::UnknownKind { line, .. }
            | Self::Invalid { line, .. }
            | Self::Mismatch { line, .. } => *line,
        }
    }

    /// The field that is wrong, where one is known.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Newer { .. } => Some("format"),
            Self::UnknownKind { .. } => Some("kind"),
            Self::Missing { field, .. } | Self::Duplicate { field, .. } => Some(field),
            Self::NotJson { field, .. } | Self::Wrong { field, .. } => field.as_deref(),
            Self::Mismatch { field, .. } => Some(field),
            Self::Invalid { fault, .. } => fault.field(),
            Self::Io { .. }
            | Self::Incomplete { .. }
            | Self::LimitExceeded { .. }
            | Self::Damaged { .. }
            | Self::NotText { .. } => None,
        }
    }

    /// What the reader of the message can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check that the file system is mounted, healthy and readable",
            Self::Incomplete { .. } => {
                "wait until the transfer has ended; if it has, fetch the file again from its origin"
            }
            Self::Newer { .. } => "upgrade runsync at this site",
            Self::LimitExceeded { .. } => {
                "if the file is honest, raise the limit in the configuration; else ask its origin for smaller manifests"
            }
            Self::Damaged { .. } | Self::Mismatch { .. } => {
                "compare the file with its copy at the origin and fetch it again"
            }
            Self::Invalid {
                fault: Fault::UnknownDimension { .. },
                ..
            } => {
                "correct the name, or upgrade runsync if the dimension universe is newer than it knows"
            }
            Self::NotText { .. }
            | Self::NotJson { .. }
            | Self::Missing { .. }
            | Self::Duplicate { .. }
            | Self::Wrong { .. }
            | Self::UnknownKind { .. }
            | Self::Invalid { .. } => {
                "the origin must publish a corrected manifest in a later generation; docs/MANIFEST.md describes the format"
            }
        }
    }
}

fn in_field(field: Option<&str>) -> String {
    field.map_or_else(String::new, |name| format!(", field `{name}`"))
}

/// A manifest that cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Writing failed.
    #[error("cannot write the manifest")]
    Io(#[from] io::Error),
    /// A value cannot be put into JSON.
    #[error("cannot put a {kind} line into JSON")]
    Json {
        /// The line's kind.
        kind: &'static str,
        /// What the serializer says.
        source: serde_json::Error,
    },
    /// What was to be written breaks a rule of the format.
    #[error("cannot write line {line}{}{fault}", fault.joint())]
    Invalid {
        /// The line that was to be written.
        line: u64,
        /// The rule.
        fault: Fault,
    },
    /// An earlier line could not be written.
    #[error("cannot go on with a manifest of which a line could not be written")]
    BrokenOff,
    /// A zstd level that would need a larger window than readers allow.
    #[error(
        "cannot pack at zstd level {level}: expected 1 to {}",
        crate::writer::ZSTD_LEVEL_MAX
    )]
    Level {
        /// The level asked for.
        level: i32,
    },
}

impl WriteError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io(_) => Disposition::Retry,
            Self::Json { .. } | Self::Invalid { .. } | Self::BrokenOff | Self::Level { .. } => {
                Disposition::Stop
            }
        }
    }

    /// The field that is wrong, where one is known.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { fault, .. } => fault.field(),
            Self::Io(_) | Self::Json { .. } | Self::BrokenOff | Self::Level { .. } => None,
        }
    }
}

/// A hostile text made fit for a message: at most 80 characters, control
/// characters and direction marks escaped.
pub(crate) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}
