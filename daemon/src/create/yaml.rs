//! YAML as the Butler writes it: events to small trees, plain scalars to values.
//!
//! An export is one document with a few hundred thousand records, so it is taken
//! event by event and only one record at a time becomes a tree. Scalars are
//! told apart as `PyYAML` (YAML 1.1) tells them, for that is what wrote them: `0_29` and
//! `08` are text there, `yes` is not.

use std::collections::HashMap;
use std::io::{self, BufRead};

use granit_parser::{
    ErrorKind, Event, FallibleBufferedInput, InputIoError, Parser, ScalarStyle, Tag,
};
use serde_json::Number;

use super::error::{CreateError, Place};

/// Nodes in one tree, aliases expanded. A record has a few dozen; only a file made to
/// swell has so many.
const TREE_NODES_MAX: usize = 100_000;

/// A node of a tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Its line, from 1.
    pub(crate) line: u64,
    /// Its tag, resolved, such as `!uuid` or `tag:yaml.org,2002:str`.
    pub(crate) tag: Option<String>,
    /// What it is.
    pub(crate) value: NodeValue,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeValue {
    /// Text, and whether it stands without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Map(Vec<(String, Node)>),
}

/// A plain scalar's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

/// A file that is one tree, such as a configuration.
///
/// # Errors
///
/// Where it is no YAML, or anything follows.
pub(crate) fn read_tree(file: &str, input: impl BufRead) -> Result<Node, CreateError> {
    let mut events = Events::new(file.to_owned(), input);
    loop {
        let (event, line) = events.next()?;
        if matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
            continue;
        }
        if matches!(event, Event::StreamEnd) {
            return Err(events.unexpected(line.max(1), "nothing", "a mapping"));
        }
        events.peeked = Some((event, line));
        break;
    }
    let tree = events.tree()?;
    loop {
        let (event, line) = events.next()?;
        if matches!(event, Event::StreamEnd) {
            return Ok(tree);
        }
        if !matches!(event, Event::DocumentEnd) {
            return Err(events.unexpected(line, "more than one document", "one"));
        }
    }
}

/// The events of one file.
pub(super) struct Events<R: BufRead> {
    file: String,
    parser: Parser<'static, FallibleBufferedInput<Characters<R>>>,
    /// Nodes that have an anchor.
    anchors: HashMap<usize, Node>,
    peeked: Option<(Event<'static>, u64)>,
}

impl<R: BufRead> Events<R> {
    pub(super) fn new(file: String, input: R) -> Self {
        Self {
            file,
            parser: Parser::new_from_fallible_iter(Characters::new(input)),
            anchors: HashMap::new(),
            peeked: None,
        }
    }

    pub(super) fn place(&self, line: u64) -> Place {
        Place {
            file: self.file.clone(),
            line,
        }
    }

