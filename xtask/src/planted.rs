//! Planted bugs: faults that the sources contain under `--cfg planted="name"`, each of which the tests must find.
//!
//! They show that the models and the randomised tests can fail. To plant one, write the fault under
//! `cfg(planted = "name")`, or where there are many under `planted::is("name")`, and add a line to [`PLANTED`]. Some are for the fuzz targets, which have a table of their own.

mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::table::PLANTED;
use crate::command::{Count, cargo, program, root, target_dir};
use crate::tidy::tree;
use crate::{fuzz, loom, soak};

/// After this long a test that has not failed is taken for one that does not find its bug.
const PATIENCE: Duration = Duration::from_secs(300);

/// For how long clients misbehave at a server with a bug.
const SOAK_SECONDS: u64 = 10;

/// Stands for all bugs of a package that are chosen when the tests run.
const CHOSEN: &str = "chosen";

/// Chooses one of them.
const CHOOSE: &str = "SUNSTAR_PLANTED";

/// How the tests that must find a bug are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As ordinary tests.
    Plain,
    /// As ordinary tests, which have all such bugs of their package, and choose one when they run.
    Chosen,
    /// As loom models.
    Loom,
    /// As tests of httpd as a process, which has bugs that are chosen in it. They go on for some seconds.
    Soak,
}

#[derive(Debug)]
struct Planted {
    package: &'static str,
    name: &'static str,
    kind: Kind,
    /// The tests that must find it: a part of their names.
    tests: &'static str,
}

impl Planted {
    /// What it is built with.
    fn flag(&self) -> &'static str {
        match self.kind {
            Kind::Plain | Kind::Loom => self.name,
            Kind::Chosen | Kind::Soak => CHOSEN,
        }
    }
}

/// One of each kind, for a run that is to be short.
pub(crate) const SHORT: &[&str] = &["double_release", "lost_wake", "missing_barrier", "split_drops_byte"];

/// Shows the planted bugs.
pub(crate) fn list() {
    for Planted { package, name, kind, tests } in PLANTED {
        println!("{name:<24} {package:<18} found by {tests} ({kind:?})");
    }
}

/// Plants the bugs named, or all, one at a time, and counts those found.
///
/// # Errors
/// If a name is unknown, the table and the sources disagree, or a build fails.
pub(crate) fn run(names: &[impl AsRef<str>]) -> Result<Count> {
    if let Some(unknown) =
        names.iter().map(AsRef::as_ref).find(|name| PLANTED.iter().all(|planted| planted.name != *name))
    {
        bail!("there is no planted bug {unknown}; `cargo xtask planted --list` shows them");
    }
    compare(&in_sources()?, &in_table())?;
    let mut count = Count::default();
    for planted in
        PLANTED.iter().filter(|planted| names.is_empty() || names.iter().any(|name| name.as_ref() == planted.name))
    {
        let begin = Instant::now();
        let found = find(planted).with_context(|| format!("planted bug {} in {}", planted.name, planted.package))?;
        let took = begin.elapsed().as_secs_f64();
        match found {
            Verdict::Found(how) => {
                count.passed += 1;
                println!("found   {:<24} {took:>6.1} s   {how}", planted.name);
            }
            Verdict::Missed(why) => {
                count.failed += 1;
                println!("MISSED  {:<24} {took:>6.1} s   {why}", planted.name);
            }
        }
    }
    ensure!(count != Count::default(), "no bug is planted");
    Ok(count)
}

enum Verdict {
    /// With the words of the test that found it.
    Found(String),
    Missed(String),
}

/// Builds the tests with the bug in them, which must succeed, and runs them, which must not.
fn find(planted: &Planted) -> Result<Verdict> {
    let (program, folder) = match planted.kind {
        Kind::Plain | Kind::Chosen | Kind::Loom => (build(planted)?, planted.package.replace("sunstar-", "crates/")),
        Kind::Soak => (build_process(planted)?, "apps/httpd".to_owned()),
    };
    let mut command = Command::new(program);
    command
        .arg(planted.tests)
        .current_dir(root().join(folder))
        .env(soak::SECONDS, SOAK_SECONDS.to_string())
        .env(CHOOSE, planted.name)
        // A planted failure is no regression to remember.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
    if planted.kind == Kind::Loom {
        command.env("LOOM_MAX_PREEMPTIONS", loom::PREEMPTIONS.to_string());
    }
    let Some((success, output)) = within(&mut command, PATIENCE)? else {
        return Ok(Verdict::Missed(format!("its tests have not failed within {} s", PATIENCE.as_secs())));
    };
    ensure!(!output.contains("running 0 tests"), "no test is called {}", planted.tests);
    if success { Ok(Verdict::Missed("its tests pass".to_owned())) } else { Ok(Verdict::Found(evidence(&output))) }
}

