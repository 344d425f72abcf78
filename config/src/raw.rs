//! The file as written: a TOML tree that knows its lines, and the reader that walks it.
//!
//! Deserialising stops at the first thing that is wrong. This reader goes on: a value that
//! cannot be used is noted as a problem and its key counts as missing, so one run shows an
//! operator everything there is to mend.

use std::borrow::Cow;
use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{self, KeyPath, Problem, Reason};
use crate::value::Value;

type Table<'t> = DeTable<'t>;

/// A parsed file and the problems found in it so far.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    text: &'t str,
    tree: Spanned<Table<'t>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Document<'t> {
    /// Parses `text`; each error of syntax is a problem and the rest is still read.
    pub(crate) fn parse(text: &'t str) -> Self {
        let (tree, errors) = Table::parse_recoverable(text);
        let problems = errors.iter().map(|error| Problem {
            key: KeyPath::default(),
            line: error.span().map(|span| line_of(text, span.start)),
            reason: format!("is not TOML: {}", error.message().replace('\n', ", ")),
            hint: None,
        });
        Self {
            text,
            problems: RefCell::new(problems.collect()),
            tree,
        }
    }

    /// The sections at the top of the file.
    pub(crate) fn top(&self) -> Section<'_, 't> {
        Section {
            document: self,
            path: KeyPath::default(),
            table: Some(self.tree.get_ref()),
            known: Vec::new(),
        }
    }

    /// Whether a key is at the top of the file, be it of the wrong kind, and is no empty list.
    pub(crate) fn has(&self, key: &str) -> bool {
        let value = self.tree.get_ref().get(key).map(Spanned::get_ref);
        value.is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    }

    /// Whether the text is TOML at all; asked before anything else is read.
    pub(crate) fn is_toml(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Notes a problem with the value at `path`, or with the nearest thing above it that is there.
    pub(crate) fn report(&self, path: KeyPath, reason: impl Into<Reason>) {
        let reason = reason.into();
        self.problems.borrow_mut().push(Problem {
            line: self.line(&path),
            key: path,
            reason: reason.text,
            hint: reason.hint,
        });
    }

    /// The problems in the order of the file.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problem::sort(&mut problems);
        problems
    }

    /// The line of the value at `path`, or of the nearest thing above it that is there.
    pub(crate) fn line(&self, path: &KeyPath) -> Option<usize> {
        let (mut table, mut at) = (Some(self.tree.get_ref()), None);
        for step in path.steps() {
            let Some((key, value)) = table.and_then(|t| t.get_key_value(step.key.as_ref())) else {
                break;
            };
            let element = step.index.and_then(|index| value.get_ref().get(index));
            // A table's own span is its header, or the whole of it where it is inline.
            at = Some(element.map_or(key.span(), Spanned::span).start);
            table = element.unwrap_or(value).get_ref().as_table();
        }
        at.map(|offset| line_of(self.text, offset))
    }
}

/// One table of the file, being read key by key.
#[derive(Debug)]
pub(crate) struct Section<'d, 't> {
    document: &'d Document<'t>,
    path: KeyPath,
    table: Option<&'d Table<'t>>,
    known: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    /// The path of one of its keys.
    pub(crate) fn path(&self, key: impl Into<Cow<'static, str>>) -> KeyPath {
        self.path.key(key)
    }

    /// Notes a problem with one of its keys.
    pub(crate) fn report(&self, key: &'static str, reason: impl Into<Reason>) {
        self.document.report(self.path(key), reason);
    }

    /// Notes a problem with the table as a whole.
    pub(crate) fn report_here(&self, reason: impl Into<Reason>) {
        self.document.report(self.path.clone(), reason);
    }

    /// Whether a key is there, be it of the wrong kind.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// A value that may be missing.
    pub(crate) fn optional<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        self.accept(T::read(value), self.path(key))
    }

    /// A value with a default.
    pub(crate) fn or<T: Value>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A value that must be there; `example` shows the operator one, as TOML.
    pub(crate) fn required<T: Value>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if self.find(key).is_none() {
            let hint = format!("add `{key} = {example}`");
            self.report(key, Reason::new("is missing").hint(hint));
        }
        self.optional(key)
    }

    /// A list of values, each checked for itself; empty where it is missing.
    pub(crate) fn list<T: Value>(&mut self, key: &'static str) -> Vec<T> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(elements) = value.as_array() else {
            self.report(key, Reason::expected("a list of strings", value));
            return Vec::new();
        };
        let read = elements.iter().enumerate().filter_map(|(index, element)| {
            self.accept(T::read(element.get_ref()), self.path(key).index(index))
        });
        read.collect()
    }

    /// A list of values, with a default where it is missing.
    pub(crate) fn list_or<T: Value>(&mut self, key: &'static str, default: Vec<T>) -> Vec<T> {
        match self.find(key) {
            Some(_) => self.list(key),
            None => default,
        }
    }

    /// The table `[key]`, empty where it is missing.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'d, 't> {
        let table = self.find(key).and_then(|value| {
            let reason = || Reason::expected("a table", value).hint(format!("write `[{key}]`"));
            self.accept(value.as_table().ok_or_else(reason), self.path(key))
        });
        self.child(self.path(key), table)
    }

    /// The tables `[[key]]`, in their order.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'d, 't>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let tables = value.as_array().and_then(|elements| {
            let table = |element: &'d Spanned<DeValue<'t>>| element.get_ref().as_table();
            elements.iter().map(table).collect::<Option<Vec<_>>>()
        });
        let reason = || Reason::expected("tables", value).hint(format!("write `[[{key}]]`"));
        let tables = self.accept(tables.ok_or_else(reason), self.path(key));
        let numbered = tables.unwrap_or_default().into_iter().enumerate();
        numbered
            .map(|(index, table)| self.child(self.path(key).index(index), Some(table)))
            .collect()
    }

    /// Refuses what is left: keys that nothing asked for.
    pub(crate) fn finish(self) {
        let keys = self.table.into_iter().flat_map(Table::keys);
        for key in keys.map(|key| key.get_ref().as_ref()) {
            if !self.known.contains(&key) {
                let reason = Reason::new("is not a key here");
                let reason = match nearest(key, &self.known) {
                    Some(near) => reason.hint(format!("did you mean `{near}`?")),
                    None => reason.hint(format!("keys here: {}", self.known.join(", "))),
                };
                self.document.report(self.path(key.to_owned()), reason);
            }
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'d DeValue<'t>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table?.get(key).map(Spanned::get_ref)
    }

    fn accept<T>(&self, read: Result<T, Reason>, path: KeyPath) -> Option<T> {
        read.map_err(|reason| self.document.report(path, reason))
            .ok()
    }

    fn child(&self, path: KeyPath, table: Option<&'d Table<'t>>) -> Self {
        Self {
            document: self.document,
            path,
            table,
            known: Vec::new(),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    1 + before.filter(|&byte| byte == b'\n').count()
}

/// The known key that `key` was most likely meant to be.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |near: &&str| strsim::damerau_levenshtein(key, near);
    let near = known.iter().copied().min_by_key(distance)?;
    let like = distance(&near) <= 1 + near.len() / 4 || near.starts_with(key);
    like.then_some(near)
}
