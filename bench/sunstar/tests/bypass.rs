//! `sunstar-bypass` does each of its loads for a moment over the kernel's loopback, and `sunstar-shards` its one.

use std::process::{Command, Output};

use sunstar_bench_common::program::{self, Server, figure};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sunstar-bypass");
const BRIEFLY: &str = "--seconds 0.02 --warm-up 0 --overprovisioned --smp 1 --prometheus-port 0";

fn end(test: u8, role: &str, more: &str) -> Command {
    program::end(PROGRAM, role, test, &format!("{BRIEFLY} {more}"))
}

fn run(test: u8, both: &str, client: &str) -> Output {
    let _server = Server::start(end(test, "server", both));
    end(test, "client", &format!("{both} {client}")).output().expect("it starts")
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
    let output = end(5, "client", "").output().expect("it starts");
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
