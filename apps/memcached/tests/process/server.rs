//! memcached as a process, and a client that sends bytes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The drivers that are tried.
const BACKENDS: &[&str] = &["epoll", "io_uring"];

/// What takes longer than this never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How memcached is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    backend: &'static str,
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

/// Runs a test on one shard and on two, with one driver: what it looks at is the same with each.
pub(super) fn with_shards(test: impl Fn(Setup)) {
    [1, 2].into_iter().for_each(|shards| test(Setup { backend: BACKENDS[0], shards }));
}

/// memcached while it runs. It is killed if the test fails.
pub(super) struct Memcached {
    child: Child,
    /// Where it listens, as it says.
    pub(super) place: String,
    rest: Receiver<String>,
}

impl Memcached {
    /// Runs it at a port of its own.
    pub(super) fn start(setup: Setup, arguments: &[&str]) -> Self {
        Self::run(setup, &[&["--port", "0"], arguments].concat())
    }

    pub(super) fn run(setup: Setup, arguments: &[&str]) -> Self {
        let mut child = command(setup, arguments).spawn().expect("it can be started");
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut log = String::new();
        let place = loop {
            let mut line = String::new();
            errors.read_line(&mut line).expect("the pipe can be read");
            assert!(!line.is_empty(), "it ended: {log}");
            log += &line;
            if let Some((_, place)) = line.trim_end().split_once("listening on ") {
                break place.to_owned();
            }
        };
        let (sender, rest) = channel();
        thread::spawn(move || {
            let mut log = Vec::new();
            let _ = errors.read_to_end(&mut log);
            let _ = sender.send(String::from_utf8_lossy(&log).into_owned());
        });
        Self { child, place, rest }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.place.parse().expect("an address")
    }

    pub(super) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_nodelay(true).expect("a socket can");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has one");
        Client(stream)
    }

    /// The memory that it occupies, in bytes.
    pub(super) fn resident_bytes(&self) -> usize {
        let counts = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("it runs");
        let pages: usize =
            counts.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("the second is resident");
        pages * rustix::param::page_size()
    }

    /// How many descriptors it has open.
    pub(super) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Asks it to stop, which must go well.
    pub(super) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let log = self.rest.recv_timeout(PATIENCE).expect("the pipe ends with the process");
        assert!(status.success() && !log.contains("panicked"), "{log}");
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs it. Signals that whoever runs the tests ignores are not ignored in it.
pub(super) fn command(setup: Setup, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "--default-signal=TERM", env!("CARGO_BIN_EXE_memcached")]);
    command.args(["--overprovisioned", "--blocked-reactor-notify-ms", "0", "--reactor-backend", setup.backend]);
    command.args(["--smp", &setup.shards.to_string()]);
    // Several run at the same time.
    if !arguments.contains(&"--prometheus-port") {
        command.args(["--prometheus-port", "0"]);
    }
    command.args(arguments).stderr(Stdio::piped());
    command
}

/// A client that knows no more than bytes.
pub(super) struct Client<S>(pub(super) S);

impl<S: Read + Write> Client<S> {
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("it is taken");
    }

    /// It receives exactly this.
    pub(super) fn expect(&mut self, text: impl AsRef<[u8]>) {
        let mut bytes = vec![0; text.as_ref().len()];
        self.0.read_exact(&mut bytes).expect("it comes");
        assert!(bytes == text.as_ref(), "{:.300} instead of {:.300}", show(&bytes), show(text.as_ref()));
    }

    /// What is sent is answered by exactly this: nothing else comes before the answer to a request that follows.
    pub(super) fn ask(&mut self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.send(question);
        self.send("mn\r\n");
        self.expect(answer);
        self.expect("MN\r\n");
    }

    /// The connection ends.
    pub(super) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("it ends");
        assert!(rest.is_empty(), "{}", show(&rest));
    }

    /// The figures that `stats` answers with.
    pub(super) fn stats(&mut self, argument: &str) -> Vec<(String, String)> {
        self.send(format!("stats {argument}\r\n"));
        let mut figures = Vec::new();
        loop {
            let line = self.line();
            let Some(figure) = line.strip_prefix("STAT ") else {
                assert_eq!(line, "END");
                return figures;
            };
            let (name, value) = figure.split_once(' ').expect("a name and a value");
            figures.push((name.to_owned(), value.to_owned()));
        }
    }

    /// One of the general figures.
    pub(super) fn figure(&mut self, name: &str) -> u64 {
        let stats = self.stats("");
        let (_, value) = stats.iter().find(|(other, _)| other == name).expect("there is such a figure");
        value.parse().expect("a number")
    }

    /// The lines up to one.
    pub(super) fn lines_until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line == last {
                return lines;
            }
            lines.push(line);
        }
    }

    pub(super) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a line comes");
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text").trim_end().to_owned()
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