/// Builds the package's tests; the flag goes to that package alone, so what it depends on is built once.
fn build(planted: &Planted) -> Result<PathBuf> {
    let mut command = cargo(&[
        "rustc",
        "--locked",
        "--quiet",
        "--lib",
        "--message-format",
        "json-render-diagnostics",
        "-p",
        planted.package,
    ]);
    match planted.kind {
        Kind::Plain | Kind::Chosen | Kind::Soak => command.args(["--profile", "test"]),
        Kind::Loom => {
            loom::environment(&mut command, loom::PREEMPTIONS);
            command.args(["--profile", "bench"])
        }
    };
    command.args(["--", "--cfg", &format!("planted=\"{}\"", planted.flag())]);
    // Each program runs once and briefly: what counts is that it is built quickly.
    command.args(["-Cdebuginfo=0", "-Awarnings"]);
    if planted.kind == Kind::Loom {
        command.arg("-Copt-level=1");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "the tests do not compile with the bug in them");
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo names no test program")
}

/// Builds the tests of httpd with the bug in a package that it depends on. Only the nightly toolchain gives flags to one of many.
fn build_process(planted: &Planted) -> Result<PathBuf> {
    let flags = format!("profile.dev.package.{}.rustflags=['--cfg','planted=\"{}\"']", planted.package, planted.flag());
    let mut command = program("rustup", &["run", "nightly", "cargo", "test", "--locked", "--quiet", "--no-run"]);
    command
        .args(["-Zprofile-rustflags", "--config", &flags, "--message-format", "json-render-diagnostics"])
        .args(["-p", "httpd", "--test", "process", "--target-dir"])
        .arg(target_dir("planted"));
    let output = command.stderr(std::process::Stdio::inherit()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "the tests do not compile with the bug in them");
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo names no test program")
}

/// The test program that cargo's messages name last.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
}

/// Runs a program for at most `patience` and answers whether it succeeded, and what it said; `None` if it took too long.
fn within(command: &mut Command, patience: Duration) -> Result<Option<(bool, String)>> {
    let begin = Instant::now();
    until(command, |_| Ok(begin.elapsed() > patience))
}

/// Runs a program until it ends, or until `is_over` says so, and answers whether it succeeded, and what it said; `None` if it did not
/// end.
///
/// # Errors
/// If it can't be started or waited for.
pub(crate) fn until(command: &mut Command, is_over: impl Fn(&Child) -> Result<bool>) -> Result<Option<(bool, String)>> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let path = target_dir("planted").join(name).with_extension("log");
    std::fs::create_dir_all(target_dir("planted"))?;
    let log = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    let mut child = command.stdout(log.try_clone()?).stderr(log).spawn().context("the program could not be started")?;
    loop {
        if let Some(status) = child.try_wait()? {
            let output = std::fs::read(&path)?;
            return Ok(Some((status.success(), String::from_utf8_lossy(&output).into_owned())));
        }
        if is_over(&child)? {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The line after the first panic's header, which says what was noticed, or how the program ended.
pub(crate) fn evidence(output: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).map_or_else(|| "the test program was killed".to_owned(), |line| line.trim().to_owned())
}

fn in_table() -> BTreeSet<(String, String)> {
    let ours = PLANTED.iter().map(|planted| (planted.package.to_owned(), planted.name.to_owned()));
    ours.chain(fuzz::in_table()).collect()
}

/// Every `planted = "name"` and `planted::is("name")` of the crates, with its package.
fn in_sources() -> Result<BTreeSet<(String, String)>> {
    let mut found = BTreeSet::new();
    for file in tree::read(root())?.iter().filter(|file| file.path.starts_with("crates/")) {
        let Some(folder) = file.path.split('/').nth(1) else { continue };
        for name in names_in(&file.text) {
            found.insert((format!("sunstar-{folder}"), name));
        }
    }
    Ok(found)
}

fn names_in(text: &str) -> impl Iterator<Item = String> {
    let ends = ["planted = \"", "planted::is(\""].map(|begin| text.split(begin).skip(1));
    let names = ends.into_iter().flatten().filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()));
    names.filter(|name| name != CHOSEN)
}

/// Whether sources and table name the same bugs.
fn compare(sources: &BTreeSet<(String, String)>, table: &BTreeSet<(String, String)>) -> Result<()> {
    if let Some((package, name)) = table.difference(sources).next() {
        bail!("the table of planted bugs names {name} of {package}, which the sources do not contain");
    }
    if let Some((package, name)) = sources.difference(table).next() {
        bail!("{package} contains the planted bug {name}, which the table does not name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_the_sources_contain() {
        compare(&in_sources().unwrap(), &in_table()).unwrap();
    }

    #[test]
    fn a_name_on_one_side_only_is_an_error() {
        let some = BTreeSet::from([("sunstar-packet".to_owned(), "lost".to_owned())]);
        assert!(compare(&some, &BTreeSet::new()).is_err());
        assert!(compare(&BTreeSet::new(), &some).is_err());
    }

    #[test]
    fn names_are_read_from_all_forms() {
        let text = "if cfg!(planted = \"one\") {}\n#[cfg(not(planted = \"two\"))]\n!planted::is(\"three\") planted = \"chosen\"";
        assert_eq!(names_in(text).collect::<Vec<_>>(), ["one", "two", "three"]);
    }

    #[test]
    fn evidence_is_what_the_panic_says() {
        let output = "running 1 test\nthread 'x' panicked at src/a.rs:1:2:\nassertion failed: woken\nnote: …";
        assert_eq!(evidence(output), "assertion failed: woken");
    }

    #[test]
    fn impatience_ends_a_program() {
        let hangs = within(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap();
        assert!(hangs.is_none());
    }
}
