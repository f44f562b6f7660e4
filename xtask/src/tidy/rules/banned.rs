//! Calls that are banned from the crates, each with what to use instead.

use super::{Finding, Source};

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The crates without their tests.
    Libraries,
    /// The crates and their tests.
    Crates,
}

struct Ban {
    rule: &'static str,
    scope: Scope,
    /// What may not appear, in the form of tokens.
    code: &'static [&'static [&'static str]],
    /// What may not be imported.
    imports: &'static [&'static [&'static str]],
    message: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        rule: "clock",
        scope: Scope::Crates,
        code: &[&["Instant", "::", "now"], &["SystemTime", "::", "now"]],
        imports: &[],
        message: "reads a clock: take the time as an argument, or from the platform (`Platform::now`)",
    },
    Ban {
        rule: "random-state",
        scope: Scope::Crates,
        code: &[
            &["RandomState"],
            &["HashMap", "::", "new"],
            &["HashMap", "::", "with_capacity"],
            &["HashSet", "::", "new"],
            &["HashSet", "::", "with_capacity"],
        ],
        imports: &[],
        message: "hashes with random state: use a `BTreeMap`, or `with_hasher` and a hasher keyed from the platform's entropy",
    },
    Ban {
        rule: "randomness",
        scope: Scope::Crates,
        code: &[&["thread_rng"], &["rand", "::", "random"], &["rand", "::", "rng"], &["OsRng"]],
        imports: &[],
        message: "draws randomness: take a seed as an argument, or `Platform::entropy`",
    },
    Ban {
        rule: "locks",
        scope: Scope::Libraries,
        code: &[&["std", "::", "sync", "::", "Mutex"], &["std", "::", "sync", "::", "RwLock"]],
        imports: &[&["std", "sync", "Mutex"], &["std", "sync", "RwLock"]],
        message: "locks: keep it on one shard and send messages, or post it on the way home",
    },
    Ban {
        rule: "printing",
        scope: Scope::Libraries,
        code: &[&["println", "!"], &["eprintln", "!"], &["print", "!"], &["eprint", "!"], &["dbg", "!"]],
        imports: &[],
        message: "prints: a library logs, by the `log` facade",
    },
];

/// Reports what is banned.
pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if !source.path.starts_with("crates/") {
        return;
    }
    for ban in BANS {
        let mut report = |index: usize, what: String| {
            if ban.scope == Scope::Crates || !source.is_test(index) {
                let line = source.tokens().get(index).map_or(1, |token| token.line);
                let message = format!("{what} {}", ban.message);
                findings.push(Finding { rule: ban.rule, path: source.path.to_owned(), line, message });
            }
        };
        for pattern in ban.code {
            for index in (0..source.tokens().len()).filter(|&index| source.matches(index, pattern)) {
                report(index, format!("`{}`", pattern.concat()));
            }
        }
        for (path, index) in source.imports() {
            if ban.imports.iter().any(|import| path == *import) && !written_out(source, index, &path) {
                report(index, format!("`{}`", path.join("::")));
            }
        }
    }
}

/// Whether the import that ends at `index` is one path without braces, which the code patterns report already.
fn written_out(source: &Source<'_>, index: usize, path: &[&str]) -> bool {
    let length = 2 * path.len() - 1;
    let pattern: Vec<&str> = path.iter().flat_map(|part| [*part, "::"]).take(length).collect();
    (index + 1).checked_sub(length).is_some_and(|begin| source.matches(begin, &pattern))
}
