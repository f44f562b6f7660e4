//! A Rust file as the rules see it: its tokens, which of them are tests, its functions, its imports.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lexer::{Kind, Lexed, Token, lex};
use super::tree::File;

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) lexed: Lexed<'a>,
    /// Whether the whole file is compiled for tests only.
    test_file: bool,
    /// Indices of the tokens of modules in it that are.
    test_modules: Vec<Range<usize>>,
}

/// A function and how many lines it has, from `fn` to its closing brace.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) lines: usize,
}

/// Takes all Rust files apart. A module declared under `cfg(test)` is test code in whichever file it lies.
pub(crate) fn sources(files: &[File]) -> Vec<Source<'_>> {
    let mut sources: Vec<Source<'_>> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| Source::new(&file.path, &file.text))
        .collect();
    let test_files: BTreeSet<String> = sources.iter().flat_map(Source::declared_test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if test_files.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/"))) {
            source.test_file = true;
        }
    }
    sources
}

impl<'a> Source<'a> {
    fn new(path: &'a str, text: &'a str) -> Self {
        let lexed = lex(text);
        let test_file = path.contains("/tests/") || path.contains("/benches/") || path.ends_with("/tests.rs");
        let test_modules = inline_test_modules(&lexed.tokens);
        Self { path, lexed, test_file, test_modules }
    }

    pub(crate) fn tokens(&self) -> &[Token<'a>] {
        &self.lexed.tokens
    }

    /// Whether the token of that index is compiled for tests only.
    pub(crate) fn is_test(&self, index: usize) -> bool {
        self.test_file || self.test_modules.iter().any(|range| range.contains(&index))
    }

    /// Whether the tokens from `index` on are those of `pattern`.
    pub(crate) fn matches(&self, index: usize, pattern: &[&str]) -> bool {
        let tokens = self.tokens().get(index..index + pattern.len());
        tokens.is_some_and(|tokens| tokens.iter().zip(pattern).all(|(token, text)| token.is(text)))
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function<'a>> {
        let tokens = self.tokens();
        let mut functions = Vec::new();
        for (index, pair) in tokens.windows(2).enumerate() {
            if !pair[0].is("fn") || pair[1].kind != Kind::Word {
                continue;
            }
            let Some(open) = body(tokens, index) else { continue };
            let end = tokens.get(closing(tokens, open)).or(tokens.last()).map_or(pair[0].line, |token| token.line);
            functions.push(Function { name: pair[1].text, lines: end + 1 - pair[0].line });
        }
        functions
    }

    /// Every path that a `use` brings in, in full, with the index of its last token.
    pub(crate) fn imports(&self) -> Vec<(Vec<&'a str>, usize)> {
        let mut imports = Vec::new();
        for (index, token) in self.tokens().iter().enumerate() {
            if token.is("use") {
                self.import_tree(index + 1, &[], &mut imports);
            }
        }
        imports
    }

    /// Reads one tree of a `use` from `index` on, and answers the index behind it.
    fn import_tree(&self, mut index: usize, prefix: &[&'a str], imports: &mut Vec<(Vec<&'a str>, usize)>) -> usize {
        let mut path = prefix.to_vec();
        while let Some(token) = self.tokens().get(index) {
            if token.is("{") {
                index += 1;
                while self.tokens().get(index).is_some_and(|token| !token.is("}") && !token.is(";")) {
                    index = self.import_tree(index, &path, imports);
                    index += usize::from(self.tokens().get(index).is_some_and(|token| token.is(",")));
                }
                return index + 1;
            }
            if token.is(",") || token.is("}") || token.is(";") {
                break;
            }
            if token.is("as") {
                index += 2;
                continue;
            }
            if !token.is("::") {
                path.push(token.text);
            }
            index += 1;
        }
        imports.push((path, index.saturating_sub(1)));
        index
    }

    /// The files, without their extension, of modules that are declared under `cfg(test)`.
    fn declared_test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => stem,
        };
        let tokens = self.tokens();
        test_attributes(tokens)
            .filter_map(|index| module_after(tokens, index))
            .filter(|name| tokens.get(name + 1).is_some_and(|token| token.is(";")))
            .map(|name| format!("{folder}/{}", tokens[name].text))
            .collect()
    }
}

/// The index of the brace that closes the one at `open`, or the end.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.is("{") {
            depth += 1;
        } else if token.is("}") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return index;
            }
        }
    }
    tokens.len()
}

/// The opening brace of the function at `index`, unless it has no body.
fn body(tokens: &[Token<'_>], index: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate().skip(index) {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" if depth == 0 => return Some(at),
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn inline_test_modules(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    test_attributes(tokens)
        .filter_map(|index| {
            let open = module_after(tokens, index)? + 1;
            tokens.get(open)?.is("{").then(|| open..closing(tokens, open))
        })
        .collect()
}

/// The indices behind attributes `cfg(…)` that ask for tests.
fn test_attributes<'a>(tokens: &'a [Token<'_>]) -> impl Iterator<Item = usize> + 'a {
    tokens
        .windows(3)
        .enumerate()
        .filter(|(_, three)| three[0].is("#") && three[1].is("[") && three[2].is("cfg"))
        .filter_map(|(index, _)| {
            let length = tokens[index..].iter().position(|token| token.is("]"))?;
            let attribute = &tokens[index..index + length];
            let is_test = |at: usize, token: &Token<'_>| token.is("test") && !(at > 1 && attribute[at - 2].is("not"));
            let wanted = attribute.iter().enumerate().any(|(at, token)| is_test(at, token));
            wanted.then_some(index + length + 1)
        })
}

/// The index of the name of the module that is declared at `index`, behind further attributes and a visibility.
fn module_after(tokens: &[Token<'_>], index: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate().skip(index) {
        match token.text {
            "[" | "(" => depth += 1,
            "]" | ")" => depth -= 1,
            "mod" if depth == 0 => return Some(at + 1),
            "#" | "pub" => {}
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