    /// The next event and its line.
    pub(super) fn next(&mut self) -> Result<(Event<'static>, u64), CreateError> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(peeked);
        }
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line() as u64)),
            None => Ok((Event::StreamEnd, 0)),
            Some(Err(error)) => {
                let marker = *error.marker();
                let problem = error.info();
                if let ErrorKind::InputIo { error } = error.kind() {
                    let kind = error
                        .io_error()
                        .map_or(io::ErrorKind::Other, io::Error::kind);
                    return Err(CreateError::Read {
                        file: self.file.clone(),
                        source: io::Error::new(kind, error.message()),
                    });
                }
                Err(CreateError::Syntax {
                    place: self.place(marker.line() as u64),
                    column: marker.col() as u64 + 1,
                    problem,
                })
            }
        }
    }

    /// Goes to the start of the document's outermost mapping.
    pub(super) fn enter_document(&mut self) -> Result<(), CreateError> {
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingStart(..)) {
                return Ok(());
            }
            if !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
                let expected = "the mapping of an export";
                return Err(self.unexpected(line.max(1), "no mapping", expected));
            }
        }
    }

    /// The next key of the mapping that is open, and its line; `None` at its end.
    pub(super) fn next_key(&mut self) -> Result<Option<(String, u64)>, CreateError> {
        let (event, line) = self.next()?;
        if matches!(event, Event::MappingEnd) {
            return Ok(None);
        }
        if let Event::Scalar(text, ..) = event {
            return Ok(Some((text.into_owned(), line)));
        }
        Err(self.unexpected(line, "a key that is no text", "text"))
    }

    /// Enters a list: the value of the key last returned.
    pub(super) fn enter_list(&mut self, field: &str) -> Result<(), CreateError> {
        let (event, line) = self.next()?;
        if matches!(event, Event::SequenceStart(..)) {
            return Ok(());
        }
        Err(CreateError::Field {
            place: self.place(line),
            field: field.to_owned(),
            found: "something else".into(),
            expected: "a list".into(),
        })
    }

    /// Enters the next mapping of the list that is open, and its line; `None` at the list's end.
    pub(super) fn next_mapping(&mut self) -> Result<Option<u64>, CreateError> {
        let (event, line) = self.next()?;
        if matches!(event, Event::SequenceEnd) {
            return Ok(None);
        }
        if matches!(event, Event::MappingStart(..)) {
            return Ok(Some(line));
        }
        Err(self.unexpected(line, "something else in the list", "a mapping"))
    }

    /// The next tree of the list that is open; `None` at the list's end.
    pub(super) fn next_in_list(&mut self) -> Result<Option<Node>, CreateError> {
        let (event, line) = self.next()?;
        if matches!(event, Event::SequenceEnd) {
            return Ok(None);
        }
        self.peeked = Some((event, line));
        self.tree().map(Some)
    }

    /// The tree that begins with the next event.
    pub(super) fn tree(&mut self) -> Result<Node, CreateError> {
        let mut nodes_left = TREE_NODES_MAX;
        let first = self.next()?;
        self.tree_from(first, &mut nodes_left)
    }

    /// Recursive as deep as the parser lets collections nest (255 levels).
    fn tree_from(
        &mut self,
        (event, line): (Event<'static>, u64),
        nodes_left: &mut usize,
    ) -> Result<Node, CreateError> {
        self.spend(nodes_left, 1, line)?;
        let (anchor, tag, value) = if let Event::Scalar(text, style, anchor, tag) = event {
            let plain = style == ScalarStyle::Plain;
            let text = text.into_owned();
            (anchor, tag, NodeValue::Scalar { text, plain })
        } else if let Event::SequenceStart(_, anchor, tag) = event {
            (anchor, tag, self.rest_of_list(nodes_left)?)
        } else if let Event::MappingStart(_, anchor, tag) = event {
            (anchor, tag, self.rest_of_map(nodes_left)?)
        } else if let Event::Alias(anchor) = event {
            return self.aliased(anchor, line, nodes_left);
        } else {
            return Err(self.unexpected(line, "an end", "a value"));
        };
        let tag = tag.map(|tag| resolved(&tag));
        let node = Node { line, tag, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn rest_of_list(&mut self, nodes_left: &mut usize) -> Result<NodeValue, CreateError> {
        let mut nodes = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(NodeValue::List(nodes));
            }
            nodes.push(self.tree_from(next, nodes_left)?);
        }
    }

    fn rest_of_map(&mut self, nodes_left: &mut usize) -> Result<NodeValue, CreateError> {
        let mut pairs: Vec<(String, Node)> = Vec::new();
        while let Some((key, line)) = self.next_key()? {
            if pairs.iter().any(|(name, _)| *name == key) {
                return Err(self.unexpected(line, "a key that comes twice", "each once"));
            }
            let next = self.next()?;
            pairs.push((key, self.tree_from(next, nodes_left)?));
        }
        Ok(NodeValue::Map(pairs))
    }

    fn aliased(
        &self,
        anchor: usize,
        line: u64,
        nodes_left: &mut usize,
    ) -> Result<Node, CreateError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.unexpected(line, "an alias of what it lies in", "an earlier node"));
        };
        self.spend(nodes_left, node.weight(), line)?;
        Ok(node.clone())
    }

    fn spend(&self, nodes_left: &mut usize, nodes: usize, line: u64) -> Result<(), CreateError> {
        *nodes_left = nodes_left.checked_sub(nodes).ok_or_else(|| {
            self.unexpected(line, "more than 100000 nodes in one value", "a record")
        })?;
        Ok(())
    }

    fn unexpected(&self, line: u64, found: &str, expected: &str) -> CreateError {
        CreateError::Syntax {
            place: self.place(line),
            column: 1,
            problem: format!("found {found}, expected {expected}"),
        }
    }
}

