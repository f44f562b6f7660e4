//! What a whole process does on signals and when a shard dies: tested in child processes.
//!
//! Each test starts this program again, running only that test, with a variable that makes it play the child's part.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio, exit};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sunstar_reactor::signal::{self, Signal};
use sunstar_reactor::{Config, RunError, request_stop, run, stop_requested};

const CHILD: &str = "SUNSTAR_TEST_CHILD";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// A child that plays its part of test `name`.
struct Play {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Play {
    fn start(name: &str) -> Self {
        Self::start_as(Command::new(Self::program()), name)
    }

    /// A child that was started to ignore a signal.
    fn start_ignoring(signal: &str, name: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' {signal}; exec \"$0\" \"$@\"")).arg(Self::program());
        Self::start_as(shell, name)
    }

    fn program() -> std::path::PathBuf {
        env::current_exe().expect("tests run from a file")
    }

    fn start_as(mut command: Command, name: &str) -> Self {
        // Whoever runs the tests may ignore it, and children inherit that.
        // SAFETY: changes what this process does on a signal that it does not use.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        let mut child = command
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program can be started");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// Waits until the child says `word`.
    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.output.read_line(&mut line).expect("the pipe can be read");
            assert!(length > 0, "the child ended before it said {word:?}");
            if line.contains(word) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().try_into().expect("process numbers are small");
        // SAFETY: the child was not waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, signal.number()) }, 0);
    }

    /// Waits for the end; answers the exit code or signal, and what was written on standard error.
    fn end(mut self) -> (Result<i32, i32>, String) {
        let mut errors = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
        let status = self.child.wait().expect("it can be waited for");
        (status.code().ok_or_else(|| status.signal().expect("it was not an exit")), errors)
    }
}

fn shards(smp: usize) -> Config {
    Config { smp: Some(smp), overprovisioned: true, stop_timeout: Duration::MAX, ..Config::default() }
}

/// Exit codes by which children tell how their runtime ended.
const FINISHED: i32 = 40;
const STOPPED: i32 = 41;

fn exit_with(outcome: &Result<(), RunError>) -> ! {
    exit(match outcome {
        Ok(()) => FINISHED,
        Err(RunError::Stopped { .. }) => STOPPED,
        Err(_) => 1,
    })
}

#[test]
fn sigterm_and_sigint_let_main_finish() {
    if is_child() {
        exit_with(&run(shards(2), || async {
            println!("ready");
            stop_requested().await;
        }));
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut play = Play::start("sigterm_and_sigint_let_main_finish");
        play.expect("ready");
        play.signal(signal);
        assert_eq!(play.end().0, Ok(FINISHED));
    }
}

#[test]
fn sigterm_ends_a_main_that_does_not_listen() {
    if is_child() {
        exit_with(&run(shards(2), || async {
            println!("ready");
            std::future::pending().await
        }));
    }
    let mut play = Play::start("sigterm_ends_a_main_that_does_not_listen");
    play.expect("ready");
    play.signal(Signal::SIGTERM);
    assert_eq!(play.end().0, Ok(STOPPED));
}

#[test]
fn a_second_signal_ends_the_patience() {
    if is_child() {
        exit_with(&run(shards(1), || async {
            println!("ready");
            stop_requested().await;
            println!("told");
            std::future::pending().await
        }));
    }
    let mut play = Play::start("a_second_signal_ends_the_patience");
    play.expect("ready");
    play.signal(Signal::SIGINT);
    play.expect("told");
    play.signal(Signal::SIGINT);
    assert_eq!(play.end().0, Ok(STOPPED));
}

#[test]
fn a_third_signal_ends_a_process_that_is_stuck() {
    if is_child() {
        exit_with(&run(shards(1), || async {
            println!("ready");
            // The shard itself is kept: no task of it can act on a signal.
            loop {
                std::thread::park();
            }
        }));
    }
    let mut play = Play::start("a_third_signal_ends_a_process_that_is_stuck");
    play.expect("ready");
    play.signal(Signal::SIGINT);
    // Signals that come while the same one is pending are one, so it takes at least two more.
    while play.child.try_wait().expect("it can be waited for").is_none() {
        play.signal(Signal::SIGTERM);
        std::thread::yield_now();
    }
    assert_eq!(play.end().0, Err(libc::SIGTERM));
}

#[test]
fn a_signal_that_the_process_was_started_to_ignore_stays_ignored() {
    if is_child() {
        exit_with(&run(shards(1), || async {
            assert!(signal::is_ignored(Signal::SIGINT));
            assert!(!signal::is_ignored(Signal::SIGTERM));
            println!("ready");
            stop_requested().await;
        }));
    }
    let mut play = Play::start_ignoring("INT", "a_signal_that_the_process_was_started_to_ignore_stays_ignored");
    play.expect("ready");
    play.signal(Signal::SIGINT);
    play.signal(Signal::SIGTERM);
    assert_eq!(play.end().0, Ok(FINISHED));
}

#[test]
fn after_the_runtime_signals_mean_what_they_meant_before() {
    if is_child() {
        run(shards(1), || async {}).expect("it returns");
        println!("ready");
        loop {
            std::thread::park();
        }
    }
    let mut play = Play::start("after_the_runtime_signals_mean_what_they_meant_before");
    play.expect("ready");
    play.signal(Signal::SIGTERM);
    assert_eq!(play.end().0, Err(libc::SIGTERM));
}

#[test]
fn a_program_may_decide_alone_what_a_signal_means() {
    if is_child() {
        let config = Config { stop_on_signals: false, ..shards(1) };
        exit_with(&run(config, || async {
            let mut terms = signal::on(Signal::SIGTERM).expect("the system allows it");
            println!("ready");
            terms.recv().await;
            println!("first");
            terms.recv().await;
            request_stop();
            stop_requested().await;
        }));
    }
    let mut play = Play::start("a_program_may_decide_alone_what_a_signal_means");
    play.expect("ready");
    play.signal(Signal::SIGTERM);
    play.expect("first");
    play.signal(Signal::SIGTERM);
    assert_eq!(play.end().0, Ok(FINISHED));
}

/// A waker whose user made a mistake; the reactor wakes it outside of any task.
struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

#[test]
fn a_shard_that_dies_stops_the_process_and_says_so() {
    if is_child() {
        exit_with(&run(shards(3), || async {
            let mut arrivals = signal::on(Signal::SIGUSR1).expect("the system allows it");
            let waker = Waker::from(Arc::new(PanickingWaker));
            assert_eq!(arrivals.poll_recv(&mut Context::from_waker(&waker)), Poll::Pending);
            // SAFETY: the signal is handled.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            std::future::pending().await
        }));
    }
    let (end, errors) = Play::start("a_shard_that_dies_stops_the_process_and_says_so").end();
    assert_eq!(end, Err(libc::SIGABRT));
    assert!(errors.contains("a waker that panics"), "{errors}");
    assert!(errors.contains("shard 0 panicked outside of any task"), "{errors}");
}
