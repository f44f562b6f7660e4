//! Rust source as tokens and comments: exact enough to tell code from strings and comments, and no more.

/// What a token is, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or a keyword.
    Word,
    /// A string, character or number.
    Literal,
    /// `'name`.
    Lifetime,
    /// One character of punctuation, or `::`, `=>` or `->`.
    Punctuation,
}

/// A token and the line that it begins on, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Whether this is that word or punctuation; a string that contains it is not.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Punctuation) && self.text == text
    }
}

/// A comment, and how many tokens precede it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens_before: usize,
}

/// The tokens and the comments of a file.
#[derive(Debug, Default)]
pub(crate) struct Lexed<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) comments: Vec<Comment<'a>>,
}

/// Takes a file apart. What is no Rust gives tokens all the same, only not sensible ones.
pub(crate) fn lex(source: &str) -> Lexed<'_> {
    let mut lexed = Lexed::default();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (length, kind) = measure(rest, first);
        let (text, remaining) = rest.split_at(length);
        match kind {
            Piece::Space => {}
            Piece::Comment => lexed.comments.push(Comment { text, tokens_before: lexed.tokens.len() }),
            Piece::Token(kind) => lexed.tokens.push(Token { kind, text, line }),
        }
        line += text.matches('\n').count();
        rest = remaining;
    }
    lexed
}

enum Piece {
    Space,
    Comment,
    Token(Kind),
}

/// How many bytes the piece at the front of `rest` has, and what it is.
fn measure(rest: &str, first: char) -> (usize, Piece) {
    if first.is_whitespace() {
        return (first.len_utf8(), Piece::Space);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Piece::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Piece::Comment);
    }
    if let Some(length) = string(rest) {
        return (length, Piece::Token(Kind::Literal));
    }
    if first == '\'' {
        return quote(rest);
    }
    if first.is_ascii_digit() {
        return (length_while(rest, |c| c.is_alphanumeric() || c == '_'), Piece::Token(Kind::Literal));
    }
    if first.is_alphabetic() || first == '_' {
        return (length_while(rest, is_word), Piece::Token(Kind::Word));
    }
    let joined = ["::", "=>", "->"].iter().any(|pair| rest.starts_with(pair));
    (if joined { 2 } else { first.len_utf8() }, Piece::Token(Kind::Punctuation))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn length_while(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accept(c)).unwrap_or(text.len())
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a string of any kind (`"…"`, `b"…"`, `c"…"`, `r#"…"#` …), if one begins here.
fn string(rest: &str) -> Option<usize> {
    let prefix = length_while(rest, |c| matches!(c, 'b' | 'c' | 'r'));
    let raw = prefix <= 2 && rest[..prefix].ends_with('r');
    let hashes = if raw { length_while(&rest[prefix..], |c| c == '#') } else { 0 };
    let body = rest[prefix + hashes..].strip_prefix('"')?;
    if prefix > 2 || (prefix == 2 && !raw) {
        return None;
    }
    let opening = rest.len() - body.len();
    if raw {
        let closing = format!("\"{}", "#".repeat(hashes));
        return Some(body.find(&closing).map_or(rest.len(), |at| opening + at + closing.len()));
    }
    Some(closing_quote(body, '"').map_or(rest.len(), |at| opening + at + 1))
}

/// Where the first `quote` is that no backslash escapes.
fn closing_quote(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        if !escaped && c == quote {
            return Some(at);
        }
        escaped = !escaped && c == '\\';
    }
    None
}

/// A lifetime (`'a`) or a character (`'a'`, `'\n'`).
fn quote(rest: &str) -> (usize, Piece) {
    let body = &rest[1..];
    let word = length_while(body, is_word);
    let one_character = body.chars().next().is_some_and(|c| body[c.len_utf8()..].starts_with('\''));
    if word > 0 && !one_character {
        return (1 + word, Piece::Token(Kind::Lifetime));
    }
    (closing_quote(body, '\'').map_or(rest.len(), |at| at + 2), Piece::Token(Kind::Literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        lex(source).tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        let source = "a(\"unsafe { /* \\\" \"); // unsafe {\n/* x /* y */ z */ b(r#\"\" unsafe\"#, b\"c\", br\"d\");";
        assert_eq!(
            texts(source),
            [
                "a",
                "(",
                "\"unsafe { /* \\\" \"",
                ")",
                ";",
                "b",
                "(",
                "r#\"\" unsafe\"#",
                ",",
                "b\"c\"",
                ",",
                "br\"d\"",
                ")",
                ";"
            ]
        );
        assert_eq!(lex(source).comments.len(), 2);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        let kinds: Vec<Kind> = lex("'a 'b' '\\'' '_ '\"'").tokens.iter().map(|token| token.kind).collect();
        assert_eq!(kinds, [Kind::Lifetime, Kind::Literal, Kind::Literal, Kind::Lifetime, Kind::Literal]);
    }

    #[test]
    fn words_that_begin_like_strings_are_words() {
        assert_eq!(texts("b r#type crab\"\""), ["b", "r", "#", "type", "crab", "\"\""]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let lexed = lex("a\n/*\n\n*/\n\"\n\"\nb");
        assert_eq!(lexed.tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 5, 7]);
    }

    #[test]
    fn what_never_ends_is_taken_to_the_end() {
        for source in ["\"abc", "/* abc", "r#\"abc\"", "'\\", "'"] {
            assert!(lex(source).tokens.len() + lex(source).comments.len() == 1, "{source}");
        }
    }
}
