//! What `docs/conformance.md` says must be there: the files and the tests that it names.

use std::collections::BTreeSet;

use super::super::lexer::{Kind, Token};
use super::super::tree::File;
use super::{Finding, Source};

const PATH: &str = "docs/conformance.md";

/// Where the document's paths begin: at one of these.
const ROOTS: [&str; 3] = ["crates/tcpip/src/", "crates/", ""];

/// What a row may say of a requirement; what is met has to name where, and a test.
const MET: &str = "yes";
const STATES: [&str; 4] = [MET, "part", "no", "–"];

/// Parts of paths that say nothing about what lies there.
const PLAIN_FOLDERS: [&str; 4] = ["src", "tests", "mod", "main"];

/// Reports names that are not there, and rows that name too little.
pub(super) fn check(files: &[File], sources: &[Source<'_>], findings: &mut Vec<Finding>) {
    let Some(document) = files.iter().find(|file| file.path == PATH) else { return };
    let tests = tests(sources);
    for (number, line) in (1..).zip(document.text.lines()) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let is_row = line.starts_with('|') && cells.len() == 5 && !cells[2].starts_with("--") && cells[2] != "state";
        let mut report = |message| {
            findings.push(Finding { rule: "conformance", path: PATH.to_owned(), line: number, message });
        };
        let names = || line.split('`').skip(1).step_by(2);
        let (named_files, named_tests): (Vec<&str>, Vec<&str>) =
            names().filter(|name| is_file(name) || is_test(name)).partition(|name| is_file(name));
        for name in named_files.iter().filter(|name| !exists(files, name)) {
            report(format!("{name} is not there"));
        }
        for name in named_tests.iter().filter(|name| !tests.iter().any(|test| is_named(test, name))) {
            report(format!("there is no test {name}"));
        }
        if is_row && !STATES.contains(&cells[2]) {
            report(format!("a requirement is one of {}, not {}", STATES.join(", "), cells[2]));
        } else if is_row && cells[2] == MET && (named_files.is_empty() || named_tests.is_empty()) {
            report("what is met names where, and a test".to_owned());
        }
    }
}

fn is_file(name: &str) -> bool {
    !name.contains([' ', ':']) && (name.contains('/') || name.ends_with(".rs"))
}

fn is_test(name: &str) -> bool {
    name.contains("::") && !name.contains(' ')
}

fn exists(files: &[File], name: &str) -> bool {
    ROOTS.iter().any(|root| {
        let path = format!("{root}{}", name.trim_end_matches('/'));
        let folder = format!("{path}/");
        files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    })
}

/// All tests: the folders and the file in which each lies, and its name.
fn tests(sources: &[Source<'_>]) -> BTreeSet<Vec<String>> {
    let mut tests = BTreeSet::new();
    for source in sources {
        let path = source.path.trim_end_matches(".rs").split('/');
        let modules: Vec<&str> = path.filter(|part| !PLAIN_FOLDERS.contains(part)).collect();
        for (index, pair) in source.tokens().windows(2).enumerate() {
            if pair[0].is("fn") && pair[1].kind == Kind::Word && has_test_attribute(&source.tokens()[..index]) {
                tests.insert(modules.iter().copied().chain([pair[1].text]).map(str::to_owned).collect());
            }
        }
    }
    tests
}

/// Whether one of the attributes that end there makes a test.
fn has_test_attribute(mut before: &[Token<'_>]) -> bool {
    while before.last().is_some_and(|last| last.is("async") || last.is("pub")) {
        before = &before[..before.len() - 1];
    }
    while before.last().is_some_and(|last| last.is("]")) {
        let Some(open) = before.iter().rposition(|token| token.is("#")) else { return false };
        if before[open..].iter().any(|token| token.is("test")) {
            return true;
        }
        before = &before[..open];
    }
    false
}

/// Whether a name such as `opening::opens` means a test: its end is the test's.
fn is_named(test: &[String], name: &str) -> bool {
    let wanted: Vec<&str> = name.split("::").collect();
    test.len() >= wanted.len() && test[test.len() - wanted.len()..].iter().zip(&wanted).all(|(part, want)| part == want)
}
