//! Any bytes as the input of a server and of a client of HTTP/1, whole and in pieces.
#![no_main]

#[path = "../../crates/http1/src/tests/trace.rs"]
mod trace;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trace::check(bytes));
