//! Any bytes as the input of a client of HTTP/1 that has asked for something, whole and in pieces.
#![no_main]

#[path = "../../crates/http1/src/tests/ask.rs"]
mod ask;
#[path = "../../crates/http1/src/tests/seen.rs"]
mod seen;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ask::check(bytes));
