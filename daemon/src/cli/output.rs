//! The one way to print: the same value for people, or as JSON with `--json`.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use thiserror::Error;

/// Printing that failed.
#[derive(Debug, Error)]
pub(crate) enum OutputError {
    /// Whoever read the output has gone, which ends a command quietly.
    #[error("cannot print: the reader has gone")]
    Closed,
    /// Anything else.
    #[error("cannot print")]
    Write(#[source] io::Error),
    /// A value that JSON cannot hold.
    #[error("cannot print as JSON")]
    Json(#[source] serde_json::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Write(error)
        }
    }
}

impl From<serde_json::Error> for OutputError {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::Json(error),
        }
    }
}

/// One line of a table: an object of JSON Lines, or cells under a header.
pub(crate) trait Row: Serialize {
    /// The header's cells.
    const HEADER: &'static [&'static str];

    /// Its cells, as many as the header has.
    fn cells(&self) -> Vec<String>;
}

/// Standard output, held by one command.
#[derive(Debug)]
pub(crate) struct Output<W: Write = BufWriter<StdoutLock<'static>>> {
    to: W,
    json: bool,
}

impl Output {
    /// Takes standard output.
    pub(crate) fn new(json: bool) -> Self {
        let to = BufWriter::new(io::stdout().lock());
        Self { to, json }
    }
}

impl<W: Write> Output<W> {
    /// Prints one value: for people as it displays itself, else as a line of JSON.
    pub(crate) fn value(&mut self, value: &(impl Serialize + Display)) -> Result<(), OutputError> {
        if self.json {
            self.json_line(value)?;
        } else {
            writeln!(self.to, "{value}")?;
        }
        Ok(self.to.flush()?)
    }

    /// Prints rows: as a table, or each as a line of JSON as soon as it comes.
    pub(crate) fn rows<T: Row>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<(), OutputError> {
        if self.json {
            rows.into_iter().try_for_each(|row| self.json_line(&row))?;
        } else {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(T::HEADER);
            table.add_rows(rows.into_iter().map(|row| row.cells()));
            writeln!(self.to, "{}", table.trim_fmt())?;
        }
        Ok(self.to.flush()?)
    }

    /// Prints rows that follow those printed last, without their header.
    pub(crate) fn more_rows<T: Row>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<(), OutputError> {
        if self.json {
            return self.rows(rows);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_rows(rows.into_iter().map(|row| row.cells()));
        writeln!(self.to, "{}", table.trim_fmt())?;
        Ok(self.to.flush()?)
    }

    /// Prints text as it is, whatever `--json` says: a file's content, a script.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.to.write_all(bytes)?;
        Ok(self.to.flush()?)
    }

    /// Prints lines that are JSON already, whether or not `--json` was given. Not flushed.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        Ok(self.to.write_all(bytes)?)
    }

    /// Passes on what was printed so far.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.to.flush()?)
    }

    /// Prints a value as one line of JSON, whether or not `--json` was given. Not flushed.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        serde_json::to_writer(&mut self.to, value)?;
        Ok(self.to.write_all(b"\n")?)
    }
}

/// What anybody may have written, without what a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    let shown = text.chars().map(|c| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{FFFD}',
        c => c,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Run {
        name: &'static str,
        datasets: u64,
    }

    impl Row for Run {
        const HEADER: &'static [&'static str] = &["run", "datasets"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.datasets.to_string()]
        }
    }

    const RUNS: [Run; 2] = [
        Run {
            name: "u/a/night-1",
            datasets: 33,
        },
        Run {
            name: "u/b",
            datasets: 10_000,
        },
    ];

    fn printed(json: bool) -> String {
        let mut output = Output {
            to: Vec::new(),
            json,
        };
        output.rows(RUNS).unwrap();
        String::from_utf8(output.to).unwrap()
    }

    #[test]
    fn rows_are_a_table_for_people() {
        insta::assert_snapshot!(printed(false), @r#"
        run          datasets
        u/a/night-1  33
        u/b          10000
        "#);
    }

    #[test]
    fn rows_are_lines_of_json() {
        insta::assert_snapshot!(printed(true), @r#"
        {"name":"u/a/night-1","datasets":33}
        {"name":"u/b","datasets":10000}
        "#);
    }

    #[derive(Debug)]
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told_from_other_errors() {
        for json in [false, true] {
            let mut output = Output { to: Gone, json };
            assert!(matches!(output.rows(RUNS), Err(OutputError::Closed)));
        }
    }
}
