//! Any bytes as the input of a server of HTTP/1, whole and in pieces.
#![no_main]

#[path = "../../crates/http1/src/tests/seen.rs"]
mod seen;
#[path = "../../crates/http1/src/tests/serve.rs"]
mod serve;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| serve::check(bytes));
