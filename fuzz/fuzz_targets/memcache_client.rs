//! Any bytes as the input of a memcache client that has asked for something, whole and in pieces.
#![no_main]

#[path = "../../crates/memcache/src/tests/seen.rs"]
mod seen;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seen::check_client(bytes));
