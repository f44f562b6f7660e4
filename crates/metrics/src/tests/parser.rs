//! Reads the text format, as strictly as Prometheus does.

use std::collections::{BTreeMap, BTreeSet};

/// A line with a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// A family as it was read.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Read {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: String,
    pub(super) lines: Vec<Line>,
}

/// Reads a text.
///
/// # Panics
/// If it is none: a family in two pieces, a line twice, a value that belongs to no family, and the like.
pub(super) fn parse(text: &str) -> Vec<Read> {
    let mut families: Vec<Read> = Vec::new();
    let mut names = BTreeSet::new();
    let mut seen = BTreeSet::new();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(names.insert(name.to_owned()), "{name} comes twice");
            let help = unescape(help, false);
            families.push(Read { name: name.to_owned(), help, kind: String::new(), lines: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = families.last_mut().expect("help comes first");
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!((name, family.kind.as_str()), (family.name.as_str(), ""));
            family.kind = kind.to_owned();
        } else {
            let family = families.last_mut().expect("a family comes first");
            let read = parse_line(line);
            let suffix = read.name.strip_prefix(&family.name).expect("it is of the family");
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(seen.insert((read.name.clone(), read.labels.clone())), "twice: {line}");
            family.lines.push(read);
        }
    }
    families
}

fn parse_line(line: &str) -> Line {
    let name_end = line.find(['{', ' ']).expect("a value follows");
    let (name, rest) = line.split_at(name_end);
    assert!(
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.as_bytes()[0].is_ascii_digit()
    );
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest),
        None => (Vec::new(), rest),
    };
    let value = value.strip_prefix(' ').expect("a space");
    let value = match value {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().expect(line),
    };
    Line { name: name.to_owned(), labels, value }
}

/// Labels, and what follows their brace.
fn parse_labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        let mut end = 0;
        while after.as_bytes()[end] != b'"' {
            end += if after.as_bytes()[end] == b'\\' { 2 } else { 1 };
        }
        assert!(labels.insert(name.to_owned(), unescape(&after[..end], true)).is_none(), "{name} twice");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels.into_iter().collect(), rest.strip_prefix('}').expect("a brace")),
        }
    }
}

fn unescape(text: &str, quotes: bool) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('\\') => '\\',
                Some('"') if quotes => '"',
                other => panic!("\\{other:?} is no escape"),
            },
            other => other,
        });
    }
    plain
}
