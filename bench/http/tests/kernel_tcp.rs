//! `kernel-tcp` does each of its loads for a moment.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kernel-tcp");
const BRIEFLY: &str = "--cpu 0 --seconds 0.02 --warm-up 0";

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

fn end(test: u8, role: &str, more: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--role", role, "--server", &address(test)]);
    command.args(BRIEFLY.split(' ')).args(more.split_whitespace());
    command
}

fn run(test: u8, both: &str, client: &str) -> Output {
    let _server = start(end(test, "server", both));
    end(test, "client", &format!("{both} {client}")).output().expect("it starts")
}

#[test]
fn connections_come_and_go() {
    let output = run(16, "--size 64", "--connections 8 --messages 2");
    assert!(figure(&output, "messages") >= 1.0);
}

#[test]
fn messages_of_many_segments_are_echoed() {
    let output = run(17, "--size 8192", "--connections 2 --messages 0");
    assert!(figure(&output, "messages") >= 1.0 && figure(&output, "connections").abs() < 1.0);
}

#[test]
fn streams_are_compared() {
    let output = run(18, "", "--load bulk --connections 1 --write 4096 --spin");
    assert!(figure(&output, "bytes") >= 4096.0);
}

#[test]
fn both_ends_are_in_one_process() {
    let output = end(19, "both", "--connections 4 --messages 1").output().expect("it starts");
    assert!(figure(&output, "connections") >= 1.0);
}