impl Node {
    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            NodeValue::Map(pairs) => pairs.iter().find(|(name, _)| name == key),
            NodeValue::Scalar { .. } | NodeValue::List(_) => None,
        }
        .map(|(_, node)| node)
    }

    /// The value of a scalar; what is wrong with it otherwise.
    pub(crate) fn scalar(&self) -> Result<Scalar, String> {
        let NodeValue::Scalar { text, plain } = &self.value else {
            return Err("a list or mapping".into());
        };
        match self.tag.as_deref() {
            Some("tag:yaml.org,2002:str" | "!" | "!uuid") => Ok(Scalar::Text(text.clone())),
            Some("tag:yaml.org,2002:int" | "tag:yaml.org,2002:float") => resolve(text),
            Some(tag) => Err(format!("a value with the tag `{}`", tag.escape_debug())),
            None if *plain => resolve(text),
            None => Ok(Scalar::Text(text.clone())),
        }
    }

    fn weight(&self) -> usize {
        match &self.value {
            NodeValue::Scalar { .. } => 1,
            NodeValue::List(nodes) => 1 + nodes.iter().map(Self::weight).sum::<usize>(),
            NodeValue::Map(pairs) => 1 + pairs.iter().map(|(_, node)| node.weight()).sum::<usize>(),
        }
    }
}

fn resolved(tag: &Tag) -> String {
    let text = tag.to_string();
    // A verbatim local tag, `!<!uuid>`, is the same as `!uuid`.
    text.strip_prefix("!!")
        .map_or(text.clone(), |rest| format!("!{rest}"))
}

/// Tells what a plain scalar is. Forms that `PyYAML` reads but does not write for the type
/// that is meant (times, numbers in other bases) are errors rather than surprises.
fn resolve(text: &str) -> Result<Scalar, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Scalar::Bool(true));
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Scalar::Bool(false));
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(Scalar::Text(text.to_owned()));
    }
    if is_decimal(digits) {
        let plain = text.trim_start_matches('+').replace('_', "");
        return plain
            .parse::<i64>()
            .map(|number| Scalar::Number(number.into()))
            .map_err(|_| format!("{text}, which is more than 64 bits hold"));
    }
    if is_float(digits) {
        let plain = text.replace('_', "");
        let number = plain.parse().ok().and_then(Number::from_f64);
        return number
            .map(Scalar::Number)
            .ok_or_else(|| format!("{text}, which is no finite number"));
    }
    if is_special_number(digits) || is_time(text) {
        return Err(format!(
            "`{text}`, which YAML 1.1 takes for a time or a number of another base"
        ));
    }
    Ok(Scalar::Text(text.to_owned()))
}

fn is_decimal(digits: &str) -> bool {
    digits == "0"
        || (digits.starts_with(|c: char| ('1'..='9').contains(&c))
            && digits.chars().all(|c| c.is_ascii_digit() || c == '_'))
}

fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "+0"));
    let Some((whole, fraction)) = mantissa.split_once('.') else {
        return false;
    };
    let all_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let exponent_digits = exponent.strip_prefix(['-', '+']).unwrap_or_default();
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent_digits.is_empty()
        && exponent_digits.chars().all(|c| c.is_ascii_digit())
}

fn is_special_number(digits: &str) -> bool {
    let lower = digits.to_ascii_lowercase();
    let all =
        |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix) || c == '_');
    lower == ".inf"
        || lower == ".nan"
        || lower.strip_prefix("0x").is_some_and(|rest| all(rest, 16))
        || lower.strip_prefix("0b").is_some_and(|rest| all(rest, 2))
        || lower.strip_prefix('0').is_some_and(|rest| all(rest, 8))
        || (lower.contains(':')
            && lower
                .chars()
                .all(|c| c.is_ascii_digit() || ":._".contains(c)))
}

