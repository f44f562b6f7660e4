//! Text of any origin within one line.

use std::fmt::{self, Write};

/// A text without the characters that end lines, move the cursor or reorder what is shown: they are escaped as in Rust's
/// string literals.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, hostile)) = rest.char_indices().find(|(_, c)| is_hostile(*c)) {
            f.write_str(&rest[..at])?;
            for c in hostile.escape_default() {
                f.write_char(c)?;
            }
            rest = &rest[at + hostile.len_utf8()..];
        }
        f.write_str(rest)
    }
}

/// Whether terminals or readers of lines take the character for more than a sign.
fn is_hostile(c: char) -> bool {
    let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || separates_lines || reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_escaped_and_letters_are_not() {
        let shown = |text| Escaped(text).to_string();
        assert_eq!(shown("grüße 日本 \\n \"x\""), "grüße 日本 \\n \"x\"");
        assert_eq!(shown("a\r\nb\tc\0"), "a\\r\\nb\\tc\\u{0}");
        assert_eq!(shown("\x1b[2J\x7f\u{9b}"), "\\u{1b}[2J\\u{7f}\\u{9b}");
        assert_eq!(shown("a\u{2028}b\u{202e}c"), "a\\u{2028}b\\u{202e}c");
        assert_eq!(shown(""), "");
    }
}
