//! Unsafe code says why it is sound, whatever configuration it is compiled in.

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
    let ends = source.tokens()[..index].iter().rposition(|token| [";", "{", "}"].iter().any(|end| token.is(end)));
    let start = ends.map_or(0, |end| end + 1);
    source
        .lexed
        .comments
        .iter()
        .any(|comment| (start..=index).contains(&comment.tokens_before) && comment.text.contains("SAFETY:"))
}
