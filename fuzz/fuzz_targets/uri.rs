//! Any text as the URI of a client's request, beside a plain way to read it.
#![no_main]

#[path = "../../crates/http/src/client/naive_uri.rs"]
mod naive_uri;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive_uri::check(bytes));
