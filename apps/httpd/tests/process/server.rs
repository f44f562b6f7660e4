//! httpd as a process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// The drivers that are tried.
const BACKENDS: &[&str] = &["epoll", "io_uring"];

/// What takes longer than this never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How httpd is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) backend: &'static str,
    pub(super) shards: usize,
}

/// Runs a test with each driver, on one shard and on two.
pub(super) fn with_each(test: impl Fn(Setup)) {
    for &backend in BACKENDS {
        for shards in [1, 2] {
            let setup = Setup { backend, shards };
            println!("{setup:?}");
            test(setup);
        }
    }
}

/// Runs a test with each driver on two shards.
pub(super) fn with_each_backend(test: impl Fn(Setup)) {
    BACKENDS.iter().for_each(|&backend| test(Setup { backend, shards: 2 }));
}

/// A command that runs httpd. Signals that whoever runs the tests ignores are not ignored in it.
pub(super) fn command(setup: Setup) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "--default-signal=TERM", env!("CARGO_BIN_EXE_httpd")]);
    options(&mut command, setup);
    command
}

/// The same with at most so many open files.
pub(super) fn limited(setup: Setup, files: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_httpd")]);
    options(&mut command, setup);
    command
}

fn options(command: &mut Command, setup: Setup) {
    command.args(["--overprovisioned", "--blocked-reactor-notify-ms", "0", "--reactor-backend", setup.backend]);
    // Several run at the same time.
    command.args(["--smp", &setup.shards.to_string(), "--prometheus-port", "0"]);
}

/// Lets this process, and httpd, have as many descriptors as the system allows; answers how many connections of `asked` that makes. Where
/// it is not all of them the test fails in continuous integration, and says so elsewhere.
pub(super) fn room(asked: u64) -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("it is allowed");
    // Tests run side by side.
    let possible = maximum.map_or(asked, |maximum| asked.min(maximum.saturating_sub(2500).max(maximum / 4)));
    if possible < asked {
        let message =
            format!("{asked} connections were to be open at once, and this system allows {possible} (ulimit -Hn)");
        assert!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("not all is run: {message}");
    }
    possible
}

/// Tests with so many descriptors that two of them don't fit into a process wait for each other: under some runners they share one.
pub(super) fn only_crowd() -> MutexGuard<'static, ()> {
    static CROWD: Mutex<()> = Mutex::new(());
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// httpd while it runs. It is killed if the test fails.
pub(super) struct Httpd {
    child: Child,
    pub(super) address: SocketAddr,
    /// The lines that it has logged before it listened.
    pub(super) first_lines: Vec<String>,
    /// Those behind.
    lines: Receiver<String>,
}

impl Httpd {
    pub(super) fn start(setup: Setup) -> Self {
        Self::run(&mut command(setup))
    }

    pub(super) fn run(command: &mut Command) -> Self {
        let mut child = command.args(["--port", "0"]).stderr(Stdio::piped()).spawn().expect("it can be started");
        let lines = lines(BufReader::new(child.stderr.take().expect("it is piped")));
        let mut httpd = Self { child, address: SocketAddr::from(([0; 4], 0)), first_lines: Vec::new(), lines };
        // It is killed if it does not listen in time.
        let deadline = Instant::now() + PATIENCE;
        while httpd.address.port() == 0 {
            let line = httpd.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("it does not listen, {error}: {:?}", httpd.first_lines));
            if let Some((_, address)) = line.trim_end().split_once("listening on ") {
                httpd.address = address.parse().expect("an address");
            }
            httpd.first_lines.push(line);
        }
        httpd
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end; answers the exit code and what it has logged after it listened.
    pub(super) fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let mut log = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => log.push_str(&line),
                Err(RecvTimeoutError::Disconnected) => return (status.code(), log),
                Err(RecvTimeoutError::Timeout) => panic!("the pipe ends with the process"),
            }
        }
    }

    /// Asks it to stop, which must go well; answers what it has logged.
    pub(super) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    /// The processor time that it has used, in the kernel's ticks.
    pub(super) fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // The name before may have spaces.
        let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
        let ticks = |place: usize| fields.split(' ').nth(place).and_then(|ticks| ticks.parse::<u64>().ok());
        // Fields 14 and 15 of proc_pid_stat(5), of which the first two are gone.
        ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("numbers")
    }

    /// How many descriptors it has open.
    pub(super) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// How much memory it occupies.
    pub(super) fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The same without what it has of files, as its own text: that only grows, as more of it is run.
    pub(super) fn own_kib(&self) -> u64 {
        self.memory_kib("RssAnon:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits until it has no more than so many descriptors open.
    pub(super) fn wait_for_descriptors(&self, most: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.descriptors() > most {
            assert!(Instant::now() < deadline, "{} descriptors are open, not {most}", self.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is logged, line by line. It is read at once, so that the pipe does not fill.
fn lines(mut errors: BufReader<ChildStderr>) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        while errors.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            // Who does not look at it any more has it read nevertheless.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    lines
}

/// The requests that each shard says at its end to have served, by the connections that it had.
pub(super) fn served(log: &str) -> Vec<(u64, u64)> {
    let number = |word: Option<&str>| word.expect("there is one").parse::<u64>().expect("a number");
    let lines = log.lines().filter_map(|line| line.split_once("served ").map(|(_, counts)| counts));
    lines
        .map(|counts| {
            let mut words = counts.split(' ');
            (number(words.next()), number(words.nth(2)))
        })
        .collect()
}
