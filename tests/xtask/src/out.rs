//! The one place that prints.

use std::fmt::Arguments;

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($words:tt)*) => { $crate::out::line(format_args!($($words)*)) };
}
pub(crate) use say;

/// Prints a line to standard output.
#[expect(clippy::print_stdout, reason = "a task's figures are its output")]
pub(crate) fn line(words: Arguments<'_>) {
    println!("{words}");
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in whole megabytes, rounded up.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped(bytes.div_ceil(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::{grouped, megabytes};

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(megabytes(1), "1 MB");
        assert_eq!(megabytes(1_234_000_001), "1,235 MB");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
