//! `sunstar-connections` with few connections.

use std::process::Command;

use sunstar_bench_common::program::figure;

/// So many that tables are nearly full, whose sizes are powers of two when they are small.
const CONNECTIONS: &str = "32000";

/// Bytes of a connection in the stack, with its places in the tables, and of its socket. What they are at most in a large table is a
/// matter of the benchmark.
const MOST_BYTES: f64 = 640.0;

#[test]
fn all_idle_connections_answer_and_are_small() {
    let output = Command::new(env!("CARGO_BIN_EXE_sunstar-connections")).arg(CONNECTIONS).output();
    let output = output.expect("the program was built for this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "not all were opened and have answered: {text}{told}");
    assert!(text.contains(&format!("\"answers\":{CONNECTIONS},\"failures\":0")), "{text}");
    let bytes = figure(&output, "stack_bytes") + figure(&output, "socket_bytes");
    assert!(bytes > 0.0 && bytes <= MOST_BYTES, "{bytes} bytes for each connection");
}
