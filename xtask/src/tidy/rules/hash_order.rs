//! Iteration over hash maps, whose order must not leak into behaviour.

use std::collections::BTreeSet;

use super::super::lexer::{Kind, Token};
use super::{Finding, Source};

const METHODS: &[&str] = &[
    "drain",
    "extract_if",
    "into_iter",
    "into_keys",
    "into_values",
    "iter",
    "iter_mut",
    "keys",
    "values",
    "values_mut",
];

/// Reports iteration over whatever the same file declares as a hash map or a hash set.
///
/// It goes by names, so a map that comes out of another file's function is not seen.
pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if !source.path.starts_with("crates/") {
        return;
    }
    let tokens = source.tokens();
    let maps = declared(tokens);
    for (index, token) in tokens.iter().enumerate() {
        if !maps.contains(token.text) || token.kind != Kind::Word || source.is_test(index) {
            continue;
        }
        let by_method = source.matches(index + 1, &["."])
            && tokens.get(index + 2).is_some_and(|method| METHODS.contains(&method.text))
            && source.matches(index + 3, &["("]);
        let by_loop = source.matches(index + 1, &["{"]) && follows_in(tokens, index);
        if by_method || by_loop {
            let message = format!("iterates over the hash map `{}`: use a `BTreeMap`, or sort first", token.text);
            findings.push(Finding { rule: "hash-order", path: source.path.to_owned(), line: token.line, message });
        }
    }
}

/// The names of fields, arguments and variables whose type or value begins with a hash map.
fn declared<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word || !(token.text.ends_with("HashMap") || token.text.ends_with("HashSet")) {
            continue;
        }
        // Back over a path, references and wrapping types to `name :` or `name =`.
        let before = tokens[..index].iter().rposition(|token| {
            !(token.kind == Kind::Lifetime || ["::", "&", "<", "mut"].contains(&token.text) || token.kind == Kind::Word)
        });
        let Some(separator) = before.filter(|&at| tokens[at].is(":") || tokens[at].is("=")) else { continue };
        if let Some(name) = separator.checked_sub(1).map(|at| tokens[at]).filter(|token| token.kind == Kind::Word) {
            names.insert(name.text);
        }
    }
    names
}

/// Whether `in`, perhaps with `&`, `mut` or `self.`, stands before the name at `index`.
fn follows_in(tokens: &[Token<'_>], index: usize) -> bool {
    let before = tokens[..index].iter().rev().find(|token| !["&", "mut", "self", "."].contains(&token.text));
    before.is_some_and(|token| token.is("in"))
}
