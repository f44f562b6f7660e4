//! `sunstar-bypass` does each of its loads for a moment over the kernel's loopback, and `sunstar-shards` its one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sunstar-bypass");
const BRIEFLY: &str = "--seconds 0.02 --warm-up 0 --overprovisioned --smp 1 --prometheus-port 0";

/// A server that is ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An address that no other test on this machine has: ports are fixed, and all of 127/8 is this machine's.
fn address(test: u8) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{high}.{low}", 1 + test)
}

fn start(mut command: Command) -> Server {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let server = Server(child);
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("listening"))), "it ended");
    // Read on, so that the pipe does not fill.
    std::thread::spawn(move || lines.count());
    server
}

/// The figure of that name in the line that a client prints.
fn figure(output: &Output, name: &str) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, rest) = text.split_once(&format!("\"{name}\":")).expect("the figure is there");
    rest.split([',', '}']).next().and_then(|number| number.parse().ok()).expect("it is a number")
}

fn run(test: u8, both: &str, client: &str) -> Output {
    let address = address(test);
    let end = |role: &str, more: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["--role", role, "--server", &address]);
        command.args(BRIEFLY.split(' ')).args(both.split_whitespace()).args(more.split_whitespace());
        command
    };
    let _server = start(end("server", ""));
    end("client", client).output().expect("it starts")
}

#[test]
fn connections_come_and_go() {
    let output = run(0, "--size 64", "--connections 8 --messages 2");
    assert!(figure(&output, "messages") >= 1.0);
}

#[test]
fn messages_of_many_segments_are_echoed_by_copies_too() {
    for (test, both) in [(1, "--size 8192"), (2, "--size 8192 --copy")] {
        let output = run(test, both, "--connections 2 --messages 0");
        assert!(figure(&output, "messages") >= 1.0 && figure(&output, "connections").abs() < 1.0);
    }
}

#[test]
fn streams_are_compared_lent_and_copied() {
    for (test, both) in [(3, "--write 64"), (4, "--write 65536 --copy")] {
        let output = run(test, both, "--load bulk --connections 1");
        assert!(figure(&output, "bytes") >= 64.0);
    }
}

#[test]
fn a_client_that_finds_no_server_says_so() {
    let mut client = Command::new(PROGRAM);
    client.args(["--role", "client", "--server", &address(5)]).args(BRIEFLY.split(' '));
    let output = client.output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{output:?}");
}

#[test]
fn connections_within_a_shard_are_not_forwarded() {
    let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstar-shards"));
    let output = command.args([&shards.to_string(), "0.05"]).output().expect("it starts");
    assert!(figure(&output, "forwarded").abs() < 1.0);
}
