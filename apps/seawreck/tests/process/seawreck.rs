//! seawreck as a process.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The drivers that are tried.
pub(super) const BACKENDS: [&str; 2] = ["epoll", "io_uring"];

/// What takes longer than this never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A command that runs seawreck. Signals that whoever runs the tests ignores are not ignored in it.
pub(super) fn command(backend: &str, shards: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "--default-signal=TERM", env!("CARGO_BIN_EXE_seawreck")]);
    command.args(["--overprovisioned", "--blocked-reactor-notify-ms", "0", "--reactor-backend", backend]);
    command.args(["--smp", &shards.to_string()]).args(arguments);
    command
}

/// What a run of it has come to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) output: String,
    pub(super) errors: String,
}

impl Ended {
    /// The report, if `--json -` was among the arguments.
    pub(super) fn report(&self) -> Report {
        let report = serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        Report(report)
    }
}

/// The report of a run.
#[derive(Debug)]
pub(super) struct Report(pub(super) Value);

impl Report {
    /// A number in it, by its path.
    pub(super) fn number(&self, path: &str) -> f64 {
        self.0.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path}: {self:?}"))
    }

    /// A whole number in it, by its path.
    pub(super) fn count(&self, path: &str) -> u64 {
        self.0.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path}: {self:?}"))
    }

    /// A percentile of the latencies.
    pub(super) fn latency(&self, percentile: &str) -> Duration {
        // A slash or a tilde would need quoting; there is none.
        Duration::from_nanos(self.count(&format!("/latency_ns/percentiles/{percentile}")))
    }

    /// Requests and connections that have failed, by kind, without those that have not.
    pub(super) fn faults(&self) -> Vec<(String, u64)> {
        let kinds = ["requests_failed", "connections_failed"].into_iter().flat_map(|group| {
            let kinds = self.0[group].as_object().expect("it is an object");
            kinds.iter().map(move |(kind, count)| (format!("{group}/{kind}"), count.as_u64().expect("a number")))
        });
        kinds.filter(|(_, count)| *count > 0).collect()
    }
}

/// Runs it to its end.
pub(super) fn run(backend: &str, shards: usize, arguments: &[&str]) -> Ended {
    Seawreck::start(&mut command(backend, shards, arguments)).end()
}

/// Runs it to its good end; answers the report.
pub(super) fn report(backend: &str, shards: usize, arguments: &[&str]) -> Report {
    let ended = run(backend, shards, &[arguments, &["--json", "-"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.report()
}

/// Runs it to an end with failures; answers the report.
pub(super) fn report_of_failure(backend: &str, shards: usize, arguments: &[&str]) -> Report {
    let ended = run(backend, shards, &[arguments, &["--json", "-"]].concat());
    assert_eq!((ended.code, ended.errors.lines().count()), (Some(1), 1), "{ended:?}");
    ended.report()
}

/// Runs it in an open loop; answers the report. On a slow machine some requests may be left.
pub(super) fn report_of_open_loop(backend: &str, shards: usize, arguments: &[&str]) -> Report {
    let ended = run(backend, shards, &[arguments, &["--json", "-"]].concat());
    let report = ended.report();
    assert_eq!(ended.code, Some(i32::from(report.count("/requests_unsent") > 0)), "{ended:?}");
    report
}

/// Runs a test with each driver, on one shard and on two.
pub(super) fn with_each(test: impl Fn(&str, usize)) {
    for backend in BACKENDS {
        for shards in [1, 2] {
            println!("{backend}, {shards} shards");
            test(backend, shards);
        }
    }
}

/// seawreck while it runs. It is killed if the test fails.
pub(super) struct Seawreck {
    child: Child,
}

impl Seawreck {
    pub(super) fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
        Self { child }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(super) fn end(mut self) -> Ended {
        let output = read(self.child.stdout.take().expect("it is piped"));
        let errors = read(self.child.stderr.take().expect("it is piped"));
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if Instant::now() >= deadline {
                // What it has done until now says what it waits for.
                self.signal(Signal::INT);
                thread::sleep(Duration::from_secs(5));
                let _ = self.child.kill();
                panic!("it does not end: {:?}", (output.join(), errors.join()));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |reader: thread::JoinHandle<String>| reader.join().expect("the pipe can be read");
        Ended { code: status.code(), output: text(output), errors: text(errors) }
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("it is text");
        text
    })
}

impl Drop for Seawreck {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
