//! Planted bugs: faults that the sources contain where [`planted::is`](../planted) asks for their names, each of which the tests must
//! find.
//!
//! They show that the models and the randomised tests can fail. To plant one, write the fault under `planted::is("name")`, and add the
//! name to [`FINDERS`]. Some are for the fuzz targets, which have a table of their own.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};

use self::table::{ELSEWHERE, FINDERS};
use crate::command::{Count, cargo, root, target_dir};
use crate::tidy::tree;
use crate::{fuzz, loom, soak};

/// After this long a test that has not failed is taken for one that does not find its bug.
const PATIENCE: Duration = Duration::from_secs(300);

/// For how long clients misbehave at a server with a bug.
const SOAK_SECONDS: u64 = 10;

/// What programs are built with to contain the bugs.
pub(crate) const FLAG: &str = "--cfg planted";

/// Names the bug that is active in such a program.
pub(crate) const ACTIVE: &str = "SUNSTAR_PLANTED";

/// What draws the cases of properties, so that a bug is found each time or never.
const CASES_SEED: u64 = 1;

/// What kind of program must find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The unit tests of the package.
    Unit,
    /// Its loom models.
    Loom,
    /// The tests of this application as a process, which has the bugs of all packages. Clients misbehave at it for some seconds.
    Process(&'static str),
}

/// Tests that find bugs.
#[derive(Debug)]
struct Finder {
    /// The package that contains the bugs.
    package: &'static str,
    kind: Kind,
    /// A part of the names of the tests.
    tests: &'static str,
    bugs: &'static [&'static str],
}

impl Finder {
    /// What cargo calls the test program.
    fn program(&self) -> Program {
        let name = match self.kind {
            Kind::Unit | Kind::Loom => self.package.replace('-', "_"),
            Kind::Process(app) => process_of(app),
        };
        (self.kind == Kind::Loom, name)
    }

    /// Where the test program expects to be run.
    fn folder(&self) -> PathBuf {
        match self.kind {
            Kind::Unit | Kind::Loom => root().join(self.package.replace("sunstar-", "crates/")),
            Kind::Process(app) => root().join("apps").join(app),
        }
    }
}

/// Whether it is one of loom's, and its name.
type Program = (bool, String);

/// A bug, and who must find it.
type Bug = (&'static Finder, &'static str);

fn all() -> impl Iterator<Item = Bug> {
    FINDERS.iter().flat_map(|finder| finder.bugs.iter().map(move |bug| (finder, *bug)))
}

/// Shows the planted bugs.
pub(crate) fn list() {
    for (Finder { package, kind, tests, .. }, bug) in all() {
        println!("{bug:<24} {package:<18} found by {tests} ({kind:?})");
    }
}

/// Plants the bugs named, or all, and counts those found.
///
/// # Errors
/// If a name is unknown, the table and the sources disagree, or a build fails.
pub(crate) fn run(names: &[String]) -> Result<Count> {
    if let Some(unknown) = names.iter().find(|name| all().all(|(_, bug)| bug != *name)) {
        bail!("there is no planted bug {unknown}; `cargo xtask planted --list` shows them");
    }
    compare(&in_sources()?, &in_table())?;
    let is_chosen = |bug: &str| names.is_empty() || names.iter().any(|name| name == bug);
    let (timed, quick): (Vec<Bug>, Vec<Bug>) =
        all().filter(|(_, bug)| is_chosen(bug)).partition(|(finder, _)| matches!(finder.kind, Kind::Process(_)));
    let begin = Instant::now();
    let programs = build(quick.iter().chain(&timed).map(|(finder, _)| *finder))?;
    println!("built {} programs in {:.1} s", programs.len(), begin.elapsed().as_secs_f64());
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut count = Count::default();
    thread::scope(|scope| -> Result<()> {
        // Most of their time they wait for what is never given back.
        let timed = scope.spawn(|| find_all(&timed, &programs, timed.len()));
        count.add(find_all(&quick, &programs, processors)?);
        count.add(timed.join().expect("it does not panic")?);
        Ok(())
    })?;
    ensure!(count != Count::default(), "no bug is planted");
    Ok(count)
}

