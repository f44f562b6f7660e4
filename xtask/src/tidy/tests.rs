//! Every rule, shown to catch what it is for and to leave alone what only looks like it.

use super::*;

fn findings_with(config: &str, files: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
    let files: Vec<File> =
        files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
    let config = Config::parse(config).unwrap();
    check(&files, &config, &Lengths::default()).iter().map(|finding| (finding.rule, finding.line)).collect()
}

/// The findings in one file of a library.
fn findings(text: &str) -> Vec<(&'static str, usize)> {
    findings_with("", &[("crates/packet/src/lib.rs", text)])
}

#[test]
fn the_tree_is_tidy() {
    command(false).unwrap();
}

#[test]
fn clocks_are_banned_even_in_tests() {
    assert_eq!(findings("fn f() {\n    let t = std::time::Instant::now();\n}"), [("clock", 2)]);
    assert_eq!(findings("use std::time::SystemTime as S;\nfn f() { SystemTime :: now(); }"), [("clock", 2)]);
    assert_eq!(findings("#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}"), [("clock", 3)]);
    assert_eq!(findings("/// Not `Instant::now()`.\nfn f() { let s = \"Instant::now()\"; }"), []);
    assert_eq!(findings_with("", &[("xtask/src/a.rs", "fn f() { Instant::now(); }")]), []);
}

#[test]
fn random_state_is_banned() {
    assert_eq!(findings("use std::hash::RandomState;"), [("random-state", 1)]);
    assert_eq!(findings("fn f() { let m = HashMap::new(); }"), [("random-state", 1)]);
    assert_eq!(findings("fn f() { let m = HashSet::with_capacity(3); }"), [("random-state", 1)]);
    assert_eq!(findings("fn f() { let m = HashMap::with_hasher(keyed()); }"), []);
}

#[test]
fn randomness_is_banned() {
    assert_eq!(findings("fn f() -> u8 { rand::random() }"), [("randomness", 1)]);
    assert_eq!(findings("fn f() { let mut rng = rand::thread_rng(); }"), [("randomness", 1)]);
}

#[test]
fn locks_are_banned_from_libraries_however_they_are_imported() {
    assert_eq!(findings("use std::sync::Mutex;"), [("locks", 1)]);
    assert_eq!(findings("use std::{cell::Cell,\n    sync::{Arc, Mutex}};"), [("locks", 2)]);
    assert_eq!(findings("static M: std::sync::Mutex<()> = make();"), [("locks", 1)]);
    assert_eq!(findings("use loom::sync::Mutex;\nuse std::sync::Arc;"), []);
    assert_eq!(findings("#[cfg(all(test, loom))]\nmod tests {\n    use std::sync::Mutex;\n}"), []);
}

#[test]
fn printing_is_banned_from_libraries() {
    assert_eq!(findings("fn f() { println!(\"x\"); dbg!(1); }"), [("printing", 1), ("printing", 1)]);
    assert_eq!(findings_with("", &[("crates/packet/tests/a.rs", "fn f() { println!(); }")]), []);
}

#[test]
fn modules_of_tests_are_known_by_their_declaration() {
    let library = "#[cfg(test)]\n#[path = \"x\"]\nmod random;\nmod code;";
    let printing = "fn f() { println!(); }";
    let tree = [
        ("crates/packet/src/lib.rs", library),
        ("crates/packet/src/code.rs", printing),
        ("crates/packet/src/random.rs", printing),
        ("crates/packet/src/random/deep.rs", printing),
    ];
    assert_eq!(findings_with("", &tree), [("printing", 1)]);
    let nested = [("crates/packet/src/a/mod.rs", "#[cfg(test)]\nmod b;"), ("crates/packet/src/a/b.rs", printing)];
    assert_eq!(findings_with("", &nested), []);
    assert_eq!(findings("#[cfg(all(test, not(loom)))]\nmod tests {\n    fn f() { println!(); }\n}"), []);
    assert_eq!(findings("#[cfg(not(test))]\nmod real {\n    fn f() { println!(); }\n}"), [("printing", 3)]);
}

#[test]
fn iteration_over_hash_maps_is_found() {
    let field = "struct S {\n    by_id: HashMap<u32, u32, H>,\n}\n";
    let uses =
        "impl S { fn f(&self) {\n    for x in &self.by_id {}\n    self.by_id.values();\n    self.by_id.get(&1);\n} }";
    assert_eq!(findings(&format!("{field}{uses}")), [("hash-order", 5), ("hash-order", 6)]);
    assert_eq!(findings("fn f(m: &mut std::collections::HashSet<u8, H>) {\n    m.drain();\n}"), [("hash-order", 2)]);
    assert_eq!(findings("fn f() {\n    let m = FxHashMap::default();\n    for (k, v) in m {}\n}"), [("hash-order", 3)]);
    assert_eq!(findings("fn f(m: BTreeMap<u8, u8>, n: HashMap<u8, u8>) { m.iter(); }"), []);
}