/// `2013-06-17` and what begins so and goes on with a time.
fn is_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked("2013-06-17".len()) else {
        return false;
    };
    let formed = date
        .bytes()
        .zip(*b"0000-00-00")
        .all(|(found, form)| match form {
            b'0' => found.is_ascii_digit(),
            _ => found == form,
        });
    formed && (rest.is_empty() || rest.starts_with(['T', 't', ' ', '\t']))
}

/// The characters of a UTF-8 file, a line at a time in memory.
struct Characters<R> {
    input: R,
    line: String,
    used: usize,
}

impl<R> Characters<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            line: String::new(),
            used: 0,
        }
    }
}

impl<R: BufRead> Iterator for Characters<R> {
    type Item = Result<char, ErrorKind>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.line.get(self.used..).unwrap_or_default();
            if let Some(character) = rest.chars().next() {
                self.used += character.len_utf8();
                return Some(Ok(character));
            }
            self.line.clear();
            self.used = 0;
            match self.input.read_line(&mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let error = InputIoError::from_io(error);
                    return Some(Err(ErrorKind::InputIo { error }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn scalar(yaml: &str) -> Result<Scalar, String> {
        let mut events = Events::new(
            "x.yaml".into(),
            format!("a: {yaml}\n").into_bytes().leak() as &[u8],
        );
        events.enter_document().unwrap();
        events.next_key().unwrap();
        events.tree().unwrap().scalar()
    }

    #[test]
    fn plain_scalars_are_what_pyyaml_means_by_them() {
        for text in [
            "0_29", "08", "1e5", "HSC-I", "'0_30'", "\"12\"", "1_54x", "v1.2.3", ".", "+",
        ] {
            let plain = text.trim_matches(['\'', '"']);
            assert_eq!(scalar(text), Ok(Scalar::Text(plain.into())), "{text}");
        }
        for (text, number) in [
            ("0", 0),
            ("-12", -12),
            ("+7", 7),
            ("21_474_800", 21_474_800),
        ] {
            assert_eq!(scalar(text), Ok(Scalar::Number(number.into())), "{text}");
        }
        for (text, number) in [
            ("30.0", 30.0),
            ("1.0e+20", 1e20),
            (".5", 0.5),
            ("-21.192894420000002", -21.192_894_420_000_002),
        ] {
            assert_eq!(
                scalar(text),
                Ok(Scalar::Number(Number::from_f64(number).unwrap())),
                "{text}"
            );
        }
        assert_eq!(scalar("~"), Ok(Scalar::Null));
        assert_eq!(scalar("yes"), Ok(Scalar::Bool(true)));
        assert_eq!(scalar("!!str 12"), Ok(Scalar::Text("12".into())));
        assert_eq!(scalar("!uuid 'x'"), Ok(Scalar::Text("x".into())));
    }

    #[test]
    fn ambiguous_scalars_are_errors() {
        for text in [
            "0_30",
            "017",
            "0x1F",
            "1:30",
            ".inf",
            "-.inf",
            ".nan",
            "2013-06-17",
            "2013-06-17 13:29:11",
            "99999999999999999999",
            "!python/object x",
        ] {
            assert!(scalar(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_alias_stands_for_its_node_and_swells_no_memory() {
        let tree = |yaml: &'static str| {
            let mut events = Events::new("x.yaml".into(), yaml.as_bytes());
            events.enter_document()?;
            events.next_key()?;
            events.tree()
        };
        let node = tree("a: [&x !uuid one, *x]\n").unwrap();
        let NodeValue::List(nodes) = node.value else {
            panic!("a list");
        };
        assert_eq!(nodes[0], nodes[1]);
        let mut bomb = String::from("a: [&a0 [x,x,x,x,x,x,x,x,x,x]");
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            write!(bomb, ", &a{level} [{}]", vec![below; 10].join(",")).unwrap();
        }
        bomb += "]\n";
        let error = tree(bomb.leak()).unwrap_err();
        assert!(error.to_string().contains("100000 nodes"), "{error}");
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let mut events = Events::new("x.yaml".into(), &b"a: 1\nb: [1\nc: 2\n"[..]);
        events.enter_document().unwrap();
        let error = loop {
            if let Err(error) = events.next() {
                break error;
            }
        };
        assert!(error.to_string().starts_with("x.yaml, line "), "{error}");
    }
}
