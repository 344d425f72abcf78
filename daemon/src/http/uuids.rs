//! Reads UUIDs as they arrive, so that a request costs sixteen bytes for each and no more.
//!
//! They come as a JSON array of strings, or one a line, with or without quotes. What is wrong is
//! told by its number and how it begins.

use runsync_manifest::name::DatasetId;
use uuid::Uuid;

use super::problem::Problem;

/// Longest text of a UUID, such as `urn:uuid:…`, with room for blanks around it.
const TEXT_BYTES_MAX: usize = 64;

/// How the UUIDs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `["…", "…"]`
    Array,
    /// One a line.
    Lines,
}

/// Where in the text the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the array.
    Begin,
    /// Before the first element, or the array's end.
    First,
    /// Before an element.
    Element,
    /// In an element, or on a line.
    Text,
    /// After an element.
    Comma,
    /// After the array.
    End,
}

/// UUIDs read so far.
#[derive(Debug)]
pub(super) struct Uuids {
    form: Form,
    at: At,
    /// The text of the UUID at hand, in as many pieces as it came.
    text: Vec<u8>,
    /// Lines or elements begun.
    number: u64,
    found: Vec<DatasetId>,
}

impl Uuids {
    pub(super) fn new(form: Form) -> Self {
        let at = match form {
            Form::Array => At::Begin,
            Form::Lines => At::Text,
        };
        Self {
            form,
            at,
            text: Vec::with_capacity(TEXT_BYTES_MAX),
            number: 1,
            found: Vec::new(),
        }
    }

    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        while !bytes.is_empty() {
            bytes = match (self.form, self.at) {
                (_, At::Text) => self.text(bytes)?,
                (Form::Array | Form::Lines, _) => self.between(bytes)?,
            };
        }
        Ok(())
    }

    /// All of them, once the body has ended.
    pub(super) fn finish(mut self) -> Result<Vec<DatasetId>, Problem> {
        match (self.form, self.at) {
            (Form::Lines, _) => self.line()?,
            (Form::Array, At::End) => {}
            (Form::Array, _) => return Err(Problem::unreadable("the JSON array has no end")),
        }
        Ok(self.found)
    }

    /// Reads up to the end of a text and returns what follows.
    fn text<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Problem> {
        let end = match self.form {
            Form::Array => b'"',
            Form::Lines => b'\n',
        };
        let Some(length) = memchr::memchr(end, bytes) else {
            self.keep(bytes)?;
            return Ok(&[]);
        };
        let (text, rest) = bytes.split_at(length);
        self.keep(text)?;
        match self.form {
            Form::Lines => self.line()?,
            Form::Array => {
                self.found
                    .push(parse(&self.text).ok_or_else(|| self.wrong())?);
                self.at = At::Comma;
            }
        }
        self.text.clear();
        self.number += u64::from(self.form == Form::Lines);
        Ok(rest.get(1..).unwrap_or_default())
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.text.extend_from_slice(piece);
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(self.wrong());
        }
        Ok(())
    }

    fn line(&mut self) -> Result<(), Problem> {
        let line = self.text.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let bare = line
            .strip_prefix(b"\"")
            .and_then(|line| line.strip_suffix(b"\""));
        let uuid = parse(bare.unwrap_or(line)).ok_or_else(|| self.wrong())?;
        self.found.push(uuid);
        Ok(())
    }

    /// Reads the one character between texts that matters, and returns what follows.
    fn between<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Problem> {
        let bytes = bytes.trim_ascii_start();
        let Some((sign, rest)) = bytes.split_first() else {
            return Ok(&[]);
        };
        self.at = match (self.at, sign) {
            (At::Begin, b'[') => At::First,
            (At::First | At::Element, b'"') => At::Text,
            (At::Comma, b',') => {
                self.number += 1;
                At::Element
            }
            (At::First | At::Comma, b']') => At::End,
            (At::First | At::Element, _) => {
                self.text.extend(bytes.iter().take(TEXT_BYTES_MAX));
                return Err(self.wrong());
            }
            (At::Begin | At::Comma | At::End | At::Text, _) => {
                return Err(Problem::unreadable("the body is no JSON array")
                    .hint("send `[\"UUID\", …]`, or UUIDs one a line as `text/plain`"));
            }
        };
        Ok(rest)
    }

    fn wrong(&self) -> Problem {
        let what = match self.form {
            Form::Array => "element",
            Form::Lines => "line",
        };
        let text = String::from_utf8_lossy(&self.text);
        let start: String = text.chars().take(TEXT_BYTES_MAX).collect();
        let number = self.number;
        Problem::wrong(format!(
            "{what} {number}, `{}`, is no UUID",
            start.escape_debug()
        ))
        .hint("nothing was answered: put it right and ask again")
    }
}

fn parse(text: &[u8]) -> Option<DatasetId> {
    Uuid::try_parse_ascii(text).ok().map(DatasetId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00000000-0000-0000-0000-000000000001";
    const TWO: &str = "00000000-0000-0000-0000-00000000000a";

    /// Reads the text whole, and cut in two at every place: the result must be the same.
    fn read(form: Form, text: &str) -> Result<Vec<u128>, String> {
        let whole = read_pieces(form, &[text.as_bytes()]);
        for cut in 0..=text.len() {
            let (begin, end) = text.as_bytes().split_at(cut);
            assert_eq!(read_pieces(form, &[begin, end]), whole, "cut at {cut}");
        }
        whole
    }

    fn read_pieces(form: Form, pieces: &[&[u8]]) -> Result<Vec<u128>, String> {
        let mut uuids = Uuids::new(form);
        let read = pieces.iter().try_for_each(|piece| uuids.read(piece));
        let found = read.and_then(|()| uuids.finish());
        found
            .map(|found| found.iter().map(|uuid| uuid.0.as_u128()).collect())
            .map_err(|problem| format!("{} {}", problem.status().as_u16(), problem.detail()))
    }

    #[test]
    fn arrays_and_lines_are_read_however_they_are_cut() {
        let array = format!(" [ \"{ONE}\",\n\"{TWO}\" ] \n");
        assert_eq!(read(Form::Array, &array).unwrap(), [1, 10]);
        assert_eq!(read(Form::Array, "[]").unwrap(), []);
        let lines = format!("{ONE}\r\n\n \"{TWO}\" \n{}", TWO.to_uppercase());
        assert_eq!(read(Form::Lines, &lines).unwrap(), [1, 10, 10]);
        assert_eq!(read(Form::Lines, "").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_told_by_number_and_start() {
        let wrong = |form, text: &str| read(form, text).unwrap_err();
        let lines = format!("{ONE}\n\nnonsense\n");
        assert_eq!(
            wrong(Form::Lines, &lines),
            "422 line 3, `nonsense`, is no UUID"
        );
        let array = format!("[\"{ONE}\",\"x\\n\"]");
        assert_eq!(
            wrong(Form::Array, &array),
            "422 element 2, `x\\\\n`, is no UUID"
        );
        for text in ["", "[", "{}", "[\"", "null", "[]]", "[],"] {
            assert!(wrong(Form::Array, text).starts_with("400 "), "{text}");
        }
        for text in ["[1]", "[null", "[,"] {
            assert!(
                read_pieces(Form::Array, &[text.as_bytes()])
                    .unwrap_err()
                    .starts_with("422 "),
                "{text}"
            );
        }
        let long = "x".repeat(1000);
        assert!(
            read_pieces(Form::Lines, &[long.as_bytes()])
                .unwrap_err()
                .len()
                < 200
        );
    }
}