/// Looks for bugs, some at the same time.
fn find_all(bugs: &[Bug], programs: &BTreeMap<Program, PathBuf>, at_once: usize) -> Result<Count> {
    let (left, count) = (Mutex::new(bugs.iter()), Mutex::new(Count::default()));
    let work = || -> Result<()> {
        loop {
            let next = left.lock().expect("nobody panics while it is locked").next();
            let Some(&(finder, bug)) = next else { return Ok(()) };
            let found = find_one(finder, bug, programs).with_context(|| format!("planted bug {bug}"))?;
            count.lock().expect("nobody panics while it is locked").add(found);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("it does not panic"))
    })?;
    Ok(count.into_inner().expect("nobody panics while it is locked"))
}

fn find_one(finder: &Finder, bug: &str, programs: &BTreeMap<Program, PathBuf>) -> Result<Count> {
    let begin = Instant::now();
    let program = programs.get(&finder.program()).context("cargo names no test program")?;
    let verdict = find(finder, bug, program)?;
    let took = begin.elapsed().as_secs_f64();
    Ok(match verdict {
        Verdict::Found(how) => {
            println!("found   {bug:<24} {took:>6.1} s   {how}");
            Count { passed: 1, failed: 0 }
        }
        Verdict::Missed(why) => {
            println!("MISSED  {bug:<24} {took:>6.1} s   {why}");
            Count { passed: 0, failed: 1 }
        }
    })
}

enum Verdict {
    /// With the words of the test that found it.
    Found(String),
    Missed(String),
}

/// Runs the tests with the bug, which must fail.
fn find(finder: &Finder, bug: &str, program: &Path) -> Result<Verdict> {
    let mut command = Command::new(program);
    command
        .args([finder.tests, "--nocapture"])
        .current_dir(finder.folder())
        .env(ACTIVE, bug)
        .env("PROPTEST_RNG_SEED", CASES_SEED.to_string())
        // A planted failure is no regression to remember, nor to be made smaller.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("SUNSTAR_SIM_MINIMISE", "0");
    match finder.kind {
        Kind::Unit => &mut command,
        Kind::Loom => command.env("LOOM_MAX_PREEMPTIONS", loom::PREEMPTIONS.to_string()),
        Kind::Process(_) => command.env(soak::SECONDS, SOAK_SECONDS.to_string()),
    };
    let begin = Instant::now();
    // Several may look for one bug at the same time.
    let log = target_dir("planted").join(format!("{bug}-{}.log", finder.tests.replace(':', "_")));
    // The first that fails will do, but who has processes of its own must end them.
    let has_failed = || -> Result<bool> {
        Ok(!matches!(finder.kind, Kind::Process(_)) && fs::read(&log)?.windows(8).any(|text| text == b" FAILED\n"))
    };
    let ended = until(&mut command, &log, |_| Ok(begin.elapsed() > PATIENCE || has_failed()?))?;
    let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    ensure!(!output.contains("running 0 tests"), "no test is called {}", finder.tests);
    Ok(match ended {
        Some((true, _)) => Verdict::Missed("its tests pass".to_owned()),
        None if !output.contains(" FAILED\n") => {
            Verdict::Missed(format!("its tests have not failed within {} s", PATIENCE.as_secs()))
        }
        _ => Verdict::Found(evidence(&output)),
    })
}

/// Builds the programs of these finders with all bugs in them.
fn build<'a>(finders: impl Iterator<Item = &'a Finder> + Clone) -> Result<BTreeMap<Program, PathBuf>> {
    let mut programs = BTreeMap::new();
    for is_loom in [false, true] {
        let mut arguments = BTreeSet::new();
        for finder in finders.clone().filter(|finder| (finder.kind == Kind::Loom) == is_loom) {
            arguments.extend(match finder.kind {
                Kind::Unit | Kind::Loom => ["--lib".to_owned(), format!("-p={}", finder.package)],
                Kind::Process(app) => ["--test=process".to_owned(), format!("-p={app}")],
            });
        }
        if arguments.is_empty() {
            continue;
        }
        let mut command = cargo(&["test", "--locked", "--no-run", "--message-format", "json-render-diagnostics"]);
        if is_loom {
            loom::environment(&mut command, loom::PREEMPTIONS);
            command.arg("--release").env("CARGO_TARGET_DIR", target_dir("planted/loom"));
            command.env("RUSTFLAGS", format!("{} {FLAG}", loom::FLAG));
        } else {
            command.env("CARGO_TARGET_DIR", target_dir("planted")).env("RUSTFLAGS", FLAG);
        }
        // Nobody looks at them with a debugger.
        command.args(arguments).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        let output = command.stderr(Stdio::inherit()).output().context("cargo could not be started")?;
        ensure!(output.status.success(), "the tests do not compile with the bugs in them");
        let built = executables(&String::from_utf8_lossy(&output.stdout));
        programs.extend(built.into_iter().map(|(name, path)| ((is_loom, name), path)));
    }
    Ok(programs)
}

