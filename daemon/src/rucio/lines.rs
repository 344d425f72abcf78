//! An answer of many JSON lines, read as it comes.
//!
//! Rucio calls it `application/x-json-stream`; an empty body is an empty answer. A stream that ends in
//! the middle of a line, or whose connection breaks, is an error: what was read is not the whole.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::marker::PhantomData;

use reqwest::blocking::Response;
use serde::de::DeserializeOwned;

use super::error::RucioError;
use super::heard::{self, Heard};
use super::json;

/// Longest line: a file's replicas at a hundred RSEs take some 30 KiB.
const LINE_MAX: u64 = 16 << 20;

/// The lines of an answer.
pub struct Lines<T> {
    request: String,
    answer: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl<T> Lines<T> {
    pub(super) fn new(request: String, answer: Heard<Response>) -> Self {
        Self::over(request, Box::new(answer))
    }

    fn over(request: String, answer: Box<dyn Read + Send>) -> Self {
        Self {
            request,
            answer: BufReader::new(answer),
            line: Vec::new(),
            ended: false,
            kind: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line that is not empty.
    fn read(&mut self) -> Result<Option<T>, RucioError> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.answer).take(LINE_MAX);
            let read = limited.read_until(b'\n', &mut self.line);
            if let Err(source) = read {
                return Err(heard::failure(self.request.clone(), source));
            }
            if self.line.is_empty() {
                return Ok(None);
            }
            let line = self.line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            return match json::read(line) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(RucioError::NotUnderstood {
                    request: self.request.clone(),
                    what: format!("a line of its answer: {error}"),
                }),
            };
        }
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, RucioError>;

    /// The next line; nothing after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &'static str) -> Vec<Option<u32>> {
        Lines::<u32>::over(String::new(), Box::new(text.as_bytes()))
            .map(Result::ok)
            .collect()
    }

    #[test]
    fn lines_are_read_to_the_end_or_to_the_first_that_is_none() {
        assert_eq!(numbers(""), []);
        assert_eq!(numbers("1\n2\n"), [Some(1), Some(2)]);
        assert_eq!(numbers("1\n\n 2"), [Some(1), Some(2)]);
        assert_eq!(numbers("1\n{\"cut\n3\n"), [Some(1), None]);
    }
}
