//! What is wrong with a configuration: where, why, and what to do about it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use toml::de::DeValue;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key that it is about, such as `root[0].url`; empty where it is the file as a whole.
    pub key: KeyPath,
    /// The line in the file, counted from 1, where it can be told.
    pub line: Option<usize>,
    /// What is wrong; reads on from the key.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if self.key.steps().is_empty() {
            write!(f, "the file {}", self.reason)?;
        } else {
            write!(f, "`{}` {}", self.key, self.reason)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Puts problems in the order of the file; those without a line come last.
pub(crate) fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
}

/// Where a value stands: `root[0].url`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

/// A key and, where its value is a list, which element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) key: Cow<'static, str>,
    pub(crate) index: Option<usize>,
}

impl KeyPath {
    /// The path of a key at the top of the file.
    pub fn of(key: &'static str) -> Self {
        Self::default().key(key)
    }

    /// The path of `key` in the table here.
    #[must_use]
    pub fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        let key = key.into();
        let step = Step { key, index: None };
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The path of an element of the list here.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.index = Some(index);
        }
        self
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{}", step.key.escape_debug())?;
            if let Some(index) = step.index {
                write!(f, "[{index}]")?;
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Why a value is refused; reads on from its key.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

impl Reason {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
        }
    }

    pub(crate) fn expected(what: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("must be {what}, not {}", kind(found)))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