/// The test programs that cargo's messages name.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?;
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?.file_name()?.to_str()?;
            let name = if name == "process" { process_of(folder) } else { name.to_owned() };
            Some((name, message.get("executable")?.as_str()?.into()))
        })
        .collect()
}

/// What the test program of an application as a process is called here, as all of them have the same name.
fn process_of(app: &str) -> String {
    format!("process of {app}")
}

/// Runs a program until it ends, or until `is_over` says so, and answers whether it succeeded, and what it said, which the log keeps;
/// `None` if it did not end.
///
/// # Errors
/// If it can't be started or waited for.
pub(crate) fn until(
    command: &mut Command,
    log: &Path,
    is_over: impl Fn(&Child) -> Result<bool>,
) -> Result<Option<(bool, String)>> {
    let file = fs::File::create(log).with_context(|| log.display().to_string())?;
    let mut child =
        command.stdout(file.try_clone()?).stderr(file).spawn().context("the program could not be started")?;
    loop {
        if let Some(status) = child.try_wait()? {
            let output = fs::read(log)?;
            return Ok(Some((status.success(), String::from_utf8_lossy(&output).into_owned())));
        }
        if is_over(&child)? {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The line after the last panic's header, which says what was noticed, or how the program ended.
pub(crate) fn evidence(output: &str) -> String {
    let mut lines = output.lines().rev().take_while(|line| !line.contains("panicked at"));
    let killed = || "the test program was killed".to_owned();
    if output.contains("panicked at") {
        lines.by_ref().last().map_or_else(killed, |line| line.trim().to_owned())
    } else {
        killed()
    }
}

fn in_table() -> BTreeSet<(String, String)> {
    let home = |bug: &str| ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == bug).map(|(_, package)| *package);
    let ours = all().map(|(finder, bug)| (home(bug).unwrap_or(finder.package).to_owned(), bug.to_owned()));
    ours.chain(fuzz::in_table()).collect()
}

/// Every `planted::is("name")` of crates and applications, with its package; the crate with the function explains it by others.
fn in_sources() -> Result<BTreeSet<(String, String)>> {
    let mut found = BTreeSet::new();
    for file in tree::read(root())?.iter().filter(|file| !file.path.starts_with("crates/planted/")) {
        let mut path = file.path.split('/');
        let package = match (path.next(), path.next()) {
            (Some("crates"), Some(folder)) => format!("sunstar-{folder}"),
            (Some("apps"), Some(folder)) => folder.to_owned(),
            _ => continue,
        };
        found.extend(names_in(&file.text).map(|name| (package.clone(), name)));
    }
    Ok(found)
}

fn names_in(text: &str) -> impl Iterator<Item = String> {
    let calls = text.split("planted::is(\"").skip(1);
    calls.filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()))
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
    fn a_name_means_one_bug() {
        let mut packages = BTreeMap::new();
        for (package, name) in in_table() {
            let other = packages.insert(name.clone(), package);
            assert_eq!(other, None, "{name} would be active in two packages at once");
        }
    }

    #[test]
    fn names_are_read_from_the_sources() {
        let text = "if planted::is(\"one\") {}\n!planted::is(\"two\")";
        assert_eq!(names_in(text).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn evidence_is_what_the_panic_says() {
        let output = "running 1 test\nthread 'x' panicked at src/a.rs:1:2:\nassertion failed: woken\nnote: …";
        assert_eq!(evidence(output), "assertion failed: woken");
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let log = target_dir("impatience.log");
        let begin = Instant::now();
        let is_over = |_: &Child| Ok(begin.elapsed() > Duration::from_millis(50));
        assert!(until(Command::new("sleep").arg("60"), &log, is_over).unwrap().is_none());
    }
}
