//! Unsafe code says why it is sound, whatever configuration it is compiled in.

use super::super::lexer::Token;
use super::{Finding, Source};

/// Reports `unsafe` blocks and implementations without a `SAFETY:` comment in their own statement.
pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    for (index, token) in source.tokens().iter().enumerate() {
        let block = source.matches(index, &["unsafe", "{"]);
        let implementation = source.matches(index, &["unsafe", "impl"]);
        if (block || implementation) && !explained(source, index) {
            let what = if block { "block" } else { "implementation" };
            let message = format!("an unsafe {what} needs a `// SAFETY:` before it: the invariant and who keeps it");
            findings.push(Finding { rule: "safety", path: source.path.to_owned(), line: token.line, message });
        }
    }
}

/// Whether a comment between the start of the statement and the `unsafe` at `index` says `SAFETY:`.
fn explained(source: &Source<'_>, index: usize) -> bool {
    let start = statement(source.tokens(), index);
    source
        .lexed
        .comments
        .iter()
        .any(|comment| (start..=index).contains(&comment.tokens_before) && comment.text.contains("SAFETY:"))
}

/// Where the statement begins that the token at `index` belongs to.
fn statement(tokens: &[Token<'_>], index: usize) -> usize {
    let (mut at, mut depth) = (index, 0_usize);
    while let Some(before) = at.checked_sub(1) {
        let token = &tokens[before];
        // Braces before `=` or `=>` are those of a pattern, which belongs to the statement.
        let closes_pattern = token.is("}") && tokens.get(at).is_some_and(|next| next.is("=") || next.is("=>"));
        if closes_pattern || (depth > 0 && token.is("}")) {
            depth += 1;
        } else if depth > 0 && token.is("{") {
            depth -= 1;
        } else if depth == 0 && [";", "{", "}"].iter().any(|end| token.is(end)) {
            break;
        }
        at = before;
    }
    at
}
