//! One line of JSON: tells its kind, then its fields, and says where either is wrong.
//!
//! The kind is known before the rest is parsed, so that each line is parsed once,
//! straight into its own type; `kind` itself is then skipped, and what is noted on
//! the way is the field that the parser is in.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, IntoDeserializer as _, MapAccess, Visitor};
use serde_json::error::Category;

use crate::entry::Text;
use crate::error::{ReadError, excerpt};

/// How the writer starts the lines of which there are many.
const STARTS: [(&[u8], Kind); 2] = [
    (br#"{"kind":"dataset","#, Kind::Dataset),
    (br#"{"kind":"dimension","#, Kind::Dimension),
];

/// The kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first line.
    Header,
    /// Dimension records.
    Dimension,
    /// An artifact of a dataset.
    Dataset,
    /// The last line.
    Trailer,
}

impl Kind {
    /// All, in their order in a file.
    pub(crate) const ALL: [Self; 4] = [Self::Header, Self::Dimension, Self::Dataset, Self::Trailer];

    /// The word in the line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Dimension => "dimension",
            Self::Dataset => "dataset",
            Self::Trailer => "trailer",
        }
    }
}

/// Tells the kind of a line that starts as the writer starts it.
pub(crate) fn kind_at_a_glance(line: &[u8]) -> Option<Kind> {
    let known = STARTS.iter().find(|(start, _)| line.starts_with(start));
    known.map(|(_, kind)| *kind)
}

/// Tells the kind of any line, by parsing it.
pub(crate) fn kind_of(line: &str, number: u64) -> Result<Kind, ReadError> {
    let KindOnly { kind } = parse_only("kind", line, number)?;
    Kind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(|| ReadError::UnknownKind {
            line: number,
            found: excerpt(&kind),
        })
}

/// The header's `format`, whatever else a later format may have changed.
pub(crate) fn format_of(line: &str) -> Result<u64, ReadError> {
    let FormatOnly { format } = parse_only("format", line, 1)?;
    Ok(format)
}

/// Parses a line whose kind is known into its type.
pub(crate) fn parse<'de, T: Deserialize<'de>>(line: &'de str, number: u64) -> Result<T, ReadError> {
    let mut from = serde_json::Deserializer::from_str(line);
    let mut field = None;
    let visitor = LineVisitor {
        field: &mut field,
        line: PhantomData,
    };
    let parsed = de::Deserializer::deserialize_map(&mut from, visitor)
        .and_then(|value| from.end().map(|()| value));
    parsed.map_err(|error| Wrong { field, error }.into_error(number))
}

#[derive(Deserialize)]
struct KindOnly<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Parses a line for one field and passes over the others.
fn parse_only<'de, T: Deserialize<'de>>(
    field: &'static str,
    line: &'de str,
    number: u64,
) -> Result<T, ReadError> {
    serde_json::from_str(line).map_err(|error| {
        let in_field = error.classify() == Category::Data;
        let field = in_field.then_some(Cow::Borrowed(field));
        Wrong { field, error }.into_error(number)
    })
}

/// What `serde_json` says, and the outermost field in which it said so.
struct Wrong<'a> {
    field: Option<Cow<'a, str>>,
    error: serde_json::Error,
}

impl Wrong<'_> {
    fn into_error(self, line: u64) -> ReadError {
        let Self { field, error } = self;
        let column = error.column() as u64;
        let place = format!(" at line {} column {}", error.line(), error.column());
        let whole = error.to_string();
        let problem = whole.strip_suffix(&place).unwrap_or(&whole);
        let field = field.map(|field| excerpt(&field));
        if error.classify() != Category::Data {
            return ReadError::NotJson {
                line,
                column,
                field,
                problem: cut(problem),
            };
        }
        if let Some(name) = named(problem, "missing field `") {
            return ReadError::Missing {
                line,
                field: below(field, name),
            };
        }
        if let Some(name) = named(problem, "duplicate field `") {
            return ReadError::Duplicate {
                line,
                field: below(field, name),
            };
        }
        ReadError::Wrong {
            line,
            column,
            field,
            problem: cut(problem),
        }
    }
}

/// The name in one of serde's own messages.
fn named<'a>(problem: &'a str, start: &str) -> Option<&'a str> {
    problem.strip_prefix(start)?.strip_suffix('`')
}

fn below(outer: Option<String>, name: &str) -> String {
    match outer {
        Some(outer) if outer != name => format!("{outer}.{name}"),
        Some(_) | None => name.to_owned(),
    }
}

/// serde quotes whole values; a message needs only their start.
fn cut(problem: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    let mut short: String = problem.chars().take(CHARACTERS_MAX).collect();
    if short.len() < problem.len() {
        short.push('…');
    }
    short
}

struct LineVisitor<'f, 'de, T> {
    field: &'f mut Option<Cow<'de, str>>,
    line: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for LineVisitor<'_, 'de, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(Fields {
            map,
            field: self.field,
            kind_seen: false,
        }))
    }
}

/// The fields of a line less its `kind`, with a note of the one last begun.
struct Fields<'f, 'de, A> {
    map: A,
    field: &'f mut Option<Cow<'de, str>>,
    kind_seen: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(name)) = self.map.next_key()? {
            if name != "kind" {
                let key = name.clone();
                *self.field = Some(name);
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            if self.kind_seen {
                return Err(de::Error::duplicate_field("kind"));
            }
            self.kind_seen = true;
            self.map.next_value::<IgnoredAny>()?;
        }
        *self.field = None;
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
