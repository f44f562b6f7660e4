//! Network namespaces that end with the benchmark, however it ends.

use std::env;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{exists, program};

/// Set for a process that is in a namespace of its own already.
const INSIDE: &str = "SUNSTAR_BENCH_INSIDE";
/// Namespaces end with the processes in them; longer than all rounds of any benchmark.
const LIFE_SECONDS: &str = "36000";
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this process is in a network namespace of its own.
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this command again in a network namespace of its own. It needs these programs, of these packages of Debian's.
///
/// # Errors
/// If there may be no namespace, a program is missing, or the command fails.
pub(super) fn enter(programs: &[(&str, &str)]) -> Result<()> {
    for (name, package) in programs.iter().chain(&[("unshare", "util-linux"), ("setpriv", "util-linux")]) {
        ensure!(exists(name), "{name} is not installed (Debian's {package})");
    }
    let mut command = program("unshare", &["--net", "--"]);
    command.arg(env::current_exe()?).args(env::args_os().skip(1));
    let status = bound(&command).env(INSIDE, "1").status().context("running unshare")?;
    ensure!(status.success(), "in a network namespace, which needs root or CAP_NET_ADMIN: {status}");
    Ok(())
}

/// A network namespace, with loopback. Dropping it ends it, with its links, and so does any end of this process.
pub(super) struct Namespace {
    /// Keeps it.
    holder: Child,
}

impl Namespace {
    /// Makes one. The thread has to live as long as it.
    ///
    /// # Errors
    /// If the kernel does not.
    pub(super) fn new() -> Result<Self> {
        let holder =
            bound(&program("unshare", &["--net", "sleep", LIFE_SECONDS])).spawn().context("running unshare")?;
        let namespace = Self { holder };
        namespace.wait()?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Waits until it is there.
    fn wait(&self) -> Result<()> {
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
        let ours = namespace("self")?;
        let deadline = Instant::now() + PATIENCE;
        while namespace(&self.pid())? == ours {
            ensure!(Instant::now() < deadline, "no second network namespace is made");
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The process by which ip(8) knows it.
    pub(super) fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// The same command in it.
    pub(super) fn command(&self, command: &Command) -> Command {
        let mut entered = program("nsenter", &[&format!("--net=/proc/{}/ns/net", self.pid()), "--"]);
        entered.arg(command.get_program()).args(command.get_args());
        entered
    }

    /// Calls ip(8) in it.
    ///
    /// # Errors
    /// If that fails: what it says.
    pub(super) fn ip(&self, arguments: &str) -> Result<()> {
        do_it(&mut self.command(&words("ip", arguments)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// The same command, which is killed when the thread that starts it ends, however that happens.
pub(super) fn bound(command: &Command) -> Command {
    let mut bound = program("setpriv", &["--pdeathsig", "KILL", "--"]);
    bound.arg(command.get_program()).args(command.get_args());
    bound
}

/// A command of words without spaces in them.
pub(super) fn words(name: &str, arguments: &str) -> Command {
    program(name, &arguments.split(' ').collect::<Vec<_>>())
}

/// Runs a command.
///
/// # Errors
/// If it fails: what it says.
pub(super) fn do_it(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::thread::{self, sleep};
    use std::time::Duration;

    use super::bound;
    use crate::command::{exists, program};

    #[test]
    fn what_is_bound_to_a_thread_ends_with_it() {
        if !exists("setpriv") {
            return;
        }
        let start = || {
            let child = bound(&program("sleep", &["600"])).spawn().expect("setpriv is there");
            // Only once it is what it is to be is it bound.
            let name = || fs::read_to_string(format!("/proc/{}/comm", child.id())).expect("it runs");
            while name().trim() != "sleep" {
                sleep(Duration::from_millis(1));
            }
            child
        };
        let mut child = thread::spawn(start).join().expect("it starts a process");
        assert_eq!(child.wait().expect("it can be waited for").signal(), Some(9));
    }
}
