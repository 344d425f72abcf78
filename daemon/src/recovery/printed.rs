//! Names of others on a page: without what hides or turns around what stands beside them.

/// A text without control characters and without those that change the direction of writing.
pub(super) fn shown(text: &str) -> String {
    let is_hiding = |c: char| {
        c.is_control()
            || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    let letters = text.chars();
    letters
        .map(|c| if is_hiding(c) { '\u{FFFD}' } else { c })
        .collect()
}

/// The same with its middle left out where it has more letters than that.
pub(super) fn short(text: &str, letters: usize) -> String {
    let text = shown(text);
    let count = text.chars().count();
    if count <= letters {
        return text;
    }
    let half = letters.saturating_sub(1) / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(count - half).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_in_a_name() {
        assert_eq!(
            shown("a\u{202E}b\nc\u{200B}é"),
            "a\u{FFFD}b\u{FFFD}c\u{FFFD}é"
        );
        assert_eq!(short("abcdefg", 7), "abcdefg");
        assert_eq!(short("abcdefgh", 7), "abc…fgh");
    }
}
