//! Running other programs from the repository's root: seen while they run, and counted afterwards.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, ensure};

/// How many tests a program reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Adds the numbers of another run.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// For commands whose outcome is that of their tests.
    ///
    /// # Errors
    /// If a test failed.
    pub(crate) fn all_passed(self) -> Result<()> {
        ensure!(self.failed == 0, "{} passed, {} failed", self.passed, self.failed);
        Ok(())
    }
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    /// Standard output and standard error, interleaved by line.
    pub(crate) output: String,
}

impl Finished {
    /// The tests that the output reports, in the manner of libtest and of nextest.
    pub(crate) fn count(&self) -> Count {
        let mut count = Count::default();
        for line in self.output.lines() {
            count.add(count_line(line));
        }
        count
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository's root")
}

/// A build directory of its own for builds whose flags would spoil the ordinary one.
pub(crate) fn target_dir(name: &str) -> PathBuf {
    let base = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    base.join(name)
}

/// Whether this runs in continuous integration, where a test that cannot run is a failure.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// A program started in the repository's root.
pub(crate) fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that started this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&cargo, args)
}

/// Whether a program of that name is on the search path.
pub(crate) fn exists(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Runs a program whose output is shown as it comes and is kept.
///
/// # Errors
/// If the program can't be started. That it failed is not an error here.
pub(crate) fn run(command: &mut Command) -> Result<Finished> {
    let line = describe(command);
    println!("$ {line}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` could not be started"))?;
    let output = Arc::new(Mutex::new(String::new()));
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, Arc::clone(&output))),
        child.stderr.take().map(|pipe| forward(pipe, Arc::clone(&output))),
    ];
    let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
    for reader in readers.into_iter().flatten() {
        reader.join().expect("a thread that only copies lines does not panic");
    }
    let output = std::mem::take(&mut *output.lock().expect("no holder of this lock panics"));
    Ok(Finished { success: status.success(), output })
}

/// Runs a program and keeps its standard output without showing it.
///
/// # Errors
/// If the program can't be started or fails.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("`{line}` could not be started"))?;
    ensure!(output.status.success(), "`{line}` failed");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn forward(pipe: impl Read + Send + 'static, output: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut output = output.lock().expect("no holder of this lock panics");
            output.push_str(&line);
            output.push('\n');
            // Who reads our output may have gone; that must not end the check.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
    })
}

/// The command as it could be typed: the environment that was set for it, its name and its arguments.
fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let environment = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}='{}'", key.to_string_lossy(), value?.to_string_lossy())));
    let arguments = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    environment.chain([name]).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Reads `test result: ok. 3 passed; 0 failed; …` and `Summary [ 1s] 3 tests run: 2 passed, 1 failed, …`.
fn count_line(line: &str) -> Count {
    let mut count = Count::default();
    let Some((_, numbers)) = ["test result: ", "tests run: ", "test run: "].iter().find_map(|key| line.split_once(key))
    else {
        return count;
    };
    for part in numbers.split([',', ';', '.']) {
        let mut words = part.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        match words.next() {
            Some("passed") => count.passed += number,
            Some("failed" | "timed") => count.failed += number,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_libtest_reports() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(count_line(line), Count { passed: 12, failed: 3 });
    }

    #[test]
    fn counts_what_nextest_reports() {
        let line = "     Summary [   0.1s] 8 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(count_line(line), Count { passed: 5, failed: 3 });
        assert_eq!(count_line("Summary [0.1s] 1 test run: 1 passed, 0 skipped"), Count { passed: 1, failed: 0 });
    }

    #[test]
    fn a_failed_test_is_an_error_of_the_command() {
        assert!(Count { passed: 3, failed: 0 }.all_passed().is_ok());
        assert!(Count { passed: 3, failed: 1 }.all_passed().is_err());
    }

    #[test]
    fn leaves_other_lines_alone() {
        assert_eq!(count_line("running 12 tests, 3 passed before"), Count::default());
    }

    #[test]
    fn keeps_output_and_failure_of_a_program() {
        let finished = run(&mut program("sh", &["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert!(!finished.success);
        assert!(finished.output.contains("out\n") && finished.output.contains("err\n"));
    }
}
