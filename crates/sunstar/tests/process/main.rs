//! What applications show and how they end: the fixture is started as a process.

mod config_file;
mod groups;
mod log;
mod metrics;
mod names;
#[path = "../../../device/tests/tap/namespace.rs"]
mod namespace;
mod options;
mod stop;
mod udp_filter;
mod vhost_user;
mod xdp;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Options that suit any machine.
const ANYWHERE: [&str; 5] = ["--smp", "1", "--overprovisioned", "--prometheus-port", "0"];

/// The fixture. A signal that whoever runs the tests ignores is not ignored in it.
fn fixture(arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_sunstar-fixture")).args(arguments);
    command.env_remove("RUST_BACKTRACE");
    command
}

/// Runs the fixture to its end; answers exit code, standard output and standard error.
fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = fixture(arguments).output().expect("it can be started");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

/// The line by which the fixture, run anywhere with these arguments, ends with this code.
#[track_caller]
fn last_line(code: i32, arguments: &[&str]) -> String {
    let (actual, _, errors) = ended(&[&ANYWHERE, arguments].concat());
    assert_eq!(actual, Some(code), "{errors}");
    let last = errors.lines().last().expect("there is a line");
    last.strip_prefix("fixture: error: ").expect(last).to_owned()
}

/// The only line by which the fixture refuses these arguments.
#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let (code, out, errors) = ended(arguments);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
    assert_eq!(errors.matches('\n').count(), 1, "{errors}");
    errors.strip_prefix("fixture: error: ").expect(&errors).trim_end().to_owned()
}

/// The fixture while it runs.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it and waits for its first line.
    fn start(arguments: &[&str]) -> Self {
        let mut command = fixture(&[&ANYWHERE, arguments].concat());
        Self::start_with(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// The same for a command.
    fn start_with(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut running = Self { child, out };
        running.expect("ready");
        running
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("the pipe can be read");
        assert_eq!(line.trim_end(), word);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end; answers the exit code and what was written on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
        (self.child.wait().expect("it can be waited for").code(), errors)
    }
}