#[test]
fn unsafe_code_needs_its_reason() {
    assert_eq!(findings("fn f() {\n    unsafe { g() };\n}"), [("safety", 2)]);
    assert_eq!(findings("unsafe impl Send for X {}"), [("safety", 1)]);
    assert_eq!(findings("// SAFETY: X has no state.\n#[cfg(loom)]\nunsafe impl Send for X {}"), []);
    assert_eq!(findings("fn f() {\n    // SAFETY: g is.\n    let x: u8 =\n        unsafe { g() };\n}"), []);
    assert_eq!(
        findings("fn f() {\n    // SAFETY: g is.\n    unsafe { g() };\n    unsafe { h() };\n}"),
        [("safety", 4)]
    );
    let pattern = "fn f() {\n    g();\n    // SAFETY: p is.\n    let S { a, .. } = *unsafe { p() };\n}";
    assert_eq!(findings(pattern), []);
    assert_eq!(findings(&pattern.replace("// SAFETY", "// ")), [("safety", 4)]);
    assert_eq!(findings("/// # Safety\n/// None.\nunsafe fn f() {}\nfn g(h: unsafe fn()) {}"), []);
    assert_eq!(findings("fn f() { let s = \"// SAFETY: no\"; unsafe { g() } }"), [("safety", 1)]);
}

#[test]
fn unfinished_work_is_found_in_any_file() {
    let mark = concat!("TO", "DO");
    assert_eq!(findings(&format!("// {mark}: later\nfn f() {{ todo!() }}")), [("unfinished", 2), ("unfinished", 1)]);
    assert_eq!(findings_with("", &[("README.md", &format!("a\n{mark}: b"))]), [("unfinished", 2)]);
    assert_eq!(
        findings_with("", &[("a.md", &format!("{mark}S and A{mark} are words, mask {}X is too", "XX"))]).len(),
        1
    );
    assert_eq!(findings("fn f() { unimplemented!() }"), [("unfinished", 1)]);
}

#[test]
fn an_ignored_test_needs_its_reason() {
    assert_eq!(findings("#[ignore]\nfn f() {}"), [("ignored-test", 1)]);
    assert_eq!(findings("#[ignore = \"needs two machines\"]\nfn f() {}"), []);
}

#[test]
fn paths_of_a_machine_are_found() {
    let path = concat!("/ro", "ot/x");
    assert_eq!(findings_with("", &[("a.sh", &format!("cd {path}"))]), [("machine-path", 1)]);
    assert_eq!(findings_with("", &[("a.sh", &format!("cd ${{PREFIX}}{path} ..{path}"))]), []);
}

const RINGS: &str = "rings = [[\"packet\"], [\"wire\"], [\"executor\", \"reactor\"]]";

fn manifest(dependencies: &str) -> String {
    format!("[lints]\nworkspace = true\n{dependencies}")
}

#[test]
fn crates_need_the_lint_set_and_a_ring() {
    assert_eq!(findings_with(RINGS, &[("crates/packet/Cargo.toml", "[lints]")]), [("lints", 1)]);
    assert_eq!(findings_with(RINGS, &[("xtask/Cargo.toml", "")]), [("lints", 1)]);
    assert_eq!(findings_with(RINGS, &[("proof/x/Cargo.toml", "[workspace]"), ("a.toml", "")]), []);
    assert_eq!(findings_with(RINGS, &[("xtask/Cargo.toml", "[lints")]), [("manifest", 1)]);
    assert_eq!(findings_with(RINGS, &[("crates/new/Cargo.toml", &manifest(""))]), [("rings", 1)]);
    assert_eq!(findings_with(RINGS, &[("crates/packet/Cargo.toml", &manifest(""))]), []);
}

#[test]
fn crates_depend_inwards_only() {
    let outwards = manifest("[dependencies]\nsunstar-executor.workspace = true");
    assert_eq!(findings_with(RINGS, &[("crates/packet/Cargo.toml", &outwards)]), [("rings", 1)]);
    let sideways = manifest("[target.'cfg(unix)'.dependencies]\nsunstar-reactor.workspace = true");
    assert_eq!(findings_with(RINGS, &[("crates/executor/Cargo.toml", &sideways)]), [("rings", 1)]);
    let unknown = manifest("[build-dependencies]\nsunstar-unknown.workspace = true");
    assert_eq!(findings_with(RINGS, &[("crates/executor/Cargo.toml", &unknown)]), [("rings", 1)]);
    assert_eq!(findings_with(RINGS, &[("crates/reactor/Cargo.toml", &outwards)]), []);
}

