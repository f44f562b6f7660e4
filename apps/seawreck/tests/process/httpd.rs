//! httpd, to be loaded.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};

/// httpd while it runs. It is killed with the value.
pub(super) struct Httpd {
    child: Child,
    pub(super) address: SocketAddr,
    /// How often it was asked what it has counted.
    asked: Cell<u64>,
    /// What it logs after it listens.
    rest: Option<JoinHandle<String>>,
}

/// The program, which is another package's, and so is not made for these tests unless they ask for it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_seawreck")).with_file_name("httpd");
        if !path.exists() {
            let folder = path.parent().and_then(Path::parent).expect("programs lie in a profile's folder");
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--locked", "--quiet", "--package", "httpd", "--target-dir"]).arg(folder);
            assert!(build.status().expect("cargo runs").success(), "httpd can't be built");
        }
        path
    })
}

impl Httpd {
    /// Starts it on two shards at an address of this host.
    pub(super) fn start(address: &str) -> Self {
        Self::run(Self::command().args(["--address", address]))
    }

    /// A command that runs it, where the test's thread is.
    pub(super) fn command() -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "--default-signal=TERM"]).arg(program());
        command
    }

    pub(super) fn run(command: &mut Command) -> Self {
        command.args(["--smp", "2", "--overprovisioned", "--blocked-reactor-notify-ms", "0"]);
        command.args(["--prometheus-port", "0", "--port", "0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it can be started");
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut log = String::new();
        let address = loop {
            let begin = log.len();
            assert!(errors.read_line(&mut log).expect("the pipe can be read") > 0, "it ended: {log}");
            if let Some((_, address)) = log[begin..].trim_end().split_once("listening on ") {
                break address.parse().expect("an address");
            }
        };
        // Reads on, so that the pipe does not fill.
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            errors.read_to_string(&mut rest).expect("it is text");
            rest
        });
        Self { child, address, asked: Cell::new(0), rest: Some(rest) }
    }

    /// Ends it; answers how many requests it says it has served.
    pub(super) fn stop(mut self) -> u64 {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let log = self.rest.take().expect("it was not stopped before").join().expect("the pipe can be read");
        let served =
            log.lines().filter_map(|line| line.split_once("served ")?.1.split(' ').next()?.parse::<u64>().ok());
        served.sum()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests it has answered with this status, as its metrics say. Asking is not counted.
    pub(super) fn answered(&self, status: &str) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n").expect("it takes requests");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let label = format!("code=\"{status}\"");
        let lines = text.lines().filter(|line| line.starts_with(RESPONSES) && line.contains(&label));
        let values = lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()));
        let counted: u64 = values.map(|value| value.expect("a number")).sum();
        // It counts what it has answered before.
        let asked = self.asked.replace(self.asked.get() + 1);
        counted - if status == "200" { asked } else { 0 }
    }
}

const RESPONSES: &str = "sunstar_http_responses_total";

impl Drop for Httpd {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
