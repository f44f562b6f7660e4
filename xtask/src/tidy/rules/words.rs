//! Words that may not stay: marks of unfinished work, paths of somebody's machine, tests ignored without reason.

use super::super::tree::File;
use super::{Finding, Source};

// Written in two parts, so that this file does not break its own rules.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
const MACHINE_PATHS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Reports macros of unfinished work and tests that are ignored without a reason.
pub(super) fn check_code(source: &Source<'_>, findings: &mut Vec<Finding>) {
    for (index, token) in source.tokens().iter().enumerate() {
        let mut report = |rule, message: &str| {
            let message = message.to_owned();
            findings.push(Finding { rule, path: source.path.to_owned(), line: token.line, message });
        };
        if source.matches(index, &["todo", "!"]) || source.matches(index, &["unimplemented", "!"]) {
            report("unfinished", "finish it, or leave it out");
        }
        if source.matches(index, &["#", "[", "ignore", "]"]) {
            report("ignored-test", "say why the test is ignored: `#[ignore = \"…\"]`");
        }
    }
}

/// Reports words in any text: code, comments, documents, settings.
pub(super) fn check_text(file: &File, findings: &mut Vec<Finding>) {
    // Hashes in it are arbitrary letters.
    if file.path.ends_with("Cargo.lock") {
        return;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let mut report =
            |rule, message| findings.push(Finding { rule, path: file.path.clone(), line: number, message });
        for word in UNFINISHED.iter().filter(|word| contains_word(line, word)) {
            report("unfinished", format!("{word}: do it, or write an issue"));
        }
        for path in MACHINE_PATHS.iter().filter(|path| names_path(line, path)) {
            report("machine-path", format!("{path} exists on one machine only: make it relative"));
        }
    }
}

fn contains_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word))
}

/// Whether `path` begins there, rather than being the middle of a longer one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c)))
}