#[test]
fn pure_crates_forbid_unsafe_code() {
    let manifest = manifest("");
    let with = |root| findings_with(RINGS, &[("crates/wire/Cargo.toml", &manifest), ("crates/wire/src/lib.rs", root)]);
    assert_eq!(with("//! #![forbid(unsafe_code)]"), [("pure", 1)]);
    assert_eq!(with("#![no_std]\n#![forbid(unsafe_code)]"), []);
}

#[test]
fn exceptions_cover_and_must_be_needed_and_explained() {
    let allow = |reason: &str| {
        format!("[[allow]]\nrule = \"clock\"\npath = \"crates/reactor/src/clock.rs\"\nreason = \"{reason}\"")
    };
    let clock = ("crates/reactor/src/clock.rs", "fn now() { Instant::now() }");
    assert_eq!(findings_with(&allow("the clock itself"), &[clock]), []);
    assert_eq!(findings_with(&allow(" "), &[clock]), [("exceptions", 1)]);
    assert_eq!(findings_with(&allow("the clock itself"), &[]), [("exceptions", 1)]);
}

#[test]
fn long_files_and_functions_are_found() {
    let long = "fn f() {}\n".repeat(ratchet::FILE_LINES + 1);
    assert_eq!(findings(&long), [("file-length", 1)]);
    assert_eq!(findings(&"fn f() {}\n".repeat(ratchet::FILE_LINES)), []);
    let body = |lines: usize| format!("fn f(a: [u8; {{ 2 }}]) {{\n{}}}\nfn g();", "    g();\n".repeat(lines));
    assert_eq!(findings(&body(ratchet::FUNCTION_LINES - 1)), [("function-length", 1)]);
    assert_eq!(findings(&body(ratchet::FUNCTION_LINES - 2)), []);
}

/// Lengths as recorded or measured, of one file.
fn lengths(lines: Option<usize>) -> Lengths {
    Lengths { files: lines.map(|lines| ("a.rs".to_owned(), lines)).into_iter().collect(), ..Lengths::default() }
}

#[test]
fn the_ratchet_only_turns_one_way() {
    let findings = |recorded, measured| {
        let mut findings = Vec::new();
        lengths(recorded).compare(&lengths(measured), &mut findings);
        findings.len()
    };
    assert_eq!(findings(Some(700), Some(700)), 0);
    assert_eq!(findings(Some(700), Some(701)), 1, "it grew");
    assert_eq!(findings(Some(700), Some(699)), 1, "it shrank and was not blessed");
    assert_eq!(findings(Some(700), None), 1, "it is gone and was not blessed");
    assert_eq!(findings(None, Some(601)), 1, "it is new");
}

#[test]
fn blessing_lowers_and_never_raises() {
    assert_eq!(lengths(Some(700)).lowered(&lengths(Some(650))), lengths(Some(650)));
    assert_eq!(lengths(Some(700)).lowered(&lengths(Some(750))), lengths(Some(700)));
    assert_eq!(lengths(Some(700)).lowered(&lengths(None)), lengths(None));
    assert_eq!(lengths(None).lowered(&lengths(Some(750))), lengths(None));
}

#[test]
fn what_is_rendered_can_be_read() {
    let recorded = lengths(Some(700));
    assert_eq!(Lengths::parse(&recorded.render().unwrap()).unwrap(), recorded);
}

#[test]
fn what_the_conformance_page_names_is_there() {
    let code = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn opens() {}\n    fn helps() {}\n}\n";
    let with = |page: &str| {
        let tree = [("crates/tcpip/src/tcp/opening.rs", code), ("docs/conformance.md", page)];
        findings_with("", &tree)
    };
    let row =
        |state: &str, place: &str, tests: &str| with(&format!("| MUST-1 | it opens | {state} | {place} | {tests} |"));
    assert_eq!(with("| rule | what | state | where | tests, or why not |\n|---|---|---|---|---|\n"), []);
    assert_eq!(row("yes", "`tcp/opening.rs`", "`opening::opens`"), []);
    assert_eq!(row("yes", "`tcp/`", "`tcp::opening::opens`, `TCP_NODELAY`"), []);
    assert_eq!(row("no", "", "nobody asks for it"), []);
    assert_eq!(row("yes", "`tcp/closing.rs`", "`opening::opens`"), [("conformance", 1)], "no such file");
    assert_eq!(row("yes", "`tcp/opening.rs`", "`opening::closes`"), [("conformance", 1)], "no such test");
    assert_eq!(row("yes", "`tcp/opening.rs`", "`opening::helps`"), [("conformance", 1)], "it is no test");
    assert_eq!(row("yes", "`tcp/opening.rs`", "`closing::opens`"), [("conformance", 1)], "it lies elsewhere");
    assert_eq!(row("part", "`tcp/opening.rs`", "see `opening::never`"), [("conformance", 1)]);
    assert_eq!(row("yes", "`tcp/opening.rs`", "of course"), [("conformance", 1)], "without a test it is not met");
    assert_eq!(row("maybe", "", ""), [("conformance", 1)]);
}
