//! `kernel-tcp` does each of its loads for a moment.

use std::process::{Command, Output};

use sunstar_bench_common::program::{self, Server, figure};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kernel-tcp");
const BRIEFLY: &str = "--cpu 0 --seconds 0.02 --warm-up 0";

fn end(test: u8, role: &str, more: &str) -> Command {
    program::end(PROGRAM, role, test, &format!("{BRIEFLY} {more}"))
}

fn run(test: u8, both: &str, client: &str) -> Output {
    let _server = Server::start(end(test, "server", both));
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
